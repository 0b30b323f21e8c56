//! A folder that nobody else can write in, and the files in it.

use std::{
    ffi::OsStr,
    fmt,
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rustix::{fs::OFlags, process::geteuid};
use thiserror::Error;

use crate::secret;

/// How a file that is being written begins.
const UNFINISHED: &str = ".new-";
/// One that is older than this is nobody's any more.
const ABANDONED: Duration = Duration::from_hours(1);
/// The file of the key.
const KEY: &str = "key";

/// Why a file or folder is not private.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotPrivate {
    /// It is something else.
    #[error("it is not a {0} but a link, or something else")]
    Other(&'static str),
    /// It is somebody else's.
    #[error("it belongs to another user (UID {0})")]
    Foreign(u32),
    /// Others can change it, or read the key.
    #[error("others may do too much with it (mode {0:03o}): chmod go-rwx, or name another one")]
    Open(u32),
    /// It is larger than it can be.
    #[error("it is too large")]
    Large,
}

/// Why there is nothing.
#[derive(Debug)]
pub(super) enum Reading {
    Failed(io::Error),
    NotPrivate(NotPrivate),
}

impl From<io::Error> for Reading {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => error.fmt(f),
            Self::NotPrivate(why) => why.fmt(f),
        }
    }
}

/// Makes the folder where it is missing, and sees that it is private.
pub(super) fn private(folder: &Path) -> Result<(), Reading> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() {
        return Err(Reading::NotPrivate(NotPrivate::Other("folder")));
    }
    ours(&found, 0o022).map_err(Reading::NotPrivate)
}

fn ours(found: &Metadata, forbidden: u32) -> Result<(), NotPrivate> {
    if found.uid() != geteuid().as_raw() {
        return Err(NotPrivate::Foreign(found.uid()));
    }
    match found.mode() & 0o777 {
        mode if mode & forbidden != 0 => Err(NotPrivate::Open(mode)),
        _ => Ok(()),
    }
}

/// A file of ours that has at most so many bytes, and how many. It is opened once, so that what is checked is
/// what is used.
pub(super) fn open(path: &Path, most: usize) -> Result<(File, u64), Reading> {
    private_file(path, 0o022, most)
}

fn private_file(path: &Path, forbidden: u32, most: usize) -> Result<(File, u64), Reading> {
    // Neither followed where it is a link, nor waited for where it is a pipe.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(Reading::NotPrivate(NotPrivate::Other("file")));
        }
        opened => opened?,
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(Reading::NotPrivate(NotPrivate::Other("file")));
    }
    ours(&found, forbidden).map_err(Reading::NotPrivate)?;
    if found.len() > most as u64 {
        Err(Reading::NotPrivate(NotPrivate::Large))
    } else {
        Ok((file, found.len()))
    }
}

/// All bytes of a file, which are as many as it had when it was opened.
pub(super) fn whole(mut file: impl Read, size: u64) -> io::Result<Vec<u8>> {
    // Growing it step by step moves what is there already.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.by_ref().take(size).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes a file so that it is there as a whole or not at all.
pub(super) fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    unfinished(path, parts, |unfinished| fs::rename(unfinished, path))
}

fn unfinished(path: &Path, parts: &[&[u8]], finish: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let unfinished = path.with_file_name(format!("{UNFINISHED}{}-{number}", std::process::id()));
    // One of this name is left from a process that is gone.
    let _ = fs::remove_file(&unfinished);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        finish(&unfinished)
    })();
    let _ = fs::remove_file(&unfinished);
    written
}

/// Whether a file was never finished, by a process that has ended in between.
pub(super) fn is_left_over(name: &OsStr, found: &Metadata) -> bool {
    let age = found.modified().ok().and_then(|changed| changed.elapsed().ok());
    name.as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) && age.is_some_and(|age| age > ABANDONED)
}

/// The key of the folder, which is made where it is missing or is not what it should be.
pub(super) fn key(folder: &Path) -> io::Result<Vec<u8>> {
    let path = folder.join(KEY);
    if let Some(key) = known(&path)? {
        return Ok(key);
    }
    let key = secret::random()?;
    match unfinished(&path, &[&key], |unfinished| fs::hard_link(unfinished, &path)) {
        Ok(()) => Ok(key.into()),
        // Another process has been faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            known(&path)?.ok_or_else(|| io::Error::other("it is replaced again and again"))
        }
        Err(error) => Err(error),
    }
}

/// The key that is there; one that others may know is removed.
fn known(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let read = private_file(path, 0o077, secret::SIZE).and_then(|(file, size)| Ok(whole(file, size)?));
    match read {
        Ok(key) if key.len() == secret::SIZE => Ok(Some(key)),
        Err(Reading::Failed(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(Reading::Failed(error)) => Err(error),
        Ok(_) | Err(Reading::NotPrivate(_)) => fs::remove_file(path).map(|()| None),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn refusal<T: fmt::Debug>(outcome: Result<T, Reading>) -> NotPrivate {
        match outcome {
            Err(Reading::NotPrivate(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    #[test]
    fn a_folder_is_private_or_none() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("a/b");
        private(&folder).expect("it is made");
        assert_eq!(fs::metadata(&folder).expect("a folder").mode() & 0o777, 0o700);
        private(&folder).expect("it is still private");
        for open in [0o777, 0o720, 0o702] {
            mode(&folder, open);
            assert_eq!(refusal(private(&folder)), NotPrivate::Open(open));
        }
        mode(&folder, 0o755);
        private(&folder).expect("reading is no matter");
        let link = temporary.path().join("link");
        symlink(&folder, &link).expect("a link");
        assert_eq!(refusal(private(&link)), NotPrivate::Other("folder"));
        let file = temporary.path().join("file");
        fs::write(&file, "").expect("a file");
        assert!(private(&file).is_err());
    }

    #[test]
    fn files_are_ours_whole_and_bounded() {
        let temporary = tempfile::tempdir().expect("a folder");
        let path = temporary.path().join("file");
        write(&path, &[b"ab", b"c"]).expect("it is written");
        let read =
            |path: &Path, most: usize| open(path, most).and_then(|(file, size)| Ok(whole(file, size)?));
        assert_eq!(read(&path, 3).expect("it is read"), b"abc");
        assert_eq!(fs::read_dir(temporary.path()).expect("a folder").count(), 1);
        assert_eq!(refusal(read(&path, 2)), NotPrivate::Large);
        mode(&path, 0o620);
        assert_eq!(refusal(read(&path, 3)), NotPrivate::Open(0o620));
        let link = temporary.path().join("link");
        symlink(&path, &link).expect("a link");
        assert_eq!(refusal(read(&link, 3)), NotPrivate::Other("file"));
        assert_eq!(refusal(read(temporary.path(), 3)), NotPrivate::Other("file"));
    }

    #[test]
    fn a_key_is_made_once_and_again_where_others_may_know_it() {
        let temporary = tempfile::tempdir().expect("a folder");
        let made = || key(temporary.path()).expect("a key");
        let path = temporary.path().join(KEY);
        let first = made();
        assert_eq!((first.len(), made()), (secret::SIZE, first.clone()));
        assert_eq!(fs::metadata(&path).expect("a file").mode() & 0o777, 0o600);
        mode(&path, 0o640);
        let second = made();
        assert_ne!(second, first);
        fs::write(&path, "short").expect("a file");
        let third = made();
        assert_ne!(third, second);
        assert_eq!(made(), third);
    }
}
