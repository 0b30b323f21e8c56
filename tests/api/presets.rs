//! Presets as backends see them: one catalogue of what is written out and of modules.

use std::{fs, path::Path};

use serde_json::json;

use super::server::Server;
use crate::{Cases, cluster::until, controllers::Controller, presets::PATIENT};

const CONFIG: &str = "
presets:
  web: {image: local/server:1, imagePullPolicy: IfNotPresent, port: 8080}
apps:
  shop: {key: key of the shop, render: true}
";

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("api::modules_and_what_is_written_out_are_one_catalogue", |world| async move {
        let cluster = &world.cluster;
        let folder = std::env::temp_dir().join(cluster.name("shelf"));
        fs::create_dir_all(&folder).expect("a folder");
        for name in ["nginx", "web", "ctf"] {
            let built = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/presets/{name}.wasm"));
            fs::copy(&built, folder.join(format!("{name}.wasm")))
                .unwrap_or_else(|error| panic!("{}: {error}: make presets", built.display()));
        }
        let values = folder.join("values.yaml");
        fs::write(&values, "images: {database: local/server:1}").expect("a file");
        let (shelf, values) = (folder.display().to_string(), values.display().to_string());
        let presets = [("EPHEMERON_PRESETS", shelf.as_str()), ("EPHEMERON_PRESET_VALUES", values.as_str())];
        let env = [presets, PATIENT].concat();
        // Both programs have the same presets.
        let selector = ("EPHEMERON_SELECTOR", "ephemerons.qualified.io/app=shelf");
        let controller = Controller::start(cluster, "localhost", &[&env[..], &[selector]].concat());
        controller.says("\"ready\"").await;
        let config = CONFIG.replace("shop: {", "shelf: {").replace("key of the shop", "key of the shelf");
        let server = Server::with(&world, &config, &env).await;
        let token = server.token("shelf", "kim").await;
        until("all presets are there", || async {
            let list = server.http.get("/presets", &token).await;
            let names: Vec<_> =
                list.json["presets"].as_array()?.iter().map(|one| one["name"].clone()).collect();
            (names == [json!("ctf"), json!("nginx"), json!("web")]).then_some(())
        })
        .await;
        // What is written out has the name, and is told.
        let web = server.http.get("/presets/web", &token).await;
        assert!(web.json["version"].is_null(), "{}", web.text);
        server.says("the module web is not used").await;
        let ctf = server.http.get("/presets/ctf", &token).await;
        assert_eq!(ctf.json["parameters"]["type"], "object", "{}", ctf.text);
        assert!(ctf.json["examples"].as_array().is_some_and(|all| !all.is_empty()), "{}", ctf.text);

        let parameters = json!({"challenge": "login", "image": "local/server:1", "port": 8081});
        let preview =
            server.http.post("/presets/ctf/render", &token, &json!({"parameters": parameters})).await;
        assert_eq!(preview.status, 200, "{}", preview.text);
        assert!(preview.json["template"]["spec"]["containers"].is_array(), "{}", preview.text);
        assert!(!preview.json["secrets"].as_array().expect("names").is_empty(), "{}", preview.text);
        assert!(!preview.text.contains("flag{"), "what is secret is not shown: {}", preview.text);
        let plain = server.http.post("/presets/web/render", &token, &json!({})).await;
        assert_eq!(plain.json["port"], 8080, "{}", plain.text);

        for (parameters, pointer) in [(json!({"challenge": 7}), "/challenge"), (json!({"prot": 1}), "/prot")]
        {
            let body = json!({"preset": "ctf", "lifetimeMinutes": 5, "parameters": parameters});
            let answer = server.http.post("/", &token, &body).await;
            assert_eq!(answer.status, 422, "{}", answer.text);
            let faults = answer.json["faults"].as_array().expect("faults");
            assert!(faults.iter().any(|fault| fault["pointer"] == pointer), "{}", answer.text);
        }

        let body = json!({"preset": "ctf", "lifetimeMinutes": 5, "parameters": parameters});
        let created = server.http.post("/", &token, &body).await;
        assert_eq!(created.status, 202, "{}", created.text);
        let id = created.json["id"].as_str().expect("an id").to_owned();
        let service = server.available(&token, &id).await;
        assert_eq!((&service["preset"], &service["parameters"]), (&json!("ctf"), &parameters));
        let path = format!("/{id}/secrets");
        assert_eq!(server.http.get(&path, &token).await.status, 403);
        let app = server.app_token("shelf").await;
        let secrets = server.http.get(&path, &app).await;
        assert_eq!(secrets.status, 200, "{}", secrets.text);
        let values = secrets.json["values"].as_object().expect("values");
        assert!(
            values.values().any(|value| value.as_str().is_some_and(|text| text.contains('{'))),
            "{values:?}"
        );
        assert!(!server.said().contains("flag{"), "no secret is in the log");
        let plain = server.create(&token, "web").await;
        server.available(&token, &plain).await;
        assert_eq!(server.http.get(&format!("/{plain}/secrets"), &app).await.status, 404);
        let gone = server.http.delete("/?all=true", &app).await;
        assert_eq!(gone.json["failed"], 0, "{}", gone.text);
        server.stop().await;
        controller.stop().await;
        let _ = fs::remove_dir_all(folder);
    });
}
