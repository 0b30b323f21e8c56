//! The thread that keeps a catalogue: it looks at what has changed, and serves what is good.

use std::{
    collections::BTreeMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Change, Options, Shared,
    change::between,
    file::File,
    files::{self, Found, Stamp, Unread},
    shelf::{Known, Shelf},
    watch::{Watch, Woken},
};
use crate::{
    audit::Incompatible,
    compile::CompileError,
    digest::Print,
    inspect::{self, Checks, Inspection},
    labels::is_dns_label,
    loader::Loader,
    module::Module,
};

/// When a file is looked at again that may have changed without a trace.
const UNCERTAIN: Duration = Duration::from_secs(1);

/// What is there within this time is served together.
const TOGETHER: Duration = Duration::from_millis(50);
/// Even where something is due, a pause.
const LEAST: Duration = Duration::from_millis(100);

/// What is known of a file, by the number of its folder and its name.
type Files = BTreeMap<(usize, String), File>;

/// Whether a file was looked at.
#[derive(PartialEq, Eq)]
enum Looked {
    Done,
    /// It has to be compiled first.
    Later,
}

pub(super) struct Keeper {
    options: Options,
    loader: Loader,
    watch: Watch,
    shared: Arc<Shared>,
    files: Files,
    troubles: Vec<(PathBuf, String)>,
    /// How often it was looked.
    rounds: u64,
    /// How many files were compiled.
    compiled: u64,
}

impl Keeper {
    pub(super) fn new(options: Options, loader: Loader, watch: Watch, shared: Arc<Shared>) -> Self {
        Self {
            options,
            loader,
            watch,
            shared,
            files: Files::new(),
            troubles: Vec::new(),
            rounds: 0,
            compiled: 0,
        }
    }

    /// Keeps the catalogue until nobody needs it.
    pub(super) fn keep(mut self) {
        loop {
            let woken = match self.round() {
                Woken::Time => {
                    self.shared.settle();
                    self.watch.wait(self.pause())
                }
                // Something has changed in the meantime; it is not forgotten.
                Woken::Changed => self.watch.wait(Duration::ZERO),
                Woken::Over => Woken::Over,
            };
            if woken == Woken::Over {
                return;
            }
        }
    }

    /// Until when nothing has to be done.
    fn pause(&self) -> Duration {
        let mut pause = self.options.limits.rescan;
        for file in self.files.values() {
            if matches!(&file.stamp, Some(Ok(stamp)) if stamp.is_fresh()) {
                pause = pause.min(UNCERTAIN);
            }
            if let Some(again) = file.again {
                pause = pause.min(again.at.saturating_duration_since(Instant::now()));
            }
        }
        pause.max(LEAST)
    }

    /// Looks at everything that has changed: first at what need not be compiled, then at the others in turn.
    /// Ends early where something changes meanwhile, but not without having compiled one.
    fn round(&mut self) -> Woken {
        self.rounds += 1;
        let due = self.scan();
        self.publish();
        let mut published = Instant::now();
        let mut later = Vec::new();
        for (key, stamp) in due {
            if self.watch.now() == Woken::Over {
                return Woken::Over;
            }
            if self.look(&key, &stamp, false) == Looked::Later {
                let waits = self.files.get_mut(&key).map(|file| *file.waits.get_or_insert(self.rounds));
                later.push((waits, stamp.size, key, stamp));
            }
            if published.elapsed() > TOGETHER {
                self.publish();
                published = Instant::now();
            }
        }
        self.publish();
        let mut is_first = true;
        while let Some(next) = self.next(&later) {
            let woken = self.watch.now();
            if woken == Woken::Over || woken == Woken::Changed && !is_first {
                return woken;
            }
            let (.., key, stamp) = later.swap_remove(next);
            self.look(&key, &stamp, true);
            self.publish();
            is_first = false;
        }
        Woken::Time
    }

    /// Which file is compiled next: in turn the smallest, and the one that waits for the longest time. So
    /// neither waits a small one for all large ones, nor a large one for small ones without end.
    fn next<Key>(&self, later: &[(Option<u64>, u64, Key, Stamp)]) -> Option<usize> {
        let waiting = later.iter().enumerate();
        let next = if self.compiled.is_multiple_of(2) {
            waiting.min_by_key(|(_, (waits, size, ..))| (*size, *waits))
        } else {
            waiting.min_by_key(|(_, (waits, size, ..))| (*waits, *size))
        };
        next.map(|(at, _)| at)
    }

    /// Which files there are. Gives those that have to be looked at.
    fn scan(&mut self) -> Vec<((usize, String), Stamp)> {
        let (mut due, mut troubles) = (Vec::new(), Vec::new());
        let mut left = self.options.limits.files;
        for (number, folder) in self.options.folders.clone().iter().enumerate() {
            self.watch.add(folder);
            let found = match files::list(folder, left) {
                Ok((found, count)) => {
                    if count > found.len() {
                        let most = self.options.limits.files;
                        let why = format!(
                            "more than {most} files are presets in all folders; only the first are looked at, by name"
                        );
                        troubles.push((folder.clone(), why));
                    }
                    found
                }
                Err(error) => {
                    troubles.push((folder.clone(), format!("it cannot be read: {error}")));
                    if error.kind() != io::ErrorKind::NotFound {
                        // What was there is served on.
                        continue;
                    }
                    Vec::new()
                }
            };
            left -= found.len().min(left);
            self.files.retain(|(of, name), _| {
                *of != number || found.binary_search_by(|found| found.name.cmp(name)).is_ok()
            });
            due.extend(found.into_iter().filter_map(|found| self.note(number, found)));
        }
        self.troubles = troubles;
        due
    }

    /// Notes what a file is like. Gives it where it has to be looked at.
    fn note(&mut self, folder: usize, found: Found) -> Option<((usize, String), Stamp)> {
        let key = (folder, found.name);
        let file = self.files.entry(key.clone()).or_default();
        file.path = found.path;
        let stamp = match found.stamp {
            Ok(stamp) => stamp,
            Err(why) => {
                file.failed(true, why.clone());
                file.stamp = Some(Err(why));
                return None;
            }
        };
        if !is_dns_label(&key.1) {
            file.failed(true, "its name cannot be asked for: a name has 1 to 63 of the characters a-z, 0-9 and -, and neither begins nor ends with -".into());
            file.stamp = Some(Ok(stamp));
            return None;
        }
        // Somebody has just made it, and writes it now.
        if stamp.size == 0 && stamp.is_fresh() {
            return None;
        }
        let is_same = file.stamp.as_ref() == Some(&Ok(stamp));
        (!is_same || stamp.is_fresh() || file.is_due()).then_some((key, stamp))
    }

    /// Looks at a file.
    fn look(&mut self, key: &(usize, String), stamp: &Stamp, compile: bool) -> Looked {
        let Some(folder) = self.options.folders.get(key.0) else { return Looked::Done };
        let Some(file) = self.files.get_mut(key) else { return Looked::Done };
        if !compile && file.uncached.as_ref() == Some(stamp) {
            return Looked::Later;
        }
        let limit = self.options.limits.file;
        let size = usize::try_from(stamp.size).unwrap_or(usize::MAX);
        if size > limit {
            file.failed(true, Incompatible::TooLarge { size, limit }.to_string());
            file.stamp = Some(Ok(*stamp));
            return Looked::Done;
        }
        // All of its bytes only where they are needed.
        let read = if compile {
            files::read(&file.path, stamp).map(|bytes| (Print::of(&bytes), Some(bytes)))
        } else {
            files::print(&file.path, stamp).map(|print| (print, None))
        };
        let (print, bytes) = match read {
            Ok(read) => read,
            Err(Unread::Changed) => return Looked::Done,
            Err(Unread::Failed(why)) => {
                file.failed(true, why);
                file.retry();
                file.stamp = Some(Ok(*stamp));
                return Looked::Done;
            }
        };
        let digest = print.digest;
        if file.digest == Some(digest) && !file.is_due() {
            file.stamp = Some(Ok(*stamp));
            return Looked::Done;
        }
        if file.good.as_ref().is_some_and(|good| good.digest == digest) {
            // The good one is there again.
            (file.trouble, file.again) = (None, None);
            (file.digest, file.stamp) = (Some(digest), Some(Ok(*stamp)));
            return Looked::Done;
        }
        let checks =
            Checks { name: Some(&key.1), context: &self.options.context, accepts: &self.options.accepts };
        let inspected = inspected(&self.loader, &print, bytes.as_deref(), &checks);
        let Some(inspected) = inspected else {
            file.uncached = Some(*stamp);
            return Looked::Later;
        };
        file.waits = None;
        self.compiled += u64::from(compile);
        if file.digest != Some(digest) {
            file.again = None;
        }
        (file.digest, file.stamp) = (Some(digest), Some(Ok(*stamp)));
        match inspected {
            Ok(inspection) => file.judge(folder.clone(), key.1.clone(), inspection),
            Err(why) => file.failed(false, why),
        }
        Looked::Done
    }

    /// Serves what is good, and tells what is different.
    fn publish(&self) {
        let before = self.shared.shelf();
        let files = self.files.iter().filter_map(|((folder, name), file)| {
            Some(Known {
                name: name.clone(),
                folder: self.options.folders.get(*folder)?.clone(),
                good: file.good.clone(),
                trouble: file.trouble.clone(),
            })
        });
        let after = Arc::new(Shelf::new(files.collect(), self.troubles.clone(), &before));
        let before = self.shared.serve(Arc::clone(&after));
        let remarks = self.loader.remarks().into_iter().map(Change::Cache);
        for change in between(&before, &after).into_iter().chain(remarks) {
            (self.options.on_change)(&change);
        }
    }
}

/// What is found of a file; nothing where it has to be compiled first, and its bytes are not given.
fn inspected(
    loader: &Loader,
    print: &Print,
    bytes: Option<&[u8]>,
    checks: &Checks<'_>,
) -> Option<Result<Inspection, String>> {
    let load = || -> Result<Option<Module>, CompileError> {
        match bytes {
            Some(bytes) => loader.load_as(bytes, print).map(Some),
            None => loader.cached_as(print),
        }
    };
    // The thread lives on whatever a file has done to it.
    let outcome =
        catch_unwind(AssertUnwindSafe(|| Some(inspect::loaded(print, load().transpose()?, checks))));
    match outcome {
        Ok(inspection) => inspection.map(Ok),
        Err(_) => Some(Err("the check itself has failed: this is a fault of the host".into())),
    }
}
