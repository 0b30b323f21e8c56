//! Where files lie and what they are called: two of one name, links, and what is no preset at all.

use std::{fs, os::unix::fs::symlink, process::Command, thread, time::Instant};

use ephemeron_preset_host::{
    catalogue::{Absent, Change, RenderError, State},
    document::Context,
    error::{CallError, Refusal},
    limits::Limits,
};
use serde_json::{Value, json};

use crate::{
    guest::Guest,
    shop::{LONG, Shop, folders, half, limits, named, preset, put, soon, waiting_compiler},
};

crate::tests!(
    of_two_with_one_name_the_earlier_folder_wins,
    at_the_start_nobody_gets_what_is_about_to_be_replaced,
    a_bad_file_does_not_take_the_place_of_anothers_good_one,
    what_is_no_preset_says_why_and_disturbs_nobody,
    what_does_not_work_says_what_it_has_failed,
    names_that_are_not_there_are_told_with_similar_ones,
    parameters_are_looked_at_before_the_preset_is_called,
    more_files_than_may_be_are_told,
);

fn of_two_with_one_name_the_earlier_folder_wins() {
    let [first, second] = folders();
    put(first.path(), "web", &preset("web", 1));
    put(second.path(), "web", &preset("web", 2));
    let shop = Shop::open([first, second]);
    shop.settle();
    assert_eq!(shop.port("web"), 1);
    let states: Vec<_> = shop.catalogue.list().into_iter().map(|entry| (entry.folder, entry.state)).collect();
    let [first, second] = [shop.folder(0).to_owned(), shop.folder(1).to_owned()];
    assert_eq!(
        states,
        [(first.clone(), State::Serving), (second.clone(), State::Shadowed { by: first.clone() })]
    );
    let told = shop.until(|change| match change {
        Change::Shadowed { folder, by, .. } => Some((folder.clone(), by.clone())),
        _ => None,
    });
    assert_eq!(told, (second.clone(), first.clone()));
    // A newer file in the later folder is no matter; without the earlier one, it is served.
    put(&second, "web", &preset("web", 3));
    fs::remove_file(first.join("web.wasm")).expect("it is deleted");
    shop.served("web", 3);
    put(&first, "web", &preset("web", 4));
    shop.served("web", 4);
}

fn at_the_start_nobody_gets_what_is_about_to_be_replaced() {
    let [first, second, cache, tools] = folders();
    let place = cache.path().to_owned();
    // The later folder's file was compiled before, the earlier one's was not.
    put(second.path(), "web", &preset("web", 2));
    let before = Shop::with([second], |options| options.cache = Some(place.clone()));
    before.settle();
    let second = before.folder(0).to_owned();
    put(first.path(), "web", &preset("web", 1));
    let (compiler, go) = waiting_compiler(tools.path());
    let shop = Shop::with([first], |options| {
        options.folders.push(second);
        (options.cache, options.compiler) = (Some(place), Some(compiler));
    });
    let is_there = || shop.catalogue.list().iter().any(|entry| entry.digest.is_some());
    let ends = Instant::now() + LONG;
    while !is_there() {
        assert!(Instant::now() < ends, "{:?}", shop.catalogue.list());
        thread::yield_now();
    }
    assert_eq!(shop.catalogue.get("web").expect_err("not yet"), Absent::NotYet("web".into()));
    fs::write(go, "").expect("a file");
    shop.served("web", 1);
}

fn a_bad_file_does_not_take_the_place_of_anothers_good_one() {
    let [first, second] = folders();
    put(first.path(), "web", &half("web"));
    put(second.path(), "web", &preset("web", 2));
    let shop = Shop::open([first, second]);
    shop.settle();
    assert_eq!(shop.port("web"), 2);
    shop.failed("web");
    put(shop.folder(0), "web", &preset("web", 1));
    shop.served("web", 1);
}

fn what_is_no_preset_says_why_and_disturbs_nobody() {
    let ([folder], [outside]) = (folders::<1>(), folders::<1>());
    let place = folder.path().to_owned();
    put(outside.path(), "leaves", &preset("leaves", 1));
    symlink(outside.path().join("leaves.wasm"), place.join("leaves.wasm")).expect("a link");
    symlink("/dev/zero", place.join("device.wasm")).expect("a link");
    symlink("nowhere.wasm", place.join("nothing.wasm")).expect("a link");
    fs::create_dir(place.join("folder.wasm")).expect("a folder");
    let made = Command::new("mkfifo").arg(place.join("pipe.wasm")).status().expect("mkfifo");
    assert!(made.success());
    put(&place, "half", &half("half"));
    put(&place, "text", b"not at all");
    put(&place, "elf", b"\x7fELF\x02\x01\x01\x00 compiled ahead of time");
    put(&place, "core", &wat::parse_str("(module)").expect("WebAssembly text"));
    put(&place, "large", &vec![0; 100_000]);
    put(&place, "Upper", &preset("upper", 1));
    put(&place, "two.dots", &preset("two", 1));
    put(&place, "\u{1b}[2J", &preset("two", 1));
    put(&place, "renamed", &preset("other", 1));
    let wasi = Guest { imports: r#"(import "wasi:cli/environment@0.2.3" (instance))"#, ..named("wasi", 1) };
    put(&place, "wasi", &wasi.bytes());
    put(&place, "two", &Guest { version: "2.0.0", ..named("two", 1) }.bytes());
    put(&place, "good", &preset("good", 1));
    // What others keep there is not looked at.
    put(&place, ".hidden", b"x");
    fs::write(place.join("good.wasm.bak"), "x").expect("a file");

    let shop = Shop::with([folder], |options| options.limits = Limits { file: 50_000, ..limits() });
    shop.settle();
    assert_eq!(shop.port("good"), 1);
    let says = [
        ("leaves", "leads out of its folder"),
        ("device", "leads out of its folder"),
        ("nothing", "a link to nothing"),
        ("folder", "not a file"),
        ("pipe", "not a file"),
        ("half", "cannot be used"),
        ("text", "not WebAssembly"),
        ("elf", "not WebAssembly"),
        ("core", "core module"),
        ("large", "100000 bytes, more than the 50000"),
        ("Upper", "its name cannot be asked for"),
        ("two.dots", "its name cannot be asked for"),
        ("\\u{1b}[2J", "its name cannot be asked for"),
        ("wasi", "imports wasi:cli/environment@0.2.3"),
        ("two", "this program speaks version 1"),
    ];
    for (name, why) in says {
        match shop.catalogue.get(name) {
            Err(Absent::Incompatible { reason, .. }) => assert!(reason.contains(why), "{name}: {reason}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let renamed = shop.absent("renamed");
    assert!(renamed.contains("calls itself other, and its file is renamed.wasm"), "{renamed}");
    assert_eq!(shop.catalogue.list().len(), says.len() + 2);
}

fn what_does_not_work_says_what_it_has_failed() {
    let [folder] = folders();
    let described = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut guest = named(name, 1);
        let mut description = serde_json::from_str(&guest.description).expect("JSON");
        change(&mut description);
        guest.description = description.to_string();
        guest
    };
    let rendered = |name: &str, rendered: &str| Guest {
        description: named(name, 1).description,
        ..Guest::rendering(rendered)
    };
    let forbidden = r#"{"apiVersion":"preset.ephemeron/v1","template":{"forbidden":1},"port":1}"#;
    let secret = r#"{"apiVersion":"preset.ephemeron/v1","template":{},"port":1,"secrets":{"a/b":""}}"#;
    let bad = [
        (Guest { describe: "unreachable".into(), ..named("traps", 1) }, "describe: the preset has trapped"),
        (
            Guest { describe: "(loop $l (br $l)) unreachable".into(), ..named("loops", 1) },
            "describe: the preset has used",
        ),
        (described("schema", &|it| it["parameters"]["$ref"] = "https://example.com".into()), "schema: "),
        (Guest { render: "unreachable".into(), ..named("example", 1) }, "example 0: the preset has trapped"),
        (rendered("malformed", "{}"), "example 0: what render answers is not"),
        (rendered("secret", secret), "example 0: what render answers is not what it should be, at /secrets"),
        (rendered("policy", forbidden), "policy, example 0: forbidden is not allowed"),
    ];
    let mut names = Vec::new();
    for (guest, why) in &bad {
        let description: Value = serde_json::from_str(&guest.description).expect("JSON");
        let name = description["name"].as_str().expect("a name").to_owned();
        put(folder.path(), &name, &guest.bytes());
        names.push((name, why));
    }
    // Without examples, nothing is tried.
    put(folder.path(), "bare", &described("bare", &|it| it["examples"] = json!([])).bytes());
    let shop = Shop::open([folder]);
    shop.settle();
    assert_eq!(shop.port("bare"), 1);
    for (name, why) in names {
        match shop.catalogue.get(&name) {
            Err(Absent::Unhealthy { reason, .. }) => assert!(reason.starts_with(why), "{name}: {reason}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn names_that_are_not_there_are_told_with_similar_ones() {
    let [folder] = folders();
    for name in ["web", "nginx", "ctf"] {
        put(folder.path(), name, &preset(name, 1));
    }
    let shop = Shop::open([folder]);
    shop.settle();
    for (asked, near) in [
        ("Web", "web"),
        ("wbe", "web"),
        ("ngnix", "nginx"),
        ("nginx.wasm", "nginx"),
        ("../presets/ctf", "ctf"),
        ("quite-another", "ctf, nginx, web"),
        ("", "ctf, nginx, web"),
    ] {
        let absent = shop.absent(asked);
        assert_eq!(absent, format!("there is no preset {asked}; there are: {near}"));
    }
    let long = shop.absent(&"\u{1b}".repeat(1 << 20));
    assert!(long.len() < 2_000 && !long.contains('\u{1b}'), "{long}");
}

fn parameters_are_looked_at_before_the_preset_is_called() {
    let [folder] = folders();
    put(folder.path(), "web", &preset("web", 1));
    let shop = Shop::open([folder]);
    shop.settle();
    let render = |parameters: &Value| {
        soon(shop.catalogue.render("web", parameters, &Context::example())).map(|rendering| rendering.port)
    };
    assert_eq!(render(&Value::Null).expect("none are fine"), 1);
    for parameters in [json!(1), json!("x"), json!([])] {
        let error = render(&parameters).expect_err("no object");
        assert!(
            matches!(&error, RenderError::Call(CallError::Refused(Refusal::InvalidParameters(issues))) if issues.len() == 1),
            "{error}"
        );
    }
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let error = render(&json!({ "a": deep })).expect_err("too deep");
    assert!(matches!(error, RenderError::Call(CallError::TooDeep(64))), "{error}");
    let error = render(&json!({"a": "x".repeat(10 << 20)})).expect_err("too large");
    assert!(
        matches!(error, RenderError::Call(CallError::TooMuchInput { what: "parameters", .. })),
        "{error}"
    );
    let error = soon(shop.catalogue.render("none", &json!({}), &Context::example())).expect_err("none");
    assert!(matches!(error, RenderError::Absent(Absent::NotFound { .. })), "{error}");
}

fn more_files_than_may_be_are_told() {
    let [first, second] = folders();
    for name in ["a", "b", "c"] {
        put(first.path(), name, &preset(name, 1));
    }
    put(second.path(), "d", &preset("d", 1));
    let shop = Shop::with([first, second], |options| options.limits = Limits { files: 2, ..limits() });
    shop.settle();
    let names: Vec<_> = shop.catalogue.list().into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["a", "b"]);
    let troubles = shop.catalogue.troubles();
    assert!(troubles.len() == 2 && troubles[0].1.contains("more than 2 files"), "{troubles:?}");
}
