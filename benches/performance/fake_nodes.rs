//! Where the Pods of load figures go: to nodes that kwok plays, so that they cost no container.

use crate::cluster::Cluster;

/// kwok's own key and value: the fake nodes' label, annotation and taint (tests/cluster/kwok.go).
const MARK: &str = "kwok.x-k8s.io/node";
const VALUE: &str = "fake";

/// Every new Pod goes to a fake node from here on.
pub async fn open(cluster: &Cluster) {
    let fake = cluster.kubectl(&format!("get nodes -l {MARK}={VALUE} -o name")).await;
    assert!(
        !fake.is_empty(),
        "there are no fake nodes: tests/cluster/cluster up --add-ons traefik,contour,kwok"
    );
    cluster.kubectl(&format!("cordon -l '!{MARK}'")).await;
    cluster.shell(&format!("kubectl taint nodes -l {MARK}={VALUE} {MARK}-")).await;
}

/// Every new Pod goes to the real node again.
pub async fn close(cluster: &Cluster) {
    cluster.kubectl(&format!("uncordon -l '!{MARK}'")).await;
    let taint = format!("taint nodes --overwrite -l {MARK}={VALUE} {MARK}={VALUE}:NoSchedule");
    // A cluster without fake nodes has nothing to close.
    cluster.shell(&format!("kubectl {taint}")).await;
}
