//! Any bytes as the documents of a preset.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ephemeron_preset_fuzz::checks::document(bytes));
