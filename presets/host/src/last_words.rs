//! What a preset that has panicked leaves in its memory: the panic's message and place.
//!
//! Rust ends a panic in a trap, after which nothing can be returned. The memory is still there: the text
//! between the marker and the next zero byte becomes the message of a refusal. See `presets/sdk`.

use wasmtime::{Store, WasmCoreDump};

/// What stands before the text.
const MARKER: &[u8] = b"ephemeron:last-words:";
/// More of the text is not looked at, in bytes.
const MOST: usize = 4_096;

/// The last words in what this error has left, as the preset has written them.
pub(crate) fn of<T: 'static>(store: &mut Store<T>, error: &wasmtime::Error) -> Option<String> {
    let dump = error.downcast_ref::<WasmCoreDump>()?;
    dump.memories().iter().find_map(|memory| find(memory.data(&*store)))
}

fn find(memory: &[u8]) -> Option<String> {
    let start = memchr::memmem::find(memory, MARKER)? + MARKER.len();
    let text = memory.get(start..)?;
    let text = text.get(..MOST).unwrap_or(text);
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    Some(String::from_utf8_lossy(text.get(..end)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_end_with_a_zero_or_where_there_is_too_much() {
        let said = |memory: &[u8]| find(memory);
        assert_eq!(said(b"..ephemeron:last-words:panicked at a:1\0more"), Some("panicked at a:1".into()));
        assert_eq!(said(b"ephemeron:last-words:end"), Some("end".into()));
        assert_eq!(said(b"ephemeron:last-words"), None);
        let long = [MARKER, &[b'a'; 10_000]].concat();
        assert_eq!(said(&long).map(|text| text.len()), Some(MOST));
        assert_eq!(said(b"ephemeron:last-words:\xff\0"), Some("\u{fffd}".into()));
    }
}
