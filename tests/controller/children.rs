//! Children that others delete, change or squat.

use std::fmt::Debug;

use gateway_api::httproutes::HttpRoute;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    networking::v1::Ingress,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{
    Cases, World,
    cluster::{condition, until},
    controllers::Controller,
    life::{PROBE, all_gone, manifest, manifest_for},
};

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("children::a_deleted_pod_is_replaced", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("replaced");
        cluster.apply(&manifest(&name, "30m", PROBE)).await.expect("it is accepted");
        cluster.available(&name).await;
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        pods.delete(&name, &DeleteParams::default()).await.expect("it is deleted");
        let next = until("another is ready", || async {
            let next = pods.get_opt(&format!("{name}.1")).await.expect("an answer")?;
            let conditions = next.status.as_ref()?.conditions.as_ref()?;
            conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True").then_some(next)
        })
        .await;
        assert_eq!(
            next.spec.and_then(|spec| spec.hostname).as_deref(),
            Some(name.as_str()),
            "the same host name inside"
        );
        cluster.gone(&pods, &name).await;
        cluster.available(&name).await;
        cluster.answers(&format!("http://{name}.localhost/"), None, 200).await;
        cluster.delete(&name).await;
        cluster.gone(&pods, &format!("{name}.1")).await;
    });
    cases.add("children::a_deleted_service_comes_back", deleted::<Service>);
    cases.add("children::a_deleted_route_comes_back", deleted::<HttpRoute>);

    cases.add("children::a_pod_that_fails_is_replaced", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("fails");
        cluster.apply(&manifest(&name, "30m", PROBE)).await.expect("it is accepted");
        cluster.available(&name).await;
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        // One of the few things in a Pod that a neighbour can change: it ends the Pod for good.
        let deadline = Patch::Merge(json!({"spec": {"activeDeadlineSeconds": 1}}));
        pods.patch(&name, &PatchParams::default(), &deadline).await.expect("it is accepted");
        until("another is there", || async { pods.get_opt(&format!("{name}.1")).await.expect("an answer") })
            .await;
        cluster.gone(&pods, &name).await;
        cluster.available(&name).await;
        cluster.answers(&format!("http://{name}.localhost/"), None, 200).await;
        cluster.delete(&name).await;
    });

    cases.add("children::a_pod_on_a_lost_node_is_replaced", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("lost");
        cluster.apply(&manifest(&name, "30m", PROBE)).await.expect("it is accepted");
        let first = cluster.available(&name).await;
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        // As on a lost node: it is being deleted, and does not go.
        let keep = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/keep"]}}));
        pods.patch(&name, &PatchParams::default(), &keep).await.expect("it is accepted");
        pods.delete(&name, &DeleteParams::default()).await.expect("it is deleted");
        until("another is there", || async { pods.get_opt(&format!("{name}.1")).await.expect("an answer") })
            .await;
        cluster.available(&name).await;
        cluster.answers(&format!("http://{name}.localhost/"), None, 200).await;

        // A successor of the Ephemeron finds the name of its Pod taken by the one that does not go.
        cluster.delete(&name).await;
        cluster.gone(&cluster.ephemerons(), &name).await;
        cluster.apply(&manifest(&name, "30m", PROBE)).await.expect("it is accepted");
        let second = cluster.available(&name).await;
        assert_ne!(first.metadata.uid, second.metadata.uid);
        assert!(pods.get_opt(&name).await.expect("an answer").is_some(), "the lost one is still there");
        let let_go = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        pods.patch(&name, &PatchParams::default(), &let_go).await.expect("it is accepted");
        cluster.delete(&name).await;
    });

    cases.add("children::labels_of_a_pod_are_given_back", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("labels");
        cluster.apply(&manifest(&name, "30m", PROBE)).await.expect("it is accepted");
        cluster.available(&name).await;
        let gone = "app.kubernetes.io/managed-by- ephemerons.qualified.io/name-";
        cluster.kubectl(&format!("-n default label pod {name} {gone}")).await;
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        until("the labels are back", || async {
            let labels = pods.get(&name).await.ok()?.metadata.labels.unwrap_or_default();
            labels.contains_key("ephemerons.qualified.io/name").then_some(())
        })
        .await;
        cluster.available(&name).await;
        cluster.answers(&format!("http://{name}.localhost/"), None, 200).await;
        cluster.delete(&name).await;
    });

    cases.add("children::go_with_the_ephemeron", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("deleted");
        cluster.apply(&manifest(&name, "30m", "")).await.expect("it is accepted");
        cluster.available(&name).await;
        cluster.delete(&name).await;
        all_gone(cluster, &name).await;
    });

    cases.add("children::a_name_can_be_used_again_at_once", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("again");
        cluster.apply(&manifest(&name, "30m", "")).await.expect("it is accepted");
        let first = cluster.available(&name).await;
        cluster.delete(&name).await;
        cluster.gone(&cluster.ephemerons(), &name).await;
        cluster.apply(&manifest(&name, "30m", "")).await.expect("it is accepted");
        let second = cluster.available(&name).await;
        assert_ne!(first.metadata.uid, second.metadata.uid);
        // The predecessor's may be there for a while, and have the name.
        let of_this = ListParams::default().labels(&format!("ephemerons.qualified.io/name={name}"));
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default").list(&of_this).await;
        let pods = pods.expect("Pods").items;
        let lives = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        let owners: Vec<_> =
            lives.map(|pod| pod.owner_references().first().map(|owner| owner.uid.clone())).collect();
        assert_eq!(owners, [second.metadata.uid], "the predecessor's Pod was not taken over");
        cluster.delete(&name).await;
    });

    cases.add("children::an_ingress_is_set_right_and_a_foreign_one_is_left_alone", |world| async move {
        let cluster = &world.cluster;
        let ingresses = Api::<Ingress>::namespaced(cluster.client.clone(), "default");
        let name = cluster.name("ingress");
        let wanted = manifest_for(&name, "controller: ingress", "lifetime: 30m", "");
        cluster.apply(&wanted).await.expect("it is accepted");
        cluster.available(&name).await;
        let before = ingresses.get(&name).await.expect("the Ingress").spec;
        let hijack = json!([{"op": "replace", "path": "/spec/rules/0/host", "value": format!("spy-{name}.localhost")}]);
        cluster.kubectl(&format!("-n default patch ingress {name} --type=json -p '{hijack}'")).await;
        until("the Ingress is as it was", || async {
            (ingresses.get(&name).await.ok()?.spec == before).then_some(())
        })
        .await;
        cluster.delete(&name).await;

        let name = cluster.name("ingress");
        let foreign = format!(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\n\
             metadata: {{name: {name}, namespace: default, labels: {{test: foreign}}}}\n\
             spec: {{rules: [{{host: foreign-{name}.localhost}}]}}"
        );
        cluster.apply(&foreign).await.expect("it is accepted");
        let wanted = manifest_for(&name, "controller: ingress", "lifetime: 30m", "");
        cluster.apply(&wanted).await.expect("it is accepted");
        cluster
            .reaches(&name, "says that its name is taken", |one| condition(one, "Available").1 == "NameTaken")
            .await;
        cluster.delete(&name).await;
        cluster.gone(&cluster.ephemerons(), &name).await;
        let live = ingresses.get(&name).await.expect("it is there");
        assert!(live.owner_references().is_empty());
        cluster.kubectl(&format!("-n default delete ingress {name}")).await;
    });

    cases.add("children::changes_are_set_right", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("changed");
        cluster.apply(&manifest(&name, "30m", PROBE)).await.expect("it is accepted");
        cluster.available(&name).await;
        let services = Api::<Service>::namespaced(cluster.client.clone(), "default");
        let routes = Api::<HttpRoute>::namespaced(cluster.client.clone(), "default");
        let (service, route) =
            (services.get(&name).await.expect("the Service"), routes.get(&name).await.expect("the route"));

        let elsewhere = json!({"spec": {"selector": {"app": "another"}}, "metadata": {"labels": {"mine": "stays"}}});
        services.patch(&name, &PatchParams::default(), &Patch::Merge(elsewhere)).await.expect("a patch");
        let header = json!({"requestHeaderModifier": {"set": [{"name": "x-spy", "value": "1"}]}, "type": "RequestHeaderModifier"});
        let hijack = json!([{"op": "add", "path": "/spec/rules/0/filters", "value": [header]}]);
        cluster.kubectl(&format!("-n default patch httproute {name} --type=json -p '{hijack}'")).await;

        until("the Service is as it was", || async {
            let live = services.get(&name).await.ok()?;
            (live.spec.as_ref()?.selector == service.spec.as_ref()?.selector).then_some(())
        })
        .await;
        let live = services.get(&name).await.expect("the Service");
        assert_eq!(live.labels().get("mine").map(String::as_str), Some("stays"), "what is not ours stays");
        until("the route is as it was", || async {
            (routes.get(&name).await.ok()?.spec == route.spec).then_some(())
        })
        .await;
        cluster.answers(&format!("http://{name}.localhost/"), None, 200).await;
        cluster.delete(&name).await;
    });

    cases.add("children::a_fight_is_not_fought_at_full_speed", |world| async move {
        let cluster = &world.cluster;
        let controller =
            Controller::start(cluster, "localhost", &[("EPHEMERON_SELECTOR", "controller=fight")]);
        let name = cluster.name("fight");
        let manifest = manifest_for(&name, "controller: fight", "lifetime: 30m", "");
        cluster.apply(&manifest).await.expect("it is accepted");
        cluster.available(&name).await;
        let services = Api::<Service>::namespaced(cluster.client.clone(), "default");
        let edits = 60;
        for edit in 0..edits {
            let elsewhere = Patch::Merge(json!({"spec": {"selector": {"app": format!("another-{edit}")}}}));
            services.patch(&name, &PatchParams::default(), &elsewhere).await.expect("it is accepted");
        }
        until("the Service is as it was", || async {
            let selector = services.get(&name).await.ok()?.spec?.selector?;
            (selector.len() == 1 && selector.contains_key("ephemerons.qualified.io/name")).then_some(())
        })
        .await;
        let mended = controller.said().matches("setting a child right").count();
        assert!(mended > 0 && mended < edits / 2, "{mended} times for {edits} edits");
        cluster.delete(&name).await;
        controller.stop().await;
    });

    cases.add("children::foreign_objects_are_left_alone", |world| async move {
        let cluster = &world.cluster;
        let name = cluster.name("taken");
        cluster.apply(&foreign(&name)).await.expect("they are accepted");
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), "default");
        let services = Api::<Service>::namespaced(cluster.client.clone(), "default");
        let routes = Api::<HttpRoute>::namespaced(cluster.client.clone(), "default");
        let (service, route) = (services.get(&name).await.expect("it"), routes.get(&name).await.expect("it"));

        cluster.apply(&manifest(&name, "30m", "")).await.expect("it is accepted");
        let one = cluster
            .reaches(&name, "says that its name is taken", |one| condition(one, "Available").1 == "NameTaken")
            .await;
        let message = one.status.as_ref().and_then(|status| status.conditions.first()?.message.clone());
        assert!(message.is_some_and(|text| text.contains("belongs to somebody else")));
        // Room is made: it goes on by itself.
        pods.delete(&name, &DeleteParams::default().grace_period(0)).await.expect("the Pod is deleted");
        cluster.reaches(&name, "has its Pod", |one| condition(one, "PodReady").0 == "True").await;
        assert_eq!(condition(&cluster.ephemeron(&name).await.expect("it"), "Available").1, "NameTaken");

        cluster.delete(&name).await;
        cluster.gone(&pods, &name).await;
        let (service_after, route_after) =
            (services.get(&name).await.expect("it is there"), routes.get(&name).await.expect("it is there"));
        assert_eq!(service.metadata.resource_version, service_after.metadata.resource_version);
        assert_eq!(route.spec, route_after.spec);
        assert!(route_after.owner_references().is_empty());
        cluster.kubectl(&format!("-n default delete service/{name} httproute/{name}")).await;
    });
}

/// A Pod, a Service and an HTTPRoute of somebody else.
fn foreign(name: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: default, labels: {{test: foreign}}}}
spec: {{containers: [{{name: server, image: "local/server:1", imagePullPolicy: IfNotPresent}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: default, labels: {{test: foreign}}}}
spec: {{selector: {{app: foreign}}, ports: [{{port: 80}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default, labels: {{test: foreign}}}}
spec: {{hostnames: [foreign-{name}.localhost], parentRefs: [{{name: traefik, namespace: gateways}}]}}
"#
    )
}

/// A child that is deleted is made again, and the service answers again.
async fn deleted<K>(world: std::sync::Arc<World>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned,
{
    let cluster = &world.cluster;
    let name = cluster.name("repaired");
    cluster.apply(&manifest(&name, "30m", PROBE)).await.expect("it is accepted");
    cluster.available(&name).await;
    let api = Api::<K>::namespaced(cluster.client.clone(), "default");
    let first = api.get(&name).await.expect("the child");
    api.delete(&name, &DeleteParams::default()).await.expect("it is deleted");
    until("it comes back", || async {
        let again = api.get_opt(&name).await.expect("an answer")?;
        (again.uid() != first.uid()).then_some(())
    })
    .await;
    cluster.available(&name).await;
    cluster.answers(&format!("http://{name}.localhost/"), None, 200).await;
    cluster.delete(&name).await;
}
