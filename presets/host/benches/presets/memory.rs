//! Memory: what the process takes while presets take all that they are let have, many calls at once, and what
//! of that is left when they have ended.

use std::{fs, sync::mpsc::channel, time::Duration};

use ephemeron_preset_host::{engine::Engine, error::CallError, limits::Limits, module::Module, pool::Pool};
use futures_executor::block_on;
use serde_json::json;

use crate::{
    guest::Guest,
    report::{Figure, Goal, Row},
    spread::Spread,
};

/// What a call may have, in MiB.
const LIMITS: [usize; 2] = [16, 64];
/// Calls in a round.
const CALLS: usize = 100;
/// What else a call may take beside its memory, in bytes: stack, tables, the host's own records.
const BESIDE: usize = 1 << 20;
/// Nothing takes longer; what does is stuck.
const LONG: Duration = Duration::from_mins(10);

pub fn measure(rounds: u32) -> Figure {
    let mut figure = Figure { rows: Vec::new(), details: Vec::new(), data: json!({}) };
    for most in LIMITS {
        // Nothing but memory ends these calls.
        let limits = Limits { memory: most << 20, fuel: 1 << 60, time: LONG, ..Limits::default() };
        let calls = usize::try_from(limits.calls).expect("a number");
        let engine = Engine::new(limits.clone()).expect("an engine");
        // Grows by a MiB until it is stopped, and writes to all that it gets.
        let grow = "(local $at i32) (loop $l
            (local.set $at (i32.mul (memory.grow (i32.const 16)) (i32.const 65536)))
            (memory.fill (local.get $at) (i32.const 7) (i32.const 1048576)) (br $l)) unreachable";
        let module = Module::new(&engine, &Guest { render: grow.into(), ..Guest::default() }.bytes());
        let module = module.expect("a preset");
        let (before, mut peaks, mut afters) = (status("VmRSS:"), Vec::new(), Vec::new());
        for _ in 0..rounds {
            // The peak is counted anew from here (proc(5), clear_refs).
            fs::write("/proc/self/clear_refs", "5").expect("the peak is reset");
            exhaust(&limits, &module);
            peaks.push((status("VmHWM:") - before) / 1e6);
            afters.push((status("VmRSS:") - before) / 1e6);
        }
        let (peak, after) = (Spread::of(peaks), Spread::of(afters));
        let bound = calls * (limits.memory + BESIDE);
        #[expect(clippy::cast_precision_loss, reason = "megabytes")]
        let bound = (bound as f64 / 1e5).round() / 10.0;
        let what = format!("memory of {calls} calls at once that take all, {most} MiB each");
        // The largest of the rounds: a bound holds always.
        figure.rows.push(Row::value(what, peak.max, "MB", Goal::AtMost(bound)));
        figure.details.extend([
            format!("{most} MiB each: at most {}, beside {:.1} MB before", peak.told(" MB"), before / 1e6),
            format!("{most} MiB each: left afterwards {}", after.told(" MB")),
        ]);
        figure.data[format!("{most} MiB")] = json!({"before": before / 1e6, "peak": peak, "after": after});
    }
    figure.details.push(format!(
        "{CALLS} calls in a round, {rounds} rounds; each asks for a MiB after the other and writes to all of it, until it is stopped"
    ));
    figure
}

/// Makes many calls, as many at once as may be.
fn exhaust(limits: &Limits, module: &Module) {
    let pool = Pool::new(limits).expect("threads");
    let (done, dones) = channel();
    let calls: Vec<_> = (0..CALLS)
        .map(|number| {
            let (module, done) = (module.clone(), done.clone());
            // Of different presets: one alone does not get all threads.
            let preset = format!("bad-{}", number % 8);
            let call = move || {
                let outcome = module.render("{}", "{}").map(drop);
                let _ = done.send(outcome.as_ref().err().map(ToString::to_string));
                outcome
            };
            pool.call(&preset, call).expect("a place")
        })
        .collect();
    drop(done);
    for call in calls {
        // How each has ended is told by itself.
        let _ = block_on(call);
    }
    let ends = CallError::OutOfMemory { memory: limits.memory, elements: limits.table_elements }.to_string();
    for end in dones {
        assert_eq!(end.as_ref(), Some(&ends), "they were stopped by something else");
    }
}

/// A line of /proc/self/status, in bytes.
fn status(key: &str) -> f64 {
    let text = fs::read_to_string("/proc/self/status").expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("its memory is told");
    line.trim_end_matches("kB").trim().parse::<f64>().expect("a number of kB") * 1024.0
}
