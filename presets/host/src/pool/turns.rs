//! Whose call is next: that of the preset which has had the least of the threads' time.
//!
//! This is start-time fair queueing (Goyal, Vin and Cheng, 1996), except that what a call takes is known only
//! afterwards: until then, it counts as much as the preset's last one.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

/// How often presets are forgotten that have had no more than others, in calls.
const FORGET: u64 = 1_024;

/// Calls that wait, and what each preset has had.
pub(super) struct Turns<J> {
    presets: HashMap<String, Preset<J>>,
    /// The presets that have a call to make and may make it, by what they have had; of equals, who has waited
    /// longest comes first.
    line: BTreeMap<Place, String>,
    /// What the one whose turn it was last had had: who comes anew begins with as much.
    level: Duration,
    /// How many places were given so far.
    places: u64,
    waiting: usize,
    /// The most calls of a preset that run at a time.
    share: usize,
}

type Place = (Duration, u64);

struct Preset<J> {
    jobs: VecDeque<J>,
    running: usize,
    had: Duration,
    /// What its last call took.
    usual: Duration,
    place: Option<Place>,
}

/// A call that runs.
pub(super) struct Turn {
    preset: String,
    /// What it counts until it is known what it takes.
    counted: Duration,
}

impl<J> Turns<J> {
    pub(super) fn new(share: usize) -> Self {
        Self {
            presets: HashMap::new(),
            line: BTreeMap::new(),
            level: Duration::ZERO,
            places: 0,
            waiting: 0,
            share,
        }
    }

    /// How many calls wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many calls of this preset wait.
    pub(super) fn waiting_of(&self, preset: &str) -> usize {
        self.presets.get(preset).map_or(0, |preset| preset.jobs.len())
    }

    /// Has a call wait for its turn.
    pub(super) fn add(&mut self, name: &str, job: J) {
        let had = self.level;
        let preset = self.presets.entry(name.to_owned()).or_insert_with(|| Preset {
            jobs: VecDeque::new(),
            running: 0,
            had,
            usual: Duration::ZERO,
            place: None,
        });
        preset.jobs.push_back(job);
        self.waiting += 1;
        if preset.place.is_none() {
            self.line_up(name);
        }
    }

    /// The next call, if there is one that may run.
    pub(super) fn next(&mut self) -> Option<(J, Turn)> {
        let ((had, _), name) = self.line.pop_first()?;
        self.level = self.level.max(had);
        let preset = self.presets.get_mut(&name)?;
        preset.place = None;
        let job = preset.jobs.pop_front()?;
        self.waiting -= 1;
        preset.running += 1;
        let counted = preset.usual;
        preset.had = had + counted;
        self.line_up(&name);
        Some((job, Turn { preset: name, counted }))
    }

    /// Takes note of the end of a call, which took this long.
    pub(super) fn done(&mut self, turn: Turn, took: Duration) {
        let Turn { preset: name, counted } = turn;
        if let Some(preset) = self.presets.get_mut(&name) {
            preset.running -= 1;
            preset.had = (preset.had + took).saturating_sub(counted);
            preset.usual = took;
        }
        self.line_up(&name);
    }

    /// Gives the preset the place that it should have now, or none.
    fn line_up(&mut self, name: &str) {
        let Some(preset) = self.presets.get_mut(name) else { return };
        let before = preset.place.take().and_then(|place| self.line.remove_entry(&place));
        if preset.jobs.is_empty() || preset.running >= self.share {
            return;
        }
        // Nobody saves up what he has not asked for.
        let had = preset.had.max(self.level);
        let place = match before {
            Some(((as_before, number), _)) if as_before == had => (had, number),
            _ => {
                self.places += 1;
                (had, self.places)
            }
        };
        preset.place = Some(place);
        self.line.insert(place, name.to_owned());
        if self.places.is_multiple_of(FORGET) {
            let level = self.level;
            self.presets
                .retain(|_, preset| preset.running > 0 || !preset.jobs.is_empty() || preset.had > level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(50);
    const LONG: Duration = Duration::from_millis(75);

    fn next(turns: &mut Turns<&'static str>) -> (&'static str, Turn) {
        turns.next().expect("a call that may run")
    }

    #[test]
    fn presets_share_the_time_and_not_the_number_of_calls() {
        let mut turns = Turns::new(3);
        let took = |job: &str| if job == "long" { LONG } else { SHORT };
        let (mut running, mut had) = (VecDeque::new(), HashMap::<_, Duration>::new());
        for job in ["long", "long", "long", "one", "two"] {
            turns.add(job, job);
        }
        // Two threads; each preset always has a call that waits, the long one several.
        for _ in 0..20_000 {
            while running.len() < 2 {
                running.push_back(next(&mut turns));
            }
            let (job, turn) = running.pop_front().expect("one runs");
            *had.entry(job).or_default() += took(job);
            turns.done(turn, took(job));
            turns.add(job, job);
        }
        // Until a call of it has ended, nobody knows that it is long: then all of its share run.
        let fair = had["one"];
        assert!(had["two"].abs_diff(fair) <= 2 * SHORT, "{had:?}");
        assert!(had["long"].abs_diff(fair) <= 4 * LONG && had["long"] > LONG, "{had:?}");
    }

    #[test]
    fn who_has_the_same_takes_turns_in_the_order_of_coming() {
        let mut turns = Turns::new(3);
        for job in ["a", "a", "b", "c"] {
            turns.add(job, job);
        }
        let order: Vec<_> = (0..4).map(|_| next(&mut turns).0).collect();
        assert_eq!(order, ["a", "b", "c", "a"]);
        assert_eq!((turns.waiting(), turns.next().is_none()), (0, true));
    }

    #[test]
    fn a_preset_has_no_more_than_its_share() {
        let mut turns = Turns::new(2);
        (0..3).for_each(|_| turns.add("a", "a"));
        let (_, first) = next(&mut turns);
        next(&mut turns);
        assert!(turns.next().is_none());
        assert_eq!(turns.waiting_of("a"), 1);
        turns.done(first, SHORT);
        next(&mut turns);
    }

    #[test]
    fn nothing_is_saved_up_by_not_asking() {
        let mut turns = Turns::new(1);
        turns.add("late", "late");
        let (_, turn) = next(&mut turns);
        turns.done(turn, SHORT);
        for _ in 0..100 {
            turns.add("busy", "busy");
            let (_, turn) = next(&mut turns);
            turns.done(turn, LONG);
        }
        // It has had next to nothing, and still takes turns with the other from now on.
        for job in ["late", "late", "busy"] {
            turns.add(job, job);
        }
        let (job, turn) = next(&mut turns);
        assert_eq!(job, "late");
        turns.done(turn, 2 * LONG);
        assert_eq!(next(&mut turns).0, "busy");
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let mut turns = Turns::new(1);
        for number in 0..10 * FORGET {
            let name = format!("p{number}");
            turns.add(&name, "once");
            let (_, turn) = next(&mut turns);
            turns.done(turn, Duration::ZERO);
        }
        assert!(turns.presets.len() as u64 <= FORGET, "{}", turns.presets.len());
    }
}
