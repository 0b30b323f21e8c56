//! What an author is told of a file: each check, in order, with its fuel.

use ephemeron_preset_host::{
    compile::Compiler,
    document::Context,
    engine::Engine,
    inspect::{self, Accepts, Check, Checks, Inspection},
    loader::Loader,
};
use serde_json::{Map, Value};

use crate::{
    guest::Guest,
    shop::{half, limits, named},
};

crate::tests!(
    a_good_file_passes_each_check_and_says_its_fuel,
    what_is_wrong_is_found_as_far_as_it_can_be_looked_at,
    examples_get_the_context,
);

fn inspect(name: &str, bytes: &[u8], accepts: &Accepts<'_>) -> Inspection {
    let limits = limits();
    let engine = Engine::new(limits.clone()).expect("an engine");
    let loader = Loader::new(engine, Compiler::new(&limits), None);
    inspect::file(&loader, bytes, &Checks { name: Some(name), context: &Context::example(), accepts })
}

fn inspect_only(name: &str, bytes: &[u8]) -> Inspection {
    inspect(name, bytes, &|_| Ok(()))
}

fn a_good_file_passes_each_check_and_says_its_fuel() {
    let bytes = named("web", 80).bytes();
    let found = inspect_only("web", &bytes);
    assert!(found.trouble().is_none() && found.size == bytes.len());
    let checks: Vec<_> =
        found.findings.iter().map(|finding| (finding.check, finding.fuel.is_some())).collect();
    assert_eq!(
        checks,
        [
            (Check::Component, false),
            (Check::Describe, true),
            (Check::Name, false),
            (Check::Schema, false),
            (Check::Example(0), true),
            (Check::Policy(0), false),
        ]
    );
    let sound = found.preset.expect("a preset");
    assert_eq!(sound.description.document.name, "web");
    assert_eq!(found.findings, inspect_only("web", &bytes).findings);
}

fn what_is_wrong_is_found_as_far_as_it_can_be_looked_at() {
    let refuse = |template: &Map<String, Value>| {
        assert!(template.contains_key("spec"));
        Err("spec.hostNetwork\u{1b} is not allowed".to_owned())
    };
    let found = inspect("other", &named("web", 80).bytes(), &refuse);
    let troubles: Vec<_> = found
        .findings
        .iter()
        .filter_map(|finding| Some((finding.check, finding.outcome.as_ref().err()?.as_str())))
        .collect();
    assert_eq!(
        troubles,
        [
            (Check::Name, "it calls itself web, and its file is other.wasm: give both the same name"),
            (Check::Policy(0), "spec.hostNetwork\\u{1b} is not allowed"),
        ]
    );
    assert!(found.preset.is_some());

    let found = inspect_only("web", &half("web"));
    let trouble = found.trouble().expect("a trouble");
    assert_eq!((found.findings.len(), trouble.check, trouble.may_pass), (1, Check::Component, false));
    let describe = Guest { describe: "unreachable".into(), ..named("web", 80) };
    let found = inspect_only("web", &describe.bytes());
    assert_eq!((found.findings.len(), found.trouble().expect("a trouble").check), (2, Check::Describe));
    assert!(found.preset.is_none());
}

fn examples_get_the_context() {
    // It refuses where its context is shorter than an example's.
    let length = Context::example().text().len();
    let looks = format!("(if (i32.ne (local.get 3) (i32.const {length})) (then unreachable)) i32.const 32");
    let found = inspect_only("web", &Guest { render: looks, ..named("web", 80) }.bytes());
    assert!(found.trouble().is_none(), "{:?}", found.trouble());
}
