//! One child of any kind: created by POST, mended by PUT, deleted by UID.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, Utc};

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    networking::v1::Ingress,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
    core::{NamespaceResourceScope, Status},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{Child, mending::Mending};
use crate::{
    cache::Cache,
    controller::{
        drift::{Repair, has_all},
        ownership::{Whose, whose},
    },
    resource::{Ephemeron, MANAGER, conditions::Reason},
};

/// A request for a child failed in a way that trying again may help.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} the {kind} {namespace}/{name}")]
pub struct ApplyError {
    verb: &'static str,
    kind: String,
    namespace: String,
    name: String,
    source: Box<kube::Error>,
}

/// What a kind needs to be a child.
pub trait ChildKind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Repair
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl ChildKind for Pod {}
impl ChildKind for Service {}
impl ChildKind for HttpRoute {}
impl ChildKind for Ingress {}

/// Deletes a child of this Ephemeron, if it is this very one and still there.
///
/// # Errors
///
/// A request that failed for another reason than that the child is gone.
pub async fn delete<K: ChildKind>(
    client: &Client,
    cache: &Cache<K>,
    owner: &Ephemeron,
    child: &Arc<K>,
) -> Result<(), ApplyError> {
    if whose(child.as_ref(), owner) != Whose::Ours || child.meta().deletion_timestamp.is_some() {
        return Ok(());
    }
    let uid = child.uid();
    match api(client, child.as_ref()).delete(&child.name_any(), &this_one(uid.clone())).await {
        // 409: another object has the name by now.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
            cache.missing(&child.name_any(), uid.as_deref());
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(failed("delete", child.as_ref(), error)),
    }
}

fn this_one(uid: Option<String>) -> DeleteParams {
    DeleteParams {
        preconditions: Some(Preconditions { uid, resource_version: None }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    }
}

/// Who writes, for which Ephemeron, at which moment.
pub struct Writer<'a> {
    /// With this client.
    pub client: &'a Client,
    /// For this Ephemeron.
    pub owner: &'a Ephemeron,
    /// At this moment.
    pub now: DateTime<Utc>,
    mending: &'a Mending,
    again: Mutex<Option<DateTime<Utc>>>,
}

impl<'a> Writer<'a> {
    /// For this Ephemeron.
    pub fn new(client: &'a Client, owner: &'a Ephemeron, mending: &'a Mending, now: DateTime<Utc>) -> Self {
        Self { client, owner, mending, now, again: Mutex::default() }
    }

    /// When to look again at what was left as it is for a while.
    pub fn again(&self) -> Option<DateTime<Utc>> {
        *self.again.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a child may be set right now; if not, it is looked at again later.
    fn may_mend(&self, uid: Option<&str>) -> bool {
        match self.mending.ask(uid.unwrap_or_default(), self.now) {
            Ok(()) => true,
            Err(later) => {
                let mut again = self.again.lock().unwrap_or_else(PoisonError::into_inner);
                *again = Some(again.map_or(later, |known| known.min(later)));
                false
            }
        }
    }
}

/// Makes the child, or mends the one that there is.
pub async fn bring_about<K: ChildKind>(
    writer: &Writer<'_>,
    cache: &Cache<K>,
    desired: K,
    observed: Option<&Arc<K>>,
) -> Result<Child<K>, ApplyError> {
    match observed {
        Some(live) => settle(writer, cache, &desired, Arc::clone(live)).await,
        None => create(writer, cache, desired).await.map(|(child, _)| child),
    }
}

/// Makes a child by POST, which cannot merge into an object that somebody else has under the name;
/// returns that object along with the verdict on it.
pub async fn create<K: ChildKind>(
    writer: &Writer<'_>,
    cache: &Cache<K>,
    desired: K,
) -> Result<(Child<K>, Option<Arc<K>>), ApplyError> {
    let Writer { client, owner, .. } = *writer;
    let (api, name) = (api(client, &desired), desired.name_any());
    let error = match api.create(&post_params(), &desired).await {
        Ok(made) => return Ok((Child::Ours(cache.wrote_alone(made)), None)),
        Err(error) => error,
    };
    if !matches!(&error, kube::Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists") {
        return refused_or_failed("create", &desired, error).map(|child| (child, None));
    }
    match api.get_opt(&name).await {
        Ok(Some(live)) => {
            let live = match whose(&live, owner) {
                Whose::Ours => cache.wrote(live),
                // Not taken into the cache: its watch need not see what is not ours.
                Whose::Predecessor | Whose::Foreign => Arc::new(live),
            };
            let child = settle(writer, cache, &desired, Arc::clone(&live)).await?;
            Ok((child, Some(live)))
        }
        // It went in between: its deletion, or the next attempt, leads on.
        Ok(None) => Ok((Child::Going, None)),
        Err(kube::Error::SerdeError(unreadable)) => {
            Ok((remake(client, owner, &desired, unreadable.to_string()).await?, None))
        }
        Err(error) => Err(failed("read", &desired, error)),
    }
}

/// Deletes a child of ours that cannot be read, so that the next attempt makes it anew.
async fn remake<K: ChildKind>(
    client: &Client,
    owner: &Ephemeron,
    desired: &K,
    why: String,
) -> Result<Child<K>, ApplyError> {
    let (api, name) = (api(client, desired), desired.name_any());
    let Some(live) = api.get_metadata_opt(&name).await.map_err(|error| failed("read", desired, error))?
    else {
        return Ok(Child::Going);
    };
    match whose(&live, owner) {
        Whose::Foreign => return Ok(Child::Taken),
        Whose::Predecessor => return Ok(Child::Going),
        Whose::Ours if live.metadata.deletion_timestamp.is_some() => return Ok(Child::Going),
        Whose::Ours => {}
    }
    match api.delete(&name, &this_one(live.uid())).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Child::Going),
        // What cannot be read cannot be read from the answer either.
        Ok(_) | Err(kube::Error::SerdeError(_)) => Ok(Child::Unreadable(why)),
        Err(error) => Err(failed("delete", desired, error)),
    }
}

/// Deals with an object that has the child's name.
async fn settle<K: ChildKind>(
    writer: &Writer<'_>,
    cache: &Cache<K>,
    desired: &K,
    live: Arc<K>,
) -> Result<Child<K>, ApplyError> {
    let Writer { client, owner, .. } = *writer;
    match whose(live.as_ref(), owner) {
        Whose::Foreign => return Ok(Child::Taken),
        Whose::Predecessor => return clear(client, cache, owner, live.as_ref()).await,
        Whose::Ours if live.meta().deletion_timestamp.is_some() => return Ok(Child::Going),
        Whose::Ours => {}
    }
    let Some(repaired) = live.repaired(desired) else { return Ok(Child::Ours(live)) };
    if !writer.may_mend(live.meta().uid.as_deref()) {
        return Ok(Child::Ours(live));
    }
    tracing::info!(ephemeron = owner.name(), kind = %K::kind(&()), "setting a child right");
    // The live object's UID and resourceVersion go along: another object, or a newer state, answers 409.
    match api(client, desired).replace(&desired.name_any(), &post_params(), &repaired).await {
        Ok(mended) => Ok(Child::Ours(cache.wrote_alone(mended))),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            cache.missing(&desired.name_any(), live.meta().uid.as_deref());
            Err(failed("update", desired, kube::Error::Api(status)))
        }
        Err(error) => refused_or_failed("update", desired, error),
    }
}

/// Deletes what a predecessor has left. That is the garbage collector's, which does not always come: it
/// loses sight of an owner whose name another one takes while its watch is interrupted.
async fn clear<K: ChildKind>(
    client: &Client,
    cache: &Cache<K>,
    owner: &Ephemeron,
    live: &K,
) -> Result<Child<K>, ApplyError> {
    if live.meta().deletion_timestamp.is_some() {
        return Ok(Child::Going);
    }
    // What is known of the owner may be older than the child: then the child is its successor's.
    let ephemerons = Api::<Ephemeron>::all(client.clone());
    let there = ephemerons.get_metadata_opt(owner.name()).await;
    let there = there.map_err(|error| failed("read the owner of", live, error))?;
    if there.is_none_or(|there| there.metadata.uid != owner.metadata.uid) {
        return Ok(Child::Going);
    }
    let (name, uid) = (live.name_any(), live.uid());
    match api(client, live).delete(&name, &this_one(uid.clone())).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
            cache.missing(&name, uid.as_deref());
            Ok(Child::Going)
        }
        Ok(_) => Ok(Child::Going),
        Err(error) => Err(failed("delete", live, error)),
    }
}

/// Gives a Pod our labels back: without them neither its Service nor our watch sees it. Nothing
/// else of a Pod can be mended.
pub async fn relabel(
    writer: &Writer<'_>,
    cache: &Cache<Pod>,
    live: &Arc<Pod>,
    labels: &BTreeMap<String, String>,
) -> Result<(), ApplyError> {
    let has = has_all(live.metadata.labels.as_ref(), Some(labels));
    if has || live.metadata.deletion_timestamp.is_some() || !writer.may_mend(live.metadata.uid.as_deref()) {
        return Ok(());
    }
    // The UID goes along: a patch for another object of this name answers 409.
    let metadata = json!({ "uid": live.metadata.uid, "labels": labels });
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "metadata": metadata }));
    match api(writer.client, live.as_ref()).patch(&live.name_any(), &params, &patch).await {
        Ok(patched) => drop(cache.wrote(patched)),
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
            cache.missing(&live.name_any(), live.metadata.uid.as_deref());
        }
        Err(error) => return Err(failed("label", live.as_ref(), error)),
    }
    Ok(())
}

/// What the API server's answer means: a refusal of the object, so that the same request will fail
/// again, or a failure that may pass.
fn refused_or_failed<K: ChildKind>(
    verb: &'static str,
    desired: &K,
    error: kube::Error,
) -> Result<Child<K>, ApplyError> {
    match error {
        kube::Error::Api(status) => match refusal(&status) {
            Some(reason) => Ok(Child::Refused(reason, status.message.clone())),
            None => Err(failed(verb, desired, kube::Error::Api(status))),
        },
        error => Err(failed(verb, desired, error)),
    }
}

/// What kind of refusal an answer is, if it is one. Quota and admission say so in their messages only:
/// `exceeded quota:` (k8s.io/apiserver, plugin resourcequota), `admission webhook "…" denied the
/// request` and `failed calling webhook` (admission/plugin/webhook/errors), `violates PodSecurity`
/// (plugin podsecurity), `ValidatingAdmissionPolicy '…'` (plugin policy/validating).
pub fn refusal(status: &Status) -> Option<Reason> {
    let says = |words: &[&str]| words.iter().any(|words| status.message.contains(words));
    let admission = says(&[
        "admission webhook",
        "violates PodSecurity",
        "ValidatingAdmissionPolicy",
        "MutatingAdmissionPolicy",
    ]);
    match status.code {
        403 if says(&[
            "exceeded quota",
            "failed quota",
            "is forbidden: maximum",
            "is forbidden: minimum",
        ]) =>
        {
            Some(Reason::QuotaExceeded)
        }
        400 | 403 | 422 if admission => Some(Reason::RefusedByAdmission),
        500 if says(&["failed calling webhook"]) => Some(Reason::RefusedByAdmission),
        400 | 403 | 404 | 413 | 422 => Some(Reason::Refused),
        _ => None,
    }
}

fn api<K: ChildKind>(client: &Client, object: &K) -> Api<K> {
    Api::namespaced(client.clone(), &object.namespace().unwrap_or_default())
}

fn post_params() -> PostParams {
    PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() }
}

fn failed<K: ChildKind>(verb: &'static str, object: &K, source: kube::Error) -> ApplyError {
    ApplyError {
        verb,
        kind: K::kind(&()).into_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let rows = [
            (
                403,
                "pods \"a\" is forbidden: exceeded quota: q, requested: pods=1",
                Some(Reason::QuotaExceeded),
            ),
            (
                403,
                "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\"",
                Some(Reason::RefusedByAdmission),
            ),
            (403, "admission webhook \"w\" denied the request: no", Some(Reason::RefusedByAdmission)),
            (
                422,
                "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no",
                Some(Reason::RefusedByAdmission),
            ),
            (500, "Internal error occurred: failed calling webhook \"w\"", Some(Reason::RefusedByAdmission)),
            (403, "pods is forbidden: User \"a\" cannot create resource", Some(Reason::Refused)),
            (422, "Pod \"a\" is invalid: spec", Some(Reason::Refused)),
            (404, "namespaces \"a\" not found", Some(Reason::Refused)),
            (500, "etcdserver: request timed out", None),
            (409, "the object has been modified", None),
            (429, "too many requests", None),
        ];
        for (code, message, wanted) in rows {
            let status = Status { code, message: message.into(), ..Status::default() };
            assert_eq!(refusal(&status), wanted, "{code} {message}");
        }
    }
}
