//! The custom resource `ephemerons.qualified.io/v1alpha1`, and every label and annotation key of ours.

pub mod conditions;
pub mod domain;
pub mod lifetime;
pub mod parameters;
pub mod phase;
pub mod reasons;
pub mod reference;
mod schema;
pub mod selector;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{CustomResource, KubeSchema, Resource as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use ephemeron_preset_host::labels::{self, GROUP_LABEL, KEY_PREFIX, MANAGED_BY_LABEL, NAME_LABEL};

use conditions::Condition;
use lifetime::Lifetime;
use parameters::Parameters;

/// Annotation with the host at which the service answers; set once it is available.
pub const HOST_ANNOTATION: &str = "host";
/// Value of [`MANAGED_BY_LABEL`], and the name under which fields are written.
pub const MANAGER: &str = "ephemeron";
/// Annotation with the user that an Ephemeron was created for, as `{uid}.{app}`.
pub const CREATED_BY_ANNOTATION: &str = "ephemerons.qualified.io/created-by";
/// Label with the same user, so that the Ephemerons of one can be listed.
pub const USER_LABEL: &str = "ephemerons.qualified.io/user";
/// Label with the backend that an Ephemeron was created by.
pub const APP_LABEL: &str = "ephemerons.qualified.io/app";
/// Annotation with the preset that `spec.service` was written from.
pub const PRESET_ANNOTATION: &str = "ephemerons.qualified.io/preset";
/// Annotation with the fingerprint of the request that an Ephemeron was created by, so that it is known
/// when it comes again.
pub const REQUEST_ANNOTATION: &str = "ephemerons.qualified.io/request";
/// Annotation of what a repeated request was answered with: it is not withdrawn any more.
pub const ACCEPTED_ANNOTATION: &str = "ephemerons.qualified.io/accepted";
/// Annotation of an Ingress: the keys of the others that came of `spec.service.ingressAnnotations`, with
/// spaces between them, so that one that is taken out there goes here, too.
pub const INGRESS_ANNOTATIONS_ANNOTATION: &str = "ephemerons.qualified.io/ingress-annotations";

/// What is asked for: a service, and when it ends.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "qualified.io",
    version = "v1alpha1",
    kind = "Ephemeron",
    plural = "ephemerons",
    singular = "ephemeron",
    shortname = "eph",
    shortname = "ephs",
    status = "EphemeronStatus",
    derive = "PartialEq",
    doc = "A service that lives for a while: it answers at its own host, and when its time is over everything of it is gone.",
    validation = Rule::new("self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name becomes the first label of the host: use at most 63 lowercase letters, digits and '-', starting with a letter and not ending with '-'"),
    printcolumn(name = "Host", type_ = "string", json_path = ".status.host", description = "Where the service answers"),
    printcolumn(name = "Available", type_ = "string", json_path = ".status.conditions[?(@.type=='Available')].status", description = "Whether it can be reached there"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Available')].reason", description = "Why it can or cannot be reached"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expirationTime", description = "When all of it is deleted"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.service.image", priority = 1),
    printcolumn(name = "Preset", type_ = "string", json_path = ".spec.preset.name", priority = 1),
    printcolumn(name = "Pod-Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='PodReady')].status", priority = 1),
    printcolumn(name = "Route", type_ = "string", json_path = ".status.route.kind", priority = 1),
    printcolumn(name = "Parent", type_ = "string", json_path = ".status.route.parent", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Available')].message", priority = 1)
)]
#[x_kube(
    validation = Rule::new("has(self.expirationTime) || has(self.lifetime)")
        .message("an Ephemeron must end: set spec.lifetime (such as 30m) or spec.expirationTime (such as 2030-01-31T12:00:00Z)"),
    validation = Rule::new("has(self.service) != has(self.preset)")
        .message("say what to run: set either spec.service (an image and its port) or spec.preset (a name and its parameters)"),
    validation = Rule::new("has(self.service) == has(oldSelf.service)")
        .message("spec.service and spec.preset cannot take each other's place while the service lives: delete this Ephemeron and create another"),
    validation = schema::unchanged("service", "image"),
    validation = schema::unchanged("service", "port"),
    validation = schema::unchanged("service", "command"),
    validation = schema::unchanged("service", "workingDir"),
    validation = schema::unchanged("service", "env"),
    validation = schema::unchanged("service", "readinessProbe"),
    validation = schema::unchanged("service", "imagePullPolicy"),
    validation = schema::unchanged("service", "resources"),
    validation = schema::unchanged("service", "podLabels"),
    validation = schema::unchanged("preset", "name"),
    validation = schema::unchanged("preset", "parameters"),
    validation = schema::unchanged("preset", "podLabels"),
)]
#[serde(rename_all = "camelCase")]
pub struct EphemeronSpec {
    /// When everything is destroyed: an RFC 3339 time with its zone, such as 2030-01-31T12:00:00Z.
    /// It may be changed at any time before; it wins over `lifetime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub expiration_time: Option<DateTime<Utc>>,

    /// How long it lives, counted from its creation: numbers with the units d, h, m and s, such as
    /// 30m or 1h30m. Ignored where `expirationTime` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Lifetime>,

    /// The service to run. Only `tlsSecretName` and `ingressAnnotations` can be changed while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,

    /// The preset that says what to run, in the place of `service`. Only `tlsSecretName` and
    /// `ingressAnnotations` can be changed while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
}

/// A preset, and what it is asked for.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preset {
    /// Its name, as `preset list` has it.
    #[schemars(schema_with = "schema::preset_name")]
    pub name: String,

    /// Its parameters; which there are is told by the preset's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::anything")]
    pub parameters: Option<Parameters>,

    /// Further labels of the Pod. Keys under ephemerons.qualified.io/ are ours, but for `group`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::string_map::<63>")]
    pub pod_labels: Option<BTreeMap<String, String>>,

    /// The TLS Secret of the Ingress. Not used with a Gateway: there the listener has the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub tls_secret_name: Option<String>,

    /// Annotations of the Ingress. Not used with a Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::string_map::<262144>")]
    pub ingress_annotations: Option<BTreeMap<String, String>>,
}

impl EphemeronSpec {
    /// Further labels of the Pod.
    #[must_use]
    pub fn pod_labels(&self) -> Option<&BTreeMap<String, String>> {
        let preset = || self.preset.as_ref()?.pod_labels.as_ref();
        self.service.as_ref().map_or_else(preset, |service| service.pod_labels.as_ref())
    }

    /// The TLS Secret of the Ingress.
    #[must_use]
    pub fn tls_secret_name(&self) -> Option<&str> {
        let preset = || self.preset.as_ref()?.tls_secret_name.as_deref();
        self.service.as_ref().map_or_else(preset, |service| service.tls_secret_name.as_deref())
    }

    /// Annotations of the Ingress.
    #[must_use]
    pub fn ingress_annotations(&self) -> Option<&BTreeMap<String, String>> {
        let preset = || self.preset.as_ref()?.ingress_annotations.as_ref();
        self.service.as_ref().map_or_else(preset, |service| service.ingress_annotations.as_ref())
    }
}

/// One container, the port it serves, and how it is routed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The container image.
    #[schemars(length(min = 1, max = 1024))]
    pub image: String,

    /// The one port that the container serves HTTP on, and that is routed to.
    #[schemars(schema_with = "schema::port")]
    pub port: u16,

    /// What to run instead of the image's entry point, with its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(max = 32768)))]
    pub command: Option<Vec<String>>,

    /// The directory to run in, instead of the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub working_dir: Option<String>,

    /// Environment variables of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub env: Option<Vec<EnvVar>>,

    /// A request that tells when the service is ready. With it, the service counts as available only
    /// once the same request is answered through its public URL, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<ReadinessProbe>,

    /// When the image is pulled: Always, IfNotPresent or Never. Default: Always for the tag `latest`
    /// or none, otherwise IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^(Always|IfNotPresent|Never)$"))]
    pub image_pull_policy: Option<String>,

    /// What the container may use of CPU, memory and disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// Further labels of the Pod. Keys under ephemerons.qualified.io/ are ours, but for `group`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::string_map::<63>")]
    pub pod_labels: Option<BTreeMap<String, String>>,

    /// The TLS Secret of the Ingress. Not used with a Gateway: there the listener has the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub tls_secret_name: Option<String>,

    /// Annotations of the Ingress. Not used with a Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::string_map::<262144>")]
    pub ingress_annotations: Option<BTreeMap<String, String>>,
}

/// One environment variable.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct EnvVar {
    /// Its name.
    #[schemars(length(min = 1, max = 1024))]
    pub name: String,
    /// Its value. Default: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 131_072))]
    pub value: Option<String>,
}

/// An HTTP GET on the service's port; any answer from 200 to 399 means ready.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessProbe {
    /// The path to ask for, such as /.
    #[schemars(length(max = 4096))]
    pub path: String,
    /// Seconds to wait before the first request. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub initial_delay_seconds: Option<i32>,
    /// Seconds between two requests. Default: 1, so that a service is found ready soon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub period_seconds: Option<i32>,
    /// Seconds in which an answer must come. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub timeout_seconds: Option<i32>,
}

/// Amounts by resource name, such as `cpu: 500m`
/// (<https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/>).
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct Resources {
    /// The most that it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantities")]
    pub limits: Option<BTreeMap<String, Amount>>,
    /// What is set aside for it. Default: the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantities")]
    pub requests: Option<BTreeMap<String, Amount>>,
}

/// An amount of a resource. Kubernetes' own type for "number or text" holds 32 bits, and memory has more.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(untagged)]
pub enum Amount {
    /// A whole number.
    Int(i64),
    /// A quantity, such as `500m`; or a number that is not whole or too large, which means nothing.
    String(String),
    /// Anything else that the schema lets through, so that one field does not make all of it unreadable.
    Other(serde_json::Value),
}

/// What is known of the service.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EphemeronStatus {
    /// `PodReady`: the Pod is ready. `Available`: the service can be reached at its host.
    /// `PresetReady`: the preset has said what to run; only there where one is asked for.
    /// `Expiring`: it ends soon, or its end is held back; only there while that is so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The `metadata.generation` that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The host of the service. It is chosen once and stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where to open the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When everything is destroyed, whether by `expirationTime` or by `lifetime`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "schema::time_or_none")]
    #[schemars(schema_with = "schema::plain_string")]
    pub expiration_time: Option<DateTime<Utc>>,
    /// How often its end was put off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<i64>,
    /// How requests get to the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// The preset as it was when it was asked. It is asked once: a newer one changes nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Rendered>,
    /// What the preset has said, for the controller alone: a Pod that must be made again is made of this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65_536))]
    pub rendering: Option<String>,
}

/// What is known of a preset that was asked.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rendered {
    /// The preset's own version.
    #[serde(default)]
    pub version: String,
    /// The SHA-256 of its file, in hexadecimal digits.
    #[serde(default)]
    pub digest: String,
    /// The SHA-256 of the parameters that it was asked with, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub parameters_digest: String,
    /// The port of the service.
    #[serde(default)]
    pub port: u16,
    /// The path at which its readiness probe asks, if it has one over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_path: Option<String>,
    /// The Secret with the values that the preset has said are secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// What the preset wants the user to know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 2048)))]
    pub warnings: Vec<String>,
}

impl Rendered {
    /// Whether these were the parameters, by their [`Parameters::digest`], as far as the record tells.
    #[must_use]
    pub fn was_asked_with(&self, digest: &str) -> bool {
        self.parameters_digest.is_empty() || self.parameters_digest == digest
    }
}

/// The object that routes the host to the service.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Route {
    /// `HTTPRoute` or `Ingress`.
    pub kind: String,
    /// The Gateway as namespace/name/listener, or the ingress class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
}

impl Ephemeron {
    /// The name; objects from an API server always have one.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// The UID; objects from an API server always have one.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    /// When it ends: `spec.expirationTime`, else its creation plus `spec.lifetime`.
    /// None where it says neither, or where the sum is beyond what a time can hold.
    #[must_use]
    pub fn expiration_time(&self) -> Option<DateTime<Utc>> {
        self.spec.expiration_time.or_else(|| {
            let created = self.metadata.creation_timestamp.as_ref()?.0.as_second();
            let lifetime = TimeDelta::try_seconds(self.spec.lifetime.as_ref()?.as_secs())?;
            DateTime::from_timestamp(created, 0)?.checked_add_signed(lifetime)
        })
    }

    /// The reference that children carry. It does not block the owner's deletion: that would need
    /// permission on finalizers.
    #[must_use]
    pub fn owner_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: Self::api_version(&()).into(),
            kind: Self::kind(&()).into(),
            name: self.name().into(),
            uid: self.uid().into(),
            controller: Some(true),
            block_owner_deletion: Some(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ephemeron(spec: &serde_json::Value) -> Ephemeron {
        let mut object: Ephemeron = serde_json::from_value(serde_json::json!({
            "apiVersion": "qualified.io/v1alpha1", "kind": "Ephemeron",
            "metadata": {"name": "a", "creationTimestamp": "2030-01-01T00:00:00Z"},
            "spec": {"service": {"image": "nginx", "port": 80}},
        }))
        .expect("a valid Ephemeron");
        object.spec.expiration_time =
            spec.get("expirationTime").map(|time| time.as_str().expect("text").parse().expect("a time"));
        object.spec.lifetime =
            spec.get("lifetime").map(|text| text.as_str().expect("text").parse().expect("a lifetime"));
        object
    }

    #[test]
    fn expiration_time_wins_over_lifetime() {
        let at = |spec| ephemeron(&spec).expiration_time().map(|time| time.to_rfc3339());
        let json = |value: &str| serde_json::from_str(value).expect("json");
        assert_eq!(at(json(r#"{"lifetime":"30m"}"#)).as_deref(), Some("2030-01-01T00:30:00+00:00"));
        assert_eq!(
            at(json(r#"{"lifetime":"30m","expirationTime":"2031-01-01T00:00:00+01:00"}"#)).as_deref(),
            Some("2030-12-31T23:00:00+00:00")
        );
        assert_eq!(at(json("{}")), None);
    }
}
