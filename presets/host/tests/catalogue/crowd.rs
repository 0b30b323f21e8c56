//! Many presets, many calls, and one that loops among them.

use ephemeron_preset_host::{catalogue::RenderError, document::Context, error::CallError, limits::Limits};
use serde_json::json;

use crate::{
    guest::Guest,
    shop::{Shop, folders, limits, named, preset, put, soon},
};

crate::tests!(a_thousand_presets_are_served, a_thousand_calls_of_a_hundred_presets_one_of_which_loops);

fn a_thousand_presets_are_served() {
    let [folder, cache] = folders();
    for number in 0..1_000 {
        let name = format!("p{number}");
        put(folder.path(), &name, &preset(&name, 1 + number));
    }
    let place = cache.path().join("cache");
    let shop = Shop::with([folder], |options| options.cache = Some(place.clone()));
    assert!(shop.catalogue.settled_within(6 * crate::shop::LONG), "they are not served");
    for number in 0..1_000 {
        assert_eq!(shop.port(&format!("p{number}")), 1 + number);
    }
    put(shop.folder(0), "p500", &preset("p500", 5_000));
    shop.served("p500", 5_000);
    assert_eq!(shop.catalogue.list().len(), 1_000);
}

fn a_thousand_calls_of_a_hundred_presets_one_of_which_loops() {
    let [folder] = folders();
    let loops = Guest { render: "(loop $l (br $l)) unreachable".into(), ..named("loops", 1) };
    // Its example would tell.
    let mut description: serde_json::Value = serde_json::from_str(&loops.description).expect("JSON");
    description["examples"] = json!([]);
    put(folder.path(), "loops", &Guest { description: description.to_string(), ..loops }.bytes());
    for number in 0..99 {
        let name = format!("p{number}");
        put(folder.path(), &name, &preset(&name, 1 + number));
    }
    let shop = Shop::with([folder], |options| options.limits = Limits { calls: 4, ..limits() });
    shop.settle();
    let calls: Vec<_> = (0..1_000)
        .map(|number| {
            let name = if number % 100 == 0 { "loops".to_owned() } else { format!("p{}", number % 100 - 1) };
            (number % 100, shop.catalogue.render(&name, &json!({}), &Context::example()))
        })
        .collect();
    for (number, call) in calls {
        match soon(call) {
            Ok(rendering) => assert_eq!(usize::from(rendering.port), number),
            Err(RenderError::Call(CallError::OutOfFuel { .. })) => assert_eq!(number, 0),
            Err(error) => panic!("{number}: {error}"),
        }
    }
}
