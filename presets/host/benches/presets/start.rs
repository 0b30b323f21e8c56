//! A start with a JavaScript preset that was compiled before: from the opening of the catalogue until the file
//! was read, proved, loaded, checked and is served.

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ephemeron_preset_host::{
    cache::Cache,
    catalogue::{Catalogue, Options},
    compile::Compiler,
    document::Context,
    engine::Engine,
    limits::Limits,
    loader::Loader,
};
use serde_json::json;

use crate::{
    module, path,
    report::{Figure, Goal, Row},
    spread::Spread,
};

const NAME: &str = "echo";
/// Milliseconds.
const GOAL: f64 = 50.0;
/// Nothing takes longer; what does is stuck.
const LONG: Duration = Duration::from_mins(10);

pub fn measure(rounds: u32) -> Figure {
    let limits = Limits { compile_time: LONG, ..Limits::default() };
    let bytes = module(NAME);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(NAME).with_extension("wasm");
    fs::copy(path(NAME), &file).expect("a file");
    // It lasts: who measures again does not compile again.
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-cache");
    let opened = || {
        let cache = Cache::open(&kept, None, limits.cache, limits.compiled).expect("a cache");
        Loader::new(Engine::new(limits.clone()).expect("an engine"), Compiler::new(&limits), Some(cache))
    };
    let begun = Instant::now();
    opened().load(&bytes).expect("it is compiled");
    let first = begun.elapsed().as_secs_f64();
    let entries = || {
        let paths = fs::read_dir(&kept).expect("a folder").map(|entry| entry.expect("an entry").path());
        paths.filter(|path| path.extension().is_some_and(|ends| ends == "aot")).collect::<Vec<_>>()
    };
    // Other builds of the preset may have left theirs.
    let entry =
        entries().into_iter().max_by_key(|path| fs::metadata(path).and_then(|found| found.modified()).ok());
    let entry = entry.expect("it is kept");

    let (mut floors, mut loads, mut calls, mut projects) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        floors.push(milliseconds(|| {
            black_box((fs::read(&file).expect("the file"), fs::read(&entry).expect("the entry")));
        }));
        let loader = opened();
        let mut module = None;
        loads.push(milliseconds(|| module = loader.cached(&bytes).expect("a preset")));
        let module = module.expect("it is kept");
        calls.push(milliseconds(|| {
            black_box(module.describe().expect("an answer"));
        }));
        drop((module, loader));
        projects.push(milliseconds(|| serve(&limits, folder.path().to_owned(), kept.clone())));
    }
    let [floor, load, call, project] = [floors, loads, calls, projects].map(Spread::of);
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len()).div_ceil(1_000_000);
    Figure {
        rows: vec![Row::beside(
            "second start of a JavaScript preset: read both files",
            project.median,
            floor.median,
            "ms",
            Goal::AtMost(GOAL),
        )],
        details: vec![
            format!("until it is served, all checks done: {}", project.told(" ms")),
            format!("of which its code is found, proved and loaded in: {}", load.told(" ms")),
            format!("and the first call takes: {}", call.told(" ms")),
            format!("both files read and no more: {}", floor.told(" ms")),
            format!("the file has {} MB, its code {} MB", size(&file), size(&entry)),
            format!(
                "this run's first load took {first:.1} s; it compiles where nothing is kept from another run"
            ),
        ],
        data: json!({"floor": floor, "load": load, "call": call, "project": project, "first": first}),
    }
}

fn milliseconds(what: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    what();
    begun.elapsed().as_secs_f64() * 1e3
}

fn serve(limits: &Limits, folder: PathBuf, cache: PathBuf) {
    let options = Options {
        folders: vec![folder],
        limits: limits.clone(),
        cache: Some(cache),
        key: None,
        compiler: None,
        context: Context::example(),
        accepts: Box::new(|_| Ok(())),
        on_change: Box::new(|_| ()),
    };
    let catalogue = Catalogue::open(options).expect("a catalogue");
    assert!(catalogue.settled_within(LONG), "it has not settled");
    catalogue.get(NAME).expect("it is served");
}
