//! Services that presets describe, from their first file to their last.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

use super::{Shelf, greeting, guest, template};
use crate::{
    Cases,
    cluster::{condition, until},
    life::all_gone,
    troubles::faults,
};

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("presets::a_service_is_described_by_a_preset", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "described"));
        shelf.put("greeting", &greeting("greeting", "1", "hello"));
        let controller = shelf.controller(&[]);
        let began = Instant::now();
        let name = shelf.apply("greeting", "{}").await;
        let one = cluster.available(&name).await;
        let took = began.elapsed();
        assert_eq!(condition(&one, "PresetReady"), ("True", "Rendered"));
        let status = one.status.expect("a status");
        assert_eq!(status.preset.map(|preset| (preset.version, preset.port)), Some(("1".into(), 8080)));
        let body = cluster.answers(&format!("http://{name}.localhost/"), None, 200).await;
        assert!(body.contains("hello"), "{body}");
        assert_eq!(faults(&world, &name, took).await, Vec::<String>::new(), "a healthy life has no Events");
        cluster.ends_in(&name, 1).await;
        all_gone(cluster, &name).await;
        controller.stop().await;
    });

    cases.add("presets::those_of_this_repository_serve", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "ours"));
        for name in ["nginx", "web", "ctf"] {
            let file = built().join(format!("{name}.wasm"));
            shelf.put(
                name,
                &fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}: make presets", file.display())),
            );
        }
        // Beside the challenge runs what takes the database's place here.
        let (values, seed) = (shelf.folder.join("values.yaml"), shelf.folder.join("seed"));
        fs::write(&values, "images: {database: local/server:1}").expect("a file");
        fs::write(&seed, "a secret of this installation").expect("a file");
        let (values, seed) = (values.display().to_string(), seed.display().to_string());
        let controller =
            shelf.controller(&[("EPHEMERON_PRESET_VALUES", &values), ("EPHEMERON_PRESET_SEED", &seed)]);
        let nginx = shelf.apply("nginx", r#"{content: "<p>hello from a preset</p>"}"#).await;
        let web = shelf
            .apply("web", "{image: local/server:1, port: 8080, environment: {MESSAGE: hello from the web}}")
            .await;
        let ctf = shelf.apply("ctf", "{challenge: login, image: local/server:1, port: 8081}").await;
        for (name, words) in
            [(&nginx, "<p>hello from a preset</p>"), (&web, "hello from the web"), (&ctf, "")]
        {
            cluster.available(name).await;
            let body = cluster.answers(&format!("http://{name}.localhost/"), None, 200).await;
            assert!(body.contains(words), "{name}: {body}");
        }
        let uid = cluster.ephemeron(&ctf).await.and_then(|one| one.metadata.uid).expect("a UID");
        let flag =
            cluster.kubectl(&format!("get secret {ctf}.{uid} -o jsonpath={{.data.flag}} | base64 -d")).await;
        let digits = flag.strip_prefix("CTF{").and_then(|rest| rest.strip_suffix('}')).unwrap_or_default();
        assert!(digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "{flag}");
        // What is wrong with parameters is told by its place.
        let wrong = shelf.apply("nginx", "{contents: hello}").await;
        let one = cluster
            .reaches(&wrong, "is refused", |one| {
                condition(one, "PresetReady") == ("False", "InvalidParameters")
            })
            .await;
        let told = one.status.map(|status| format!("{:?}", status.conditions)).unwrap_or_default();
        assert!(told.contains("/content: ") && told.contains("/contents: "), "{told}");
        // Nested deeply, it is refused, and hides nobody.
        let mut deep = Vec::new();
        for (opens, closes) in [("[", "]"), (r#"{"a": "#, "}")] {
            let nested = format!("{}1{}", opens.repeat(1_000), closes.repeat(1_000));
            deep.push(shelf.apply("nginx", &format!("{{content: {nested}}}")).await);
        }
        for name in &deep {
            cluster
                .reaches(name, "is refused", |one| {
                    condition(one, "PresetReady") == ("False", "InvalidParameters")
                })
                .await;
        }
        for name in [nginx, web, ctf, wrong].into_iter().chain(deep) {
            cluster.delete(&name).await;
        }
        controller.stop().await;
    });

    cases.add("presets::modules_come_and_go_while_services_live", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "changing"));
        let controller = shelf.controller(&[]);
        let waits = shelf.apply("greeting", "{}").await;
        cluster.reaches(&waits, "is told", |one| condition(one, "PresetReady").1 == "PresetNotFound").await;

        // Dropped in: who waits goes on by itself.
        shelf.put("greeting", &greeting("greeting", "1", "the first"));
        cluster.available(&waits).await;
        // Replaced: who lives stays as it is, also when its Pod is made again; new ones get the new.
        shelf.put("greeting", &greeting("greeting", "2", "the second"));
        controller.says("greeting 2 is served").await;
        let new = shelf.apply("greeting", "{}").await;
        cluster.available(&new).await;
        let says = |name: &str| {
            let url = format!("http://{name}.localhost/");
            async move { cluster.answers(&url, None, 200).await }
        };
        assert!(says(&new).await.contains("the second"));
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        let before = pods.get(&waits).await.expect("the Pod");
        pods.delete(&waits, &DeleteParams::default()).await.expect("it is deleted");
        let label = ListParams::default().labels(&format!("ephemerons.qualified.io/name={waits}"));
        until("another Pod is there", || async {
            let found = pods.list(&label).await.expect("Pods").items;
            found.into_iter().find(|pod| pod.metadata.uid != before.metadata.uid)
        })
        .await;
        cluster.available(&waits).await;
        until("the first is served again", || async {
            says(&waits).await.contains("the first").then_some(())
        })
        .await;

        // Broken: the last good one serves. Deleted: nobody is served, and who lives lives on.
        shelf.put("greeting", b"not WebAssembly");
        controller.says("not WebAssembly").await;
        let meanwhile = shelf.apply("greeting", "{}").await;
        cluster.available(&meanwhile).await;
        shelf.take("greeting");
        controller.says(&format!("the preset greeting of {} is gone", shelf.folder.display())).await;
        let late = shelf.apply("greeting", "{}").await;
        cluster
            .reaches(&late, "is not found", |one| condition(one, "PresetReady").1 == "PresetNotFound")
            .await;
        assert_eq!(condition(&cluster.available(&waits).await, "PresetReady").0, "True");
        // Repaired.
        shelf.put("greeting", &greeting("greeting", "3", "the third"));
        cluster.available(&late).await;
        for name in [waits, new, meanwhile, late] {
            cluster.delete(&name).await;
        }
        controller.stop().await;
    });

    cases.add("presets::secret_values_stand_in_a_secret_of_this_pod", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "secret"));
        let mut rendered = template("flag", "unused");
        rendered["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "MESSAGE", "valueFrom": {"secretKeyRef": {"name": "ephemeron-secrets", "key": "flag"}}}]);
        rendered["secrets"] = json!({"flag": "flag{only-here}"});
        shelf.put("flag", &guest("flag", "1", &rendered));
        let controller = shelf.controller(&[]);
        let name = shelf.apply("flag", "{}").await;
        let one = cluster.available(&name).await;
        let body = cluster.answers(&format!("http://{name}.localhost/"), None, 200).await;
        assert!(body.contains("flag{only-here}"), "{body}");
        let secret = one.status.and_then(|status| status.preset?.secret_name).expect("the Secret's name");
        let secrets = Api::<Secret>::namespaced(cluster.client.clone(), "default");
        let found = secrets.get(&secret).await.expect("the Secret");
        let owners = found.metadata.owner_references.unwrap_or_default();
        assert!(owners.iter().any(|owner| Some(&owner.uid) == one.metadata.uid.as_ref()), "{owners:?}");
        // Neither the cluster-scoped object nor the Pod has the value.
        for object in [format!("eph {name}"), format!("pod {name}")] {
            assert!(!cluster.kubectl(&format!("get {object} -o yaml")).await.contains("only-here"), "{object}");
        }
        cluster.delete(&name).await;
        cluster.gone(&secrets, &secret).await;
        controller.stop().await;
    });
}

/// Where `make presets` puts what it builds: beside the folder of this program's profile.
fn built() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_run")).ancestors().nth(2).expect("the target folder");
    target.join("presets")
}
