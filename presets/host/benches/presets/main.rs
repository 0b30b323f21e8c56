//! What presets cost, beside the least that there is for the same: a call, a bad neighbour, a start, memory.
//!
//! It needs the modules that `make presets` builds, and no cluster. docs/performance.md tells what the
//! figures mean. A new figure is a file with a `measure`, and a line in [`FIGURES`].
#![allow(clippy::expect_used, clippy::panic, reason = "what cannot be measured fails loudly")]

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/attacks/guest.rs"]
mod guest;
mod memory;
#[path = "../../../nginx/src/lib.rs"]
mod nginx;
mod render;
#[expect(dead_code, reason = "the controller's benchmark uses more of it")]
#[path = "../../../../benches/performance/report.rs"]
mod report;
#[path = "../../../../benches/performance/spread.rs"]
mod spread;
mod start;
mod turns;
#[path = "../../../web/src/lib.rs"]
mod web;

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Parser, builder::PossibleValuesParser};
use ephemeron_preset_host::compile;
use report::Figure;

/// A figure's name, and how it is measured in so many rounds.
type Measurement = (&'static str, fn(u32) -> Figure);

/// All figures, in the order in which they are measured.
const FIGURES: [Measurement; 4] = [
    ("preset-render", render::measure),
    ("preset-turns", turns::measure),
    ("preset-start", start::measure),
    ("preset-memory", memory::measure),
];

/// Measures presets.
#[derive(Parser)]
#[command(name = "presets")]
struct Arguments {
    /// What to measure. Default: everything.
    #[arg(value_parser = PossibleValuesParser::new(FIGURES.map(|(name, _)| name)))]
    figures: Vec<String>,

    /// How often each is measured, floor and project in turn.
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    if let Some(code) = compile::child_main() {
        return code;
    }
    let Arguments { figures: wanted, rounds, .. } = Arguments::parse();
    let mut figures = Vec::new();
    for (name, measure) in FIGURES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            eprintln!("measuring {name}");
            let figure = measure(rounds);
            report::save(name, &figure);
            figures.push(figure);
        }
    }
    report::print(&figures);
    ExitCode::SUCCESS
}

/// Where `make presets` has put a module.
fn path(name: &str) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let target = target.parent().expect("it is in the target folder");
    target.join("presets").join(name).with_extension("wasm")
}

/// A module that `make presets` has built.
fn module(name: &str) -> Vec<u8> {
    let path = path(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; `make presets` builds it", path.display()))
}
