//! One bad neighbour: what 99 good presets get done in the pool of calls, without and with one beside them
//! whose calls run until they are stopped.

use std::{
    sync::mpsc::{Sender, channel},
    time::{Duration, Instant},
};

use ephemeron_preset_host::{
    compile::Compiler,
    document::Context,
    engine::Engine,
    error::CallError,
    limits::Limits,
    module::Module,
    pool::{Pending, Pool},
};
use serde_json::json;

use crate::{
    guest::Guest,
    module,
    report::{Figure, Goal, Row},
    spread::Spread,
};

/// Presets that do what they should.
const GOOD: usize = 99;
/// How long calls are counted, on each side of a round: the one that loops has its turn several times.
const WINDOW: Duration = Duration::from_secs(10);
/// How many calls of the one that loops are under way or wait at any time: as many as each of the others has,
/// and many more.
const LOOPING: [usize; 2] = [1, 64];
/// What the good ones still get done, as a share of what they do alone.
const GOAL: f64 = 0.9;

pub fn measure(rounds: u32) -> Figure {
    let limits = Limits { compile_time: Duration::from_mins(10), ..Limits::default() };
    let engine = Engine::new(limits.clone()).expect("an engine");
    let compiled = Compiler::new(&limits).compile(&module("web")).expect("it is compiled");
    let good: Vec<_> = (0..GOOD).map(|_| Module::load(&engine, &compiled).expect("a preset")).collect();
    let forever = Guest { render: "(loop $l (br $l)) unreachable".into(), ..Guest::default() };
    let bad = Module::new(&engine, &forever.bytes()).expect("a preset");
    let stopped = bad.render("{}", "{}").map(drop);
    assert!(matches!(stopped, Err(CallError::OutOfFuel { .. } | CallError::TimedOut(_))), "{stopped:?}");

    let mut figure = Figure { rows: Vec::new(), details: Vec::new(), data: json!({}) };
    let mut alone = Vec::new();
    let mut beside = LOOPING.map(|_| Vec::new());
    let mut stopped = LOOPING.map(|_| Vec::new());
    for _ in 0..rounds {
        alone.push(counted(&limits, &good, &bad, 0).0);
        for (number, looping) in LOOPING.into_iter().enumerate() {
            let (done, ended) = counted(&limits, &good, &bad, looping);
            beside[number].push(done);
            stopped[number].push(ended);
        }
    }
    let alone = Spread::of(alone);
    figure.details.push(format!("{GOOD} alone: {}", alone.told(" calls/s")));
    figure.data["alone"] = json!(alone);
    for ((looping, done), ended) in LOOPING.into_iter().zip(beside).zip(stopped) {
        let (done, ended) = (Spread::of(done), Spread::of(ended));
        let what = format!("{GOOD} good presets beside one that loops, {looping} at once");
        figure.rows.push(Row::ratio(what, done.median, alone.median, "/s", Goal::AtLeast(GOAL)));
        figure.details.push(format!(
            "beside {looping} calls that loop: {}; of those, {} were stopped in a second",
            done.told(" calls/s"),
            ended.median
        ));
        figure.data[format!("beside {looping}")] = json!({"good": done, "stopped": ended});
    }
    figure.details.push(format!(
        "each good preset has one call under way or waiting at any time, on {} threads, for {WINDOW:?}, {rounds} times on each side in turn",
        limits.calls
    ));
    figure
}

/// Calls per second: of the good presets, and of the one that loops.
fn counted(limits: &Limits, good: &[Module], bad: &Module, looping: usize) -> (f64, f64) {
    let pool = Pool::new(limits).expect("threads");
    let parameters = json!({"image": "docker.io/library/nginx:latest"}).to_string();
    let context = Context::example().text();
    let callers = good.iter().enumerate().map(|(number, module)| (format!("good-{number}"), module));
    let callers: Vec<_> = callers.chain((0..looping).map(|_| ("bad".to_owned(), bad))).collect();
    let (done, dones) = channel();
    let call = |number: usize| {
        let (preset, module) = &callers[number];
        let (module, done) = ((*module).clone(), done.clone());
        let (parameters, context) = (parameters.clone(), context.clone());
        called(&pool, preset, number, done, move || module.render(&parameters, &context).map(drop))
    };
    // Whoever drops an answer before its turn withdraws the call.
    let mut pending: Vec<_> = (0..callers.len()).map(call).collect();
    // The first of each do not count: the pool has to come to its rhythm.
    let mut begun = Instant::now();
    let mut warm = false;
    let (mut answers, mut ended) = (0_u32, 0_u32);
    let counted = loop {
        let (number, is_answer) = dones.recv().expect("the pool lives");
        assert_eq!(is_answer, number < GOOD, "{}", callers[number].0);
        if number < GOOD {
            answers += 1;
        } else {
            ended += 1;
        }
        let elapsed = begun.elapsed();
        if !warm && elapsed > WINDOW / 10 {
            (warm, begun, answers, ended) = (true, Instant::now(), 0, 0);
        } else if warm && elapsed > WINDOW {
            let seconds = elapsed.as_secs_f64();
            break (f64::from(answers) / seconds, f64::from(ended) / seconds);
        }
        pending[number] = call(number);
    };
    // What runs has to end: the engine has room for so many calls.
    drop(pending);
    drop(done);
    dones.iter().for_each(drop);
    counted
}

/// Has a call made that tells when it is done, and whether there was an answer.
fn called(
    pool: &Pool,
    preset: &str,
    number: usize,
    done: Sender<(usize, bool)>,
    call: impl FnOnce() -> Result<(), CallError> + Send + 'static,
) -> Pending<()> {
    let call = move || {
        let outcome = call();
        // Whoever counts may have ended.
        let _ = done.send((number, outcome.is_ok()));
        outcome
    };
    pool.call(preset, call).expect("a place")
}
