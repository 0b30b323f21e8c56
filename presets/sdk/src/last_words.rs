//! What a panic leaves behind for the host.
//!
//! Rust for WebAssembly cannot unwind here: a panic ends in a trap, and nothing can be returned any more.
//! But the memory is still there, and the host looks into it for the marker of last words: what stands
//! between it and the next zero byte becomes the message of a refusal `internal`.

/// `ephemeron:last-words:` from its end, so that the marker itself stands nowhere in the module's data.
const REKRAM: &str = ":sdrow-tsal:noremehpe";

/// The text that the host looks for.
fn words(message: &str) -> String {
    let marker: String = REKRAM.chars().rev().collect();
    format!("{marker}{}\0", message.replace('\0', ""))
}

/// Has the next panic leave its message and place in memory.
pub fn keep() {
    std::panic::set_hook(Box::new(|panic| {
        // The text has to stay where it is until the host has read it.
        std::mem::forget(words(&panic.to_string()));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_stand_between_marker_and_zero() {
        assert_eq!(words("panicked at a:1:2\0"), "ephemeron:last-words:panicked at a:1:2\0");
    }
}
