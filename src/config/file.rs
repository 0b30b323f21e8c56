//! EPHEMERON_CONFIG: which backends may use the API, and the presets that are written out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    fs,
    io::Read as _,
    sync::Arc,
};

use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    api::settings::{App, Key, Quotas},
    resource::{Service, labels::is_label},
};

/// The key of k8s/api/config.yaml's example.
pub const SAMPLE_KEY: &str = "apikey";
/// The longest name of an app: before it, a user's id and a full stop have to fit into a label's value.
const LONGEST_APP: usize = 61;
/// Bytes of a file with a key: what is longer is another file.
const LONGEST_KEY: u64 = 4096;

/// What the file says.
#[derive(Clone, Debug, Default)]
pub struct File {
    /// The backends, by name.
    pub apps: BTreeMap<String, Arc<App>>,
    /// The services that can be asked for by a name.
    pub services: BTreeMap<String, Service>,
    /// From which origins browsers may call; None for any.
    pub origins: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    presets: BTreeMap<String, Map<String, Value>>,
    apps: BTreeMap<String, Value>,
    #[serde(default)]
    cors: Cors,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cors {
    origins: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenApp {
    key: Option<String>,
    key_file: Option<String>,
    presets: Option<BTreeSet<String>>,
    longest_lifetime_minutes: Option<u32>,
    #[serde(default)]
    services: WrittenQuotas,
    #[serde(default)]
    logs: bool,
    #[serde(default)]
    render: bool,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuotas {
    #[serde(rename = "perUser")]
    user: Option<usize>,
    #[serde(rename = "perGroup")]
    group: Option<usize>,
    #[serde(rename = "perApp")]
    app: Option<usize>,
}

/// Reads the file.
///
/// # Errors
///
/// It cannot be read, or what is wrong in it and where.
pub fn file(path: &str) -> Result<File, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("it cannot be read: {error}"))?;
    read(&text)
}

fn read(text: &str) -> Result<File, String> {
    let written: Written =
        serde_saphyr::from_str(text).map_err(|error| format!("it is not as k8s/api/config.yaml: {error}"))?;
    let apps = written.apps.into_iter().map(|(name, value)| {
        let read = app(&name, value).map_err(|error| format!("apps.{name}: {error}"))?;
        Ok((name, Arc::new(read)))
    });
    let services = written.presets.into_iter().map(|(name, fields)| {
        let read = service(fields).map_err(|error| format!("presets.{name}: {error}"))?;
        Ok((name, read))
    });
    Ok(File {
        apps: apps.collect::<Result<_, String>>()?,
        services: services.collect::<Result<_, String>>()?,
        origins: written.cors.origins,
    })
}

fn app(name: &str, value: Value) -> Result<App, String> {
    if name.len() > LONGEST_APP || name.is_empty() || !is_label("a", name) {
        return Err(format!(
            "the name of an app has at most {LONGEST_APP} letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"
        ));
    }
    let written = match value {
        Value::String(key) => WrittenApp {
            key: Some(key),
            key_file: None,
            presets: None,
            longest_lifetime_minutes: None,
            services: WrittenQuotas::default(),
            logs: false,
            render: false,
        },
        Value::Object(_) => serde_json::from_value(value).map_err(|error| error.to_string())?,
        Value::Number(_) | Value::Bool(_) => return Err("the key is a text: write it between quotes".into()),
        _ => return Err("write a key, or `key` and what the app may do".into()),
    };
    let key = match (written.key, written.key_file) {
        (Some(key), None) => Key::read(&key)?,
        (None, Some(path)) => key_of(&path).map_err(|why| format!("keyFile {path:?}: {why}"))?,
        _ => return Err("write one of key and keyFile".into()),
    };
    Ok(App {
        name: name.into(),
        key,
        presets: written.presets,
        longest: written.longest_lifetime_minutes.map(|minutes| TimeDelta::minutes(minutes.into())),
        quotas: Quotas {
            user: written.services.user,
            group: written.services.group,
            app: written.services.app,
        },
        logs: written.logs,
        render: written.render,
    })
}

/// The key that is in a file, such as that of a mounted Secret: what is in it is as what is written in `key`.
fn key_of(path: &str) -> Result<Key, String> {
    let unreadable = |error| format!("it cannot be read: {error}");
    let mut text = String::new();
    let file = fs::File::open(path).map_err(unreadable)?;
    file.take(LONGEST_KEY + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > LONGEST_KEY {
        return Err(format!("a key has at most {LONGEST_KEY} bytes"));
    }
    Ok(Key::read(text.trim())?)
}

/// A service, all of whose fields are known.
fn service(fields: Map<String, Value>) -> Result<Service, String> {
    let wrong = |error: &dyn Display| format!("{error}; the fields are those of spec.service");
    let keys: Vec<String> = fields.keys().cloned().collect();
    let service: Service = serde_json::from_value(Value::Object(fields)).map_err(|error| wrong(&error))?;
    let schema = schemars::schema_for!(Service);
    let known = schema.get("properties").and_then(Value::as_object);
    if let Some(key) = keys.iter().find(|key| known.is_none_or(|known| !known.contains_key(key.as_str()))) {
        return Err(wrong(&format!("there is no field {key:?}")));
    }
    if service.image.is_empty() || service.port == 0 {
        return Err(wrong(&"image and port must be set"));
    }
    Ok(service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_and_the_longest_file() {
        let file =
            read("apps: {example: apikey}\npresets: {nginx: {image: nginx, port: 80}}").expect("a file");
        assert!(file.apps["example"].key.is(SAMPLE_KEY) && file.apps["example"].may_use("anything"));
        assert_eq!(file.services["nginx"].port, 80);
        let file = read(
            "
apps:
  my.app:
    key: sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
    presets: [web]
    longestLifetimeMinutes: 120
    services: {perUser: 3, perGroup: 10, perApp: 1000}
    logs: true
    render: true
cors: {origins: ['https://example.com']}
",
        )
        .expect("a file");
        let app = &file.apps["my.app"];
        assert!(app.key.is("foo") && app.may_use("web") && !app.may_use("nginx") && app.logs && app.render);
        assert_eq!(app.quotas, Quotas { user: Some(3), group: Some(10), app: Some(1000) });
        assert_eq!(app.longest, Some(TimeDelta::minutes(120)));
        assert_eq!(file.origins.map(|all| all.len()), Some(1));
    }

    #[test]
    fn a_key_can_be_in_a_file_of_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        for text in
            ["foo", " foo\n", "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\n"]
        {
            fs::write(&path, text).expect("it is written");
            let file = read(&format!("apps: {{a: {{keyFile: {path:?}, logs: true}}}}")).expect("a file");
            assert!(file.apps["a"].key.is("foo") && file.apps["a"].logs, "{text:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let rows = [
            ("presets: {}", "apps"),
            ("apps: {a: 1}", "apps.a: the key is a text"),
            ("apps: {a: ''}", "apps.a: an empty key"),
            ("apps: {a: {key: k, quota: 1}}", "apps.a: unknown field `quota`"),
            ("apps: {a: []}", "apps.a: write a key"),
            ("apps: {a: {presets: []}}", "apps.a: write one of key and keyFile"),
            ("apps: {a: {key: k, keyFile: k}}", "apps.a: write one of key and keyFile"),
            ("apps: {a: {keyFile: /nonexistent/key}}", "apps.a: keyFile \"/nonexistent/key\": it cannot be"),
            ("apps: {a: {keyFile: /dev/null}}", "apps.a: keyFile \"/dev/null\": an empty key"),
            ("apps: {a: {keyFile: /dev/zero}}", "a key has at most 4096 bytes"),
            ("apps: {'a/b': k}", "apps.a/b: the name of an app"),
            ("apps: {a: k}\npresets: {p: {image: nginx}}", "presets.p: missing field `port`"),
            ("apps: {a: k}\npresets: {p: {image: '', port: 1}}", "presets.p: image and port"),
            (
                "apps: {a: k}\npresets: {p: {image: a, port: 1, prot: 2}}",
                "presets.p: there is no field \"prot\"",
            ),
            ("app: {}", "unknown field"),
            ("- a", "k8s/api/config.yaml"),
        ];
        for (text, wanted) in rows {
            let error = read(text).map(|_| ()).expect_err(text);
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
