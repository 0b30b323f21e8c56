//! What was found: one table for people, and a JSON file for each figure.

use std::path::Path;

use serde_json::{Value, json};

/// One measurement's results.
pub struct Figure {
    /// What is held against a goal.
    pub rows: Vec<Row>,
    /// Lines that tell where the figures come from.
    pub details: Vec<String>,
    /// All values.
    pub data: Value,
}

/// One line of the table.
pub struct Row {
    what: &'static str,
    project: String,
    floor: String,
    /// What is compared with the goal, which is its upper limit.
    compared: f64,
    ratio: String,
    goal: f64,
}

impl Row {
    /// A count that has no floor.
    pub fn count(what: &'static str, count: f64, goal: f64) -> Self {
        Self { what, project: count.to_string(), floor: "-".into(), compared: count, ratio: "-".into(), goal }
    }

    /// Two values, of which the ratio counts.
    pub fn ratio(what: &'static str, project: f64, floor: f64, unit: &str, goal: f64) -> Self {
        let ratio = project / floor;
        Self {
            what,
            project: format!("{project:.3} {unit}"),
            floor: format!("{floor:.3} {unit}"),
            compared: ratio,
            ratio: format!("{ratio:.2}"),
            goal,
        }
    }

    fn is_met(&self) -> bool {
        self.compared <= self.goal
    }

    fn verdict(&self) -> &'static str {
        if self.is_met() { "met" } else { "MISSED" }
    }
}

/// Prints the table, and below it where its figures come from.
pub fn print(figures: &[Figure]) {
    line("", "project", "floor", "ratio", "goal", "");
    for row in figures.iter().flat_map(|figure| &figure.rows) {
        let goal = format!("<= {}", row.goal);
        line(row.what, &row.project, &row.floor, &row.ratio, &goal, row.verdict());
    }
    for figure in figures {
        println!();
        for row in &figure.rows {
            println!("{}", row.what);
        }
        for detail in &figure.details {
            println!("  {detail}");
        }
    }
}

fn line(what: &str, project: &str, floor: &str, ratio: &str, goal: &str, verdict: &str) {
    println!("{what:<38} {project:>9} {floor:>9} {ratio:>7} {goal:>7}  {verdict}");
}

/// Writes a figure to bench/NAME.json in Cargo's target folder.
pub fn save(name: &str, figure: &Figure) {
    let rows = figure.rows.iter().map(
        |row| json!({ "what": row.what, "compared": row.compared, "goal": row.goal, "met": row.is_met() }),
    );
    let all = json!({ "rows": rows.collect::<Vec<_>>(), "data": figure.data });
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is in the target folder");
    let file = target.join("bench").join(name).with_extension("json");
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("the target folder can be written");
    std::fs::write(&file, format!("{all:#}\n")).expect("the target folder can be written");
}
