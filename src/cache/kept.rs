//! One object as a cache keeps it: as JSON, a tenth of what its types take in memory.
//!
//! Most of an object's fields are empty most of the time, and the types of Kubernetes have room for
//! all of them. An object is read far less often than it is kept.

use std::sync::Arc;

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};

/// An object, and what must be known of it without reading it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its resource version.
    pub version: u64,
    /// Its UID.
    pub uid: Option<Box<str>>,
    /// The groups that it is in.
    pub groups: Box<[String]>,
    /// Whether the watch's event for this version tells nothing that is not known.
    pub is_told: bool,
    json: Arc<[u8]>,
}

impl Kept {
    /// The object as it is now.
    pub fn new<K: Resource + Serialize>(object: &K, groups: Vec<String>, is_told: bool) -> Self {
        Self {
            version: version(object),
            uid: object.meta().uid.as_deref().map(Into::into),
            groups: groups.into(),
            is_told,
            // Objects that came as JSON can be written as JSON.
            json: serde_json::to_vec(object).unwrap_or_default().into(),
        }
    }

    /// The object.
    pub fn read<K: DeserializeOwned>(&self) -> Option<Arc<K>> {
        match serde_json::from_slice(&self.json) {
            Ok(object) => Some(Arc::new(object)),
            Err(error) => {
                tracing::error!(%error, uid = self.uid.as_deref(), "a defect: an object in the cache cannot be read");
                None
            }
        }
    }
}

/// The resource version as a number; 0 where it is none.
pub fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
