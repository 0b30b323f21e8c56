//! Presets, names and parameters that are made to do harm: each is told by its reason, makes nothing, and
//! a good preset beside it is served meanwhile.

use std::fmt::Write as _;

use futures::future::join_all;
use serde_json::{Value, json};

use super::{Shelf, description, greeting, guest, template};
use crate::{
    Cases, World,
    cluster::{Cluster, condition, message, until},
    guest::{Guest, TEXT, words},
    troubles::events,
};

/// What the controller of these cases lets run; and less memory and time for compilations than a bomb takes.
const STRICT: &[(&str, &str)] = &[
    ("EPHEMERON_IMAGES", "local/server"),
    ("EPHEMERON_PRESET_COMPILE_MEMORY", "400Mi"),
    ("EPHEMERON_PRESET_COMPILE_TIME", "60s"),
];

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("presets::hostile_ones_make_nothing_and_harm_nobody", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "hostile"));
        shelf.put("good", &greeting("good", "1", "hello"));
        let mut rows = rows();
        // As they are compiled: one after the other, the largest last.
        rows.sort_by_key(|row| row.file.len());
        for row in &rows {
            shelf.put(row.name, &row.file);
        }
        let controller = shelf.controller(STRICT);
        let good = async {
            let name = shelf.apply("good", "{}").await;
            cluster.available(&name).await;
            cluster.delete(&name).await;
        };
        let refused = async {
            for some in rows.chunks(6) {
                let all = some.iter().map(|row| async {
                    let name = shelf.apply(row.name, "{}").await;
                    refused(&world, &name, row.name, row.reason, row.words).await;
                });
                join_all(all).await;
            }
        };
        tokio::join!(good, refused);
        let last = shelf.apply("good", "{}").await;
        cluster.available(&last).await;
        cluster.delete(&last).await;
        controller.stop().await;
    });

    cases.add("presets::one_that_takes_its_time_is_stopped_and_asked_again", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "slow"));
        shelf.put("good", &greeting("good", "1", "hello"));
        let render = "(loop $l (br $l)) unreachable".into();
        shelf.put(
            "slow",
            &Guest { description: description("slow", "1"), render, ..Guest::default() }.bytes(),
        );
        // By default, fuel would end it first.
        let controller = shelf
            .controller(&[("EPHEMERON_PRESET_FUEL", "1000000000000"), ("EPHEMERON_PRESET_TIME", "250ms")]);
        let (slow, good) = (shelf.apply("slow", "{}").await, shelf.apply("good", "{}").await);
        let served = async {
            cluster.available(&good).await;
            cluster.delete(&good).await;
        };
        let refused = refused(&world, &slow, "slow", "PresetTimedOut", "has not answered within");
        tokio::join!(served, refused);
        controller.stop().await;
    });

    cases.add("presets::hostile_names_and_parameters_harm_nobody", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "asked"));
        shelf.put("good", &greeting("good", "1", "hello"));
        let controller = shelf.controller(&[]);
        // What is no name is not even taken.
        for preset in [
            "../good",
            "good/../good",
            "/etc/good",
            "Good",
            "GOOD",
            "good.wasm",
            "-good",
            "good ",
            "",
            "gøød",
        ] {
            let name = cluster.name("preset");
            let told = post(&shelf, &name, preset, "{}").await.expect_err("it is no name");
            assert!(told.contains("a preset's name has"), "{preset:?}: {told}");
            assert!(cluster.ephemeron(&name).await.is_none(), "{preset:?}");
        }
        let missing = shelf.apply("goood", "{}").await;
        let large = format!(r#"{{"content": "{}"}}"#, "x".repeat(1_400_000));
        let nested = |depth: usize| format!(r#"{{"a": {}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        let wide = format!(
            "{{{}\"z\": 1}}",
            (0..30_000).fold(String::new(), |mut all, number| {
                let _ = write!(all, "\"k{number}\": 1, ");
                all
            })
        );
        // The API server itself reads no deeper than 10,000.
        let name = cluster.name("preset");
        post(&shelf, &name, "good", &nested(10_000)).await.expect_err("it is too deep");
        assert!(cluster.ephemeron(&name).await.is_none());
        let rows = [
            ("as large as can be", large, "more than the 262144"),
            ("as deep as can be", nested(9_900), "recursion limit"),
            ("too deep", nested(100), "nested deeper than the 64"),
            ("wide", wide, "more than the 262144"),
        ];
        let asked = join_all(rows.iter().map(|(what, parameters, words)| {
            let (shelf, world) = (&shelf, &world);
            async move {
                let name = shelf.cluster.name("preset");
                post(shelf, &name, "good", parameters).await.unwrap_or_else(|told| panic!("{what}: {told}"));
                refused(world, &name, what, "InvalidParameters", words).await;
            }
        }));
        let good = async {
            let name = shelf.apply("good", "{}").await;
            cluster.available(&name).await;
            cluster.delete(&name).await;
        };
        let missing = refused(&world, &missing, "goood", "PresetNotFound", "there are: good");
        tokio::join!(asked, good, missing);
        controller.stop().await;
    });
}

/// A preset that wants what it must not have, or does what it must not do.
struct Row {
    name: &'static str,
    file: Vec<u8>,
    /// The reason of its condition.
    reason: &'static str,
    /// In the condition's message.
    words: &'static str,
}

fn rows() -> Vec<Row> {
    [files(), codes(), templates()].into_iter().flatten().collect()
}

/// Files that are not served.
fn files() -> Vec<Row> {
    let row = |name, guest: Guest, reason, words| {
        let description =
            if guest.description.contains("\"good\"") { description(name, "1") } else { guest.description };
        Row { name, file: Guest { description, ..guest }.bytes(), reason, words }
    };
    let wasi = r#"(import "wasi:cli/environment@0.2.3" (instance))"#;
    vec![
        Row {
            name: "garbage",
            file: b"neither".to_vec(),
            reason: "PresetIncompatible",
            words: "not WebAssembly",
        },
        row("newer", Guest { version: "2.0.0", ..Guest::default() }, "PresetIncompatible", "template@2.0.0"),
        row(
            "wasi",
            Guest { imports: wasi, ..Guest::default() },
            "PresetIncompatible",
            "wasi:cli/environment@0.2.3",
        ),
        row("bomb", bomb(), "PresetIncompatible", "its compilation"),
        row("huge", Guest { memory: "2000", ..Guest::default() }, "PresetIncompatible", "memory"),
        row(
            "speechless",
            Guest { description: "{".into(), ..Guest::default() },
            "PresetUnhealthy",
            "describe",
        ),
        row(
            "poser",
            Guest { description: description("other", "9"), ..Guest::default() },
            "PresetUnhealthy",
            "it calls itself other",
        ),
    ]
}

/// Code that does what it must not do.
fn codes() -> Vec<Row> {
    let row = |name, guest: Guest, reason, words| Row {
        name,
        file: Guest { description: description(name, "1"), ..guest }.bytes(),
        reason,
        words,
    };
    let code = |render: &str| Guest { render: render.into(), ..Guest::default() };
    let no = "not on a Sunday";
    let length = u32::try_from(no.len()).expect("a short text");
    let refusal = Guest {
        rendered: no.into(),
        result: words(&[1, 1, TEXT, length, TEXT, length, TEXT, length]),
        ..Guest::default()
    };
    vec![
        row("loops", code("(loop $l (br $l)) unreachable"), "PresetOutOfFuel", "fuel"),
        row("traps", code("unreachable"), "PresetTrapped", "trapped"),
        row(
            "hungry",
            code("(drop (memory.grow (i32.const 60000))) unreachable"),
            "PresetOutOfMemory",
            "memory",
        ),
        row("refuses", refusal, "RefusedByPreset", no),
        row("babbles", Guest::rendering("{\"port\": 1, \"port\": 2}"), "PresetUnhealthy", "render"),
        row(
            "lies",
            Guest { result: words(&[0, u32::MAX - 4, 16]), ..Guest::default() },
            "PresetUnhealthy",
            "interface",
        ),
    ]
}

/// Templates with what must not be in them.
fn templates() -> Vec<Row> {
    const CONTAINER: &str = "/template/spec/containers/0/";
    const POD: &str = "/template/spec/";
    const METADATA: &str = "/template/metadata/";
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "node1", "uid": "0"}]);
    let host_path = json!([{"name": "a", "hostPath": {"path": "/"}}]);
    let secret = json!([{"name": "a", "secret": {"secretName": "other"}}]);
    let table = [
        ("privileged", CONTAINER, "securityContext", json!({"privileged": true}), "privileged"),
        (
            "capable",
            CONTAINER,
            "securityContext",
            json!({"capabilities": {"add": ["SYS_ADMIN"]}}),
            "capabilities",
        ),
        ("unmasked", CONTAINER, "securityContext", json!({"procMount": "Unmasked"}), "procMount"),
        (
            "escalates",
            CONTAINER,
            "volumeDevices",
            json!([{"name": "a", "devicePath": "/dev/vda"}]),
            "volumeDevices",
        ),
        ("host-port", CONTAINER, "ports", json!([{"containerPort": 8080, "hostPort": 22}]), "hostPort"),
        ("hosts", POD, "hostNetwork", json!(true), "hostNetwork"),
        ("host-pid", POD, "hostPID", json!(true), "hostPID"),
        ("token", POD, "automountServiceAccountToken", json!(true), "automountServiceAccountToken"),
        ("account", POD, "serviceAccountName", json!("admin"), "serviceAccountName"),
        (
            "sysctls",
            POD,
            "securityContext",
            json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}),
            "sysctls",
        ),
        ("here", POD, "nodeName", json!("node1"), "nodeName"),
        ("tolerant", POD, "tolerations", json!([{"operator": "Exists"}]), "tolerations"),
        ("host-path", POD, "volumes", host_path, "hostPath"),
        ("steals", POD, "volumes", secret, "secret"),
        (
            "hijacks",
            METADATA,
            "labels",
            json!({"ephemerons.qualified.io/name": "victim"}),
            "ephemerons.qualified.io/name",
        ),
        ("adopted", METADATA, "ownerReferences", owner, "ownerReferences"),
        ("elsewhere", METADATA, "namespace", json!("kube-system"), "namespace"),
        ("image-other", CONTAINER, "image", json!("nginx"), "image"),
        ("image-host", CONTAINER, "image", json!("evil.example.com/local/server:1"), "image"),
        ("image-dots", CONTAINER, "image", json!("local/server/../../nginx"), "image"),
        ("image-suffix", CONTAINER, "image", json!("local/server-evil:1"), "image"),
        ("image-capital", CONTAINER, "image", json!("LOCAL/server:1"), "image"),
        ("image-port", CONTAINER, "image", json!("local:5000/server:1"), "image"),
        ("image-space", CONTAINER, "image", json!(" local/server:1"), "image"),
        ("image-scheme", CONTAINER, "image", json!("https://docker.io/local/server:1"), "image"),
    ];
    let row = |(name, parent, key, value, words): (&'static str, &str, &str, Value, &'static str)| {
        let mut rendered = template(name, "");
        let object = rendered.pointer_mut(parent.trim_end_matches('/')).and_then(Value::as_object_mut);
        object.expect("an object").insert(key.into(), value);
        Row { name, file: guest(name, "1", &rendered), reason: "RefusedByPolicy", words }
    };
    table.into_iter().map(row).collect()
}

/// A small component of which the compiler makes something enormous: each of many nested loops hands on each
/// of many values, which are all changed in the innermost.
fn bomb() -> Guest {
    const MANY: usize = 3_000;
    let locals = "i32 ".repeat(MANY);
    let changes = (1..=MANY).fold(String::new(), |mut text, at| {
        let _ = write!(text, "local.get {at} local.get 0 i32.add local.set {at} ");
        text
    });
    let (begin, end) = ("loop ".repeat(MANY), "local.get 1 br_if 0 end ".repeat(MANY));
    let items = format!("(func (param i32) (local {locals}) {begin} {changes} {end})");
    Guest { items, ..Guest::default() }
}

/// Waits until this one is refused for this reason, in these words; nothing is made, and an Event tells.
async fn refused(world: &World, name: &str, what: &str, reason: &str, words: &str) {
    let cluster = &world.cluster;
    let one = cluster
        .reaches(name, &format!("({what}) is {reason}"), |one| {
            condition(one, "PresetReady") == ("False", reason)
        })
        .await;
    let told = message(&one, "PresetReady");
    assert!(told.contains(words), "{what}: {told}");
    assert_eq!(condition(&one, "Available").1, reason, "{what}");
    nothing_made(cluster, name).await;
    until("it is told by an Event", || async {
        events(world, name).await.iter().any(|event| event == reason).then_some(())
    })
    .await;
    cluster.delete(name).await;
}

/// Asks with what no command line and no annotation can hold. Says what the API server says against it.
async fn post(shelf: &Shelf<'_>, name: &str, preset: &str, parameters: &str) -> Result<(), String> {
    let file = shelf.folder.join(format!("{name}.json"));
    let (label, preset) = (shelf.label, json!(preset));
    let text = format!(
        r#"{{"apiVersion": "qualified.io/v1alpha1", "kind": "Ephemeron", "metadata": {{"name": "{name}", "labels": {{"controller": "{label}"}}}},
            "spec": {{"lifetime": "30m", "preset": {{"name": {preset}, "parameters": {parameters}}}}}}}"#
    );
    std::fs::write(&file, text).expect("a file");
    let path = "/apis/qualified.io/v1alpha1/ephemerons";
    let output = shelf.cluster.shell(&format!("kubectl create --raw {path} -f {}", file.display())).await;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// No child of this name is there.
async fn nothing_made(cluster: &Cluster, name: &str) {
    let of_this = format!("-l ephemerons.qualified.io/name={name}");
    let found = cluster.kubectl(&format!("get pods,services,httproutes,secrets -o name {of_this}")).await;
    assert_eq!(found.trim(), "", "{name}");
}
