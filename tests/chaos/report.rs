//! What is printed and kept of a run.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use chrono::TimeDelta;

use crate::chaos::{checker::Wrong, history::Time, outages::Outage, trial::Outcome};

/// What happens so soon after a fault may still be its doing.
const AFTER: TimeDelta = TimeDelta::seconds(5);
/// So many violations are printed in full; all are in the file.
const PRINTED: usize = 5;

/// What has come of one seed.
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// The faults, and from when until when they were.
    pub happened: Vec<(&'static str, Time, Time)>,
    /// When controllers could not work.
    pub outages: Vec<Outage>,
    /// What has become of the lives.
    pub outcome: Outcome,
}

impl Run {
    /// Whether nothing is wrong.
    pub fn is_well(&self) -> bool {
        self.outcome.verdict.violations.is_empty() && self.outcome.problems.is_empty()
    }

    fn count(&self, wrong: Wrong) -> usize {
        self.outcome.verdict.violations.iter().filter(|one| one.wrong == wrong).count()
    }

    fn orphans(&self) -> usize {
        self.outcome.problems.iter().filter(|one| one.starts_with("orphan")).count()
    }

    fn worst(&self) -> (f64, f64) {
        let ended = &self.outcome.verdict.ended;
        let worst = |of: fn(&(Time, TimeDelta, TimeDelta)) -> TimeDelta| {
            ended.iter().map(of).max().unwrap_or_default().as_seconds_f64()
        };
        (worst(|one| one.1), worst(|one| one.2))
    }

    fn line(&self) -> String {
        let (verdict, (all, open)) = (&self.outcome.verdict, self.worst());
        format!(
            "SEED={}: {} lives, {} extended, {} by hand, {} without a trace of when; {} faults; worst {all:.2} s \
             late, {open:.2} s without an outage; early {}, late {}, lost {}, orphans {}, other {}",
            self.seed,
            self.outcome.lives,
            verdict.extended,
            verdict.by_hand,
            verdict.unknown,
            self.happened.len(),
            self.count(Wrong::Early),
            self.count(Wrong::Late),
            self.count(Wrong::Lost),
            self.orphans(),
            self.outcome.problems.len() - self.orphans(),
        )
    }

    /// Of each fault: how often, how many were due while it lasted, and how late the worst were.
    fn by_fault(&self) -> String {
        let mut rows = BTreeMap::<&str, (usize, usize, TimeDelta, TimeDelta)>::new();
        for (name, from, until) in &self.happened {
            let row = rows.entry(name).or_default();
            row.0 += 1;
            for (due, all, open) in &self.outcome.verdict.ended {
                if (*from..*until + AFTER).contains(due) {
                    row.1 += 1;
                    row.2 = row.2.max(*all);
                    row.3 = row.3.max(*open);
                }
            }
        }
        let mut text = String::from("  fault            times  due  worst s  without outage\n");
        for (name, (times, due, all, open)) in rows {
            let (all, open) = (all.as_seconds_f64(), open.as_seconds_f64());
            let _ = writeln!(text, "  {name:<16} {times:>5} {due:>4} {all:>8.2} {open:>15.2}");
        }
        text
    }

    fn wrongs(&self) -> Vec<String> {
        let violations =
            self.outcome.verdict.violations.iter().map(|one| format!("{:?}: {}", one.wrong, one.told));
        violations.chain(self.outcome.problems.iter().map(|problem| format!("{problem}\n"))).collect()
    }
}

/// Prints a run.
pub fn print(run: &Run) {
    print!("{}", run.by_fault());
    for wrong in run.wrongs().into_iter().take(PRINTED) {
        print!("{wrong}");
    }
    println!("{}", run.line());
}

/// Keeps everything of a run in target/chaos: what was wrong, the outages, the controllers' logs.
pub fn save(run: &Run, logs: &[(String, String)]) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("target/chaos/seed-{}", run.seed));
    std::fs::create_dir_all(&folder).expect("a folder");
    let mut text = format!("{}\n{}\nfaults:\n", run.line(), run.by_fault());
    for (name, from, until) in &run.happened {
        let _ = writeln!(text, "  {from} to {until} {name}");
    }
    text += "outages:\n";
    for outage in &run.outages {
        let _ = writeln!(text, "  {outage}");
    }
    text += &run.wrongs().join("");
    std::fs::write(folder.join("report.txt"), text).expect("a file");
    for (name, log) in logs {
        std::fs::write(folder.join(format!("{name}.log")), log).expect("a file");
    }
    println!("  all of it: target/chaos/seed-{}", run.seed);
}

/// Prints what has come of all seeds.
pub fn sum(runs: &[Run]) {
    println!("\n{} lives from {} seeds", runs.iter().map(|run| run.outcome.lives).sum::<usize>(), runs.len());
    for run in runs {
        println!("{}", run.line());
    }
}
