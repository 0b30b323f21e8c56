//! Files of presets, good and hostile, in real folders: compiled in real children, kept in a real cache, served
//! and replaced. This program is also the child that compiles, hence its own `main`.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

mod cache;
mod compiling;
mod crowd;
#[path = "../attacks/guest.rs"]
mod guest;
mod inspection;
mod lives;
mod places;
mod shop;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if let Some(code) = ephemeron_preset_host::compile::child_main() {
        return code;
    }
    let tests =
        [cache::TESTS, compiling::TESTS, crowd::TESTS, inspection::TESTS, lives::TESTS, places::TESTS];
    let trials = tests.concat().into_iter().map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// Tests by their names.
type Tests = &'static [(&'static str, fn())];

/// The tests of a module.
macro_rules! tests {
    ($($test:ident),* $(,)?) => {
        pub const TESTS: crate::Tests = &[$((stringify!($test), $test)),*];
    };
}
use tests;
