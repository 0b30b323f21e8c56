//! What is kept of a preset's answer, when somebody or something interferes with it; and what is told of
//! files and parameters.

use std::time::Instant;

use serde_json::json;

use super::{Shelf, description, greeting};
use crate::{
    Cases,
    cluster::{condition, message, until},
    guest::{Guest, TEXT, words},
    troubles::faults,
};

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("presets::who_lives_stays_as_it_is_without_its_record", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "record"));
        shelf.put("greeting", &greeting("greeting", "1", "the first"));
        let controller = shelf.controller(&[]);
        let name = shelf.apply("greeting", "{a: 1}").await;
        cluster.available(&name).await;
        // Another file would say another port.
        let mut other = super::template("greeting", "the second");
        other["port"] = json!(9);
        shelf.put("greeting", &super::guest("greeting", "2", &other));
        controller.says("greeting 2 is served").await;
        let children = || async {
            let of_this = format!("-l ephemerons.qualified.io/name={name}");
            let uids = "-o jsonpath={.items[*].metadata.uid}{.items[*].spec.ports[*].port}";
            cluster.kubectl(&format!("get pods,services {of_this} {uids}")).await
        };
        let before = children().await;
        assert!(before.ends_with("8080"), "{before}");
        let record = json!({"status": {"preset": null, "rendering": null}});
        cluster.kubectl(&format!("patch eph {name} --subresource=status --type=merge -p '{record}'")).await;
        let one = cluster
            .reaches(&name, "is told that its record is lost", |one| {
                message(one, "PresetReady").contains("out of the status")
            })
            .await;
        assert_eq!(condition(&one, "PresetReady"), ("True", "Rendered"));
        assert_eq!(condition(&one, "Available").0, "True");
        assert_eq!(children().await, before, "it is as it was");
        cluster.delete(&name).await;
        controller.stop().await;
    });

    cases.add("presets::parameters_that_change_have_no_effect", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "parameters"));
        shelf.put("greeting", &greeting("greeting", "1", "hello"));
        let controller = shelf.controller(&[]);
        let name = shelf.apply("greeting", "{a: 1}").await;
        cluster.available(&name).await;
        let change = |parameters: &str| {
            let patch =
                format!(r#"[{{"op":"replace","path":"/spec/preset/parameters","value":{parameters}}}]"#);
            let script = format!("kubectl patch eph {name} --type=json -p '{patch}' 2>&1");
            async move { cluster.shell(&script).await }
        };
        for parameters in [r#"{"a":2}"#, r#"{"a":1,"b":1}"#, r#"{"a":{"b":1}}"#, "{}"] {
            let output = change(parameters).await;
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(!output.status.success() && told.contains("cannot be changed"), "{parameters}: {told}");
        }
        // This one the API server does not see. Should it do so one day, the better.
        if change(r#"{"b":1}"#).await.status.success() {
            let one = cluster
                .reaches(&name, "is told so", |one| message(one, "PresetReady").contains("no effect"))
                .await;
            assert_eq!(condition(&one, "Available").0, "True");
            change(r#"{"a":1}"#).await;
            cluster
                .reaches(&name, "is as it was", |one| {
                    !message(one, "PresetReady").contains("no effect")
                        && condition(one, "PresetReady").0 == "True"
                })
                .await;
        }
        cluster.delete(&name).await;
        controller.stop().await;
    });

    cases.add("presets::who_asks_is_told_that_the_new_file_is_broken", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "broken"));
        shelf.put("greeting", &greeting("greeting", "1", "hello"));
        let controller = shelf.controller(&[]);
        let began = Instant::now();
        let before = shelf.apply("greeting", "{}").await;
        cluster.available(&before).await;
        shelf.put("greeting", b"not WebAssembly");
        controller.says("not WebAssembly").await;
        let meanwhile = shelf.apply("greeting", "{}").await;
        let one = cluster.available(&meanwhile).await;
        let took = began.elapsed();
        assert_eq!(condition(&one, "PresetReady"), ("True", "Rendered"));
        let told = until("it is told", || async {
            let told = faults(&world, &meanwhile, took).await;
            (!told.is_empty()).then_some(told)
        })
        .await;
        assert_eq!(told, ["PresetIncompatible"]);
        assert_eq!(faults(&world, &before, took).await, Vec::<String>::new(), "it has asked before");
        for name in [before, meanwhile] {
            cluster.delete(&name).await;
        }
        controller.stop().await;
    });

    cases.add("presets::all_that_is_wrong_with_parameters_is_told", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "faults"));
        // Thirty issues, each of which has the same 200 characters as pointer, code and message.
        let text = "/x".repeat(100);
        let length = u32::try_from(text.len()).expect("a short text");
        let issue = [TEXT, length, TEXT, length, TEXT, length];
        let list =
            words(&issue.repeat(30)).iter().fold(String::new(), |all, byte| all + &format!("\\{byte:02x}"));
        let faults = Guest {
            items: format!("(data (i32.const 40000) \"{list}\")"),
            description: description("faults", "1"),
            rendered: text.clone(),
            result: words(&[1, 0, 40_000, 30]),
            ..Guest::default()
        };
        shelf.put("faults", &faults.bytes());
        let controller = shelf.controller(&[]);
        let name = shelf.apply("faults", "{}").await;
        let one = cluster
            .reaches(&name, "is refused", |one| condition(one, "PresetReady").1 == "InvalidParameters")
            .await;
        assert_eq!(message(&one, "PresetReady").matches(&format!("{text}: {text}")).count(), 30);
        cluster.delete(&name).await;
        controller.stop().await;
    });
}
