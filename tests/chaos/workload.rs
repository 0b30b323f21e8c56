//! Users who create Ephemerons at random, put their ends off or forward, mostly at the last moment, and
//! delete some by hand.

use std::{collections::HashMap, future::Future, sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use ephemeron::resource::Ephemeron;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use tokio::{sync::Semaphore, task::JoinSet, time};

use super::{
    dice::Dice,
    foreign::{Foreign, KINDS},
    history::{Answer, History, Time, What, Wish},
    manifests::{self, Runs, Until},
};

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Before a creation that failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long after its end nobody waits for one to go any more: it is the checker's.
const GIVE_UP: Duration = Duration::from_mins(4);

/// What the users of one installation do.
#[derive(Clone)]
pub struct Plan {
    /// The installation.
    pub whose: String,
    /// What their Ephemerons run.
    pub runs: Runs,
    /// How many they create.
    pub lives: usize,
    /// How many of them live at once.
    pub alive: usize,
    /// The shortest and the longest first lifetime, in ms.
    pub lifetimes: (u64, u64),
    /// From one creation to the next, at most.
    pub pace: Duration,
    /// One in so many finds its name taken.
    pub squatted: u64,
}

/// The users of one installation.
pub struct Users {
    client: Client,
    history: Arc<History>,
    foreign: Arc<Foreign>,
    plan: Plan,
}

impl Users {
    /// With this plan.
    pub fn new(client: &Client, history: &Arc<History>, foreign: &Arc<Foreign>, plan: Plan) -> Arc<Self> {
        let (history, foreign) = (Arc::clone(history), Arc::clone(foreign));
        Arc::new(Self { client: client.clone(), history, foreign, plan })
    }

    fn ephemerons(&self) -> Api<Ephemeron> {
        Api::all(self.client.clone())
    }

    /// Goes through the plan, until all have ended, or should have long ago.
    pub async fn act(self: Arc<Self>, mut dice: Dice, name: impl Fn() -> String) {
        let places = Arc::new(Semaphore::new(self.plan.alive));
        let (mut lives, mut begun) = (JoinSet::new(), 0);
        while begun < self.plan.lives {
            let place = Arc::clone(&places).acquire_owned().await.expect("it is never closed");
            time::sleep(self.plan.pace.mul_f64(dice.fraction())).await;
            // Some come back under the same name.
            let times = if self.plan.lives - begun > 1 && dice.below(10) == 0 { 2 } else { 1 };
            begun += times;
            let (users, name, mut dice) = (Arc::clone(&self), name(), Dice::new(dice.next()));
            lives.spawn(async move {
                users.be_in_the_way(&name, &mut dice).await;
                for _ in 0..times {
                    users.live(&name, &mut dice).await;
                }
                drop(place);
            });
        }
        while let Some(life) = lives.join_next().await {
            life.expect("a user does not panic");
        }
    }

    /// Creates some that live on through all of it; returns their UIDs and names.
    pub async fn settle(&self, count: usize, name: impl Fn() -> String) -> HashMap<String, String> {
        let mut all = HashMap::new();
        for _ in 0..count {
            let name = name();
            let (uid, _) = self.begin(&name, || Until::Seconds(7_200)).await;
            all.insert(uid, name);
        }
        all
    }

    async fn be_in_the_way(&self, name: &str, dice: &mut Dice) {
        if self.plan.squatted == 0 || dice.below(self.plan.squatted) > 0 {
            return;
        }
        let mut kind = || KINDS[usize::try_from(dice.below(4)).unwrap_or_default()];
        self.foreign.make(&self.client, kind(), name, false).await;
        let decoy = format!("{name}-decoy");
        self.foreign.make(&self.client, kind(), &decoy, true).await;
    }

    async fn live(&self, name: &str, dice: &mut Dice) {
        let (shortest, longest) = self.plan.lifetimes;
        let lifetime = shortest + dice.below(longest - shortest + 1);
        let by_time = dice.below(2) == 0;
        let until = || {
            let milliseconds = i64::try_from(lifetime).unwrap_or(i64::MAX);
            if by_time {
                Until::At(Utc::now() + TimeDelta::milliseconds(milliseconds))
            } else {
                Until::Seconds((milliseconds / 1_000).max(1))
            }
        };
        let (uid, mut end) = self.begin(name, until).await;
        for _ in 0..dice.below(4) {
            let left = (end - Utc::now()).to_std().unwrap_or_default();
            // At any time before its end, or within half a second of it, on either side.
            let wait = match dice.below(3) {
                0 => left.mul_f64(dice.fraction()),
                _ => (left + dice.milliseconds(900)).saturating_sub(Duration::from_millis(500)),
            };
            if before(wait, self.history.gone(&uid)).await {
                return;
            }
            let in_ms = |milliseconds| Utc::now() + TimeDelta::milliseconds(milliseconds);
            let wish = match dice.below(12) {
                0 => Wish::Delete,
                1 => Wish::End(in_ms(300)),
                2 => Wish::End(in_ms(-60_000)),
                _ => Wish::End(in_ms(i64::try_from(500 + dice.below(longest)).unwrap_or(i64::MAX))),
            };
            match (self.ask(&uid, name, wish).await, wish) {
                (Answer::Done, Wish::End(later)) => end = later,
                (Answer::Lost, _) => {}
                // Deleted, or gone before.
                _ => break,
            }
        }
        let left = (end - Utc::now()).to_std().unwrap_or_default();
        before(left + GIVE_UP, self.history.gone(&uid)).await;
    }

    /// Creates one; tries until it is there. Returns its UID and end.
    async fn begin(&self, name: &str, until: impl Fn() -> Until) -> (String, Time) {
        let Plan { whose, runs, .. } = &self.plan;
        loop {
            let (sent, wanted) = (Utc::now(), manifests::ephemeron(name, whose, *runs, until()));
            let (ephemerons, params) = (self.ephemerons(), PostParams::default());
            let made = match time::timeout(TIMEOUT, ephemerons.create(&params, &wanted)).await {
                Ok(Ok(made)) => Some(made),
                // It was made by a request whose answer was lost; or its predecessor still has the name.
                Ok(Err(kube::Error::Api(status))) if status.code == 409 => self.unknown(name).await,
                _ => None,
            };
            if let Some(made) = made {
                let (uid, end) = (made.uid().to_owned(), made.expiration_time().unwrap_or(sent));
                let what = What::Asked { sent, wish: Wish::Begin(end), answer: Answer::Done };
                self.history.add(&uid, name, whose, what);
                return (uid, end);
            }
            time::sleep(PAUSE).await;
        }
    }

    /// The one of this name, unless it is known to have been created before.
    async fn unknown(&self, name: &str) -> Option<Ephemeron> {
        let one = time::timeout(TIMEOUT, self.ephemerons().get_opt(name)).await.ok()?.ok()??;
        let known = self.history.all().remove(one.uid());
        let is_asked = |life: super::history::Life| {
            life.events.iter().any(|event| matches!(event.what, What::Asked { .. }))
        };
        (!known.is_some_and(is_asked)).then_some(one)
    }

    async fn ask(&self, uid: &str, name: &str, wish: Wish) -> Answer {
        let (sent, ephemerons) = (Utc::now(), self.ephemerons());
        let asking = async {
            match wish {
                Wish::Delete => {
                    let preconditions = Preconditions { uid: Some(uid.into()), resource_version: None };
                    let params = DeleteParams::default().preconditions(preconditions);
                    ephemerons.delete(name, &params).await.map(drop)
                }
                Wish::Begin(end) | Wish::End(end) => {
                    let patch = Patch::Merge(manifests::end(uid, end));
                    ephemerons.patch(name, &PatchParams::default(), &patch).await.map(drop)
                }
            }
        };
        let answer = match time::timeout(TIMEOUT, asking).await {
            Ok(Ok(())) => Answer::Done,
            Ok(Err(kube::Error::Api(status))) if (400..500).contains(&status.code) => {
                Answer::Refused(status.code)
            }
            _ => Answer::Lost,
        };
        self.history.add(uid, name, &self.plan.whose, What::Asked { sent, wish, answer });
        answer
    }
}

/// Whether it happens within this time.
async fn before(wait: Duration, it: impl Future<Output = ()>) -> bool {
    time::timeout(wait, it).await.is_ok()
}
