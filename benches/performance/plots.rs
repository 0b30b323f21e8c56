//! The plots of docs/performance.md, drawn from the JSON of what was measured last.

use std::{error::Error, path::PathBuf, process::ExitCode};

use plotters::prelude::*;
use serde_json::Value;

use crate::report;

/// A line's label, and its points.
type Line = (String, Vec<(f64, f64)>);

const SIZE: (u32, u32) = (760, 380);
const COLOURS: [RGBColor; 4] =
    [RGBColor(120, 120, 120), RGBColor(0, 105, 180), RGBColor(200, 90, 20), RGBColor(40, 140, 70)];

/// Draws every figure that was measured and has a plot.
pub fn draw() -> ExitCode {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/performance");
    match draw_into(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("the plots cannot be drawn into {}: {problem}", folder.display());
            ExitCode::FAILURE
        }
    }
}

fn draw_into(folder: &std::path::Path) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(folder)?;
    let crowds = |name| report::load(name).and_then(|data| data.as_array().cloned()).unwrap_or_default();
    for crowd in crowds("at-once") {
        let count = &crowd["count"];
        let lines = sides(&crowd, "seconds", 1.0);
        let title = format!("{count} asked for at once: how many can be reached");
        plot(&folder.join(format!("at-once-{count}.svg")), &title, "s after all were asked for", "", &lines)?;
    }
    for crowd in crowds("expiry") {
        let count = &crowd["count"];
        let lines = sides(&crowd, "late", 1.0);
        let title = format!("{count} ending in the same second: deletions asked for");
        plot(&folder.join(format!("expiry-{count}.svg")), &title, "ms after the end", "", &lines)?;
    }
    if let Some(held) = report::load("held") {
        let points = |of: &str| {
            let points = held["points"].as_array().into_iter().flatten();
            points.map(|point| (number(&point["held"]), number(&point["usage"][of]))).collect::<Vec<_>>()
        };
        let memory = [("now".into(), points("memory")), ("at most".into(), points("peak"))];
        plot(&folder.join("memory.svg"), "Memory of the controller", "Ephemerons held", "MB", &memory)?;
        let cpu = [("to bring them about".into(), points("cpu"))];
        plot(&folder.join("cpu.svg"), "CPU of the controller", "Ephemerons held", "s", &cpu)?;
    }
    if let Some(first) = report::load("first-answer") {
        let pairs = |side: &str| {
            let mut seconds: Vec<f64> =
                first[side]["seconds"].as_array().into_iter().flatten().map(number).collect();
            seconds.sort_by(f64::total_cmp);
            (side.to_owned(), rising(&seconds))
        };
        let title = "Creation to the first 200 through the public URL";
        plot(&folder.join("first-answer.svg"), title, "s", "answered", &[pairs("floor"), pairs("project")])?;
    }
    Ok(())
}

/// All runs of floor and project, each as the number that had got there by a time.
fn sides(crowd: &Value, times: &str, scale: f64) -> Vec<Line> {
    let lines = ["floor", "project"].into_iter().flat_map(|side| {
        let runs = crowd[side].as_array().into_iter().flatten();
        runs.map(move |run| {
            let times: Vec<f64> =
                run[times].as_array().into_iter().flatten().map(|time| number(time) * scale).collect();
            (side.to_owned(), rising(&times))
        })
    });
    lines.collect()
}

fn rising(times: &[f64]) -> Vec<(f64, f64)> {
    let counts = (1_u32..).map(f64::from);
    std::iter::once((0.0, 0.0)).chain(times.iter().copied().zip(counts)).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

/// Lines of the same label have the same colour, and one entry in the legend.
fn plot(file: &std::path::Path, title: &str, x: &str, y: &str, lines: &[Line]) -> Result<(), Box<dyn Error>> {
    let all = || lines.iter().flat_map(|(_, points)| points);
    let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(f64::MIN_POSITIVE, f64::max) * 1.05;
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..most(|point| point.0), 0.0..most(|point| point.1))?;
    chart.configure_mesh().light_line_style(WHITE).x_desc(x).y_desc(y).draw()?;
    let mut labels: Vec<&str> = Vec::new();
    for (label, points) in lines {
        let is_new = !labels.contains(&label.as_str());
        if is_new {
            labels.push(label);
        }
        let place = labels.iter().position(|known| *known == label.as_str()).unwrap_or_default();
        let colour = COLOURS[place % COLOURS.len()];
        let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        if is_new {
            let key = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2));
            drawn.label(label.as_str()).legend(key);
        }
    }
    let mut legend = chart.configure_series_labels();
    legend.position(SeriesLabelPosition::LowerRight).border_style(BLACK.mix(0.3)).background_style(WHITE);
    legend.draw()?;
    area.present()?;
    Ok(())
}
