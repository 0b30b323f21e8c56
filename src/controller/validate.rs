//! From what an Ephemeron says to what can be carried out, or to what is wrong with it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::{
    policy::{
        Violation,
        reference::{NotAReference, Reference},
    },
    resource::{
        Ephemeron, EphemeronSpec, HOST_ANNOTATION,
        conditions::{Finding, Reason},
        domain::Domain,
        labels::{self, is_label, is_reserved},
    },
    template::template,
};

use super::{
    rendering::{self, Rendering},
    settings::Settings,
};

/// An Ephemeron whose children can be made.
#[derive(Clone, Debug)]
pub struct Valid<'a> {
    /// The Ephemeron itself.
    pub ephemeron: &'a Ephemeron,
    /// The port on which it listens.
    pub port: u16,
    /// The path at which its readiness probe asks, if it has one over HTTP.
    pub probe_path: Option<String>,
    /// Its Pod, as the policy has admitted it. Where a Pod lives this may say less: it is not made again.
    pub template: PodTemplateSpec,
    /// Where it answers. Chosen once: a changed domain does not move a living service.
    pub host: String,
}

/// What is wrong with a spec, naming the field and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Nothing says when it ends.
    #[error("set spec.lifetime or spec.expirationTime: nothing says when this Ephemeron ends")]
    NoEnd,
    /// Nothing says what to run.
    #[error("set spec.service or spec.preset: nothing says what to run")]
    Nothing,
    /// The preset has not said what to run.
    #[error("{}", .0.message)]
    Preset(Finding),
    /// The image is no reference.
    #[error("spec.service.image: {0}")]
    NotAnImage(NotAReference),
    /// A label of the Pod that only we may set.
    #[error("podLabels: the key {0:?} is reserved: take it out")]
    ReservedLabel(String),
    /// A label of the Pod that is no label.
    #[error("podLabels: {0:?}: {1:?} is not a label: {rule}", rule = labels::RULE)]
    NotALabel(String, String),
    /// The name or the host is the installation's own.
    #[error("the host {0} is kept for this installation itself: use another name")]
    Reserved(String),
    /// The Pod or the Ingress that comes of it is against the installation's policy.
    #[error("{0}")]
    Policy(Violation),
}

impl Invalid {
    /// The reason of the conditions.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Preset(finding) => finding.reason,
            Self::Reserved(_) => Reason::NameReserved,
            Self::Policy(violation) if !violation.is_nonsense() => Reason::RefusedByPolicy,
            _ => Reason::InvalidSpec,
        }
    }
}

/// What stands already. What the policy has let through before stays when it becomes stricter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing<'a> {
    /// What the preset has said, where one is asked for.
    pub rendering: Option<&'a Rendering>,
    /// A Pod of the Ephemeron lives.
    pub pod: bool,
    /// Annotations that its Ingress has.
    pub ingress_annotations: Option<&'a BTreeMap<String, String>>,
}

/// Checks what the custom resource's schema cannot: whether the spec means something, and whether the
/// installation's policy allows what is not standing yet.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn validate<'a>(
    ephemeron: &'a Ephemeron,
    settings: &Settings,
    standing: Standing<'_>,
) -> Result<Valid<'a>, Invalid> {
    if settings.end_of(ephemeron).is_none() {
        return Err(Invalid::NoEnd);
    }
    let (spec, policy) = (&ephemeron.spec, &settings.policy);
    pod_labels(spec)?;
    let part = if spec.service.is_some() {
        "spec.service.ingressAnnotations"
    } else {
        "spec.preset.ingressAnnotations"
    };
    policy.ingress_annotations(part, &added(spec, standing)).map_err(Invalid::Policy)?;
    let host = host(ephemeron, settings);
    if !standing.pod && settings.reserved.has(ephemeron.name(), &host) {
        return Err(Invalid::Reserved(host));
    }
    if let Some(service) = &spec.service {
        service.image.parse::<Reference>().map_err(Invalid::NotAnImage)?;
        let template = template(service);
        let template =
            if standing.pod { template } else { policy.admit(template).map_err(Invalid::Policy)? };
        let probe_path = service.readiness_probe.as_ref().map(|probe| probe.path.clone());
        return Ok(Valid { ephemeron, port: service.port, probe_path, template, host });
    }
    let Some(Rendering { rendered, template }) = standing.rendering else { return Err(Invalid::Nothing) };
    let template = match template {
        Some(template) if !standing.pod => {
            let admitted = policy.admit_rendered(template).map_err(Invalid::Policy)?;
            rendering::completed(admitted, spec.pod_labels(), &rendering::secret_name(ephemeron))
        }
        _ => PodTemplateSpec::default(),
    };
    Ok(Valid { ephemeron, port: rendered.port, probe_path: rendered.probe_path.clone(), template, host })
}

/// The annotations for the Ingress that it does not have yet.
fn added(spec: &EphemeronSpec, standing: Standing<'_>) -> BTreeMap<String, String> {
    let stands = |key: &String| standing.ingress_annotations.and_then(|all| all.get(key));
    let said = spec.ingress_annotations().into_iter().flatten();
    said.filter(|(key, value)| stands(key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// The host of the status, else the one that the installation's domain gives. Objects of the earlier
/// implementation have their host in an annotation only; anybody can write that, so it counts only
/// where a status without a host shows that such an implementation has already served it.
fn host(ephemeron: &Ephemeron, settings: &Settings) -> String {
    let name = ephemeron.name();
    let annotation = |key: &str| ephemeron.metadata.annotations.as_ref()?.get(key).cloned();
    // A status can be written by hand.
    let is_its_own = |host: &String| {
        let domain = host.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
        domain.is_some_and(|domain| domain.parse::<Domain>().is_ok())
    };
    ephemeron
        .status
        .as_ref()
        .and_then(|status| match &status.host {
            Some(host) => Some(host.clone()),
            // The earlier implementation gives no reasons; our own status of an invalid spec does.
            None if status.conditions.is_empty()
                || status.conditions.iter().any(|one| one.reason.is_some()) =>
            {
                None
            }
            None => annotation(HOST_ANNOTATION),
        })
        .filter(is_its_own)
        .unwrap_or_else(|| settings.domain.host(name))
}

fn pod_labels(spec: &EphemeronSpec) -> Result<(), Invalid> {
    for (key, value) in spec.pod_labels().into_iter().flatten() {
        if is_reserved(key) {
            return Err(Invalid::ReservedLabel(key.clone()));
        }
        if !is_label(key, value) {
            return Err(Invalid::NotALabel(key.clone(), value.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        controller::{fixtures, settings::Reserved},
        policy::Rules,
        resource::{EphemeronStatus, GROUP_LABEL, MANAGED_BY_LABEL},
    };

    fn with_labels(labels: &serde_json::Value) -> Result<(), Invalid> {
        let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
        fixtures::service(&mut ephemeron).pod_labels =
            serde_json::from_value(labels.clone()).expect("labels");
        validate(&ephemeron, &fixtures::settings(), Standing::default()).map(drop)
    }

    #[test]
    fn what_can_be_carried_out_is_valid() {
        for manifest in [fixtures::MINIMAL, fixtures::FULL] {
            let ephemeron = fixtures::ephemeron(manifest);
            let valid = validate(&ephemeron, &fixtures::settings(), Standing::default());
            assert_eq!(valid.map(|valid| valid.host), Ok(format!("{}.example.com", ephemeron.name())));
        }
    }

    #[test]
    fn without_an_end_it_is_invalid() {
        let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
        ephemeron.spec.lifetime = None;
        assert_eq!(
            validate(&ephemeron, &fixtures::settings(), Standing::default()).map(drop),
            Err(Invalid::NoEnd)
        );
    }

    #[test]
    fn the_image_is_a_reference() {
        let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
        fixtures::service(&mut ephemeron).image = "Not An Image".into();
        let invalid =
            validate(&ephemeron, &fixtures::settings(), Standing::default()).expect_err("it is invalid");
        assert_eq!(invalid.reason(), Reason::InvalidSpec);
        assert!(invalid.to_string().starts_with("spec.service.image: "), "{invalid}");
    }

    #[test]
    fn what_the_policy_forbids_is_refused_by_its_field() {
        let rules = |images: &str, keys: &str, caps: &str| Rules {
            images: images.parse().expect("images"),
            ingress_annotations: keys.parse().expect("keys"),
            caps: caps.parse().expect("caps"),
            ..Rules::default()
        };
        let rows = [
            (rules("registry.example.com/*", "*", "cpu=9"), None),
            (rules("nginx", "*", "cpu=9"), Some("spec.containers[0].image: ")),
            (rules("*", "example.com/*", "cpu=9"), None),
            (rules("*", "none", "cpu=9"), Some("spec.service.ingressAnnotations: ")),
            (rules("*", "*", "cpu=1,memory=64Mi"), None),
            (rules("*", "*", "cpu=999m"), Some("spec.containers[0].resources.limits[cpu]: ")),
        ];
        let ephemeron = fixtures::ephemeron(fixtures::FULL);
        for (rules, wanted) in rows {
            let settings = Settings { policy: fixtures::policy(rules.clone()), ..fixtures::settings() };
            match (validate(&ephemeron, &settings, Standing::default()), wanted) {
                (Ok(_), None) => {}
                (Err(invalid), Some(wanted)) => {
                    assert_eq!(invalid.reason(), Reason::RefusedByPolicy);
                    assert!(invalid.to_string().starts_with(wanted), "{invalid}");
                }
                (outcome, _) => panic!("{rules:?}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn the_installation_s_own_names_and_hosts_are_nobody_else_s() {
        let ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
        let rows: [(&[&str], Option<&str>, bool); 5] = [
            (&["www", "minimal"], None, false),
            (&["www"], Some("minimal.example.com"), false),
            (&["www"], Some("MINIMAL.Example.com"), false),
            (&["www", "minima", "minimal2"], Some("minimal.example.org"), true),
            (&[], Some("example.com"), true),
        ];
        for (names, api_host, is_free) in rows {
            let reserved = Reserved {
                names: names.iter().map(|name| (*name).into()).collect(),
                api_host: api_host.map(|host| host.parse().expect("a host")),
            };
            let settings = Settings { reserved, ..fixtures::settings() };
            let judged = validate(&ephemeron, &settings, Standing::default());
            assert_eq!(judged.is_ok(), is_free, "{names:?} {api_host:?}");
            if let Err(invalid) = judged {
                assert_eq!(invalid.reason(), Reason::NameReserved);
                assert!(invalid.to_string().contains("minimal.example.com"), "{invalid}");
                let lives = Standing { pod: true, ..Standing::default() };
                assert!(validate(&ephemeron, &settings, lives).is_ok(), "it lives: it stays");
            }
        }
    }

    #[test]
    fn a_pod_that_lives_outlives_a_stricter_policy() {
        let rules = Rules { images: "nginx".parse().expect("images"), ..Rules::default() };
        let settings = Settings { policy: fixtures::policy(rules), ..fixtures::settings() };
        let ephemeron = fixtures::ephemeron(fixtures::FULL);
        assert!(validate(&ephemeron, &settings, Standing { pod: true, ..Standing::default() }).is_ok());
        assert!(validate(&ephemeron, &settings, Standing::default()).is_err(), "another one is judged");
    }

    #[test]
    fn annotations_that_stand_outlive_a_stricter_policy() {
        let rules = Rules { ingress_annotations: "none".parse().expect("keys"), ..Rules::default() };
        let settings = Settings { policy: fixtures::policy(rules), ..fixtures::settings() };
        let mut ephemeron = fixtures::ephemeron(fixtures::FULL);
        let stand = fixtures::service(&mut ephemeron).ingress_annotations.clone();
        let judge = |ephemeron: &Ephemeron| {
            let standing = Standing { ingress_annotations: stand.as_ref(), ..Standing::default() };
            validate(ephemeron, &settings, standing).is_ok()
        };
        assert!(judge(&ephemeron));
        for (key, value) in
            [("example.com/new", "a"), (stand.iter().flatten().next().expect("one").0, "other")]
        {
            let annotations = fixtures::service(&mut ephemeron).ingress_annotations.get_or_insert_default();
            let before = annotations.insert(key.into(), value.into());
            assert!(!judge(&ephemeron), "{key} is new, or has a new value");
            let annotations = fixtures::service(&mut ephemeron).ingress_annotations.get_or_insert_default();
            match before {
                Some(before) => annotations.insert(key.into(), before),
                None => annotations.remove(key),
            };
        }
    }

    #[test]
    fn amounts_that_mean_nothing_are_invalid() {
        let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
        fixtures::service(&mut ephemeron).resources =
            serde_json::from_value(json!({"limits": {"cpu": "much"}})).expect("resources");
        let invalid =
            validate(&ephemeron, &fixtures::settings(), Standing::default()).expect_err("it is invalid");
        assert_eq!(invalid.reason(), Reason::InvalidSpec);
    }

    #[test]
    fn pod_labels_are_checked() {
        for labels in [json!({"a": ""}), json!({"example.com/a_b.c": "X-1"}), json!({GROUP_LABEL: "g.app"})] {
            assert_eq!(with_labels(&labels), Ok(()), "{labels}");
        }
        for key in ["ephemerons.qualified.io/name", "ephemerons.qualified.io/other", MANAGED_BY_LABEL] {
            assert_eq!(with_labels(&json!({ key: "a" })), Err(Invalid::ReservedLabel(key.into())));
        }
        let long = "a".repeat(64);
        let rows = [
            ("", "a"),
            ("a b", "a"),
            ("-a", "a"),
            ("/a", "a"),
            ("a/", "a"),
            ("A.b/c", "a"),
            ("a/b/c", "a"),
            ("a", "ü"),
            ("a", &long),
            (&long, "a"),
        ];
        for (key, value) in rows {
            assert!(
                matches!(with_labels(&json!({ key: value })), Err(Invalid::NotALabel(..))),
                "{key} {value}"
            );
        }
    }

    #[test]
    fn the_host_is_chosen_once() {
        let host = |status: Option<serde_json::Value>, annotation: &str| {
            let mut ephemeron = fixtures::ephemeron(fixtures::MINIMAL);
            ephemeron.status =
                status.map(|status| serde_json::from_value::<EphemeronStatus>(status).expect("a status"));
            ephemeron.metadata.annotations =
                Some(BTreeMap::from([(HOST_ANNOTATION.into(), annotation.into())]));
            validate(&ephemeron, &fixtures::settings(), Standing::default()).expect("valid").host
        };
        let conditions = json!([{"type": "PodReady", "status": "True"}]);
        assert_eq!(
            host(Some(json!({"host": "minimal.old.org"})), "x"),
            "minimal.old.org",
            "a new domain moves nobody"
        );
        assert_eq!(host(Some(json!({"host": "bank.example.org"})), "x"), "minimal.example.com", "by hand");
        assert_eq!(host(None, "bank.example.org"), "minimal.example.com", "anybody can annotate");
        let earlier = Some(json!({ "conditions": conditions }));
        assert_eq!(
            host(earlier.clone(), "minimal.old.org"),
            "minimal.old.org",
            "the earlier implementation's"
        );
        let ours =
            Some(json!({"conditions": [{"type": "PodReady", "status": "False", "reason": "InvalidSpec"}]}));
        assert_eq!(host(ours, "minimal.bank.org"), "minimal.example.com", "it was never served");
        assert_eq!(host(earlier, "bank.example.org"), "minimal.example.com", "not under its own name");
    }
}
