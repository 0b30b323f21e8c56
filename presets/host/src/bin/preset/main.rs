//! `preset`: writes, builds, checks, renders and tests presets. What it says of a file is what the operator
//! would say: it runs the same code.

mod build;
mod case;
mod check;
mod dev;
mod golden;
mod list;
mod render;
mod scaffold;
mod show;
mod toolchain;
mod workshop;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Write, build, check, render and test presets of Ephemeron.
///
/// Exits with 0 when all is well, with 1 when something was found, with 2 when it was called wrongly.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(scaffold::Arguments),
    Build(build::Arguments),
    Check(check::Arguments),
    Render(render::Arguments),
    Test(golden::Arguments),
    Dev(dev::Arguments),
    List(list::Arguments),
}

/// What has come of a command that could be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// All is well.
    Fine,
    /// Something was found, and has been said.
    Findings,
}

impl Outcome {
    fn fine_if(fine: bool) -> Self {
        if fine { Self::Fine } else { Self::Findings }
    }
}

/// It was called in a way that cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn main() -> ExitCode {
    // It is the process that compiles presets, too.
    if let Some(code) = ephemeron_preset_host::compile::child_main() {
        return code;
    }
    let outcome = match Arguments::parse().command {
        Command::New(arguments) => scaffold::run(&arguments),
        Command::Build(arguments) => build::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Render(arguments) => render::run(&arguments),
        Command::Test(arguments) => golden::run(&arguments),
        Command::Dev(arguments) => dev::run(&arguments),
        Command::List(arguments) => list::run(&arguments),
    };
    match outcome {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(error) => {
            eprintln!("preset: {error:#}");
            ExitCode::from(if error.is::<Usage>() { 2 } else { 1 })
        }
    }
}
