//! WebAssembly set up for presets, and the thread that stops what takes too long.

use std::{
    hash::{Hash, Hasher},
    io,
    sync::{Condvar, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use thiserror::Error;
use wasmtime::{
    Config, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig, ResourceLimiter, Store,
    StoreLimits, StoreLimitsBuilder,
};

use crate::{digest::Digest, limits::Limits};

/// How often running calls are looked at.
const TICK: Duration = Duration::from_millis(10);

/// Why there is no engine.
#[derive(Debug, Error)]
pub enum EngineError {
    /// WebAssembly cannot be set up with these limits.
    #[error("the engine for presets cannot be set up with these limits: {0:#}")]
    Config(wasmtime::Error),
    /// The thread that stops what takes too long cannot be started.
    #[error("no thread can be started to watch over presets")]
    Watch(#[source] io::Error),
}

/// WebAssembly with the limits of one installation. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: wasmtime::Engine,
    pub(crate) limits: Limits,
}

impl Engine {
    /// Sets up WebAssembly within these limits.
    ///
    /// # Errors
    /// When limits contradict each other, the pool's address space is not to be had, or no thread can be
    /// started.
    pub fn new(limits: Limits) -> Result<Self, EngineError> {
        let inner = wasmtime::Engine::new(&config(&limits)).map_err(EngineError::Config)?;
        watch(inner.weak()).map_err(EngineError::Watch)?;
        Ok(Self { inner, limits })
    }

    /// The limits that hold.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What code must have been made for to run here: it differs between versions of the engine, and between
    /// processors where that matters.
    pub(crate) fn made_for(&self) -> Digest {
        let mut bytes = Bytes(Vec::new());
        self.inner.precompile_compatibility_hash().hash(&mut bytes);
        Digest::of(&bytes.0)
    }

    /// A store for one call, with all that the call may use.
    pub(crate) fn store(&self) -> wasmtime::Result<Store<Usage>> {
        let limits = &self.limits;
        let mut store = Store::new(&self.inner, Usage::new(limits));
        store.limiter(|usage| usage);
        store.set_fuel(limits.fuel)?;
        store.set_hostcall_fuel(limits.output);
        store.set_max_component_handles(limits.handles);
        let ticks = limits.time.as_millis().div_ceil(TICK.as_millis()).max(1);
        store.set_epoch_deadline(u64::try_from(ticks).unwrap_or(u64::MAX >> 1));
        store.epoch_deadline_trap();
        Ok(store)
    }
}

fn config(limits: &Limits) -> Config {
    // One more than calls: a file that is new is tried beside them.
    let at_once = limits.calls.saturating_add(1);
    let mut pool = PoolingAllocationConfig::new();
    pool.max_memory_size(limits.memory)
        .table_elements(limits.table_elements)
        .max_memories_per_component(1)
        .max_tables_per_component(limits.tables)
        .max_core_instances_per_component(limits.core_instances)
        .total_component_instances(at_once)
        .total_core_instances(at_once.saturating_mul(limits.core_instances))
        .total_memories(at_once)
        .total_tables(at_once.saturating_mul(limits.tables))
        // A table's first page is cleared in place: what a call has written there is a few pointers.
        .table_keep_resident(4096);
    let mut config = code();
    config
        .max_wasm_stack(limits.stack)
        .coredump_on_trap(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// What code is made for: the same where it is compiled and where it runs.
pub(crate) fn code() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        // Without it, the bits of a NaN differ from machine to machine.
        .cranelift_nan_canonicalization(true)
        // Neither is looked at here, and both make code larger, which is read and proved at each start.
        .generate_address_map(false)
        .native_unwind_info(false)
        .memory_init_cow(true);
    config
}

/// Collects what is hashed.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// What one call has asked for.
pub(crate) struct Usage {
    limits: StoreLimits,
    /// More memory or table than it may have was asked for.
    pub(crate) exceeded: bool,
}

impl Usage {
    fn new(limits: &Limits) -> Self {
        let bounds = StoreLimitsBuilder::new()
            .memory_size(limits.memory)
            .table_elements(limits.table_elements)
            .trap_on_grow_failure(true)
            .build();
        Self { limits: bounds, exceeded: false }
    }

    fn noted<T>(&mut self, outcome: wasmtime::Result<T>) -> wasmtime::Result<T> {
        self.exceeded |= outcome.is_err();
        outcome
    }
}

impl ResourceLimiter for Usage {
    fn memory_growing(&mut self, now: usize, then: usize, most: Option<usize>) -> wasmtime::Result<bool> {
        let outcome = self.limits.memory_growing(now, then, most);
        self.noted(outcome)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        let outcome = self.limits.memory_grow_failed(error);
        self.noted(outcome)
    }

    fn table_growing(&mut self, now: usize, then: usize, most: Option<usize>) -> wasmtime::Result<bool> {
        let outcome = self.limits.table_growing(now, then, most);
        self.noted(outcome)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        let outcome = self.limits.table_grow_failed(error);
        self.noted(outcome)
    }
}

/// What the watching thread knows: the engines, and how many calls run. It sleeps while none does.
#[derive(Default)]
struct Watched {
    engines: Vec<EngineWeak>,
    running: usize,
}

static WATCHED: Mutex<Watched> = Mutex::new(Watched { engines: Vec::new(), running: 0 });
static BEGUN: Condvar = Condvar::new();

/// A call that runs: as long as there is one, time passes for the engines.
pub(crate) struct Running(());

impl Running {
    pub(crate) fn new() -> Self {
        let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        watched.running += 1;
        if watched.running == 1 {
            BEGUN.notify_one();
        }
        Self(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        WATCHED.lock().unwrap_or_else(PoisonError::into_inner).running -= 1;
    }
}

/// Has the one thread of this process watch over the calls of this engine, too.
fn watch(engine: EngineWeak) -> io::Result<()> {
    static STARTED: OnceLock<()> = OnceLock::new();
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    watched.engines.push(engine);
    if STARTED.get().is_none() {
        std::thread::Builder::new().name("preset-watch".to_owned()).spawn(tick)?;
        let _ = STARTED.set(());
    }
    Ok(())
}

fn tick() {
    loop {
        let watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
        let mut watched =
            BEGUN.wait_while(watched, |watched| watched.running == 0).unwrap_or_else(PoisonError::into_inner);
        watched.engines.retain(|engine| {
            engine.upgrade().is_some_and(|engine| {
                engine.increment_epoch();
                true
            })
        });
        drop(watched);
        std::thread::sleep(TICK);
    }
}
