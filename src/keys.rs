//! The random keys of an installation: made once, kept in a Secret, and written to files for the program.
//!
//! An init container runs this (`--make-keys`), so that manifests alone install everything and nothing secret
//! is in them. Whoever comes first makes the Secret; a key that a later version asks for is added to it; what is
//! there stays as it is.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    time::Duration,
};

use clap::Parser;
use data_encoding::HEXLOWER;
use ephemeron_preset_host::secret;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time,
};

use crate::{
    client::{self, root_cause},
    telemetry,
};

const FLAG: &str = "--make-keys";
/// Between two attempts: what is missing, such as a right, may come.
const PAUSE: Duration = Duration::from_secs(2);
/// After which an attempt is given up and made anew.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Makes random keys where there are none yet, keeps them in a Secret of the Pod's own namespace, and writes
/// each to a file.
#[derive(Debug, Parser)]
struct Arguments {
    /// The Secret, and the keys that are wanted: SECRET=KEY,KEY.
    #[arg(long, value_name = "SECRET=KEY,KEY")]
    make_keys: Wanted,

    /// The folder that gets a file for each key.
    #[arg(long, value_name = "FOLDER")]
    into: PathBuf,
}

/// Keys, and the Secret that has them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    secret: String,
    keys: Vec<String>,
}

impl FromStr for Wanted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "write SECRET=KEY,KEY, with names of letters, digits, '-', '_' and '.'";
        // A key is the name of a file, too.
        let is_name = |name: &str| {
            let known = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
            name.starts_with(|char: char| char.is_ascii_alphanumeric())
                && name.len() <= 253
                && name.chars().all(known)
        };
        let (secret, keys) = text.split_once('=').ok_or(FORM)?;
        let keys: Vec<String> = keys.split(',').map(ToOwned::to_owned).collect();
        if is_name(secret) && keys.iter().all(|key| is_name(key)) {
            Ok(Self { secret: secret.into(), keys })
        } else {
            Err(FORM)
        }
    }
}

/// Why there are no keys yet.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the Secret {name} cannot be {what}: {cause}")]
    Request { name: String, what: &'static str, cause: String },
    #[error("the API server has not answered within {} s", TIMEOUT.as_secs())]
    Silence,
    #[error("the system has no random bytes: {0}")]
    Random(io::Error),
    #[error("{} cannot be written: {cause}", .path.display())]
    File { path: PathBuf, cause: io::Error },
}

/// What `main` ends with, if the program was started to make keys. It waits for what is missing and says what
/// that is: a container that ends would only be started again.
pub fn main(program: &str) -> Option<ExitCode> {
    if std::env::args_os().nth(1).as_deref() != Some(OsStr::new(FLAG)) {
        return None;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nothing can be done where not even this can be printed.
            drop(error.print());
            return Some(ExitCode::from(2));
        }
    };
    telemetry::init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let made = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
            tokio::select! {
                made = make(program, &arguments) => made,
                _ = terminate.recv() => Err("stopped before the keys were there".into()),
            }
        })
    });
    Some(match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tracing::error!("{why}");
            ExitCode::FAILURE
        }
    })
}

async fn make(program: &str, arguments: &Arguments) -> Result<(), String> {
    let config = client::config(program).await.map_err(|error| error.to_string())?;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| root_cause(&error))?;
    let secrets = Api::<Secret>::namespaced(client, &namespace);
    let wanted = &arguments.make_keys;
    let mut said = String::new();
    loop {
        let attempt = time::timeout(TIMEOUT, provide(&secrets, wanted));
        let found = attempt.await.unwrap_or(Err(Error::Silence));
        match found.and_then(|found| write(&found, wanted, &arguments.into)) {
            Ok(()) => break,
            Err(error) => {
                let why = error.to_string();
                if why != said {
                    tracing::warn!(
                        "waiting for the keys in {namespace}: {why}; is the account's Role applied?"
                    );
                    said = why;
                }
            }
        }
        time::sleep(PAUSE).await;
    }
    tracing::info!("the keys are those of the Secret {namespace}/{}", wanted.secret);
    Ok(())
}

/// The Secret with all keys: as it is, with those that it lacked, or made.
async fn provide(secrets: &Api<Secret>, wanted: &Wanted) -> Result<Secret, Error> {
    let name = &wanted.secret;
    let failed = |what| {
        move |error: kube::Error| Error::Request { name: name.clone(), what, cause: root_cause(&error) }
    };
    loop {
        let answer = match secrets.get_opt(name).await.map_err(failed("read"))? {
            Some(found) => match lacking(&found, wanted)? {
                None => return Ok(found),
                // Another process may have added them meanwhile: the version says so.
                Some(more) => secrets.patch(name, &PatchParams::default(), &Patch::Merge(more)).await,
            },
            None => secrets.create(&PostParams::default(), &fresh(wanted)?).await,
        };
        match answer {
            Ok(made) => return Ok(made),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {}
            Err(error) => return Err(failed("written")(error)),
        }
    }
}

fn fresh(wanted: &Wanted) -> Result<Secret, Error> {
    let metadata = ObjectMeta { name: Some(wanted.secret.clone()), ..ObjectMeta::default() };
    Ok(Secret { metadata, data: Some(random(wanted.keys.iter())?), ..Secret::default() })
}

/// What has to be added to this very version of the Secret; None where it has all keys.
fn lacking(found: &Secret, wanted: &Wanted) -> Result<Option<Secret>, Error> {
    let is_there = |key: &String| found.data.as_ref().is_some_and(|data| data.contains_key(key));
    let more = random(wanted.keys.iter().filter(|key| !is_there(key)))?;
    let metadata =
        ObjectMeta { resource_version: found.metadata.resource_version.clone(), ..ObjectMeta::default() };
    Ok((!more.is_empty()).then(|| Secret { metadata, data: Some(more), ..Secret::default() }))
}

/// 32 random bytes for each key, as hexadecimal digits.
fn random<'a>(keys: impl Iterator<Item = &'a String>) -> Result<BTreeMap<String, ByteString>, Error> {
    let one = |key: &String| {
        let bytes = secret::random().map_err(Error::Random)?;
        Ok((key.clone(), ByteString(HEXLOWER.encode(&bytes).into_bytes())))
    };
    keys.map(one).collect()
}

/// A file for each key, for this user only. One of an earlier run of the container gives way.
fn write(found: &Secret, wanted: &Wanted, folder: &Path) -> Result<(), Error> {
    for key in &wanted.keys {
        let path = folder.join(key);
        let value = found.data.as_ref().and_then(|data| data.get(key));
        let written = match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o400)
                .open(&path)
                .and_then(|mut file| file.write_all(value.map_or(&[], |value| &value.0))),
        };
        written.map_err(|cause| Error::File { path, cause })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn wanted(text: &str) -> Wanted {
        text.parse().expect(text)
    }

    #[test]
    fn names_cannot_leave_the_folder() {
        assert_eq!(wanted("keys=a,B_2.c").keys, ["a", "B_2.c"]);
        for text in ["", "keys", "keys=", "=a", "keys=a,", "keys=../a", "keys=a/b", "keys=.a", "a/b=c"] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_made_once_and_only_those_that_are_missing() {
        let first = fresh(&wanted("keys=a,b")).expect("random bytes");
        let data = first.data.clone().expect("data");
        assert!(
            data.values().all(|value| value.0.len() == 64 && value.0.is_ascii()) && data["a"] != data["b"]
        );
        assert_eq!(lacking(&first, &wanted("keys=b,a")).expect("random bytes"), None);

        let mut found = first;
        found.metadata.resource_version = Some("7".into());
        let more = lacking(&found, &wanted("keys=a,c")).expect("random bytes").expect("one is missing");
        assert_eq!(more.metadata.resource_version.as_deref(), Some("7"), "of this version only");
        assert_eq!(more.data.expect("data").keys().collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn each_key_is_a_file_for_its_user_only_also_the_second_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let wanted = wanted("keys=a");
        for _ in 0..2 {
            let secret = fresh(&wanted).expect("random bytes");
            write(&secret, &wanted, folder.path()).expect("it is written");
            let path = folder.path().join("a");
            assert_eq!(fs::read(&path).expect("a file"), secret.data.expect("data")["a"].0);
            assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o400);
        }
    }
}
