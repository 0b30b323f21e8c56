//! What the operator would do with a preset: load it, render, and look at what comes of it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use ephemeron_preset_host::{
    cache::Cache,
    compile::Compiler,
    document::{Context, Rendered},
    engine::Engine,
    error::{CallError, Refusal},
    inspect::{self, Checks, Inspection},
    limits::Limits,
    loader::Loader,
    module::Module,
    policy::{Policy, Rules, security::Level},
};
use serde_json::{Map, Value};

/// What an installation would set.
#[derive(Debug, Args)]
pub struct Setting {
    /// The Pod Security level that the Pods have to keep to
    #[arg(long, value_enum, default_value_t = PodSecurity::Baseline)]
    pod_security: PodSecurity,

    #[command(flatten)]
    limits: Limits,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PodSecurity {
    Baseline,
    Restricted,
}

/// The operator's engine, compiler and policy.
pub struct Workshop {
    loader: Loader,
    policy: Policy,
}

/// What has come of a call, and what it took.
pub enum Answer {
    /// A template that the policy lets through.
    Rendered(Box<Rendered>, u64),
    /// The preset says no.
    Refused(Refusal),
    /// The preset, or what it renders, is not as it should be.
    Wrong(String),
}

impl Workshop {
    pub fn new(setting: &Setting) -> Result<Self> {
        let limits = setting.limits.clone();
        let engine = Engine::new(limits.clone())?;
        // Without a cache, what takes long to compile does so each time: nothing else is lost.
        let cache =
            folder().and_then(|folder| Cache::open(&folder, None, limits.cache, limits.compiled).ok());
        let level = match setting.pod_security {
            PodSecurity::Baseline => Level::Baseline,
            PodSecurity::Restricted => Level::Restricted,
        };
        let policy = Policy::new(Rules { level, ..Rules::default() })?;
        Ok(Self { loader: Loader::new(engine, Compiler::new(&limits), cache), policy })
    }

    pub fn load(&self, file: &Path) -> Result<Module> {
        let bytes = read(file)?;
        self.loader.load(&bytes).with_context(|| format!("{} is not a preset", file.display()))
    }

    /// Everything that is checked before a file is served.
    pub fn inspect(&self, file: &Path) -> Result<Inspection> {
        let bytes = read(file)?;
        let name = file.file_stem().and_then(|name| name.to_str());
        let context = Context::example();
        let accepts = |template: &Map<String, Value>| self.accepts(template);
        Ok(inspect::file(&self.loader, &bytes, &Checks { name, context: &context, accepts: &accepts }))
    }

    /// Renders twice, as it is done when a preset is loaded, and asks the policy.
    pub fn render(&self, module: &Module, parameters: &str, context: &str) -> Answer {
        match module.render_twice(parameters, context) {
            Ok(answer) => match self.accepts(&answer.document.template) {
                Ok(()) => Answer::Rendered(Box::new(answer.document), answer.fuel),
                Err(why) => Answer::Wrong(format!("the policy refuses it: {why}")),
            },
            Err(CallError::Refused(refusal)) => Answer::Refused(refusal),
            Err(error) => Answer::Wrong(error.to_string()),
        }
    }

    fn accepts(&self, template: &Map<String, Value>) -> Result<(), String> {
        self.policy.admit_rendered(template).map(drop).map_err(|violation| violation.to_string())
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// Where compiled presets are kept: a folder of this user.
fn folder() -> Option<PathBuf> {
    let own = || env::home_dir().map(|home| home.join(".cache"));
    let folder = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = folder.or_else(own)?;
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("ephemeron-presets"))
}
