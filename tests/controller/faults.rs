//! Three faults of the fault suite, for a short while each: lives that nothing is lost of.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time;

use crate::{
    Cases, World,
    chaos::{
        dice::Dice,
        installation::Installation,
        manifests::Runs,
        proxy::{Trouble, Wrong},
        trial::Trial,
        workload::{Plan, Users},
    },
};

/// How many live, under each fault.
const LIVES: usize = 20;

/// The cases.
pub fn cases(cases: &mut Cases) {
    cases.add("faults::nothing_is_lost_when_controllers_are_killed", |world| {
        under(world, "chaos-killed", async |controllers: &Installation, dice: &mut Dice| {
            let replica = &controllers.replicas[0];
            replica.kill(&[]).await;
            time::sleep(dice.milliseconds(2_000)).await;
        })
    });
    cases.add("faults::nothing_is_lost_when_answers_go_wrong", |world| {
        under(world, "chaos-wrong", async |controllers: &Installation, dice: &mut Dice| {
            let all = [Wrong::TooMany, Wrong::Fails, Wrong::Half, Wrong::Lost, Wrong::Slow(1_000)];
            let wrong = all[usize::try_from(dice.below(5)).unwrap_or_default()];
            controllers.replicas[0].proxy.set(Trouble::Share(50, wrong));
            time::sleep(dice.milliseconds(2_000)).await;
            let cut = if dice.below(2) == 0 { Trouble::Cut } else { Trouble::Frozen };
            controllers.replicas[0].proxy.set(cut);
            time::sleep(dice.milliseconds(2_000)).await;
            controllers.replicas[0].proxy.set(Trouble::None);
            controllers.replicas[0].proxy.break_watches();
        })
    });
    cases.add("faults::nothing_is_lost_when_a_controller_stands_still", |world| {
        under(world, "chaos-still", async |controllers: &Installation, dice: &mut Dice| {
            controllers.replicas[0].signal("STOP").await;
            time::sleep(dice.milliseconds(3_000)).await;
            controllers.replicas[0].signal("CONT").await;
        })
    });
}

/// Lives of an installation of their own, while the same fault happens again and again.
async fn under(world: Arc<World>, name: &'static str, fault: impl AsyncFn(&Installation, &mut Dice)) {
    let cluster = &world.cluster;
    let seed = u64::from(std::process::id());
    println!("{name}: SEED={seed}");
    let mut dice = Dice::new(seed);
    let trial = Trial::begin(cluster, &[name]);
    let controllers = Installation::start(
        cluster,
        (name, 1),
        &[("EPHEMERON_PROBE_ADDRESS", "off")],
        &trial.outages,
        &mut dice,
    )
    .await;
    let plan = Plan {
        whose: name.into(),
        runs: Runs::Image,
        lives: LIVES,
        alive: LIVES / 2,
        lifetimes: (500, 6_000),
        pace: Duration::from_millis(500),
        squatted: 5,
    };
    let users = Users::new(&cluster.client, &trial.history, &trial.foreign, plan);
    let kept = users.settle(2, || cluster.name(name)).await;
    let is_over = AtomicBool::new(false);
    let acting = async {
        users.act(Dice::new(seed ^ 1), || cluster.name(name)).await;
        is_over.store(true, Ordering::Relaxed);
    };
    let breaking = async {
        while !is_over.load(Ordering::Relaxed) {
            fault(&controllers, &mut dice).await;
            time::sleep(dice.milliseconds(2_000)).await;
        }
    };
    tokio::join!(acting, breaking);
    let outcome = trial.finish(&kept, None, false).await;
    controllers.stop().await;
    let wrong: Vec<_> = outcome.verdict.violations.iter().map(|one| one.told.clone()).collect();
    assert!(wrong.is_empty() && outcome.problems.is_empty(), "SEED={seed}: {wrong:?} {:?}", outcome.problems);
    assert!(outcome.lives >= LIVES, "{} lives", outcome.lives);
}
