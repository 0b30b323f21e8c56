//! Secrets that nobody knows.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// The bytes of a secret.
pub const SIZE: usize = 32;

/// Random bytes from the operating system.
///
/// # Errors
/// When the system has none to give.
pub fn random() -> io::Result<[u8; SIZE]> {
    let mut secret = [0; SIZE];
    let mut filled = 0;
    while let Some(rest) = secret.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += getrandom(rest, GetRandomFlags::empty())?;
    }
    Ok(secret)
}
