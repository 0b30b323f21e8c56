//! What a Pod may be in this installation: the one policy that all Pods go through.
//!
//! Three layers are merged, of which a later one wins: safe defaults, the installation's template, and
//! what is said of the service. What comes of it is bounded by the caps and checked as a whole, so that
//! it does not matter who said what.

pub mod annotations;
mod containers;
mod defaults;
pub mod fields;
pub mod images;
mod merge;
pub mod quantity;
pub mod reference;
pub mod resources;
pub mod security;
pub mod template;
mod violation;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Map, Value};

use crate::labels;
use annotations::Keys;
use defaults::defaults;
use images::Images;
use merge::merged;
use resources::Caps;
use security::{Excess, Level};
use template::Template;
pub use violation::Violation;

/// The name of the container that a service runs in.
pub const CONTAINER: &str = "service";
/// The name by which what a preset renders refers to the Secret with its own `secrets`; whoever makes the Pod
/// puts that Secret's name in its place.
pub const SECRETS: &str = "ephemeron-secrets";

/// What an installation sets.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Laid under what is said of each service.
    pub template: Option<Template>,
    /// How much a Pod may.
    pub level: Level,
    /// Which images may run.
    pub images: Images,
    /// Which annotations an Ingress may have.
    pub ingress_annotations: Keys,
    /// The most that a container may use.
    pub caps: Caps,
    /// How long a container may take to stop, in whole seconds.
    pub grace_period: Duration,
}

/// Rules that go together.
#[derive(Clone, Debug)]
pub struct Policy(Rules);

impl Policy {
    /// The policy of these rules, whose template keeps to the others.
    ///
    /// # Errors
    ///
    /// What in the template does not, whatever a service may say.
    pub fn new(rules: Rules) -> Result<Self, Violation> {
        let policy = Self(rules);
        if let Some(template) = &policy.0.template {
            // The least that a service can say; the template's own images are looked at beside it.
            let service = Container { name: CONTAINER.into(), ..Container::default() };
            let least = PodSpec { containers: vec![service], ..PodSpec::default() };
            let mut pod =
                policy.layered(Some(template), PodTemplateSpec { spec: Some(least), metadata: None });
            policy.bounded(&mut pod)?;
            let spec = pod.spec.get_or_insert_default();
            spec.containers.retain(|container| container.image.is_some());
            policy.0.images.check(spec)?;
        }
        Ok(policy)
    }

    /// The Pod Security Standard that every Pod keeps to.
    #[must_use]
    pub fn level(&self) -> Level {
        self.0.level
    }

    /// The Pod that comes of what is said of a service.
    ///
    /// # Errors
    ///
    /// What in it is against the policy.
    pub fn admit(&self, said: PodTemplateSpec) -> Result<PodTemplateSpec, Violation> {
        let violation = match self.admit_over(self.0.template.as_ref(), said.clone()) {
            Ok(pod) => return Ok(pod),
            Err(violation) => violation,
        };
        // Who has to do something: without the template, is it the same?
        match self.admit_over(None, said) {
            Ok(_) => Err(Violation::ByTemplate(Box::new(violation))),
            Err(violation) => Err(violation),
        }
    }

    /// The Pod that comes of what a preset has rendered, which is looked at field by field first.
    ///
    /// # Errors
    ///
    /// What in it a preset cannot set, or is against the policy.
    pub fn admit_rendered(&self, rendered: &Map<String, Value>) -> Result<PodTemplateSpec, Violation> {
        let template = fields::template(rendered)?;
        if let (Some(spec), Some(installation)) = (&template.spec, &self.0.template) {
            fields::not_taken(spec, installation)?;
        }
        self.admit(template)
    }

    /// Checks the annotations that an Ingress is to have; `field` is where they are said.
    ///
    /// # Errors
    ///
    /// The first that is not allowed.
    pub fn ingress_annotations(
        &self,
        field: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Result<(), Violation> {
        self.0.ingress_annotations.check(field, annotations)
    }

    fn admit_over(
        &self,
        template: Option<&Template>,
        said: PodTemplateSpec,
    ) -> Result<PodTemplateSpec, Violation> {
        let mut pod = self.layered(template, said);
        unreserved(&pod)?;
        self.0.images.check(pod.spec.get_or_insert_default())?;
        self.bounded(&mut pod)?;
        Ok(pod)
    }

    fn layered(&self, template: Option<&Template>, said: PodTemplateSpec) -> PodTemplateSpec {
        let defaults = defaults(self.0.level, self.0.grace_period);
        let layers = [Some(defaults), template.map(|template| template.part().clone()), Some(said)];
        let mut pod = merged(layers.into_iter().flatten());
        // The rest of the metadata is of one Pod, not of a template.
        pod.metadata = pod.metadata.map(|metadata| ObjectMeta {
            labels: metadata.labels,
            annotations: metadata.annotations,
            ..ObjectMeta::default()
        });
        pod
    }

    fn bounded(&self, pod: &mut PodTemplateSpec) -> Result<(), Violation> {
        self.0.caps.apply(pod.spec.get_or_insert_default())?;
        let level = self.0.level;
        security::check(level, pod).map_err(|Excess { field, rule }| Violation::Security {
            field,
            rule,
            level,
        })
    }
}

fn unreserved(pod: &PodTemplateSpec) -> Result<(), Violation> {
    let Some(metadata) = &pod.metadata else { return Ok(()) };
    for (field, map) in
        [("metadata.labels", &metadata.labels), ("metadata.annotations", &metadata.annotations)]
    {
        if let Some(key) = map.iter().flat_map(|map| map.keys()).find(|key| labels::is_reserved(key)) {
            return Err(Violation::Reserved { field, key: key.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(spec: &Value) -> PodTemplateSpec {
        serde_json::from_value(json!({ "spec": spec })).expect("a template")
    }

    fn least() -> PodTemplateSpec {
        template(&json!({"containers": [{"name": "service", "image": "nginx"}]}))
    }

    fn rules(template: &str) -> Rules {
        Rules { template: Some(template.parse().expect(template)), ..Rules::default() }
    }

    fn admitted(rules: Rules, said: PodTemplateSpec) -> Value {
        serde_json::to_value(Policy::new(rules).expect("rules").admit(said).expect("admitted")).expect("json")
    }

    #[test]
    fn the_defaults_keep_to_their_level() {
        for level in [Level::Baseline, Level::Restricted] {
            let policy = Policy::new(Rules { level, ..Rules::default() }).expect("rules");
            let said = template(&json!({
                "initContainers": [{"name": "init", "image": "a"}],
                "containers": [{"name": "service", "image": "nginx"}, {"name": "other", "image": "b"}],
                "volumes": [{"name": "a", "emptyDir": {}}],
            }));
            let pod = policy.admit(said).expect("admitted");
            assert_eq!(security::check(level, &pod), Ok(()));
            assert_eq!(security::check(Level::Restricted, &pod).is_ok(), level == Level::Restricted);
        }
    }

    #[test]
    fn the_three_layers_win_in_their_order() {
        let template = "
metadata: {labels: {team: blue, tier: low}, annotations: {note: x}}
spec:
  automountServiceAccountToken: true
  terminationGracePeriodSeconds: 60
  imagePullSecrets: [{name: registry}]
  containers:
    - name: '*'
      resources: {limits: {cpu: 1, ephemeral-storage: 1Gi}}
      env: [{name: REGION, value: here}]
    - {name: proxy, image: proxy, resources: {limits: {cpu: 100m}}}
";
        let mut said = least();
        said.metadata = Some(ObjectMeta {
            name: Some("not here".into()),
            labels: Some(BTreeMap::from([("tier".into(), "high".into())])),
            ..ObjectMeta::default()
        });
        let container = said.spec.as_mut().and_then(|spec| spec.containers.first_mut()).expect("one");
        container.resources = serde_json::from_value(json!({"limits": {"cpu": "2"}})).expect("resources");
        let common = json!({
            "env": [{"name": "REGION", "value": "here"}],
            "securityContext": {"allowPrivilegeEscalation": false},
            "terminationMessagePolicy": "FallbackToLogsOnError",
        });
        let with = |more: Value| {
            let mut all = common.clone();
            let (all_fields, more) = (all.as_object_mut().expect("fields"), more.as_object().cloned());
            all_fields.extend(more.expect("fields"));
            all
        };
        assert_eq!(
            admitted(rules(template), said),
            json!({
                "metadata": {"annotations": {"note": "x"}, "labels": {"team": "blue", "tier": "high"}},
                "spec": {
                    "automountServiceAccountToken": true,
                    "containers": [
                        with(json!({
                            "name": "service", "image": "nginx",
                            "resources": {"limits": {"cpu": "2", "ephemeral-storage": "1Gi"}},
                        })),
                        with(json!({
                            "name": "proxy", "image": "proxy",
                            "resources": {"limits": {"cpu": "100m", "ephemeral-storage": "1Gi"}},
                        })),
                    ],
                    "enableServiceLinks": false,
                    "imagePullSecrets": [{"name": "registry"}],
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "terminationGracePeriodSeconds": 60,
                },
            })
        );
    }

    #[test]
    fn a_template_keeps_to_the_other_rules() {
        let with = |template: &str, level, images: &str, caps: Option<&str>| {
            let rules = Rules {
                level,
                images: images.parse().expect("images"),
                caps: caps.map(|caps| caps.parse().expect("caps")).unwrap_or_default(),
                ..rules(template)
            };
            Policy::new(rules).map(drop).map_err(|violation| violation.to_string())
        };
        let (baseline, restricted) = (Level::Baseline, Level::Restricted);
        let root = "spec: {containers: [{name: '*', securityContext: {runAsUser: 0}}]}";
        let sidecar = "spec: {containers: [{name: proxy, image: proxy}]}";
        let storage = "spec: {containers: [{name: '*', resources: {limits: {memory: 2Gi}}}]}";
        let rows = [
            ("spec: {hostNetwork: true}", baseline, "*", None, Some("spec.hostNetwork must not be true")),
            (
                "spec: {volumes: [{name: a, hostPath: {path: /}}]}",
                baseline,
                "*",
                None,
                Some("spec.volumes[0].hostPath"),
            ),
            (root, baseline, "*", None, None),
            (root, restricted, "*", None, Some("spec.containers[0].securityContext.runAsUser must not be 0")),
            (sidecar, restricted, "*", None, None),
            (sidecar, baseline, "nginx,proxy", None, None),
            (sidecar, baseline, "nginx", None, Some("docker.io/library/proxy:latest is not allowed here")),
            (storage, baseline, "nginx", Some("memory=2Gi"), None),
            (storage, baseline, "nginx", Some("memory=1Gi"), Some("EPHEMERON_MAX_RESOURCES")),
            (
                "spec: {containers: [{name: proxy, image: Proxy}]}",
                baseline,
                "*",
                None,
                Some("is not an image reference"),
            ),
        ];
        for (template, level, images, caps, wanted) in rows {
            match (with(template, level, images, caps), wanted) {
                (Ok(()), None) => {}
                (Err(said), Some(wanted)) => assert!(said.contains(wanted), "{template}: {said}"),
                (outcome, _) => panic!("{template} at {level}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn what_is_said_is_checked_whoever_says_it() {
        let policy = |level| Policy::new(Rules { level, ..Rules::default() }).expect("rules");
        let rows = [
            (json!({"hostPID": true}), "spec.hostPID must not be true at the Pod Security level baseline"),
            (json!({"containers": [{"name": "a"}]}), "spec.containers[0].image: there is no image"),
            (
                json!({"containers": [{"name": "a", "image": ""}]}),
                "spec.containers[0].image: there is no image",
            ),
            (
                json!({"initContainers": [{"name": "a", "image": "A"}]}),
                "spec.initContainers[0].image: \"A\" is not",
            ),
            (
                json!({"ephemeralContainers": [{"name": "a", "image": "a", "securityContext": {"privileged": true}}]}),
                "spec.ephemeralContainers[0].securityContext.privileged must not be true",
            ),
            (
                json!({"volumes": [{"name": "a", "image": {"reference": "A"}}]}),
                "spec.volumes[0].image.reference: \"A\" is not",
            ),
        ];
        for (said, wanted) in rows {
            let violation = policy(Level::Baseline).admit(template(&said)).expect_err("it is refused");
            assert!(violation.to_string().contains(wanted), "{said}: {violation}");
        }
        for key in [labels::NAME_LABEL, labels::MANAGED_BY_LABEL] {
            let metadata = ObjectMeta {
                labels: Some(BTreeMap::from([(key.into(), "other".into())])),
                ..ObjectMeta::default()
            };
            let violation = policy(Level::Baseline)
                .admit(PodTemplateSpec { metadata: Some(metadata), ..least() })
                .expect_err("it is refused");
            assert_eq!(violation, Violation::Reserved { field: "metadata.labels", key: key.into() });
        }
    }

    #[test]
    fn who_has_to_do_something_is_told() {
        let policy = Policy::new(Rules {
            level: Level::Restricted,
            ..rules("spec: {initContainers: [{name: '*', securityContext: {runAsUser: 0}}]}")
        });
        let said = json!({
            "containers": [{"name": "service", "image": "a"}],
            "initContainers": [{"name": "init", "image": "a"}],
        });
        let violation = policy.expect("rules").admit(template(&said)).expect_err("it is refused");
        assert!(matches!(violation, Violation::ByTemplate(_)), "{violation:?}");
        assert!(violation.to_string().ends_with("EPHEMERON_POD_TEMPLATE"), "{violation}");
    }
}
