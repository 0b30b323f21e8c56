//! A copy of a file in memory that nobody can change any more, and that the engine can map as it is.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

/// So much is read, and proved, before the next: it stays in the processor's cache meanwhile.
const PART: usize = 256 << 10;

/// Copies this many bytes, and hands each of them to `sees` on the way: what is seen is what is kept. Fewer
/// where the file ends before.
pub(super) fn copy(mut file: impl Read, size: u64, mut sees: impl FnMut(&[u8])) -> io::Result<File> {
    let mut copy = create()?;
    let mut part = vec![0; PART];
    let mut left = size;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(PART).min(PART);
        let read = match file.read(part.get_mut(..most).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => part.get(..read).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        sees(read);
        copy.write_all(read)?;
        left -= read.len() as u64;
    }
    fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(copy)
}

fn create() -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // It is mapped, not run; older systems than Linux 6.3 do not know the difference.
    let created = memfd_create("compiled-preset", flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| memfd_create("compiled-preset", flags));
    Ok(created?.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn what_is_seen_is_what_is_kept_and_nobody_changes_it() {
        let bytes: Vec<u8> = (0..=250).cycle().take(PART + 1_000).collect();
        let mut seen = Vec::new();
        let file = copy(&*bytes, bytes.len() as u64, |part| seen.extend_from_slice(part)).expect("a copy");
        let mut kept = vec![0; bytes.len()];
        file.read_exact_at(&mut kept, 0).expect("its bytes");
        assert!(seen == bytes && kept == bytes);
        assert!(
            file.write_at(b"x", 0).is_err() && file.set_len(1).is_err() && file.set_len(1 << 20).is_err()
        );
        let cut = copy(&*bytes, 10, |_| ()).and_then(|file| file.metadata()).expect("a copy");
        let short = copy(&b"abc"[..], 10, |_| ()).and_then(|file| file.metadata()).expect("a copy");
        assert_eq!((cut.len(), short.len()), (10, 3));
    }
}
