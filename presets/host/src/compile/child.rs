//! The child: it confines itself, then compiles what it reads.

use std::{
    env, fs,
    io::{self, Read, Write},
    process::ExitCode,
};

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::{ARGUMENT, MAGIC, OUT_OF_MEMORY, REFUSED};
use crate::engine;

/// Why nothing was compiled: the exit code, and the words.
struct Failure(u8, String);

impl Failure {
    fn new(what: &str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self(1, format!("{what}: {error}"))
    }
}

/// Whether this process is such a child.
#[must_use]
pub fn is_child() -> bool {
    env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT)
}

/// What `main` of each program that compiles presets calls before anything else: in a child of
/// [`super::Compiler`], it compiles, and `main` returns the code.
///
/// ```
/// use std::process::ExitCode;
///
/// fn main() -> ExitCode {
///     if let Some(code) = ephemeron_preset_host::compile::child_main() {
///         return code;
///     }
///     ExitCode::SUCCESS
/// }
/// ```
#[must_use]
pub fn child_main() -> Option<ExitCode> {
    is_child().then(|| match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(code, words)) => {
            eprintln!("{words}");
            ExitCode::from(code)
        }
    })
}

fn run() -> Result<(), Failure> {
    let number = |at| env::args().nth(at).and_then(|text| text.parse().ok());
    let (Some(memory), Some(seconds)) = (number(2), number(3)) else {
        return Err(Failure(2, format!("{ARGUMENT} is called by this program itself")));
    };
    confine(memory, seconds).map_err(Failure::new("the limits cannot be set"))?;
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(Failure::new("the file cannot be read"))?;
    let compiled = compile(&bytes).map_err(|error| {
        let is_memory = error.is::<wasmtime::OutOfMemory>();
        Failure(if is_memory { OUT_OF_MEMORY } else { REFUSED }, format!("{error:#}"))
    })?;
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(MAGIC).and_then(|()| stdout.write_all(&compiled));
    written.and_then(|()| stdout.flush()).map_err(Failure::new("the outcome cannot be handed over"))
}

/// Takes from this process what it does not need.
fn confine(memory: u64, seconds: u64) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in open {
        // The one of the folder itself is closed already.
        let _ = nix::unistd::close(number);
    }
    for (resource, most) in [(Resource::As, memory), (Resource::Core, 0), (Resource::Cpu, seconds)] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

fn compile(bytes: &[u8]) -> wasmtime::Result<Vec<u8>> {
    // What runs code takes address space, and none of it is needed here.
    wasmtime::Engine::new(&engine::code())?.precompile_component(bytes)
}
