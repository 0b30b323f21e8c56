//! From a file's bytes to a preset that can be called: out of the cache, or compiled.

use std::sync::{Mutex, PoisonError};

use crate::{
    audit,
    cache::{Cache, Found, Which},
    compile::{CompileError, Compiler},
    digest::{Digest, Print},
    engine::Engine,
    module::Module,
};

/// More remarks are not kept.
const REMARKS: usize = 64;

/// Loads presets.
pub struct Loader {
    engine: Engine,
    made_for: Digest,
    compiler: Compiler,
    cache: Option<Cache>,
    remarks: Mutex<Vec<String>>,
}

impl Loader {
    /// One for this engine; without a cache, each preset is compiled whenever it is loaded.
    #[must_use]
    pub fn new(engine: Engine, compiler: Compiler, cache: Option<Cache>) -> Self {
        let made_for = engine.made_for();
        Self { engine, made_for, compiler, cache, remarks: Mutex::default() }
    }

    /// The engine that presets are loaded into.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the cache has of a file.
    ///
    /// # Errors
    /// When the file is not a preset that this program can call.
    pub fn cached(&self, bytes: &[u8]) -> Result<Option<Module>, CompileError> {
        self.cached_as(&Print::of(bytes))
    }

    /// As [`Loader::cached`], of a file of which no more is known.
    pub(crate) fn cached_as(&self, print: &Print) -> Result<Option<Module>, CompileError> {
        audit::looks_right(&print.begins, print.size, self.engine.limits().file)?;
        match self.cache.as_ref().map(|cache| cache.find(&self.which(print.digest))) {
            Some(Found::Entry(compiled)) => Ok(Some(Module::load(&self.engine, &compiled)?)),
            Some(Found::Refused(why)) => {
                self.remark(why);
                Ok(None)
            }
            Some(Found::Nothing) | None => Ok(None),
        }
    }

    /// Loads a file: out of the cache, else it is compiled, which takes seconds for some.
    ///
    /// # Errors
    /// When it cannot be compiled, or is not a preset that this program can call.
    pub fn load(&self, bytes: &[u8]) -> Result<Module, CompileError> {
        self.load_as(bytes, &Print::of(bytes))
    }

    /// As [`Loader::load`], of a file whose digest is known: that of a large one takes its time.
    pub(crate) fn load_as(&self, bytes: &[u8], print: &Print) -> Result<Module, CompileError> {
        if let Some(module) = self.cached_as(print)? {
            return Ok(module);
        }
        let compiled = self.compiler.compile(bytes)?;
        if let Some(Err(error)) =
            self.cache.as_ref().map(|cache| cache.keep(&self.which(print.digest), &compiled))
        {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            self.remark(format!("{error}{}", source.unwrap_or_default()));
        }
        Ok(Module::load(&self.engine, &compiled)?)
    }

    /// What there is to say of the cache since this was last asked.
    pub fn remarks(&self) -> Vec<String> {
        std::mem::take(&mut self.remarks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn which(&self, file: Digest) -> Which {
        Which { file, made_for: self.made_for }
    }

    fn remark(&self, text: String) {
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        if remarks.len() < REMARKS {
            remarks.push(text);
        }
    }
}
