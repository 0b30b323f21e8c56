//! Partial pod templates laid over each other: what a later one says wins.
//!
//! Lists are merged by the keys of Kubernetes' strategic merge: containers and variables by name,
//! ports by number, volume mounts by path.

use k8s_openapi::{
    DeepMerge,
    api::core::v1::{Container, Lifecycle, LifecycleHandler, PodTemplateSpec, Probe},
};

/// The name of an entry that concerns every container of its list.
pub const EVERY: &str = "*";

/// The layers as one; an entry for every container is laid under each.
pub fn merged(layers: impl IntoIterator<Item = PodTemplateSpec>) -> PodTemplateSpec {
    let mut whole = PodTemplateSpec::default();
    let (mut every, mut every_init) = (Container::default(), Container::default());
    for mut layer in layers {
        let spec = layer.spec.get_or_insert_default();
        let containers = std::mem::take(&mut spec.containers);
        let init_containers = spec.init_containers.take().unwrap_or_default();
        let volumes = spec.volumes.take().unwrap_or_default();
        whole.merge_from(layer);
        let spec = whole.spec.get_or_insert_default();
        // What a later layer says comes first: the first container is the one that logs are asked of.
        let earlier = std::mem::take(&mut spec.containers);
        let (mut later, kept) = overlaid(earlier, without(containers, &mut every));
        later.extend(kept);
        spec.containers = later;
        // Init containers run in their order: what an installation adds comes before what it serves.
        let earlier = spec.init_containers.take().unwrap_or_default();
        let (later, mut kept) = overlaid(earlier, without(init_containers, &mut every_init));
        kept.extend(later);
        spec.init_containers = Some(kept).filter(|all| !all.is_empty());
        // A volume has one source: another one takes its place as a whole.
        let mut all = spec.volumes.take().unwrap_or_default();
        all.retain(|volume| !volumes.iter().any(|later| later.name == volume.name));
        all.extend(volumes);
        spec.volumes = Some(all).filter(|all| !all.is_empty());
    }
    let spec = whole.spec.get_or_insert_default();
    let under = |every: &Container, container: &mut Container| {
        let over = std::mem::replace(container, every.clone());
        overlay(container, over);
    };
    spec.containers.iter_mut().for_each(|container| under(&every, container));
    spec.init_containers.iter_mut().flatten().for_each(|container| under(&every_init, container));
    whole
}

/// The containers but those for every one, which go into `every`.
fn without(containers: Vec<Container>, every: &mut Container) -> Vec<Container> {
    let (for_every, others): (Vec<_>, Vec<_>) =
        containers.into_iter().partition(|container| container.name == EVERY);
    for container in for_every {
        overlay(every, container);
    }
    others
}

/// The later containers, each over the earlier one of its name, and the earlier ones that are left.
fn overlaid(mut earlier: Vec<Container>, later: Vec<Container>) -> (Vec<Container>, Vec<Container>) {
    let over = |container: Container| match earlier.iter().position(|one| one.name == container.name) {
        Some(place) => {
            let mut base = earlier.remove(place);
            overlay(&mut base, container);
            base
        }
        None => container,
    };
    (later.into_iter().map(over).collect(), earlier)
}

/// Lays one container over another. Where only one of several fields may be set, the other ones go.
fn overlay(base: &mut Container, over: Container) {
    if let (Some(base), Some(over)) = (&mut base.env, &over.env) {
        base.retain(|variable| !over.iter().any(|later| later.name == variable.name));
    }
    probe(base.liveness_probe.as_mut(), over.liveness_probe.as_ref());
    probe(base.readiness_probe.as_mut(), over.readiness_probe.as_ref());
    probe(base.startup_probe.as_mut(), over.startup_probe.as_ref());
    if let (Some(base), Some(over)) = (&mut base.lifecycle, &over.lifecycle) {
        lifecycle(base, over);
    }
    base.merge_from(over);
}

fn probe(base: Option<&mut Probe>, over: Option<&Probe>) {
    let (Some(base), Some(over)) = (base, over) else { return };
    let says =
        over.exec.is_some() || over.grpc.is_some() || over.http_get.is_some() || over.tcp_socket.is_some();
    if says {
        (base.exec, base.grpc, base.http_get, base.tcp_socket) = (None, None, None, None);
    }
}

fn lifecycle(base: &mut Lifecycle, over: &Lifecycle) {
    let clear = |base: &mut Option<LifecycleHandler>, over: &Option<LifecycleHandler>| {
        if over.is_some() {
            *base = None;
        }
    };
    clear(&mut base.post_start, &over.post_start);
    clear(&mut base.pre_stop, &over.pre_stop);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn merged_specs(layers: &[Value]) -> Value {
        let layers =
            layers.iter().map(|spec| serde_json::from_value(json!({ "spec": spec })).expect("a template"));
        serde_json::to_value(merged(layers).spec).expect("json")
    }

    #[test]
    fn what_a_later_layer_says_wins() {
        let rows = [
            (
                [
                    json!({"enableServiceLinks": false, "runtimeClassName": "a"}),
                    json!({"runtimeClassName": "b"}),
                ],
                json!({"containers": [], "enableServiceLinks": false, "runtimeClassName": "b"}),
            ),
            (
                [json!({"imagePullSecrets": [{"name": "a"}]}), json!({"imagePullSecrets": [{"name": "b"}]})],
                json!({"containers": [], "imagePullSecrets": [{"name": "a"}, {"name": "b"}]}),
            ),
            // By name; the later layer's containers come first, its init containers last.
            (
                [
                    json!({"containers": [{"name": "proxy", "image": "p"}, {"name": "service", "tty": true, "image": "x"}]}),
                    json!({"containers": [{"name": "service", "image": "s"}]}),
                ],
                json!({"containers": [{"name": "service", "tty": true, "image": "s"}, {"name": "proxy", "image": "p"}]}),
            ),
            (
                [
                    json!({"initContainers": [{"name": "a", "image": "a"}]}),
                    json!({"initContainers": [{"name": "b", "image": "b"}]}),
                ],
                json!({"containers": [], "initContainers": [{"name": "a", "image": "a"}, {"name": "b", "image": "b"}]}),
            ),
            // For every container of the list, under what the container says itself.
            (
                [
                    json!({"containers": [{"name": "*", "tty": true, "stdin": true}], "initContainers": [{"name": "i"}]}),
                    json!({"containers": [{"name": "a"}, {"name": "b", "tty": false}, {"name": "*", "stdin": false}]}),
                ],
                json!({
                    "containers": [
                        {"name": "a", "stdin": false, "tty": true},
                        {"name": "b", "stdin": false, "tty": false},
                    ],
                    "initContainers": [{"name": "i"}],
                }),
            ),
            (
                [
                    json!({"containers": [{"name": "*", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}]}),
                    json!({"containers": [{"name": "a", "resources": {"limits": {"cpu": "2"}}}]}),
                ],
                json!({"containers": [{"name": "a", "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}}]}),
            ),
            // One of several: the whole of it is replaced.
            (
                [
                    json!({"containers": [{"name": "a", "env": [
                        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                        {"name": "B", "value": "base"},
                    ]}]}),
                    json!({"containers": [{"name": "a", "env": [{"name": "A", "value": "over"}, {"name": "C"}]}]}),
                ],
                json!({"containers": [{"name": "a", "env": [
                    {"name": "B", "value": "base"}, {"name": "A", "value": "over"}, {"name": "C"},
                ]}]}),
            ),
            (
                [
                    json!({"containers": [{"name": "a", "readinessProbe": {"exec": {"command": ["x"]}, "periodSeconds": 7}}]}),
                    json!({"containers": [{"name": "a", "readinessProbe": {"httpGet": {"port": 80}}}]}),
                ],
                json!({"containers": [{"name": "a", "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 7}}]}),
            ),
            (
                [
                    json!({"containers": [{"name": "a", "lifecycle": {"preStop": {"exec": {"command": ["x"]}}}}]}),
                    json!({"containers": [{"name": "a", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]}),
                ],
                json!({"containers": [{"name": "a", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]}),
            ),
            (
                [
                    json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}]}),
                    json!({"volumes": [{"name": "a", "configMap": {"name": "c"}}]}),
                ],
                json!({"containers": [], "volumes": [{"name": "b", "emptyDir": {}}, {"name": "a", "configMap": {"name": "c"}}]}),
            ),
        ];
        for (layers, wanted) in rows {
            assert_eq!(merged_specs(&layers), wanted, "{layers:?}");
        }
    }

    #[test]
    fn nothing_is_something() {
        assert_eq!(merged_specs(&[]), json!({"containers": []}));
    }
}
