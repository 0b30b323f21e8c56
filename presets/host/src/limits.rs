//! Everything a preset may use, with its default.

mod amount;

use std::time::Duration;

use clap::Args;

use amount::{bytes, count, duration};

/// What presets may use: in a call, as files, when they are compiled. Sizes are in bytes, written as
/// Kubernetes' quantities (`64Mi`); durations are written as `60s` or `250ms`.
///
/// A program takes them in with `#[command(flatten)]`: each is a flag and a variable.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "What presets may use")]
pub struct Limits {
    /// The largest file of a preset; a JavaScript or Python runtime takes 12 to 20 MiB
    #[arg(id = "preset-file", long, env = "EPHEMERON_PRESET_FILE", value_name = "SIZE", value_parser = bytes, default_value = "32Mi")]
    pub file: usize,

    /// How many files are presets, in all folders
    #[arg(id = "preset-files", long, env = "EPHEMERON_PRESET_FILES", value_name = "NUMBER", value_parser = count, default_value = "4096")]
    pub files: usize,

    /// The WebAssembly fuel of a call: about one unit per instruction, the same on every machine; the
    /// default is some 75 ms of a tight loop
    #[arg(id = "preset-fuel", long, env = "EPHEMERON_PRESET_FUEL", value_name = "UNITS", value_parser = clap::value_parser!(u64).range(1..=1 << 60), default_value = "50000000")]
    pub fuel: u64,

    /// The longest that a call runs, for what costs time but little fuel
    #[arg(id = "preset-time", long, env = "EPHEMERON_PRESET_TIME", value_name = "DURATION", value_parser = duration, default_value = "250ms")]
    pub time: Duration,

    /// The linear memory of a call
    #[arg(id = "preset-memory", long, env = "EPHEMERON_PRESET_MEMORY", value_name = "SIZE", value_parser = bytes, default_value = "64Mi")]
    pub memory: usize,

    /// Elements of a table
    #[arg(id = "preset-table-elements", long, env = "EPHEMERON_PRESET_TABLE_ELEMENTS", value_name = "NUMBER", value_parser = count, default_value = "20000")]
    pub table_elements: usize,

    /// Tables of a preset
    #[arg(id = "preset-tables", long, env = "EPHEMERON_PRESET_TABLES", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000), default_value = "8")]
    pub tables: u32,

    /// Core instances of a preset; a Python runtime has 38
    #[arg(id = "preset-core-instances", long, env = "EPHEMERON_PRESET_CORE_INSTANCES", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=1_000), default_value = "48")]
    pub core_instances: u32,

    /// The stack of the WebAssembly code
    #[arg(id = "preset-stack", long, env = "EPHEMERON_PRESET_STACK", value_name = "SIZE", value_parser = bytes, default_value = "512Ki")]
    pub stack: usize,

    /// The parameters and the context, each
    #[arg(id = "preset-input", long, env = "EPHEMERON_PRESET_INPUT", value_name = "SIZE", value_parser = bytes, default_value = "256Ki")]
    pub input: usize,

    /// What a call may hand back, as the host counts it
    #[arg(id = "preset-output", long, env = "EPHEMERON_PRESET_OUTPUT", value_name = "SIZE", value_parser = bytes, default_value = "1Mi")]
    pub output: usize,

    /// Handles of resources and tasks in a call
    #[arg(id = "preset-handles", long, env = "EPHEMERON_PRESET_HANDLES", value_name = "NUMBER", value_parser = count, default_value = "16")]
    pub handles: usize,

    /// How deep objects and arrays of a document are nested; more than 120 has no effect
    #[arg(id = "preset-depth", long, env = "EPHEMERON_PRESET_DEPTH", value_name = "NUMBER", value_parser = count, default_value = "64")]
    pub depth: usize,

    /// How many calls run at once, in all
    #[arg(id = "preset-calls", long, env = "EPHEMERON_PRESET_CALLS", value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=256), default_value = "4")]
    pub calls: u32,

    /// How many calls of one preset wait
    #[arg(id = "preset-waiting-each", long, env = "EPHEMERON_PRESET_WAITING_EACH", value_name = "NUMBER", value_parser = count, default_value = "1024")]
    pub waiting_per_preset: usize,

    /// How many calls wait in all
    #[arg(id = "preset-waiting", long, env = "EPHEMERON_PRESET_WAITING", value_name = "NUMBER", value_parser = count, default_value = "8192")]
    pub waiting: usize,

    /// The address space of the process that compiles a preset
    #[arg(id = "preset-compile-memory", long, env = "EPHEMERON_PRESET_COMPILE_MEMORY", value_name = "SIZE", value_parser = bytes, default_value = "1536Mi")]
    pub compile_memory: usize,

    /// The longest that the compilation of a preset takes
    #[arg(id = "preset-compile-time", long, env = "EPHEMERON_PRESET_COMPILE_TIME", value_name = "DURATION", value_parser = duration, default_value = "60s")]
    pub compile_time: Duration,

    /// What a preset may be when it is compiled
    #[arg(id = "preset-compiled", long, env = "EPHEMERON_PRESET_COMPILED", value_name = "SIZE", value_parser = bytes, default_value = "128Mi")]
    pub compiled: usize,

    /// What the cache of compiled presets may hold
    #[arg(id = "preset-cache-size", long, env = "EPHEMERON_PRESET_CACHE_SIZE", value_name = "SIZE", value_parser = bytes, default_value = "1Gi")]
    pub cache: usize,

    /// How often the folders are looked at, although every change in them is told by the system
    #[arg(id = "preset-rescan", long, env = "EPHEMERON_PRESET_RESCAN", value_name = "DURATION", value_parser = duration, default_value = "5s")]
    pub rescan: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            file: 32 * MIB,
            files: 4_096,
            fuel: 50_000_000,
            time: Duration::from_millis(250),
            memory: 64 * MIB,
            table_elements: 20_000,
            tables: 8,
            core_instances: 48,
            stack: MIB / 2,
            input: MIB / 4,
            output: MIB,
            handles: 16,
            depth: 64,
            calls: 4,
            waiting_per_preset: 1_024,
            waiting: 8_192,
            compile_memory: 1_536 * MIB,
            compile_time: Duration::from_mins(1),
            compiled: 128 * MIB,
            cache: 1_024 * MIB,
            rescan: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        limits: Limits,
    }

    #[test]
    fn the_defaults_of_the_flags_are_the_defaults() {
        let program = Program::try_parse_from(["program"]).expect("no flag is needed");
        assert_eq!(program.limits, Limits::default());
    }

    #[test]
    fn each_limit_is_a_flag_a_variable_and_a_line_of_the_help() {
        let mut command = Program::command();
        let limits: Vec<_> =
            command.get_arguments().filter(|limit| limit.get_id() != "help").cloned().collect();
        assert_eq!(limits.len(), 21);
        let help = command.render_long_help().to_string();
        for limit in limits {
            let flag = limit.get_long().expect("a flag");
            let variable = format!("EPHEMERON_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(limit.get_env().and_then(|name| name.to_str()), Some(&*variable));
            assert!(flag.starts_with("preset-") && help.contains(&format!("--{flag} ")), "{flag}");
            let default =
                limit.get_default_values().first().and_then(|value| value.to_str()).expect("a default");
            assert!(help.contains(&format!("[default: {default}]")), "{flag}");
            let reference = include_str!("../../../docs/reference/presets.md");
            assert!(reference.contains(&format!("| `{variable}` | {default} |")), "{variable}");
        }
    }

    #[test]
    fn what_is_set_holds_and_what_cannot_be_is_refused() {
        let read = |flag: &str| Program::try_parse_from(["program", flag]).map(|program| program.limits);
        assert_eq!(read("--preset-memory=1.5Gi").expect("a size").memory, 3 << 29);
        assert_eq!(read("--preset-time=1s500ms").expect("a duration").time, Duration::from_millis(1_500));
        assert_eq!(read("--preset-calls=2").expect("a number").calls, 2);
        for flag in
            ["fuel=0", "calls=0", "calls=1000", "memory=0", "memory=-1", "time=0s", "time=1", "depth=0"]
        {
            assert!(read(&format!("--preset-{flag}")).is_err(), "{flag}");
        }
    }
}
