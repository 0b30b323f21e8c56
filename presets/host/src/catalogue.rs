//! Folders of presets: what lies in them is found, checked and served by its name, and replaced while it is
//! served. A bad file never takes a good one's place.

mod change;
mod file;
mod files;
mod keeper;
mod rendering;
mod shelf;
mod watch;

use std::{
    fmt, io,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::{Map, Value};
use thiserror::Error;

use crate::{
    cache::{Cache, CacheError, Key},
    compile::Compiler,
    digest::Digest,
    document::{Context, Description, Rendered, is_deeper},
    engine::{Engine, EngineError},
    error::{CallError, Issue, Refusal},
    limits::Limits,
    loader::Loader,
    module::{Answer, Module},
    pool::{Pending, Pool},
};
pub use change::Change;
use keeper::Keeper;
pub use rendering::{RenderError, Rendering};
use shelf::Shelf;
pub use shelf::{Absent, Entry, State, Trouble};
use watch::Watch;

/// Says what in a rendered template is against the policy.
pub type Accepts = Box<dyn Fn(&Map<String, Value>) -> Result<(), String> + Send + Sync>;
/// Is told what becomes of files.
pub type OnChange = Box<dyn Fn(&Change) + Send + Sync>;

/// How a catalogue is kept.
pub struct Options {
    /// The folders; of two presets with one name, that of the earlier folder is served.
    pub folders: Vec<PathBuf>,
    /// What presets may use.
    pub limits: Limits,
    /// The folder of compiled presets; without one, each start compiles them all.
    pub cache: Option<PathBuf>,
    /// What compiled presets are signed with; without one, a key that lies in their folder.
    pub key: Option<Key>,
    /// Which program compiles; without one, this very one. See [`crate::compile::child_main`].
    pub compiler: Option<PathBuf>,
    /// What examples are rendered with.
    pub context: Context,
    /// The policy that what comes of examples is checked against.
    pub accepts: Accepts,
    /// Called on the catalogue's thread, after what has changed is served.
    pub on_change: OnChange,
}

/// Why there is no catalogue.
#[derive(Debug, Error)]
pub enum OpenError {
    /// WebAssembly cannot be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Compiled presets cannot be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// There are no threads left.
    #[error("no thread can be started for presets")]
    Threads(#[source] io::Error),
}

/// A preset that is served.
pub struct Preset {
    /// The name it is asked for by.
    pub name: String,
    /// The folder it was found in.
    pub folder: PathBuf,
    /// Which file it is.
    pub digest: Digest,
    /// What it says of itself.
    pub description: Description,
    module: Module,
}

impl fmt::Debug for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Preset({} of {}, {})", self.name, self.folder.display(), self.digest)
    }
}

/// What is served, and whether all was looked at once.
#[derive(Default)]
struct Served {
    shelf: Arc<Shelf>,
    settled: bool,
}

/// What the catalogue and its thread share.
#[derive(Default)]
struct Shared {
    served: Mutex<Served>,
    changed: Condvar,
}

impl Shared {
    fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.served.lock().unwrap_or_else(PoisonError::into_inner).shelf)
    }

    /// Serves this from now on. Gives what was served until now.
    fn serve(&self, next: Arc<Shelf>) -> Arc<Shelf> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut served.shelf, next)
    }

    fn settle(&self) {
        self.served.lock().unwrap_or_else(PoisonError::into_inner).settled = true;
        self.changed.notify_all();
    }
}

/// The presets of some folders. A thread of its own keeps it; dropping it ends the thread.
pub struct Catalogue {
    limits: Limits,
    shared: Arc<Shared>,
    pool: Pool,
    /// Its end wakes the thread.
    _wake: UnixStream,
}

impl Catalogue {
    /// Begins to look at the folders. Does not wait until that is done: see [`Catalogue::settled`].
    ///
    /// # Errors
    /// When there is no engine, the cache's folder is not private, or no thread can be started. What is wrong
    /// with the folders of presets is told as [`Change`]s.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let limits = options.limits.clone();
        let engine = Engine::new(limits.clone())?;
        let cache = options.cache.as_deref();
        let cache =
            cache.map(|folder| Cache::open(folder, options.key.clone(), limits.cache, limits.compiled));
        let compiler = Compiler::new(&limits);
        let compiler = match &options.compiler {
            Some(program) => compiler.by(program.clone()),
            None => compiler,
        };
        let loader = Loader::new(engine, compiler, cache.transpose()?);
        let pool = Pool::new(&limits).map_err(OpenError::Threads)?;
        let shared = Arc::new(Shared::default());
        let (wake, end) = UnixStream::pair().map_err(OpenError::Threads)?;
        let keeper = Keeper::new(options, loader, Watch::new(end), Arc::clone(&shared));
        let thread = thread::Builder::new().name("preset-keeper".into());
        thread.spawn(move || keeper.keep()).map_err(OpenError::Threads)?;
        Ok(Self { limits, shared, pool, _wake: wake })
    }

    /// Whether every file was looked at since the start.
    pub fn settled(&self) -> bool {
        self.shared.served.lock().unwrap_or_else(PoisonError::into_inner).settled
    }

    /// Waits until every file was looked at, or for this long. Blocks the thread.
    pub fn settled_within(&self, time: Duration) -> bool {
        let served = self.shared.served.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.changed.wait_timeout_while(served, time, |served| !served.settled);
        waited.unwrap_or_else(PoisonError::into_inner).0.settled
    }

    /// All files, by name and in the order of the folders.
    pub fn list(&self) -> Vec<Entry> {
        self.shared.shelf().entries().to_vec()
    }

    /// What is wrong with the folders themselves.
    pub fn troubles(&self) -> Vec<(PathBuf, String)> {
        self.shared.shelf().troubles().to_vec()
    }

    /// What is wrong with the file that would be served under this name if it were good.
    pub fn trouble(&self, name: &str) -> Option<Trouble> {
        self.shared.shelf().trouble(name)
    }

    /// The preset of this name.
    ///
    /// # Errors
    /// Why there is none to call.
    pub fn get(&self, name: &str) -> Result<Arc<Preset>, Absent> {
        // What is on the shelf at the moment at which it is, or is not, settled.
        let (now, is_whole) = {
            let served = self.shared.served.lock().unwrap_or_else(PoisonError::into_inner);
            (Arc::clone(&served.shelf), served.settled)
        };
        now.get(name, is_whole)
    }

    /// Has the preset of this name render, when it is its turn. Parameters that are `null` are none. The future
    /// runs on any runtime; the preset that is served now is called, whatever becomes of its file.
    ///
    /// # Errors
    /// The future's: see [`RenderError`].
    pub fn render(
        &self,
        name: &str,
        parameters: &Value,
        context: &Context,
    ) -> impl Future<Output = Result<Rendering, RenderError>> + Send + use<> {
        let begun = self.begin(name, parameters, context);
        async move {
            let (preset, pending) = begun?;
            let answer = pending.await?;
            Ok(Rendering::new(&preset, answer))
        }
    }

    fn begin(
        &self,
        name: &str,
        parameters: &Value,
        context: &Context,
    ) -> Result<(Arc<Preset>, Pending<Answer<Rendered>>), RenderError> {
        let preset = self.get(name)?;
        if is_deeper(parameters, self.limits.depth) {
            return Err(CallError::TooDeep(self.limits.depth).into());
        }
        let parameters = match parameters {
            Value::Null => "{}".to_owned(),
            Value::Object(_) => parameters.to_string(),
            _ => return Err(CallError::from(no_object()).into()),
        };
        let (module, context) = (preset.module.clone(), context.text());
        // Looked at before they wait: what waits is bounded.
        module.fits(&parameters, &context)?;
        let pending = self.pool.call(name, move || module.render(&parameters, &context))?;
        Ok((preset, pending))
    }
}

fn no_object() -> Refusal {
    Refusal::InvalidParameters(vec![Issue {
        pointer: String::new(),
        code: "type".into(),
        message: "parameters are a JSON object".into(),
    }])
}
