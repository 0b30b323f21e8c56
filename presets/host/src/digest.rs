//! Which file it is: its SHA-256.

use std::{
    fmt::{self, Write},
    io::{self, Read},
};

use sha2::{Digest as _, Sha256};

/// The SHA-256 of a file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The one of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its 64 hexadecimal digits.
    #[must_use]
    pub fn hexadecimal(&self) -> String {
        hexadecimal(&self.0)
    }
}

/// As images have it: `sha256:` and the hexadecimal digits.
impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hexadecimal())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// So much is read, and hashed, before the next: it stays in the processor's cache meanwhile.
const PART: usize = 256 << 10;
/// So much of a file's beginning is kept.
const BEGINS: usize = 8;

/// What is known of a file without having it in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    /// Which one it is.
    pub(crate) digest: Digest,
    /// Its bytes.
    pub(crate) size: usize,
    /// Its first 8 bytes, or all where it has less.
    pub(crate) begins: Vec<u8>,
}

impl Print {
    /// Of a file that is in memory.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let begins = bytes.get(..BEGINS).unwrap_or(bytes).to_owned();
        Self { digest: Digest::of(bytes), size: bytes.len(), begins }
    }

    /// Of what is read, to its end. Memory for all of it would take longer than its digest: each page that is
    /// written for the first time has to be had from the system.
    pub(crate) fn read(mut file: impl Read) -> io::Result<Self> {
        let (mut hasher, mut size, mut begins) = (Sha256::new(), 0, Vec::with_capacity(BEGINS));
        let mut part = vec![0; PART];
        loop {
            let read = match file.read(&mut part) {
                Ok(0) => break,
                Ok(read) => part.get(..read).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            begins.extend(read.iter().take(BEGINS - begins.len()));
            hasher.update(read);
            size += read.len();
        }
        Ok(Self { digest: Digest(hasher.finalize().into()), size, begins })
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // A string takes all that is written.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte at a time, each after a signal.
    struct Slow<'a>(&'a [u8], bool);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { (&mut self.0).take(1).read(into) }
        }
    }

    #[test]
    fn what_is_read_in_parts_is_the_same_as_in_memory() {
        let long: Vec<u8> = (0..=250).cycle().take(PART * 2 + 1_000).collect();
        for size in [0, 1, BEGINS - 1, BEGINS, BEGINS + 1, PART, PART + 1, long.len()] {
            let bytes = &long[..size];
            let print = Print::read(bytes).expect("it is read");
            assert_eq!(print, Print::of(bytes), "{size} bytes");
            assert_eq!((print.size, &*print.begins), (size, &bytes[..size.min(BEGINS)]));
        }
        assert_eq!(Print::read(Slow(&long[..20], false)).expect("it is read"), Print::of(&long[..20]));
    }

    #[test]
    fn it_is_written_as_images_have_it() {
        // FIPS 180-2, B.1.
        let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), digest);
    }
}
