//! The API server's audit log: every request that it has answered, by whom and when.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, Seek as _, SeekFrom},
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
};

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde::Deserialize;

use crate::cluster::{Cluster, until};

/// The file, and a way to have something written into it.
pub struct AuditLog {
    path: PathBuf,
    client: Client,
}

/// A place in the log: what comes after it is read.
#[derive(Clone, Copy)]
pub struct Place {
    /// The inode of the file: its name goes to another one when the log is rotated.
    file: u64,
    offset: u64,
}

/// One request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// `create`, `patch`, `watch` and so on.
    pub verb: String,
    /// When it arrived.
    #[serde(rename = "requestReceivedTimestamp")]
    pub received: DateTime<Utc>,
    /// When its answer had been sent; of a watch: had begun.
    #[serde(rename = "stageTimestamp")]
    pub answered: DateTime<Utc>,
    stage: String,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    #[serde(default)]
    response_status: ResponseStatus,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ResponseStatus {
    code: u16,
}

impl AuditLog {
    /// The log of the cluster's API server.
    pub fn of(cluster: &Cluster) -> Self {
        Self { path: cluster.env("AUDIT_LOG").into(), client: cluster.client.clone() }
    }

    /// The place where the log ends now.
    pub fn end(&self) -> Place {
        let metadata = std::fs::metadata(&self.path).expect("the cluster has an audit log");
        Place { file: metadata.ino(), offset: metadata.len() }
    }

    /// Every request that was answered since `place`, up to this moment. The API server writes them
    /// late, but in order: they are complete once a request of ours, sent last, is among them.
    pub async fn since(&self, place: Place) -> Vec<Request> {
        let marker = format!("marker-{}", Utc::now().timestamp_micros());
        let nothing = Api::<ConfigMap>::default_namespaced(self.client.clone()).get_opt(&marker).await;
        assert!(nothing.expect("the API server answers").is_none(), "{marker} is only a name");
        let (mut place, mut requests) = (place, Vec::new());
        until("the audit log is complete", || {
            let is_complete = self.read(&mut place, &mut requests, &marker);
            async move { is_complete.then_some(()) }
        })
        .await;
        requests
    }

    /// Reads on from `place`; returns whether a request for the object of this name was there.
    fn read(&self, place: &mut Place, requests: &mut Vec<Request>, name: &str) -> bool {
        let before = requests.len();
        for path in self.files(*place) {
            let mut file = File::open(path).expect("the audit log can be read");
            let inode = file.metadata().expect("the audit log can be read").ino();
            if inode != place.file {
                *place = Place { file: inode, offset: 0 };
            }
            file.seek(SeekFrom::Start(place.offset)).expect("the audit log can be read");
            let (mut lines, mut line) = (BufReader::new(file), String::new());
            loop {
                line.clear();
                let length = lines.read_line(&mut line).expect("the audit log is text");
                // The last line may not be complete yet.
                if !line.ends_with('\n') {
                    break;
                }
                place.offset += length as u64;
                // An API server that is killed leaves a part of a line.
                let Ok(request) = serde_json::from_str::<Request>(&line) else { continue };
                // A watch is written twice: at its beginning and at its end.
                if (request.verb == "watch") == (request.stage == "ResponseStarted") {
                    requests.push(request);
                }
            }
        }
        requests[before..].iter().any(|request| request.object_ref.name == name)
    }

    /// The file of this place and those that came after it: `audit-TIME.log`, and at last `audit.log`.
    fn files(&self, place: Place) -> Vec<PathBuf> {
        let folder = self.path.parent().expect("a folder");
        let entries = std::fs::read_dir(folder).expect("the folder of the audit log can be read");
        let is_old = |path: &PathBuf| {
            let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            name.starts_with("audit-") && path.extension().is_some_and(|extension| extension == "log")
        };
        let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(is_old).collect();
        files.sort();
        files.push(self.path.clone());
        let inode = |path: &PathBuf| std::fs::metadata(path).map(|metadata| metadata.ino()).ok();
        let first = files.iter().position(|path| inode(path) == Some(place.file));
        files.split_off(first.expect("the audit log was rotated too often: its place is gone"))
    }
}

impl Request {
    /// Whether the controller sent it.
    pub fn is_controllers(&self) -> bool {
        self.user_agent.starts_with("ephemeron-controller/")
    }

    /// Whether the REST API sent it.
    pub fn is_apis(&self) -> bool {
        self.user_agent.starts_with("ephemeron-api/")
    }

    /// The name of the object that it is about; empty where it is about many.
    pub fn name(&self) -> &str {
        &self.object_ref.name
    }

    /// Whether it is about the object of this name, or one that is called after it: a Secret, a later Pod.
    pub fn names(&self, name: &str) -> bool {
        let rest = self.object_ref.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// Whether it is about an object that Kubernetes has made for the one of this name.
    pub fn names_offspring(&self, name: &str) -> bool {
        self.object_ref.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
    }

    /// What was asked for: `patch ephemerons/status`, with the code of a failure.
    pub fn what(&self) -> String {
        let ObjectRef { resource, subresource, .. } = &self.object_ref;
        let slash = if subresource.is_empty() { "" } else { "/" };
        let failure = match self.response_status.code {
            code @ 400.. => format!(" ({code})"),
            _ => String::new(),
        };
        format!("{} {resource}{slash}{subresource}{failure}", self.verb)
    }
}

/// How often each thing was asked for.
pub fn tally<'a>(requests: impl IntoIterator<Item = &'a Request>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(request.what()).or_default() += 1;
    }
    counts
}
