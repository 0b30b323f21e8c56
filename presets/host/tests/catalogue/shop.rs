//! A catalogue with its folders, and waiting for what becomes of files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use ephemeron_preset_host::{
    catalogue::{Catalogue, Change, Options, RenderError, Rendering},
    document::Context,
    limits::Limits,
};
use futures_executor::block_on;
use serde_json::json;
use tempfile::TempDir;

use crate::guest::Guest;

/// Nothing on any machine takes longer; what does is stuck.
pub const LONG: Duration = Duration::from_mins(5);

/// Limits that a slow machine keeps to.
pub fn limits() -> Limits {
    Limits { fuel: 5_000_000, time: LONG, compile_time: LONG, ..Limits::default() }
}

/// A good preset of this name, which renders this port.
pub fn preset(name: &str, port: u16) -> Vec<u8> {
    named(name, port).bytes()
}

pub fn named(name: &str, port: u16) -> Guest {
    let description = json!({
        "apiVersion": "preset.ephemeron/v1", "name": name, "version": format!("{port}"),
        "parameters": {"type": "object"}, "examples": [{}],
    });
    let rendered = json!({"apiVersion": "preset.ephemeron/v1", "template": {"spec": {}}, "port": port});
    Guest { description: description.to_string(), ..Guest::rendering(&rendered.to_string()) }
}

/// Bytes that begin as a preset does and end too early.
pub fn half(name: &str) -> Vec<u8> {
    let mut bytes = preset(name, 1);
    bytes.truncate(bytes.len() / 2);
    bytes
}

pub fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let unfinished = folder.join(format!(".{name}"));
    fs::write(&unfinished, bytes).expect("a file");
    fs::rename(unfinished, folder.join(format!("{name}.wasm"))).expect("a file");
}

/// Makes a program of a shell's text. Another process writes it: one that is started meanwhile would else hold
/// it open, and then it cannot be run.
pub fn program_of(path: &Path, text: &str) {
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#;
    let written = Command::new("sh").arg("-c").arg(write).arg(path).arg(text).status();
    assert!(written.expect("a shell").success());
}

/// A compiler that waits until there is a file: both. It ends with its folder, whatever becomes of the test.
pub fn waiting_compiler(folder: &Path) -> (PathBuf, PathBuf) {
    let (compiler, go) = (folder.join("compiler"), folder.join("go"));
    let program = std::env::current_exe().expect("this program");
    let script = format!(
        "while [ ! -e '{}' ]; do [ -e \"$0\" ] || exit 1; sleep 0.01; done\nexec '{}' \"$@\"\n",
        go.display(),
        program.display()
    );
    program_of(&compiler, &script);
    (compiler, go)
}

/// What comes of a future that needs no runtime.
pub fn soon<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let (answer, answered) = channel();
    thread::spawn(move || answer.send(block_on(future)));
    answered.recv_timeout(LONG).expect("it is stuck")
}

/// A catalogue of folders that go with it.
pub struct Shop {
    pub catalogue: Catalogue,
    changes: Receiver<Change>,
    folders: Vec<TempDir>,
}

/// Folders before their catalogue is opened.
pub fn folders<const N: usize>() -> [TempDir; N] {
    std::array::from_fn(|_| tempfile::tempdir().expect("a folder"))
}

impl Shop {
    /// Opens these folders, without a cache.
    pub fn open(folders: impl Into<Vec<TempDir>>) -> Self {
        Self::with(folders, |_| ())
    }

    pub fn with(folders: impl Into<Vec<TempDir>>, change: impl FnOnce(&mut Options)) -> Self {
        let folders = folders.into();
        let (told, changes) = channel();
        let mut options = Options {
            folders: folders.iter().map(|folder| folder.path().to_owned()).collect(),
            limits: limits(),
            cache: None,
            key: None,
            compiler: None,
            context: Context::example(),
            accepts: Box::new(|template| {
                if template.contains_key("forbidden") {
                    Err("forbidden is not allowed".into())
                } else {
                    Ok(())
                }
            }),
            // A test that has ended does not listen any more.
            on_change: Box::new(move |change| drop(told.send(change.clone()))),
        };
        change(&mut options);
        Self { catalogue: Catalogue::open(options).expect("a catalogue"), changes, folders }
    }

    pub fn folder(&self, number: usize) -> &Path {
        self.folders[number].path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder(0).join(format!("{name}.wasm"))
    }

    /// Waits for the first change that is meant. All before it are passed over.
    pub fn until<T>(&self, meant: impl Fn(&Change) -> Option<T>) -> T {
        let mut passed = Vec::new();
        loop {
            let Ok(change) = self.changes.recv_timeout(LONG) else { panic!("only {passed:#?}") };
            if let Some(found) = meant(&change) {
                return found;
            }
            passed.push(change);
        }
    }

    /// Waits until the preset of this version is served.
    pub fn served(&self, name: &str, port: u16) {
        self.until(|change| match change {
            Change::Served { name: served, version, .. } => {
                (served == name && *version == port.to_string()).then_some(())
            }
            _ => None,
        });
    }

    /// Waits until the file is refused, and why; and whether another version is served meanwhile.
    pub fn failed(&self, name: &str) -> (String, bool) {
        self.until(|change| match change {
            Change::Failed { name: failed, reason, serving, .. } if failed == name => {
                Some((reason.clone(), serving.is_some()))
            }
            _ => None,
        })
    }

    pub fn retired(&self, name: &str) {
        self.until(|change| {
            matches!(change, Change::Retired { name: gone, .. } if gone == name).then_some(())
        });
    }

    /// Waits until nothing is wrong with the file any more.
    pub fn mended(&self, name: &str) {
        self.until(|change| {
            matches!(change, Change::Mended { name: mended, .. } if mended == name).then_some(())
        });
    }

    pub fn settle(&self) {
        assert!(self.catalogue.settled_within(LONG), "it has not settled");
    }

    pub fn render(&self, name: &str) -> Result<Rendering, RenderError> {
        soon(self.catalogue.render(name, &json!({}), &Context::example()))
    }

    pub fn port(&self, name: &str) -> u16 {
        self.render(name).expect("a rendering").port
    }

    pub fn absent(&self, name: &str) -> String {
        self.catalogue.get(name).expect_err("it is absent").to_string()
    }
}
