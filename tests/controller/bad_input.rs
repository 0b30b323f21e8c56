//! Manifests that cannot work are refused by the API server, in words that tell what to do.

use crate::{
    Cases,
    cluster::{condition, message},
};

/// A name, a spec, and what kubectl must say.
const REFUSED: &[(&str, &str, &str)] = &[
    ("port-0", "{lifetime: 30m, service: {image: nginx, port: 0}}", "greater than or equal to 1"),
    ("port-70000", "{lifetime: 30m, service: {image: nginx, port: 70000}}", "less than or equal to 65535"),
    ("no-port", "{lifetime: 30m, service: {image: nginx}}", "spec.service.port: Required value"),
    ("no-image", "{lifetime: 30m, service: {port: 80}}", "spec.service.image: Required value"),
    ("a.dot", "{lifetime: 30m, service: {image: nginx, port: 80}}", "use at most 63 lowercase letters"),
    ("1digit", "{lifetime: 30m, service: {image: nginx, port: 80}}", "starting with a letter"),
    (
        "sixty-four-characters-are-one-more-than-a-label-of-dns-may-have1",
        "{lifetime: 30m, service: {image: nginx, port: 80}}",
        "use at most 63 lowercase letters",
    ),
    ("endless", "{service: {image: nginx, port: 80}}", "an Ephemeron must end: set spec.lifetime"),
    (
        "nulls",
        "{lifetime: null, expirationTime: null, service: {image: nginx, port: 80}}",
        "an Ephemeron must end: set spec.lifetime",
    ),
    (
        "no-zone",
        "{expirationTime: '2030-01-01T00:00:00', service: {image: nginx, port: 80}}",
        "must be an RFC 3339 time with its zone",
    ),
    (
        "no-day",
        "{expirationTime: '2030-02-30T00:00:00Z', service: {image: nginx, port: 80}}",
        "must be a day of the calendar",
    ),
    ("words", "{lifetime: 30 minutes, service: {image: nginx, port: 80}}", "spec.lifetime"),
    (
        "pull",
        "{lifetime: 30m, service: {image: nginx, port: 80, imagePullPolicy: Sometimes}}",
        "Always|IfNotPresent",
    ),
];

/// A change of a living Ephemeron, and what kubectl must say.
const UNCHANGEABLE: &[(&str, &str)] = &[
    (r#"{"spec":{"service":{"image":"other"}}}"#, "spec.service.image cannot be changed"),
    (r#"{"spec":{"service":{"port":81}}}"#, "spec.service.port cannot be changed"),
    (r#"{"spec":{"service":{"env":null}}}"#, "spec.service.env cannot be changed"),
    (r#"{"spec":{"service":{"command":["sh"]}}}"#, "spec.service.command cannot be changed"),
    (r#"{"spec":{"service":null}}"#, "say what to run: set either spec.service"),
    (
        r#"{"spec":{"service":null,"preset":{"name":"a"}}}"#,
        "spec.service and spec.preset cannot take each other's place",
    ),
    (r#"{"spec":{"lifetime":null}}"#, "an Ephemeron must end"),
];

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("bad_input::what_cannot_work_is_refused", |world| async move {
        for (name, spec, wanted) in REFUSED {
            let manifest = format!(
                "apiVersion: qualified.io/v1alpha1\nkind: Ephemeron\nmetadata: {{name: {name}}}\nspec: {spec}"
            );
            let said = world.cluster.apply(&manifest).await.expect_err(name);
            assert!(said.contains(wanted), "{name}: {said}");
        }
    });

    cases.add("bad_input::a_living_service_stays_what_it_is", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("unchangeable");
        cluster.apply(&crate::life::manifest(&name, "30m", "")).await.expect("it is accepted");
        for (patch, wanted) in UNCHANGEABLE {
            let output = cluster.shell(&format!("kubectl patch eph {name} --type=merge -p '{patch}'")).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains(wanted), "{patch}: {said}");
        }
        let tls = r#"{"spec":{"service":{"tlsSecretName":"a","ingressAnnotations":{"example.com/a":"b"}}}}"#;
        cluster.kubectl(&format!("patch eph {name} --type=merge -p '{tls}'")).await;
        cluster.delete(&name).await;
    });

    cases.add("bad_input::what_the_api_server_cannot_refuse_becomes_a_condition", |world| async move {
        let cluster = &world.cluster;
        let rows = [
            ("podLabels: {\"ephemerons.qualified.io/name\": other}", "InvalidSpec", "is reserved"),
            ("podLabels: {\"not a label\": a}", "InvalidSpec", "is not a label"),
            ("resources: {requests: {memory: 1099511627776}}", "Unschedulable", "Insufficient memory"),
            ("resources: {limits: {cpu: much}}", "InvalidSpec", "\"much\" is not a quantity"),
            (
                "resources: {limits: {cpu: 1}, requests: {cpu: 2}}",
                "Refused",
                "the API server refuses the Pod",
            ),
        ];
        for (more, reason, wanted) in rows {
            let name = cluster.name("invalid");
            cluster.apply(&crate::life::manifest(&name, "30m", more)).await.expect("it is accepted");
            cluster
                .reaches(&name, &format!("says {wanted:?} of {more}"), |one| {
                    condition(one, "Available").1 == reason && message(one, "Available").contains(wanted)
                })
                .await;
            cluster.delete(&name).await;
        }
    });
}
