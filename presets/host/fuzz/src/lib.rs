//! What is held against whatever bytes a preset answers with, for the fuzzer and for the tests.

pub mod checks;
pub mod oracle;
