//! Any bytes as a pod template.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ephemeron_preset_fuzz::checks::policy(bytes));
