//! What was found: one table for people, and a JSON file for each figure.

use std::path::PathBuf;

use serde_json::{Value, json};

/// One measurement's results.
pub struct Figure {
    /// The lines of the table.
    pub rows: Vec<Row>,
    /// Lines that tell where the figures come from.
    pub details: Vec<String>,
    /// All values.
    pub data: Value,
}

/// What a row is held against.
#[derive(Clone, Copy)]
pub enum Goal {
    /// It is met by this and less.
    AtMost(f64),
    /// It is met by this and more.
    AtLeast(f64),
    /// The figure is told, and no more.
    None,
}

/// One line of the table.
pub struct Row {
    what: String,
    project: String,
    floor: Option<String>,
    ratio: Option<f64>,
    /// What is compared with the goal.
    compared: f64,
    goal: Goal,
}

impl Row {
    /// A value that has no floor.
    pub fn value(what: impl Into<String>, value: f64, unit: &str, goal: Goal) -> Self {
        let project = quantity(value, unit);
        Self { what: what.into(), project, floor: None, ratio: None, compared: value, goal }
    }

    /// Two values, of which the ratio counts.
    pub fn ratio(what: impl Into<String>, project: f64, floor: f64, unit: &str, goal: Goal) -> Self {
        let ratio = project / floor;
        Self { compared: ratio, ..Self::beside(what, project, floor, unit, goal) }
    }

    /// Two values, of which the project's counts: the floor tells what can be had.
    pub fn beside(what: impl Into<String>, project: f64, floor: f64, unit: &str, goal: Goal) -> Self {
        let (ratio, floor) = (Some(project / floor), Some(quantity(floor, unit)));
        Self { floor, ratio, ..Self::value(what, project, unit, goal) }
    }

    fn verdict(&self) -> &'static str {
        let met = match self.goal {
            Goal::AtMost(limit) => self.compared <= limit,
            Goal::AtLeast(limit) => self.compared >= limit,
            Goal::None => return "",
        };
        if met { "met" } else { "MISSED" }
    }

    fn goal(&self) -> String {
        match self.goal {
            Goal::AtMost(limit) => format!("<= {limit}"),
            Goal::AtLeast(limit) => format!(">= {limit}"),
            Goal::None => "-".into(),
        }
    }

    fn cells(&self) -> [String; 6] {
        let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".into());
        [
            self.what.clone(),
            self.project.clone(),
            or_dash(self.floor.clone()),
            or_dash(self.ratio.map(|ratio| format!("{ratio:.2}"))),
            self.goal(),
            self.verdict().into(),
        ]
    }
}

fn quantity(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        10_000.0.. => 0,
        100.0.. => 1,
        _ => 3,
    };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}

/// Prints the table, and below it where its figures come from.
pub fn print(figures: &[Figure]) {
    line(&["", "project", "floor", "ratio", "goal", ""].map(String::from));
    figures.iter().flat_map(|figure| &figure.rows).for_each(|row| line(&row.cells()));
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

fn line([what, project, floor, ratio, goal, verdict]: &[String; 6]) {
    println!("{what:<58} {project:>11} {floor:>11} {ratio:>6} {goal:>8}  {verdict}");
}

/// Where a figure's JSON is: bench/NAME.json in Cargo's target folder.
pub fn file(name: &str) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let target = target.parent().expect("it is in the target folder");
    target.join("bench").join(name).with_extension("json")
}

/// Writes a figure's JSON.
pub fn save(name: &str, figure: &Figure) {
    let rows: Vec<_> = figure.rows.iter().map(Row::cells).collect();
    let all = json!({ "rows": rows, "details": figure.details, "data": figure.data });
    let file = file(name);
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("the target folder can be written");
    std::fs::write(&file, format!("{all:#}\n")).expect("the target folder can be written");
}

/// The values of a figure that was saved; None if it never was.
pub fn load(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(file(name)).ok()?;
    serde_json::from_str::<Value>(&text).ok().map(|mut all| all["data"].take())
}
