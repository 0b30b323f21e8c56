//! One call: a Rust preset in the engine, beside the same source compiled for this machine and called as a
//! function. Text in, text out on both sides; the engine's also reads and checks the document that comes.

use std::{hint::black_box, time::Instant};

use ephemeron_preset::Refusal;
use ephemeron_preset_host::{document::Context, engine::Engine, limits::Limits, module::Module};
use serde_json::json;

use crate::{
    module, nginx,
    report::{Figure, Goal, Row},
    spread::Spread,
    web,
};

/// Calls in a round, on each side.
const CALLS: usize = 2_000;
/// What the engine may take: so many times what the function takes, and so many microseconds.
const GOAL: (f64, f64) = (3.0, 30.0);

type Native = fn(&str, &str) -> Result<String, Refusal>;

pub fn measure(rounds: u32) -> Figure {
    let engine = Engine::new(Limits::default()).expect("an engine");
    let context = Context::example().text();
    let container = json!({
        "image": "docker.io/library/python:3",
        "command": ["python3", "-m", "http.server", "8000"],
        "port": 8000,
        "environment": {"PYTHONUNBUFFERED": "1", "PRICE": "$5"},
        "size": "medium",
        "ready": "/",
    });
    let page = json!({"content": "<p>Hello, world</p>\n".repeat(50)});
    let presets: [(&str, Native, String); 2] = [
        ("web", web::native::render, container.to_string()),
        ("nginx", nginx::native::render, page.to_string()),
    ];
    let mut figure = Figure { rows: Vec::new(), details: Vec::new(), data: json!({}) };
    for (name, native, parameters) in presets {
        let module = Module::new(&engine, &module(name)).expect("a preset");
        let answer = module.render(&parameters, &context).expect("an answer");
        let same = native(&parameters, &context).expect("an answer");
        assert_eq!(answer.text, same, "{name}: the module was not built from this source: `make presets`");

        let (mut floors, mut projects) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            floors.push(microseconds(|| {
                let _ = black_box(native(black_box(&parameters), &context));
            }));
            projects.push(microseconds(|| {
                let _ = black_box(module.render(black_box(&parameters), &context));
            }));
        }
        let [floor, project] = [floors, projects].map(Spread::of);
        let (times, more) = GOAL;
        let most = ((times * floor.median + more) * 10.0).floor() / 10.0;
        let what = format!("render {name}: {times} x native + {more} us");
        figure.rows.push(Row::beside(what, project.median, floor.median, "us", Goal::AtMost(most)));
        figure.details.extend([
            format!("{name}, native: {}", floor.told(" us")),
            format!("{name}, in the engine: {}, fuel {}", project.told(" us"), answer.fuel),
        ]);
        figure.data[name] = json!({"floor": floor, "project": project, "fuel": answer.fuel});
    }
    figure
        .details
        .push(format!("each value is the median of {CALLS} calls, {rounds} times on each side in turn"));
    figure
}

/// What a call takes: the median of many.
fn microseconds(call: impl Fn()) -> f64 {
    let times = (0..CALLS).map(|_| {
        let begun = Instant::now();
        call();
        begun.elapsed().as_secs_f64() * 1e6
    });
    Spread::of(times).median
}
