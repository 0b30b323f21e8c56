//! The files of a folder: which there are, whether they have changed, and their bytes.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Take},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::OFlags;

use crate::{digest::Print, error::printable};

/// How the files of presets end.
const ENDS: &str = ".wasm";
/// A file that was changed less than this ago may be changed again without a trace: clocks of file systems
/// stand still for some milliseconds, those of remote ones differ.
const FRESH: Duration = Duration::from_secs(2);

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    file: (u64, u64),
    pub(super) size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Whether the file may still change without another stamp.
    pub(super) fn is_fresh(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        self.changed.0.abs_diff(now.cast_signed()) <= FRESH.as_secs()
    }
}

/// A file that should be a preset.
#[derive(Debug)]
pub(super) struct Found {
    /// Its name without `.wasm`, fit for a terminal.
    pub(super) name: String,
    /// Where it is, without links.
    pub(super) path: PathBuf,
    /// What it is like, or why it is not looked at.
    pub(super) stamp: Result<Stamp, String>,
}

/// Why a file was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// It has changed in between: it is looked at again.
    Changed,
    /// It cannot be read.
    Failed(String),
}

/// The files of a folder by their names, at most so many, and how many there are.
pub(super) fn list(folder: &Path, most: usize) -> io::Result<(Vec<Found>, usize)> {
    let folder = folder.canonicalize()?;
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name();
        let bytes = name.as_encoded_bytes();
        // What begins with a dot is what others have for themselves, such as a copy that is not finished.
        if bytes.ends_with(ENDS.as_bytes()) && !bytes.starts_with(b".") {
            names.push(name);
        }
    }
    names.sort();
    let count = names.len();
    names.truncate(most);
    let found = names.into_iter().map(|name| {
        let path = folder.join(&name);
        let shown = name.to_string_lossy();
        let name = printable(shown.strip_suffix(ENDS).unwrap_or(&shown));
        let (path, stamp) = match look(&folder, &path) {
            Ok((path, stamp)) => (path, Ok(stamp)),
            Err(why) => (path, Err(why)),
        };
        Found { name, path, stamp }
    });
    Ok((found.collect(), count))
}

fn look(folder: &Path, path: &Path) -> Result<(PathBuf, Stamp), String> {
    let unread = |error: io::Error| format!("it cannot be read: {error}");
    let (mut path, mut found) = (path.to_owned(), fs::symlink_metadata(path).map_err(unread)?);
    if found.is_symlink() {
        path = path.canonicalize().map_err(|error| format!("it is a link to nothing: {error}"))?;
        if !path.starts_with(folder) {
            return Err("it is a link that leads out of its folder: copy the file itself there".into());
        }
        found = fs::symlink_metadata(&path).map_err(unread)?;
    }
    if found.is_file() { Ok((path, Stamp::of(&found))) } else { Err("it is not a file".into()) }
}

/// The bytes of a file that has this stamp, before and after.
pub(super) fn read(path: &Path, stamp: &Stamp) -> Result<Vec<u8>, Unread> {
    opened(path, stamp, |mut file| {
        // Growing it step by step moves what is there already.
        let mut bytes = Vec::with_capacity(usize::try_from(file.limit()).unwrap_or_default());
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// Which file it is that has this stamp, before and after.
pub(super) fn print(path: &Path, stamp: &Stamp) -> Result<Print, Unread> {
    opened(path, stamp, |file| Print::read(file))
}

/// What `read` finds in a file that has this stamp, before and after; it sees no more than a byte more than that.
fn opened<T>(
    path: &Path,
    stamp: &Stamp,
    read: impl FnOnce(Take<&mut File>) -> io::Result<T>,
) -> Result<T, Unread> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unread::Changed,
        _ => Unread::Failed(format!("it cannot be read: {error}")),
    };
    // It may have become a link, or a pipe, in the meantime: then it is another file.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(failed)?;
    unchanged(&file, stamp)?;
    let found = read((&mut file).take(stamp.size + 1)).map_err(failed)?;
    unchanged(&file, stamp)?;
    Ok(found)
}

fn unchanged(file: &File, stamp: &Stamp) -> Result<(), Unread> {
    match file.metadata() {
        Ok(found) if found.is_file() && Stamp::of(&found) == *stamp => Ok(()),
        Ok(_) => Err(Unread::Changed),
        Err(error) => Err(Unread::Failed(format!("it cannot be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_are_found_by_name_and_links_stay_in_the_folder() {
        let (outside, temporary) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
        let folder = temporary.path();
        fs::create_dir(folder.join("..2026")).expect("a folder");
        fs::write(folder.join("..2026/mounted.wasm"), "x").expect("a file");
        symlink("..2026", folder.join("..data")).expect("a link");
        symlink("..data/mounted.wasm", folder.join("mounted.wasm")).expect("a link");
        for name in ["b.wasm", "a.wasm", ".hidden.wasm", "c.wat"] {
            fs::write(folder.join(name), "ab").expect("a file");
        }
        fs::write(outside.path().join("secret"), "x").expect("a file");
        symlink(outside.path().join("secret"), folder.join("leaves.wasm")).expect("a link");
        symlink("nowhere", folder.join("dangling.wasm")).expect("a link");
        fs::create_dir(folder.join("folder.wasm")).expect("a folder");

        let (found, count) = list(folder, 100).expect("a folder");
        let said = |name: &str| found.iter().find(|file| file.name == name).map(|file| file.stamp.clone());
        let names: Vec<_> = found.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "dangling", "folder", "leaves", "mounted"]);
        assert_eq!(count, 6);
        assert_eq!(said("a").expect("there").expect("a file").size, 2);
        assert_eq!(said("mounted").expect("there").expect("a file").size, 1);
        for (name, why) in
            [("leaves", "out of its folder"), ("dangling", "to nothing"), ("folder", "not a file")]
        {
            assert!(said(name).expect("there").expect_err("a reason").contains(why), "{name}");
        }
        assert_eq!(list(folder, 2).map(|(found, count)| (found.len(), count)).expect("a folder"), (2, 6));
        assert!(list(&folder.join("nowhere"), 1).is_err());
    }

    #[test]
    fn what_was_changed_just_now_may_change_again() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let stamp = Stamp::of(&file.as_file().metadata().expect("its metadata"));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        let at = |seconds: u64| Stamp { changed: (seconds.cast_signed(), 0), ..stamp };
        assert!(at(now + 1).is_fresh());
        assert!(!at(now - 60).is_fresh());
    }

    #[test]
    fn a_file_that_has_changed_is_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.wasm");
        fs::write(&path, "abc").expect("a file");
        let stamp = list(folder.path(), 1).expect("a folder").0.remove(0).stamp.expect("a file");
        assert_eq!(read(&path, &stamp).expect("its bytes"), b"abc");
        assert_eq!(print(&path, &stamp).expect("its digest"), Print::of(b"abc"));
        let changed = || {
            let found = (read(&path, &stamp), print(&path, &stamp));
            assert!(matches!(found, (Err(Unread::Changed), Err(Unread::Changed))), "{found:?}");
        };
        fs::write(&path, "ab").expect("a file");
        changed();
        fs::remove_file(&path).expect("it is gone");
        changed();
    }
}
