//! Waiting until something in a folder changes.

use std::{
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, WatchFlags},
};

/// Changes come in groups, such as those of a mount that is swapped; they are looked at together.
const TOGETHER: Duration = Duration::from_millis(20);

/// A folder in which something changes all the time is looked at, too.
const GROUPS: usize = 10;

/// What ended the waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woken {
    /// Something has changed.
    Changed,
    /// The time was up.
    Time,
    /// Nobody needs the catalogue any more.
    Over,
}

/// The system's word on changes in folders. Without it, only looking from time to time tells.
pub(super) struct Watch {
    changes: Option<OwnedFd>,
    /// Its other end is the catalogue's.
    woken: UnixStream,
}

impl Watch {
    pub(super) fn new(woken: UnixStream) -> Self {
        Self { changes: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok(), woken }
    }

    /// Has changes in this folder told. Again for one that is watched already, it does nothing.
    pub(super) fn add(&self, folder: &Path) {
        let flags = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::ONLYDIR;
        if let Some(changes) = &self.changes {
            // A folder that cannot be watched is looked at from time to time.
            let _ = inotify::add_watch(changes, folder, flags);
        }
    }

    /// Waits for a change, for at most this long.
    pub(super) fn wait(&self, time: Duration) -> Woken {
        match self.poll(time) {
            Woken::Changed => {
                self.forget();
                for _ in 0..GROUPS {
                    if self.poll(TOGETHER) != Woken::Changed || !self.forget() {
                        break;
                    }
                }
                Woken::Changed
            }
            other => other,
        }
    }

    /// Whether something has changed, or it is over. What has is told again by [`Watch::wait`].
    pub(super) fn now(&self) -> Woken {
        self.poll(Duration::ZERO)
    }

    fn poll(&self, time: Duration) -> Woken {
        let mut fds = vec![PollFd::new(&self.woken, PollFlags::IN)];
        fds.extend(self.changes.as_ref().map(|changes| PollFd::new(changes, PollFlags::IN)));
        let time = Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        // An interruption is as good as the time's end.
        let _ = poll(&mut fds, Some(&time));
        let is = |fd: usize| fds.get(fd).is_some_and(|fd| !fd.revents().is_empty());
        match (is(0), is(1)) {
            (true, _) => Woken::Over,
            (_, true) => Woken::Changed,
            _ => Woken::Time,
        }
    }

    /// Takes what was told; whether there was anything.
    fn forget(&self) -> bool {
        let Some(changes) = &self.changes else { return false };
        let mut buffer = [MaybeUninit::uninit(); 4_096];
        let mut told = inotify::Reader::new(changes, &mut buffer);
        let mut any = false;
        while told.next().is_ok() {
            any = true;
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn what_changes_is_told_once_and_the_end_at_any_time() {
        /// Nothing on any machine takes longer.
        const LONG: Duration = Duration::from_mins(5);
        let folder = tempfile::tempdir().expect("a folder");
        let (wake, end) = UnixStream::pair().expect("a pair");
        let watch = Watch::new(end);
        watch.add(folder.path());
        watch.add(&folder.path().join("nowhere"));
        let path = folder.path().join("a.wasm");
        let changes: [&dyn Fn() -> std::io::Result<()>; 5] = [
            &|| fs::write(&path, "x"),
            &|| fs::rename(&path, folder.path().join("b.wasm")),
            &|| symlink("b.wasm", &path),
            &|| fs::remove_file(&path),
            // Again, whatever was told of it before.
            &|| fs::write(&path, "y"),
        ];
        for (number, change) in changes.iter().enumerate() {
            assert_eq!(watch.now(), Woken::Time, "{number}");
            change().expect("a change");
            assert_eq!(watch.now(), Woken::Changed, "{number}");
            watch.add(folder.path());
            assert_eq!(watch.wait(LONG), Woken::Changed, "{number}");
        }
        assert_eq!(watch.wait(Duration::ZERO), Woken::Time);
        drop(wake);
        assert_eq!(watch.wait(LONG), Woken::Over);
    }
}
