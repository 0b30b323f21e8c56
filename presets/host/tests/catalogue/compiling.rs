//! Compilation in a child: what is made to break it, or to keep it busy, ends with it.

use std::{
    fmt::Write,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::channel,
    },
    thread,
    time::Duration,
};

use ephemeron_preset_host::{
    audit::Incompatible,
    catalogue::Change,
    compile::{CompileError, Compiled, Compiler},
    engine::Engine,
    limits::Limits,
    module::Module,
};
use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, Signal, kill_process},
};
use tempfile::TempDir;

use crate::{
    guest::Guest,
    shop::{LONG, Shop, folders, limits, named, preset, program_of, put},
};

crate::tests!(
    what_the_child_compiles_is_what_runs,
    what_is_no_component_is_told_as_the_compiler_tells_it,
    what_takes_too_much_memory_ends_with_the_child,
    what_takes_too_long_is_stopped,
    each_end_of_the_child_has_its_reason,
    the_child_keeps_nothing_open,
    a_bomb_beside_good_files_disturbs_nobody,
    one_that_is_written_again_and_again_keeps_nobody_waiting,
);

/// A small component of which the compiler makes something enormous: each of many nested loops hands on each of
/// many values, which are all changed in the innermost.
fn bomb() -> Vec<u8> {
    const MANY: usize = 3_000;
    let locals = "i32 ".repeat(MANY);
    let changes = (1..=MANY).fold(String::new(), |mut text, at| {
        write!(text, "local.get {at} local.get 0 i32.add local.set {at} ").expect("a string takes all");
        text
    });
    let (begin, end) = ("loop ".repeat(MANY), "local.get 1 br_if 0 end ".repeat(MANY));
    let items = format!("(func (param i32) (local {locals}) {begin} {changes} {end})");
    Guest { items, ..named("bomb", 1) }.bytes()
}

fn compile(limits: &Limits, bytes: &[u8]) -> Result<Compiled, CompileError> {
    Compiler::new(limits).compile(bytes)
}

fn error(limits: &Limits, bytes: &[u8]) -> CompileError {
    compile(limits, bytes).err().expect("it is not compiled")
}

/// A program that is run instead of the compiler.
fn script(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("program");
    program_of(&path, text);
    (folder, path)
}

fn what_the_child_compiles_is_what_runs() {
    let (limits, bytes) = (limits(), preset("web", 80));
    let engine = Engine::new(limits.clone()).expect("an engine");
    let compiled = compile(&limits, &bytes).expect("it is compiled");
    let (ours, childs) = (Module::new(&engine, &bytes), Module::load(&engine, &compiled));
    let render = |module: Result<Module, Incompatible>| {
        module.expect("a preset").render_twice("{}", "{}").expect("an answer")
    };
    // Byte for byte, and with the same fuel.
    assert_eq!(render(ours), render(childs));
    // Limits of calls are no matter for the code, but those of a component are checked when it is loaded.
    let small = Engine::new(Limits { memory: 1 << 15, ..limits }).expect("an engine");
    let refused = Module::load(&small, &compiled).err().expect("a refusal").to_string();
    assert!(refused.contains("memory"), "{refused}");
}

fn what_is_no_component_is_told_as_the_compiler_tells_it() {
    let good = preset("web", 80);
    for bytes in [&good[..good.len() / 2], b"\0asm\x0d\0\x01\0garbage"] {
        let child = error(&limits(), bytes).to_string();
        let engine = Engine::new(limits()).expect("an engine");
        let here = Module::new(&engine, bytes).err().expect("a refusal").to_string();
        assert_eq!(child, here);
    }
    // These do not get there.
    let nobody = Compiler::new(&limits()).by("/nowhere".into());
    for (bytes, says) in [(b"".as_slice(), "not WebAssembly"), (b"\0asm\x01\0\0\0", "core module")] {
        let error = nobody.compile(bytes).err().expect("a refusal").to_string();
        assert!(error.contains(says), "{error}");
    }
}

fn what_takes_too_much_memory_ends_with_the_child() {
    let limits = Limits { compile_memory: 400 << 20, ..limits() };
    assert!(compile(&limits, &preset("web", 80)).is_ok());
    let error = error(&limits, &bomb());
    assert!(matches!(error, CompileError::OutOfMemory(_)), "{error}");
}

fn what_takes_too_long_is_stopped() {
    let limits = Limits { compile_time: Duration::from_millis(300), ..limits() };
    let error = error(&limits, &bomb());
    assert!(matches!(error, CompileError::TimedOut(_)) && error.may_pass(), "{error}");
}

fn each_end_of_the_child_has_its_reason() {
    let ends = |text: &str, limits: &Limits| {
        let (_folder, path) = script(text);
        let outcome = Compiler::new(limits).by(path).compile(&preset("web", 80));
        outcome.err().expect("an error")
    };
    let limits = limits();
    let short = Limits { compile_time: Duration::from_millis(100), ..limits.clone() };
    let small = Limits { compiled: 1 << 20, ..limits.clone() };
    let says = |text: &str| ends(text, &limits).to_string();
    assert!(matches!(ends("exit 0", &limits), CompileError::NoCompiler));
    assert!(matches!(ends("echo something else", &limits), CompileError::NoCompiler));
    assert!(matches!(ends("kill -KILL $$", &limits), CompileError::Killed));
    assert!(matches!(ends("kill -XCPU $$", &limits), CompileError::TimedOut(_)));
    assert!(matches!(
        ends("echo memory allocation of 9 bytes failed >&2; kill -ABRT $$", &limits),
        CompileError::OutOfMemory(_)
    ));
    assert!(matches!(ends("exit 4", &limits), CompileError::OutOfMemory(_)));
    assert!(matches!(ends("exec sleep 1000", &short), CompileError::TimedOut(_)));
    assert!(matches!(ends("exec cat /dev/zero", &small), CompileError::TooLarge(_)));
    assert!(says("kill -SEGV $$").contains("signal: 11"));
    let words = says("printf 'bad\\033[31m' >&2; exit 101");
    assert!(words.contains("exit status: 101: bad\\u{1b}[31m"), "{words}");
    let loud = says("cat /dev/zero >&2");
    assert!(loud.len() < 10_000, "{} bytes", loud.len());
    assert!(says("echo it is bad >&2; exit 3").contains("cannot be used: it is bad"));
    let nobody = Compiler::new(&limits).by("/nowhere".into()).compile(&preset("web", 80));
    assert!(matches!(nobody, Err(CompileError::Start(_))));
    // It gets nothing of our environment.
    assert!(std::env::vars().any(|(name, _)| name == "HOME"));
    assert!(says("[ -z \"$HOME$CARGO\" ] || exit 3; exit 5").contains("exit status: 5"));
}

fn the_child_keeps_nothing_open() {
    let bomb = bomb();
    let (mut reader, writer) = io::pipe().expect("a pipe");
    // As a library would do that knows no better.
    fcntl_setfd(&writer, FdFlags::empty()).expect("a flag");
    let (told, thread) = channel();
    let compiling = thread::spawn(move || {
        let _ = told.send(fs::read_link("/proc/thread-self").expect("this thread"));
        // It goes on until it is killed.
        error(&Limits { compile_memory: 4 << 30, ..limits() }, &bomb)
    });
    let children = Path::new("/proc").join(thread.recv_timeout(LONG).expect("it runs")).join("children");
    let child = loop {
        let list = fs::read_to_string(&children).expect("its children");
        if let Some(child) = list.split_whitespace().next().and_then(|child| child.parse().ok()) {
            break Pid::from_raw(child).expect("a process");
        }
        thread::sleep(Duration::from_millis(1));
    };
    drop(writer);
    let (told, closed) = channel();
    thread::spawn(move || {
        let _ = told.send(reader.read(&mut [0]).expect("the pipe's end"));
    });
    // With the pipe open, the child would keep it for minutes.
    let closed = closed.recv_timeout(Duration::from_mins(1));
    kill_process(child, Signal::KILL).expect("it still runs");
    assert!(closed.is_ok(), "the pipe is open in the child");
    let error = compiling.join().expect("it ends");
    assert!(matches!(error, CompileError::Killed), "{error}");
}

fn a_bomb_beside_good_files_disturbs_nobody() {
    let [folder] = folders();
    put(folder.path(), "bomb", &bomb());
    for name in ["a", "z"] {
        put(folder.path(), name, &preset(name, 1));
    }
    let shop = Shop::with([folder], |options| {
        options.limits = Limits { compile_memory: 400 << 20, ..limits() };
    });
    // The smaller ones are first.
    assert_eq!((shop.served("a", 1), shop.served("z", 1)), ((), ()));
    let (reason, _) = shop.failed("bomb");
    assert!(reason.contains("its compilation"), "{reason}");
    assert_eq!((shop.port("a"), shop.port("z")), (1, 1));
    put(shop.folder(0), "bomb", &preset("bomb", 2));
    shop.served("bomb", 2);
}

fn one_that_is_written_again_and_again_keeps_nobody_waiting() {
    let [folder] = folders();
    let place = folder.path().to_owned();
    put(&place, "small", &preset("small", 1));
    let items = format!(r#"(data (i32.const 32768) "{}")"#, "x".repeat(10_000));
    put(&place, "large", &Guest { items, ..named("large", 1) }.bytes());
    let (told, served) = channel();
    let over = AtomicBool::new(false);
    let _shop = Shop::with([folder], |options| {
        // On the keeper's own thread: it is written before the next file is chosen.
        options.on_change = Box::new(move |change| match change {
            // The folder may be gone by then.
            _ if over.load(Ordering::Relaxed) => {}
            Change::Served { name, version, .. } if name == "small" => {
                let next = version.parse::<u16>().expect("a number").wrapping_add(1).max(1);
                put(&place, "small", &preset("small", next));
            }
            Change::Served { .. } => {
                over.store(true, Ordering::Relaxed);
                told.send(()).expect("somebody waits");
            }
            other => panic!("{other}"),
        });
    });
    served.recv_timeout(LONG).expect("the larger one is never compiled");
}
