//! Everything a preset may use, with its default.

use std::time::Duration;

/// What one preset, and one call of it, may use. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest file that is looked at. Default: 32 MiB, enough for a JavaScript or Python runtime.
    pub file: usize,
    /// WebAssembly fuel per call, instantiation included: about one unit per instruction, the same on every
    /// machine. Default: 50 million, some 75 ms of a tight loop.
    pub fuel: u64,
    /// The longest that a call runs, for what costs time but little fuel. Default: 250 ms.
    pub time: Duration,
    /// Linear memory. Default: 64 MiB.
    pub memory: usize,
    /// Elements of a table. Default: 20,000.
    pub table_elements: usize,
    /// Tables of a component. Default: 8.
    pub tables: u32,
    /// Core instances of a component. Default: 8.
    pub core_instances: u32,
    /// The stack of the WebAssembly code. Default: 512 KiB.
    pub stack: usize,
    /// The parameters and the context, each. Default: 256 KiB.
    pub input: usize,
    /// What a call may hand back, as the host counts it. Default: 1 MiB.
    pub output: usize,
    /// Handles of resources and tasks in a call. Default: 16.
    pub handles: usize,
    /// How deep objects and arrays of a document are nested. Default: 64; at most 120 has an effect.
    pub depth: usize,
    /// How many calls run at once, in all. Default: 4.
    pub calls: u32,
    /// How many calls of one preset wait. Default: 1,024.
    pub waiting_per_preset: usize,
    /// How many calls wait in all. Default: 8,192.
    pub waiting: usize,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            file: 32 * MIB,
            fuel: 50_000_000,
            time: Duration::from_millis(250),
            memory: 64 * MIB,
            table_elements: 20_000,
            tables: 8,
            core_instances: 8,
            stack: MIB / 2,
            input: MIB / 4,
            output: MIB,
            handles: 16,
            depth: 64,
            calls: 4,
            waiting_per_preset: 1_024,
            waiting: 8_192,
        }
    }
}
