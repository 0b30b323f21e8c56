//! The list by examples: what is on it, and what holds for the whole.

mod refused;

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::policy::{Policy, Rules, SECRETS};

/// One container, and beside it whatever else.
fn with(spec: &Value) -> Value {
    let mut whole = json!({"containers": [{"name": "web", "image": "nginx"}]});
    whole.as_object_mut().expect("fields").extend(spec.as_object().expect("fields").clone());
    json!({ "spec": whole })
}

/// One container with these fields.
fn having(container: &Value) -> Value {
    let mut whole = json!({"name": "web", "image": "nginx"});
    whole.as_object_mut().expect("fields").extend(container.as_object().expect("fields").clone());
    json!({"spec": {"containers": [whole]}})
}

fn outcome(rendered: &Value) -> Result<PodTemplateSpec, String> {
    let policy = Policy::new(Rules::default()).expect("rules");
    let rendered = rendered.as_object().expect("an object");
    policy.admit_rendered(rendered).map_err(|violation| violation.to_string())
}

fn refusal(rendered: &Value) -> String {
    let said = outcome(rendered).expect_err(&rendered.to_string());
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

/// A value of the shape with all that it may have, of choices the one of this number.
fn full(shape: &Shape, number: usize) -> Value {
    let texts = ["a", "/a", SECRETS];
    match shape {
        Shape::Object(object) => {
            let (Choice::AtMostOne(choices) | Choice::ExactlyOne(choices)) = object.choice else {
                let fields =
                    object.fields.iter().map(|field| (field.name.to_owned(), full(&field.shape, number)));
                return fields.collect::<Map<_, _>>().into();
            };
            let chosen = choices[number % choices.len()];
            let fields =
                object.fields.iter().filter(|field| field.name == chosen || !choices.contains(&field.name));
            fields
                .map(|field| (field.name.to_owned(), full(&field.shape, number)))
                .collect::<Map<_, _>>()
                .into()
        }
        Shape::List(list) => json!([full(&list.of, number)]),
        Shape::Map(_) => json!({"a": "b"}),
        Shape::Text(text) => (*texts.iter().find(|one| (text.fits)(one)).expect("a text that fits")).into(),
        Shape::OneOf(values) => values[number % values.len()].into(),
        Shape::Whole(_, most) => (*most).into(),
        Shape::Flag => true.into(),
        Shape::Amount => "1".into(),
        Shape::Port => [json!(80), json!("http")][number % 2].clone(),
    }
}

/// Everything that the table lets through, with each of several choices.
fn everything() -> Vec<Map<String, Value>> {
    let all = (0..12).map(|number| {
        let mut all = full(&Shape::Object(&table::TEMPLATE), number);
        all["spec"]["initContainers"][0]["name"] = "init".into();
        all.as_object().expect("an object").clone()
    });
    all.collect()
}

/// The names of the fields that the table knows, at any place.
fn names(object: &'static Object, known: &mut BTreeSet<&'static str>) {
    for field in object.fields {
        known.insert(field.name);
        let shape = match field.shape {
            Shape::List(list) => list.of,
            other => other,
        };
        if let Shape::Object(object) = shape {
            names(object, known);
        }
    }
}

#[test]
fn what_is_on_the_list_is_read_without_loss_and_again() {
    for rendered in everything() {
        let read = template(&rendered).expect("everything may be there");
        let again = serde_json::to_value(&read).expect("JSON");
        // A field that Kubernetes' type does not have would be lost here.
        assert_eq!(again, Value::Object(rendered));
        assert_eq!(template(again.as_object().expect("an object")), Ok(read));
    }
}

#[test]
fn what_is_said_in_another_form_is_read_again_as_the_same() {
    let texts = [
        having(&json!({"resources": {"limits": {"cpu": 1, "memory": 0.5e9}, "requests": {"cpu": 0}}})),
        with(&json!({"volumes": [{"name": "a", "emptyDir": {"sizeLimit": 100}}], "initContainers": []})),
        having(&json!({"env": [{"name": "A"}], "command": [], "ports": [], "securityContext": {}})),
        json!({"metadata": {}, "spec": {"containers": [{"name": "a", "image": "a"}], "securityContext": {}}}),
    ];
    for rendered in texts {
        let read = template(rendered.as_object().expect("an object")).expect("it is read");
        let again = serde_json::to_value(&read).expect("JSON");
        assert_eq!(template(again.as_object().expect("an object")), Ok(read), "{rendered}");
    }
}

#[test]
fn there_is_an_end_to_everything() {
    let many = |count: usize, one: fn(usize) -> Value| (0..count).map(one).collect::<Value>();
    let container = |index| json!({"name": format!("c{index}"), "image": "a"});
    let init = |index| json!({"name": format!("i{index}"), "image": "a"});
    let volume = |index| json!({"name": format!("v{index}"), "emptyDir": {}});
    let variable = |index| json!({ "name": format!("V{index}") });
    let rows = [
        (with(&json!({"containers": many(10, container)})), None),
        (with(&json!({"containers": many(11, container)})), Some("spec.containers has 11, and may have 10")),
        (with(&json!({"initContainers": many(10, init)})), None),
        (
            with(&json!({"initContainers": many(11, init)})),
            Some("spec.initContainers has 11, and may have 10"),
        ),
        (with(&json!({"volumes": many(20, volume)})), None),
        (with(&json!({"volumes": many(21, volume)})), Some("spec.volumes has 21, and may have 20")),
        (having(&json!({"env": many(256, variable)})), None),
        (
            having(&json!({"env": many(257, variable)})),
            Some("spec.containers[0].env has 257, and may have 256"),
        ),
        (having(&json!({"args": ["a".repeat(30_000), "a".repeat(30_000)]})), None),
        (
            having(&json!({"args": ["a".repeat(33_000)]})),
            Some("spec.containers[0].args[0] must be text of at most 32 KiB"),
        ),
        (
            having(&json!({"args": ["a".repeat(32_768), "a".repeat(32_768)]})),
            Some("template is larger than the 64 KiB that it may be"),
        ),
    ];
    for (rendered, wanted) in rows {
        match (outcome(&rendered), wanted) {
            (Ok(_), None) => {}
            (Err(said), Some(wanted)) => assert!(said.starts_with(wanted), "{said}"),
            (outcome, wanted) => panic!("{wanted:?}: {outcome:?}"),
        }
    }
}

#[test]
fn what_the_installation_puts_beside_a_service_is_not_the_presets() {
    let template = "
spec:
  containers:
    - {name: '*', env: [{name: REGION, value: eu}]}
    - {name: service, tty: true}
    - {name: proxy, image: proxy, env: [{name: KEY, valueFrom: {secretKeyRef: {name: proxy, key: key}}}]}
  initContainers: [{name: first, image: first}]
  volumes: [{name: certificates, secret: {secretName: proxy}}]
";
    let rules = Rules { template: Some(template.parse().expect("a template")), ..Rules::default() };
    let policy = Policy::new(rules).expect("rules");
    let rows = [
        (json!({"containers": [{"name": "service", "image": "a"}]}), None),
        (
            json!({"containers": [{"name": "proxy", "image": "a"}]}),
            Some("spec.containers[0].name is the name of one"),
        ),
        (
            json!({"containers": [{"name": "first", "image": "a"}]}),
            Some("spec.containers[0].name is the name of one"),
        ),
        (
            with(&json!({"initContainers": [{"name": "proxy", "image": "a"}]}))["spec"].clone(),
            Some("spec.initContainers[0].name is the name of one"),
        ),
        (
            with(&json!({"volumes": [{"name": "certificates", "emptyDir": {}}]}))["spec"].clone(),
            Some("spec.volumes[0].name is the name of one"),
        ),
        (
            having(&json!({"volumeMounts": [{"name": "certificates", "mountPath": "/a"}]}))["spec"].clone(),
            Some("spec.containers[0].volumeMounts[0].name names the volume certificates, which is not among"),
        ),
    ];
    for (spec, wanted) in rows {
        let rendered = json!({ "spec": spec });
        match (policy.admit_rendered(rendered.as_object().expect("an object")), wanted) {
            (Ok(_), None) => {}
            (Err(said), Some(wanted)) => assert!(said.to_string().starts_with(wanted), "{said}"),
            (outcome, wanted) => panic!("{wanted:?}: {outcome:?}"),
        }
    }
}

#[test]
fn port_and_secrets_agree_with_the_template() {
    let env = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": SECRETS, "key": "flag"}}}]);
    let rows = [
        (having(&json!({})), 80, None),
        (having(&json!({"ports": [{"containerPort": 80}]})), 80, None),
        (
            having(&json!({"ports": [{"containerPort": 80, "protocol": "UDP"}]})),
            80,
            Some("port is 80, which is not"),
        ),
        (having(&json!({"ports": [{"containerPort": 8080}]})), 80, Some("port is 80, which is not among")),
        (
            having(&json!({ "env": env })),
            80,
            Some("spec.containers[0].env[0].valueFrom.secretKeyRef.key is flag"),
        ),
    ];
    for (rendered, port, wanted) in rows {
        let read = template(rendered.as_object().expect("an object")).expect("it is read");
        let said = agree(&read, port, []).err().map(|violation| violation.to_string());
        assert_eq!(said.is_some(), wanted.is_some(), "{said:?}");
        assert!(said.unwrap_or_default().starts_with(wanted.unwrap_or_default()));
        assert!(
            agree(&read, 80, ["flag"]).is_ok() || wanted.is_some_and(|wanted| wanted.starts_with("port"))
        );
    }
}

#[test]
fn the_reference_names_every_field() {
    let text = include_str!("../../../../../docs/reference/policy.md");
    let mut known = BTreeSet::new();
    names(&table::TEMPLATE, &mut known);
    let words: BTreeSet<&str> =
        text.split(|char: char| !char.is_ascii_alphanumeric() && char != '-').collect();
    let missing: Vec<_> = known.iter().filter(|name| !words.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/reference/policy.md does not say what becomes of {missing:?}");
    assert!(table::LONGEST_GRACE == 300 && text.contains("300 s"));
    assert!(text::OWN_SECRET.rule.starts_with(SECRETS) && text.contains(SECRETS));
}
