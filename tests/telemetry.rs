//! A panic in a task is a line of the log, between the lines before and after it.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use std::process::Command;

/// Set in the process that panics.
const PANICS: &str = "EPHEMERON_TEST_PANICS";

#[test]
fn a_panic_in_a_task_is_a_line_of_the_log() {
    if std::env::var_os(PANICS).is_some() {
        return panics();
    }
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_panic_in_a_task_is_a_line_of_the_log", "--nocapture"])
        .env(PANICS, "1")
        .env("EPHEMERON_LOG_FORMAT", "json")
        .env_remove("RUST_BACKTRACE")
        .output()
        .expect("it runs");
    let said = String::from_utf8(output.stderr).expect("text");
    let lines: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [before, panic, after] = &lines[..] else { panic!("three lines: {said}") };
    assert_eq!((&before["message"], &after["message"]), (&"before".into(), &"after".into()));
    assert_eq!(panic["level"], "ERROR");
    assert!(panic["message"].as_str().is_some_and(|message| message.contains("this is broken")), "{panic}");
    assert!(panic["place"].as_str().is_some_and(|place| place.starts_with("tests/telemetry.rs:")), "{panic}");
}

fn panics() {
    ephemeron::telemetry::init();
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("a runtime");
    runtime.block_on(async {
        let task = tokio::spawn(async {
            tracing::info!("before");
            panic!("this is {}", "broken");
        });
        let end: Result<(), _> = task.await;
        assert!(end.is_err_and(|error| error.is_panic()), "the panic stays in the task");
        tracing::info!("after");
    });
}
