//! What a hostile preset tries, each as a real component in the real engine; and what a good one must be able to do.

#![expect(clippy::expect_used, reason = "a test may fail loudly")]

mod guest;

use std::{sync::mpsc::channel, thread, time::Duration};

use ephemeron_preset_host::{
    audit::Incompatible,
    engine::Engine,
    error::{CallError, Refusal},
    limits::Limits,
    module::Module,
    pool::Pool,
};
use futures_executor::block_on;
use guest::{Guest, TEXT, words};

/// The clock is no verdict here: on a slow machine, too, only fuel ends what loops.
fn limits() -> Limits {
    Limits { fuel: 5_000_000, time: Duration::from_mins(10), ..Limits::default() }
}

fn engine() -> Engine {
    Engine::new(limits()).expect("an engine")
}

fn load(guest: &Guest) -> Result<Module, Incompatible> {
    Module::new(&engine(), &guest.bytes())
}

fn render(guest: &Guest) -> Result<u16, CallError> {
    let module = load(guest).expect("a preset");
    let answer = module.render("{}", "{}").map(|answer| answer.document.port);
    // Whatever it was: the same engine answers the next.
    let good = Module::new(&engine(), &Guest::default().bytes()).expect("a preset");
    assert_eq!(good.render("{}", "{}").expect("an answer").document.port, 8080);
    answer
}

fn rendering(code: &str) -> Guest {
    Guest { render: code.into(), ..Guest::default() }
}

fn refused(guest: &Guest) -> String {
    load(guest).err().expect("a refusal").to_string()
}

#[test]
fn a_good_preset_answers_and_uses_the_same_fuel_each_time() {
    let module = load(&Guest::default()).expect("a preset");
    let described = module.describe_twice().expect("a description");
    assert_eq!(described.document.name, "good");
    let first = module.render_twice("{}", "{}").expect("an answer");
    assert!(first.fuel > 0);
    assert_eq!(first, module.render("{}", "{}").expect("an answer"));
}

#[test]
fn what_loops_runs_out_of_fuel() {
    let forever = "(loop $l (br $l)) unreachable";
    let start = Guest { items: format!("(func $start {forever}) (start $start)"), ..Guest::default() };
    let realloc = Guest { realloc: "(loop $l (br $l))", ..Guest::default() };
    for guest in [rendering(forever), start, realloc] {
        let outcome = render(&guest);
        assert!(matches!(outcome, Err(CallError::OutOfFuel { fuel: 5_000_000 })), "{outcome:?}");
    }
}

#[test]
fn what_costs_time_but_hardly_fuel_is_timed_out() {
    let fill =
        "(loop $l (memory.fill (i32.const 65536) (i32.const 1) (i32.const 60000000)) (br $l)) unreachable";
    let limits = Limits { fuel: u64::MAX >> 1, time: Duration::from_millis(20), ..Limits::default() };
    let engine = Engine::new(limits).expect("an engine");
    for code in [fill, "(loop $l (br $l)) unreachable"] {
        let guest = Guest { memory: "1000", ..rendering(code) };
        let module = Module::new(&engine, &guest.bytes()).expect("a preset");
        let outcome = module.render("{}", "{}");
        assert!(matches!(outcome, Err(CallError::TimedOut(_))), "{outcome:?}");
    }
}

#[test]
fn memory_and_tables_have_an_end() {
    let memory = rendering("(loop $l (drop (memory.grow (i32.const 16))) (br $l)) unreachable");
    let table = Guest {
        items: "(table $t 1 funcref)".into(),
        ..rendering("(loop $l (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $l)) unreachable")
    };
    for guest in [memory, table] {
        let outcome = render(&guest);
        assert!(matches!(outcome, Err(CallError::OutOfMemory { .. })), "{outcome:?}");
    }
}

#[test]
fn recursion_and_unreachable_trap() {
    let deep = Guest { items: "(func $deep (call $deep))".into(), ..rendering("call $deep unreachable") };
    let outcome = render(&deep);
    assert!(matches!(outcome, Err(CallError::Trapped(wasmtime::Trap::StackOverflow))), "{outcome:?}");
    let outcome = render(&rendering("unreachable"));
    assert!(
        matches!(outcome, Err(CallError::Trapped(wasmtime::Trap::UnreachableCodeReached))),
        "{outcome:?}"
    );
}

#[test]
fn what_a_panic_has_left_is_told_in_clean_words() {
    let words = r#"(data (i32.const 40000) "ephemeron:last-words:panicked at a.rs:1:2:\0a\1b[2Jno\00more")"#;
    let guest = Guest { items: words.into(), ..rendering("unreachable") };
    let Err(CallError::Refused(Refusal::Internal(said))) = render(&guest) else {
        panic!("{:?}", render(&guest))
    };
    assert_eq!(said, "panicked at a.rs:1:2:\\n\\u{1b}[2Jno");
    // Words alone are no trap, and another trap is told as what it is.
    let guest = Guest { items: words.into(), ..Guest::default() };
    assert!(render(&guest).is_ok());
    let guest = Guest {
        items: words.into(),
        ..rendering("(i32.div_u (i32.const 1) (i32.const 0)) drop unreachable")
    };
    assert!(matches!(render(&guest), Err(CallError::Trapped(wasmtime::Trap::IntegerDivisionByZero))));
}

#[test]
fn answers_have_an_end() {
    let large = Guest { memory: "400", result: words(&[0, 0, 20 << 20]), ..Guest::default() };
    // A list of issues in little memory is a large one for the host: all are the same twelve words.
    let issues = Guest { memory: "400", result: words(&[1, 0, 0, 800_000]), ..Guest::default() };
    for guest in [large, issues] {
        let outcome = render(&guest);
        assert!(matches!(outcome, Err(CallError::TooMuchOutput(_))), "{outcome:?}");
    }
    let module = load(&Guest::default()).expect("a preset");
    let outcome = module.render(&" ".repeat(10 << 20), "{}");
    assert!(matches!(outcome, Err(CallError::TooMuchInput { .. })), "{outcome:?}");
}

#[test]
fn values_that_are_none_break_the_interface() {
    let results =
        [words(&[0, u32::MAX - 4, 16]), words(&[0, 65_000, 10_000]), words(&[7, 0, 0]), words(&[1, 9, 0, 0])];
    let utf8 = Guest {
        items: r#"(data (i32.const 8192) "\ff\fe")"#.into(),
        result: words(&[0, 8192, 2]),
        ..Guest::default()
    };
    let realloc = Guest { realloc: "(return (i32.const -8))", ..Guest::default() };
    let pointer = rendering("i32.const -4");
    let odd = rendering("i32.const 33");
    let bad = results.into_iter().map(|result| Guest { result, ..Guest::default() });
    for guest in bad.chain([utf8, realloc, pointer, odd]) {
        let outcome = render(&guest);
        assert!(matches!(outcome, Err(CallError::Broken(_))), "{outcome:?}");
    }
}

#[test]
fn refusals_are_told_in_clean_words() {
    let text = "\u{1b}[2Jgone";
    let at = |case: &[u32]| Guest { rendered: text.into(), result: words(case), ..Guest::default() };
    let length = u32::try_from(text.len()).expect("a short text");
    let one = [TEXT, length, TEXT, length, TEXT, length];
    let outcome = render(&at(&[1, 2, TEXT, length]));
    assert!(
        matches!(&outcome, Err(CallError::Refused(Refusal::Internal(text))) if text == "\\u{1b}[2Jgone"),
        "{outcome:?}"
    );
    let outcome = render(&at(&[&[1, 1], &one[..]].concat()));
    assert!(matches!(&outcome, Err(CallError::Refused(Refusal::Rejected(_)))), "{outcome:?}");
    let outcome = render(&at(&[&[1, 0, 48, 1], &one[..]].concat()));
    let Err(CallError::Refused(Refusal::InvalidParameters(issues))) = outcome else { panic!("{outcome:?}") };
    assert_eq!((issues.len(), issues[0].pointer.as_str()), (1, "\\u{1b}[2Jgone"));
}

#[test]
fn documents_that_are_none_are_malformed() {
    let deep = "[".repeat(10_000);
    for text in ["", "NaN", "{}", r#"{"port":1,"port":2}"#, &deep] {
        let outcome = render(&Guest::rendering(text));
        assert!(matches!(outcome, Err(CallError::Malformed { call: "render", .. })), "{outcome:?}");
    }
}

#[test]
fn what_is_no_component_is_refused() {
    let bytes = |text: &str| wat::parse_str(text).expect("WebAssembly text");
    let refusal = |bytes: &[u8]| Module::new(&engine(), bytes).err().expect("a refusal").to_string();
    assert!(refusal(b"").contains("not WebAssembly"));
    assert!(refusal(b"\x7fELF\x02\x01\x01\x00 compiled ahead of time").contains("not WebAssembly"));
    assert!(refusal(&bytes("(module)")).contains("core module"));
    assert!(refusal(&bytes("(component)")).contains("does not export"));
    let good = Guest::default().bytes();
    assert!(refusal(&good[..good.len() / 2]).contains("cannot be used"));
    let small = Engine::new(Limits { file: 100, ..limits() }).expect("an engine");
    assert!(matches!(Module::new(&small, &good), Err(Incompatible::TooLarge { limit: 100, .. })));
}

#[test]
fn what_wants_too_much_is_refused_when_it_is_loaded() {
    let module = |fields: &str| {
        let guest = Guest { items: fields.into(), ..Guest::default() };
        refused(&guest)
    };
    let many = "(core module $e) ".to_owned() + &"(core instance (instantiate $e)) ".repeat(60);
    let guest = Guest { imports: many.leak(), ..Guest::default() };
    assert!(refused(&guest).contains("core module instances"), "{}", refused(&guest));
    let huge = Guest { memory: "2000", ..Guest::default() };
    assert!(refused(&huge).contains("memory"), "{}", refused(&huge));
    assert!(module("(memory 1)").contains("memories"), "{}", module("(memory 1)"));
    assert!(module("(table 30000 funcref)").contains("table"));
    assert!(module("(memory i64 1)").contains("64"), "{}", module("(memory i64 1)"));
    let shared = Guest { memory: "1 1 shared", ..Guest::default() };
    assert!(refused(&shared).contains("threads"), "{}", refused(&shared));
}

#[test]
fn imports_are_refused_by_name_but_for_the_types() {
    let wasi = Guest { imports: r#"(import "wasi:cli/environment@0.2.3" (instance))"#, ..Guest::default() };
    assert!(refused(&wasi).contains("wasi:cli/environment@0.2.3") && refused(&wasi).contains("WASI"));
    let func = r#"(import "ephemeron:preset/types@1.0.0" (instance (export "f" (func))))"#;
    assert!(refused(&Guest { imports: func, ..Guest::default() }).contains("types@1.0.0"));
    let types = r#"(import "ephemeron:preset/types@1.7.0" (instance (type $s string) (export "json" (type (eq $s)))))"#;
    assert_eq!(render(&Guest { imports: types, ..Guest::default() }).expect("an answer"), 8080);
}

#[test]
fn versions_match_by_their_major() {
    for version in ["1.0.0", "1.2.0"] {
        assert_eq!(render(&Guest { version, ..Guest::default() }).expect("an answer"), 8080);
    }
    let other = refused(&Guest { version: "2.0.0", ..Guest::default() });
    assert!(other.contains("template@2.0.0") && other.contains("version 1"), "{other}");
    let missing = refused(&Guest { exports: r#"(export "describe" (func $describe))"#, ..Guest::default() });
    assert!(missing.contains("no function render"), "{missing}");
    let wrong = refused(&Guest { describes: "u32", ..Guest::default() });
    assert!(wrong.contains("describe of another type"), "{wrong}");
}

#[test]
fn nothing_is_remembered_between_calls() {
    // It counts its calls, and traps at the second.
    let counting = Guest {
        items: "(global $n (mut i32) (i32.const 0))".into(),
        ..rendering("(if (global.get $n) (then unreachable)) (global.set $n (i32.const 1)) i32.const 32")
    };
    let module = load(&counting).expect("a preset");
    for _ in 0..3 {
        module.render_twice("{}", "{}").expect("an answer");
    }
}

#[test]
fn a_thousand_calls_at_once_and_one_preset_that_loops() {
    let engine = engine();
    let pool = Pool::new(engine.limits()).expect("a pool");
    let load = |guest: &Guest| Module::new(&engine, &guest.bytes()).expect("a preset");
    let (good, bad) = (load(&Guest::default()), load(&rendering("(loop $l (br $l)) unreachable")));
    let answers: Vec<_> = (0..1_000)
        .map(|number| {
            let loops = number % 100 == 0;
            let module = if loops { bad.clone() } else { good.clone() };
            let name = if loops { "bad".to_owned() } else { format!("good-{}", number % 100) };
            let call = move || module.render("{}", "{}");
            (loops, pool.call(&name, call).expect("a place"))
        })
        .collect();
    for (loops, answer) in answers {
        let (answers, answered) = channel();
        thread::spawn(move || answers.send(block_on(answer)));
        let outcome = answered.recv_timeout(Duration::from_mins(5)).expect("it is stuck");
        match outcome {
            Ok(answer) => assert!(!loops && answer.document.port == 8080),
            Err(error) => assert!(loops && matches!(error, CallError::OutOfFuel { .. }), "{error}"),
        }
    }
}
