//! What breaks. Every fault goes on for a while, ends, and tells when the controllers could not work.

use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use tokio::{process::Command, time};

use crate::{
    chaos::{
        dice::Dice,
        installation::{Installation, Replica},
        proxy::{Trouble, Wrong},
    },
    cluster::Cluster,
};

/// How often the cluster's tool is asked for the same.
const ATTEMPTS: usize = 5;

/// What faults happen to.
pub struct Stage<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The controllers.
    pub installations: &'a [Installation],
}

/// A fault's name, and what happens.
pub type Fault = (&'static str, for<'a> fn(&'a Stage<'a>, &'a mut Dice) -> BoxFuture<'a, ()>);

/// All faults.
pub const FAULTS: [Fault; 17] = [
    ("killed", |stage, dice| Box::pin(killed(stage, dice))),
    ("cut-off", |stage, dice| Box::pin(misbehaves(stage, dice, "cut off", Trouble::Cut))),
    ("frozen", |stage, dice| Box::pin(misbehaves(stage, dice, "frozen", Trouble::Frozen))),
    ("stopped", |stage, dice| Box::pin(stopped(stage, dice))),
    ("api-down", |stage, dice| Box::pin(down(stage, 2_000 + dice.below(6_000)))),
    ("api-down-long", |stage, _| Box::pin(down(stage, 60_000))),
    ("api-killed", |stage, dice| Box::pin(signalled(stage, dice, "kube-apiserver"))),
    ("etcd-killed", |stage, dice| Box::pin(signalled(stage, dice, "etcd"))),
    ("watches-cut", |stage, dice| Box::pin(watches_cut(stage, dice))),
    ("too-many", |stage, dice| Box::pin(share(stage, dice, Wrong::TooMany))),
    ("errors", |stage, dice| Box::pin(share(stage, dice, Wrong::Fails))),
    ("slow", |stage, dice| Box::pin(share(stage, dice, Wrong::Slow(3_000)))),
    ("half-answers", |stage, dice| Box::pin(share(stage, dice, Wrong::Half))),
    ("lost-answers", |stage, dice| Box::pin(share(stage, dice, Wrong::Lost))),
    ("clock", |stage, dice| Box::pin(clock(stage, dice))),
    ("node", |stage, dice| Box::pin(node(stage, dice))),
    ("definition", |stage, dice| Box::pin(definition(stage, dice))),
];

async fn wait(dice: &mut Dice, least: u64, most: u64) {
    time::sleep(Duration::from_millis(least + dice.below(most - least + 1))).await;
}

/// One of an installation's controllers.
fn one<'a>(installation: &'a Installation, dice: &mut Dice) -> &'a Replica {
    let count = u64::try_from(installation.replicas.len()).unwrap_or(1);
    &installation.replicas[usize::try_from(dice.below(count)).unwrap_or_default()]
}

/// Does the same to every installation at once, each with dice of its own.
async fn each<'a, F: Future<Output = ()>>(
    stage: &'a Stage<'a>,
    dice: &mut Dice,
    act: impl Fn(&'a Installation, Dice) -> F,
) {
    let acts = stage.installations.iter().map(|one| act(one, Dice::new(dice.next()))).collect::<Vec<_>>();
    join_all(acts).await;
}

/// Controllers are killed again and again, some before they are ready.
async fn killed(stage: &Stage<'_>, dice: &mut Dice) {
    each(stage, dice, |installation, mut dice| async move {
        for _ in 0..3 + dice.below(3) {
            let replica = one(installation, &mut dice);
            let outage = installation.loss("killed");
            replica.kill(&[]).await;
            for _ in 0..dice.below(3) {
                wait(&mut dice, 50, 1_500).await;
                replica.kill(&[]).await;
            }
            replica.ready().await;
            installation.over(outage);
            wait(&mut dice, 100, 3_000).await;
        }
    })
    .await;
}

/// A controller's way to the API server breaks for a while.
async fn misbehaves(stage: &Stage<'_>, dice: &mut Dice, what: &str, trouble: Trouble) {
    each(stage, dice, |installation, mut dice| async move {
        let replica = one(installation, &mut dice);
        let outage = match trouble {
            // Who leads goes on leading.
            Trouble::Share(..) => Some(installation.outage(what)),
            _ => installation.loss(what),
        };
        replica.proxy.set(trouble);
        wait(&mut dice, 2_000, 20_000).await;
        replica.proxy.set(Trouble::None);
        // What was held up comes through only now.
        if let Trouble::Share(_, Wrong::Slow(most)) = trouble {
            time::sleep(Duration::from_millis(most)).await;
        }
        installation.over(outage);
    })
    .await;
}

/// A share of all requests goes wrong.
async fn share(stage: &Stage<'_>, dice: &mut Dice, wrong: Wrong) {
    let share = 20 + dice.below(60);
    misbehaves(stage, dice, &format!("{wrong:?} for {share} %"), Trouble::Share(share, wrong)).await;
}

/// A controller does not run for a while, and does not know.
async fn stopped(stage: &Stage<'_>, dice: &mut Dice) {
    each(stage, dice, |installation, mut dice| async move {
        let replica = one(installation, &mut dice);
        let outage = installation.loss("stopped");
        replica.signal("STOP").await;
        wait(&mut dice, 2_000, 20_000).await;
        replica.signal("CONT").await;
        installation.over(outage);
    })
    .await;
}

/// All watches break, again and again; requests are answered.
async fn watches_cut(stage: &Stage<'_>, dice: &mut Dice) {
    each(stage, dice, |installation, mut dice| async move {
        for _ in 0..10 {
            installation.replicas.iter().for_each(|replica| replica.proxy.break_watches());
            wait(&mut dice, 200, 2_000).await;
        }
    })
    .await;
}

/// The clock is set far ahead, right, far behind, and right.
async fn clock(stage: &Stage<'_>, dice: &mut Dice) {
    each(stage, dice, |installation, mut dice| async move {
        let replica = one(installation, &mut dice);
        let outage = installation.loss("started with another clock");
        let offset = replica.with_another_clock().await;
        installation.over(outage);
        for seconds in [7_200, -600] {
            wait(&mut dice, 1_000, 4_000).await;
            let outage = Some(installation.outage(format!("the clock is {seconds} s ahead")));
            offset.set(seconds);
            wait(&mut dice, 4_000, 8_000).await;
            let before = replica.agreed();
            offset.set(0);
            replica.agrees_again(before).await;
            installation.over(outage);
        }
    })
    .await;
}

/// The API server is away for so long.
async fn down(stage: &Stage<'_>, milliseconds: u64) {
    tool(stage.cluster, &["stop", "kube-apiserver"]).await;
    time::sleep(Duration::from_millis(milliseconds)).await;
    tool(stage.cluster, &["start", "kube-apiserver"]).await;
}

/// A program of the node is killed; its supervisor starts it again.
async fn signalled(stage: &Stage<'_>, dice: &mut Dice, program: &str) {
    tool(stage.cluster, &["signal", program, "9"]).await;
    wait(dice, 8_000, 12_000).await;
}

/// The gateway is away for a while, and the kubelet is killed: neither concerns the ends of lives.
async fn node(stage: &Stage<'_>, dice: &mut Dice) {
    tool(stage.cluster, &["stop", "traefik"]).await;
    wait(dice, 2_000, 6_000).await;
    tool(stage.cluster, &["signal", "kubelet", "9"]).await;
    wait(dice, 2_000, 4_000).await;
    tool(stage.cluster, &["start", "traefik"]).await;
}

/// The definition is changed and changed back: the API server serves it anew, and ends all watches.
async fn definition(stage: &Stage<'_>, dice: &mut Dice) {
    let path = "/spec/versions/0/additionalPrinterColumns/0/description";
    let change = format!(r#"[{{"op": "replace", "path": "{path}", "value": "changed"}}]"#);
    for _ in 0..2 {
        stage.cluster.kubectl(&format!("patch crd ephemerons.qualified.io --type=json -p '{change}'")).await;
        wait(dice, 500, 3_000).await;
        stage.cluster.kubectl("apply -f k8s/ephemerons.yaml").await;
        wait(dice, 500, 3_000).await;
    }
}

/// Has the cluster's own tool do something. On a busy machine a program may take longer to be ready than
/// the tool waits.
async fn tool(cluster: &Cluster, arguments: &[&str]) {
    let mut error = String::new();
    for _ in 0..ATTEMPTS {
        let output = Command::new("tests/cluster/cluster")
            .args(arguments)
            .env("EPHEMERON_CLUSTER_DIR", cluster.env("EPHEMERON_CLUSTER_DIR"))
            .output()
            .await
            .expect("the cluster's tool runs");
        if output.status.success() {
            return;
        }
        error = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    panic!("cluster {arguments:?}: {error}");
}
