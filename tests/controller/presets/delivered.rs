//! Presets that come in a ConfigMap: through the kubelet's own mount, and while it is updated.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ephemeron::resource::Ephemeron;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Pod},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{Shelf, greeting};
use crate::{
    Cases,
    cluster::{Cluster, until},
};

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("presets::a_config_map_that_is_updated", |world| async move {
        let (cluster, shelf) = (&world.cluster, Shelf::new(&world, "config-map"));
        let mount = Mount::new(cluster, &greeting("greeting", "1", "the first")).await;
        let folder = mount.folder.display().to_string();
        let controller = shelf.controller(&[("EPHEMERON_PRESETS", &folder)]);
        let first = shelf.apply("greeting", "{}").await;
        assert_eq!(version(&cluster.available(&first).await), "1");
        mount.update(&greeting("greeting", "2", "the second")).await;
        controller.says("greeting 2 is served").await;
        let second = shelf.apply("greeting", "{}").await;
        assert_eq!(version(&cluster.available(&second).await), "2");
        // A file that is broken does not take the place of a good one, and is told to those who ask.
        mount.update(b"not WebAssembly").await;
        controller.says("not WebAssembly").await;
        let meanwhile = shelf.apply("greeting", "{}").await;
        assert_eq!(version(&cluster.available(&meanwhile).await), "2");
        for name in [first, second, meanwhile] {
            cluster.delete(&name).await;
        }
        controller.stop().await;
        mount.remove().await;
    });
}

fn version(one: &Ephemeron) -> String {
    let preset = one.status.as_ref().and_then(|status| status.preset.as_ref());
    preset.map(|preset| preset.version.clone()).unwrap_or_default()
}

/// A ConfigMap with the preset `greeting`, in a Pod of its own.
struct Mount<'a> {
    cluster: &'a Cluster,
    name: String,
    /// Where the kubelet has put it.
    folder: PathBuf,
}

impl<'a> Mount<'a> {
    async fn new(cluster: &'a Cluster, bytes: &[u8]) -> Self {
        let name = cluster.name("mounted-presets");
        let (maps, pods) = apis(cluster);
        let mut map = ConfigMap { binary_data: Some(data(bytes)), ..ConfigMap::default() };
        map.metadata.name = Some(name.clone());
        maps.create(&PostParams::default(), &map).await.expect("a ConfigMap");
        let pod = json!({
            "metadata": {"name": name, "labels": {"test": "foreign"}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "server", "image": "local/server:1", "imagePullPolicy": "IfNotPresent",
                    "volumeMounts": [{"name": "presets", "mountPath": "/presets"}],
                }],
                "volumes": [{"name": "presets", "configMap": {"name": name}}],
            },
        });
        let pod: Pod = serde_json::from_value(pod).expect("a Pod");
        let pod = pods.create(&PostParams::default(), &pod).await.expect("a Pod");
        // The node's /var is a folder of the cluster's on this machine.
        let folder = Path::new(cluster.env("EPHEMERON_CLUSTER_DIR")).join(format!(
            "node/var/lib/kubelet/pods/{}/volumes/kubernetes.io~configmap/presets",
            pod.metadata.uid.expect("a UID")
        ));
        until("the ConfigMap is mounted", || async { folder.join("greeting.wasm").exists().then_some(()) })
            .await;
        let link = fs::read_link(folder.join("greeting.wasm")).expect("it is a link");
        assert_eq!(link, Path::new("..data/greeting.wasm"), "a kubelet's mount");
        Self { cluster, name, folder }
    }

    /// Changes the ConfigMap, and waits until the mount has the change.
    async fn update(&self, bytes: &[u8]) {
        let (maps, pods) = apis(self.cluster);
        let params = PatchParams::default();
        maps.patch(&self.name, &params, &Patch::Merge(json!({"binaryData": data(bytes)})))
            .await
            .expect("it is changed");
        until("the kubelet has looked at it", || async {
            if fs::read(self.folder.join("greeting.wasm")).is_ok_and(|found| found == bytes) {
                return Some(());
            }
            // It looks at a Pod's volumes when the Pod changes, else once a minute or so.
            let annotation = json!({"metadata": {"annotations": {"looked-at": self.cluster.name("again")}}});
            pods.patch(&self.name, &params, &Patch::Merge(annotation)).await.expect("it is annotated");
            None
        })
        .await;
    }

    async fn remove(self) {
        let (maps, pods) = apis(self.cluster);
        pods.delete(&self.name, &DeleteParams::default()).await.expect("it is deleted");
        maps.delete(&self.name, &DeleteParams::default()).await.expect("it is deleted");
    }
}

fn apis(cluster: &Cluster) -> (Api<ConfigMap>, Api<Pod>) {
    let client = || cluster.client.clone();
    (Api::namespaced(client(), "default"), Api::namespaced(client(), "default"))
}

fn data(bytes: &[u8]) -> std::collections::BTreeMap<String, ByteString> {
    [("greeting.wasm".to_owned(), ByteString(bytes.to_vec()))].into()
}
