//! Compiled presets, kept between starts. An entry is loaded only where it was written with the key: code
//! that was compiled ahead of time cannot be checked in any other way.

mod folder;
mod sealed;

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use thiserror::Error;

use crate::{compile::Compiled, digest::Digest};
use folder::{NotPrivate, Reading};

/// How an entry begins; another layout gets another name.
const MAGIC: &[u8; 16] = b"ephemeron-cache2";
/// The bytes of the signature, which stand behind it.
const SIGNATURE: usize = blake3::OUT_LEN;
/// What the key is for: no other use of the same secret has this one's signatures.
const PURPOSE: &str = "Ephemeron 2026-11-24 compiled presets in the cache, version 2";
/// How an entry's name ends.
const ENDS: &str = ".aot";
/// Code of so many bytes is copied once only, into memory that the engine maps. It takes a file descriptor,
/// which is not worth it for less.
const LARGE: u64 = 1 << 20;
/// The shortest key, in bytes.
const KEY: usize = 16;

/// What entries are signed with. Logs do not get it.
#[derive(Clone)]
pub struct Key(Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Why there is no cache.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The folder is not to be had.
    #[error("the folder {0} for compiled presets cannot be used")]
    Folder(PathBuf, #[source] io::Error),
    /// Others could put something into the folder.
    #[error("the folder {0} for compiled presets cannot be used: {1}")]
    NotPrivate(PathBuf, NotPrivate),
    /// The key can be guessed.
    #[error("the key of the compiled presets has {0} bytes: it needs at least {KEY}, at random")]
    ShortKey(usize),
    /// There is no key.
    #[error("the key of the compiled presets in {0} can neither be read nor made")]
    KeyFile(PathBuf, #[source] io::Error),
}

impl Key {
    /// A key that is known elsewhere, such as from a Secret.
    ///
    /// # Errors
    /// When it is too short.
    pub fn new(bytes: Vec<u8>) -> Result<Self, CacheError> {
        if bytes.len() < KEY { Err(CacheError::ShortKey(bytes.len())) } else { Ok(Self(bytes)) }
    }
}

/// What is there for a file.
pub enum Found {
    /// What it was compiled to.
    Entry(Compiled),
    /// Nothing.
    Nothing,
    /// Something that was not loaded, and is gone now; the text says what.
    Refused(String),
}

/// Which entry: of this file, for an engine that code is made for like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Which {
    /// The file.
    pub file: Digest,
    /// What its code is made for.
    pub made_for: Digest,
}

/// A private folder of entries.
pub struct Cache {
    folder: PathBuf,
    key: Key,
    /// The most bytes of all entries together.
    most: u64,
    /// The most bytes of one entry's code.
    entry: usize,
}

impl Cache {
    /// Opens the folder, which is made where it is missing. Without a key, it is one that lies in the folder.
    ///
    /// # Errors
    /// When the folder is not private, or cannot be used. Then presets are compiled at each start.
    pub fn open(folder: &Path, key: Option<Key>, most: usize, entry: usize) -> Result<Self, CacheError> {
        folder::private(folder).map_err(|error| match error {
            Reading::Failed(error) => CacheError::Folder(folder.into(), error),
            Reading::NotPrivate(why) => CacheError::NotPrivate(folder.into(), why),
        })?;
        let key = match key {
            Some(key) => key,
            None => Key(folder::key(folder).map_err(|error| CacheError::KeyFile(folder.into(), error))?),
        };
        Ok(Self { folder: folder.into(), key, most: most as u64, entry })
    }

    /// What the file was compiled to. What was not written with the key is removed.
    #[must_use]
    pub fn find(&self, which: &Which) -> Found {
        let path = self.path(which);
        let most = MAGIC.len() + SIGNATURE + self.entry;
        let opened = folder::open(&path, most);
        let why = match opened.and_then(|(file, size)| Ok(self.checked(which, file, size)?)) {
            Ok(Some(compiled)) => {
                // What was used last is removed last; it is no matter where that is not noted.
                let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                return Found::Entry(compiled);
            }
            Ok(None) => "it was not written by this installation, or was changed since".to_owned(),
            Err(Reading::Failed(error)) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            Err(error) => error.to_string(),
        };
        let gone = if fs::remove_file(&path).is_ok() { "removed" } else { "not used, and cannot be removed" };
        Found::Refused(format!("the compiled preset {} was {gone}: {why}", path.display()))
    }

    /// Keeps what the file was compiled to, and removes what was not used for the longest time until all
    /// have room.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, which: &Which, compiled: &Compiled) -> Result<(), CacheError> {
        let failed = |error| CacheError::Folder(self.folder.clone(), error);
        // What has come out of the cache is there.
        let Some(code) = compiled.bytes() else { return Ok(()) };
        let size = (MAGIC.len() + SIGNATURE + code.len()) as u64;
        if size > self.most {
            return Ok(());
        }
        self.make_room(size).map_err(failed)?;
        let signature = self.signing(which).update(code).finalize();
        folder::write(&self.path(which), &[&MAGIC[..], signature.as_bytes(), code]).map_err(failed)
    }

    fn path(&self, which: &Which) -> PathBuf {
        let made_for = which.made_for.hexadecimal();
        let made_for = made_for.get(..32).unwrap_or_default();
        self.folder.join(format!("{}-{made_for}{ENDS}", which.file.hexadecimal()))
    }

    fn checked(&self, which: &Which, mut file: fs::File, size: u64) -> io::Result<Option<Compiled>> {
        let mut head = [0; MAGIC.len() + SIGNATURE];
        match file.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let Some(signature) = head.strip_prefix(MAGIC).and_then(<[u8]>::first_chunk::<SIGNATURE>) else {
            return Ok(None);
        };
        let (size, mut signing) = (size - head.len() as u64, self.signing(which));
        let compiled = if size < LARGE {
            let code = folder::whole(&mut file, size)?;
            signing.update(&code);
            Compiled::trusted(code, 0)
        } else {
            let sees = |part: &[u8]| {
                signing.update(part);
            };
            Compiled::sealed(sealed::copy(&mut file, size, sees)?)
        };
        // Compared in constant time.
        Ok((signing.finalize() == *signature).then_some(compiled))
    }

    /// Of the code, which is still to come, and of what it belongs to: an entry under another's name is none.
    /// Keyed BLAKE3 is a MAC by its specification, and takes less than half of HMAC-SHA256's time for tens of
    /// megabytes.
    fn signing(&self, which: &Which) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key(PURPOSE, &self.key.0));
        hasher.update(MAGIC).update(which.file.bytes()).update(which.made_for.bytes());
        hasher
    }

    /// Removes the oldest entries until this many bytes have room.
    fn make_room(&self, size: u64) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            // Another process may have removed it.
            let Ok(found) = entry.metadata() else { continue };
            if name.as_encoded_bytes().ends_with(ENDS.as_bytes()) {
                entries.push((found.modified().unwrap_or(SystemTime::UNIX_EPOCH), found.len(), entry.path()));
            } else if folder::is_left_over(&name, &found) {
                let _ = fs::remove_file(entry.path());
            }
        }
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (_, entry, path) in entries {
            if total + size <= self.most {
                break;
            }
            fs::remove_file(path)?;
            total -= entry;
        }
        Ok(())
    }
}
