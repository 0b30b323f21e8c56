//! Compilation in a child process with limits of its own: a file that is made to break the compiler, or to
//! keep it busy, takes nothing along.

mod child;

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    audit::{self, Incompatible},
    error::printable,
    limits::Limits,
};
pub use child::{child_main, is_child};

/// The first argument of the child.
const ARGUMENT: &str = "compile-preset";
/// What the child's answer begins with.
const MAGIC: &[u8] = b"ephemeron-aot-1\n";
/// The child's exit codes: the file is not what it should be; there was not enough memory.
const REFUSED: u8 = 3;
const OUT_OF_MEMORY: u8 = 4;
/// More is not read of what the child says went wrong, in bytes.
const WORDS: u64 = 4_096;
/// On more threads than this, a compilation does not get faster, but larger.
const THREADS: usize = 4;

/// Code for this machine, as the compiler has made it. Only this program makes it: see [`Compiler`] and
/// [`crate::cache`], which has checked that an entry was written by it.
pub struct Compiled(Code);

/// Where code is.
pub(crate) enum Code {
    /// In memory, from there on: copying it takes its time.
    Memory(Vec<u8>, usize),
    /// In a file that nobody can change: see [`crate::cache`].
    Sealed(File),
}

impl Compiled {
    /// The code that begins there.
    pub(crate) fn trusted(bytes: Vec<u8>, from: usize) -> Self {
        Self(Code::Memory(bytes, from))
    }

    /// The code that is in a sealed file.
    pub(crate) fn sealed(file: File) -> Self {
        Self(Code::Sealed(file))
    }

    pub(crate) fn code(&self) -> &Code {
        &self.0
    }

    /// The code where it is in memory.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match &self.0 {
            Code::Memory(bytes, from) => bytes.get(*from..),
            Code::Sealed(_) => None,
        }
    }
}

/// Why nothing was compiled.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The file is not what it should be.
    #[error(transparent)]
    Incompatible(#[from] Incompatible),
    /// There is no child.
    #[error("the process that compiles presets cannot be started")]
    Start(#[source] io::Error),
    /// The child has taken too long.
    #[error(
        "its compilation has not ended within {0:?}: it may be made to keep the compiler busy, or this machine is too busy"
    )]
    TimedOut(Duration),
    /// The child wants more memory than it may have.
    #[error("its compilation takes more than the {0} bytes of memory that it may")]
    OutOfMemory(usize),
    /// What has come of it is larger than it may be.
    #[error("what it is compiled to is larger than the {0} bytes that it may be")]
    TooLarge(usize),
    /// The child was killed from outside.
    #[error("its compilation was killed: the machine, or this container, may be out of memory")]
    Killed,
    /// The compiler has crashed.
    #[error("the compiler has crashed: {0}")]
    Crashed(String),
    /// The child was not the compiler.
    #[error(
        "the process that was to compile has not done it: a program calls compile::child_main before all else"
    )]
    NoCompiler,
}

impl CompileError {
    /// Whether the same file may well be compiled another time.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Start(_) | Self::TimedOut(_) | Self::Killed)
    }
}

/// Compiles files, one at a time.
pub struct Compiler {
    program: PathBuf,
    file: usize,
    memory: usize,
    time: Duration,
    compiled: usize,
    turn: Mutex<()>,
}

impl Compiler {
    /// One that has this very program compile, within these limits.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            program: "/proc/self/exe".into(),
            file: limits.file,
            memory: limits.compile_memory,
            time: limits.compile_time,
            compiled: limits.compiled,
            turn: Mutex::new(()),
        }
    }

    /// Has another program compile, whose `main` calls [`child_main`], too.
    #[must_use]
    pub fn by(self, program: PathBuf) -> Self {
        Self { program, ..self }
    }

    /// Compiles a component. Blocks the thread until the child has ended, which it does with its time limit.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub fn compile(&self, bytes: &[u8]) -> Result<Compiled, CompileError> {
        audit::first_look(bytes, self.file)?;
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let child = self.start().map_err(CompileError::Start)?;
        let (status, answer, words) = self.attend(child, bytes).map_err(CompileError::Start)?;
        let Some(status) = status else { return Err(CompileError::TimedOut(self.time)) };
        // One that cannot hand over what it has made fails, too.
        if answer.len() > MAGIC.len() + self.compiled {
            return Err(CompileError::TooLarge(self.compiled));
        }
        self.judge(status, answer, &String::from_utf8_lossy(&words))
    }

    fn start(&self) -> io::Result<Child> {
        if is_child() {
            return Err(io::Error::other("a child that compiles starts none itself"));
        }
        let threads = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        // Of all threads together: only what the parent has not stopped in time gets there.
        let seconds = (self.time.as_secs() + 1).saturating_mul(threads as u64);
        Command::new(&self.program)
            .arg(ARGUMENT)
            .arg(self.memory.to_string())
            .arg(seconds.to_string())
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            // Each of the allocator's arenas takes address space, which is what is limited.
            .env("MALLOC_ARENA_MAX", "2")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Hands the file over, and takes what comes. There is no status where the time was up.
    fn attend(&self, mut child: Child, bytes: &[u8]) -> io::Result<(Option<ExitStatus>, Vec<u8>, Vec<u8>)> {
        let ends = Instant::now() + self.time;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let most = (MAGIC.len() + self.compiled) as u64 + 1;
        thread::scope(|scope| {
            // However this ends, the child ends with it, and so do the threads at its pipes.
            let mut running = Running(child);
            let (said, answered) = mpsc::channel();
            let thread = |name: &str| thread::Builder::new().name(name.to_owned());
            thread("preset-to").spawn_scoped(scope, move || {
                // A child that does not want all of it says why.
                stdin.map(|mut stdin| stdin.write_all(bytes))
            })?;
            let answer = thread("preset-from").spawn_scoped(scope, move || {
                let answer = read(stdout, most);
                let _ = said.send(());
                answer
            })?;
            let words = thread("preset-words").spawn_scoped(scope, move || read(stderr, WORDS))?;
            let _ = answered.recv_timeout(self.time);
            let status = running.wait(ends)?;
            drop(running);
            Ok((status, answer.join().unwrap_or_default(), words.join().unwrap_or_default()))
        })
    }

    fn judge(&self, status: ExitStatus, answer: Vec<u8>, words: &str) -> Result<Compiled, CompileError> {
        if status.success() {
            if !answer.starts_with(MAGIC) {
                return Err(CompileError::NoCompiler);
            }
            return Ok(Compiled::trusted(answer, MAGIC.len()));
        }
        let words = printable(words.trim());
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        match (code, status.signal()) {
            (Some(REFUSED), _) => Err(Incompatible::Unusable(words).into()),
            (Some(OUT_OF_MEMORY), _) => Err(CompileError::OutOfMemory(self.memory)),
            // The words of the standard library where an allocation fails.
            _ if words.contains("memory allocation of") => Err(CompileError::OutOfMemory(self.memory)),
            (_, Some(XCPU)) => Err(CompileError::TimedOut(self.time)),
            (_, Some(KILL)) => Err(CompileError::Killed),
            _ => Err(CompileError::Crashed(format!("{status}: {words}"))),
        }
    }
}

const XCPU: i32 = rustix::process::Signal::XCPU.as_raw();
const KILL: i32 = rustix::process::Signal::KILL.as_raw();

/// A child that is stopped when this is dropped, if it still runs.
struct Running(Child);

impl Running {
    /// How it ends, if it does until then.
    fn wait(&mut self, ends: Instant) -> io::Result<Option<ExitStatus>> {
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            let left = ends.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of one that has ended and was waited for, the library keeps the status.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What comes, up to this many bytes; nothing where the pipe breaks.
fn read(pipe: Option<impl Read>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let _ = pipe.take(most).read_to_end(&mut bytes);
    }
    bytes
}
