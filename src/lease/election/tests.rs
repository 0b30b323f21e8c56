//! Elections on a clock of their own: each candidate has one Lease in common with the others, and what it
//! has been shown of it.

use k8s_openapi::jiff::Timestamp;

use super::*;

const TIMES: Times = Times {
    duration: Duration::from_secs(15),
    deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: i64) -> MicroTime {
    MicroTime(Timestamp::from_second(seconds).expect("a time"))
}

/// What all clocks on walls show, unless a test says otherwise.
fn wall() -> MicroTime {
    at(1_900_000_000)
}

fn candidate(name: &str) -> Election {
    let mut candidate = Election::new(name.into(), "a/b".parse().expect("a place"), TIMES, s(0));
    candidate.watched(true);
    candidate
}

/// The API server's part: one object, with optimistic locking.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    fn write(&mut self, lease: &Lease) -> Result<Lease, Failure> {
        let (ours, theirs) = (lease.metadata.resource_version.as_ref(), self.lease.as_ref());
        match (ours, theirs.map(|lease| lease.metadata.resource_version.as_ref())) {
            (None, Some(_)) => return Err(Failure::Conflict),
            (Some(_), None) => return Err(Failure::Missing),
            (Some(one), Some(other)) if Some(one) != other => return Err(Failure::Conflict),
            _ => {}
        }
        self.version += 1;
        let mut lease = lease.clone();
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        Ok(lease)
    }

    /// The Lease of this holder, renewed at this time of its own clock.
    fn held_by(&mut self, holder: &str, renewed: i64) -> Lease {
        self.version += 1;
        let lease = Lease {
            metadata: ObjectMeta {
                resource_version: Some(self.version.to_string()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.into()),
                lease_duration_seconds: Some(15),
                lease_transitions: Some(3),
                renew_time: Some(at(renewed)),
                ..LeaseSpec::default()
            }),
        };
        self.lease = Some(lease.clone());
        lease
    }

    /// Lets a candidate do what it wants to do now; returns what it waits for, or why it stops.
    fn serve(&mut self, one: &mut Election, now: Duration) -> Step {
        for _ in 0..10 {
            match one.next(now, &wall()) {
                Step::Look => one.read(now, self.lease.clone()),
                Step::Write(lease) => match self.write(&lease) {
                    Ok(lease) => one.wrote(now, now, lease),
                    Err(failure) => one.failed(now, failure),
                },
                step => return step,
            }
        }
        panic!("it asks on and on");
    }

    fn holder(&self) -> Option<&str> {
        self.lease.as_ref()?.spec.as_ref()?.holder_identity.as_deref()
    }
}

fn version(step: &Step) -> Option<&str> {
    match step {
        Step::Write(lease) => lease.metadata.resource_version.as_deref(),
        _ => None,
    }
}

/// A leader since this second.
fn leader(server: &mut Server, now: Duration) -> Election {
    let mut one = candidate("one");
    one.doubt(now);
    assert_eq!(server.serve(&mut one, now), Step::Wait(now + s(2)));
    assert_eq!((one.held(), server.holder()), (Some(now + s(10)), Some("one")));
    one
}

#[test]
fn the_times_are_client_go_s() {
    assert_eq!(Times::of(s(15)), TIMES);
}

#[test]
fn the_first_makes_the_lease_and_renews_it() {
    let mut server = Server::default();
    let mut one = leader(&mut server, s(0));
    for second in (2..60).step_by(2) {
        assert_eq!(server.serve(&mut one, s(second)), Step::Wait(s(second + 2)), "{second}");
        assert_eq!(one.held(), Some(s(second + 10)), "{second}");
    }
    assert_eq!(one.transitions(), 0);
}

#[test]
fn of_two_at_once_one_leads() {
    let mut server = Server::default();
    let (mut one, mut two) = (candidate("one"), candidate("two"));
    for each in [&mut one, &mut two] {
        each.doubt(s(0));
        assert_eq!(each.next(s(0), &wall()), Step::Look);
        each.read(s(0), None);
    }
    let (first, second) = (one.next(s(0), &wall()), two.next(s(0), &wall()));
    assert!(matches!((&first, &second), (Step::Write(_), Step::Write(_))));
    for (each, step) in [(&mut one, first), (&mut two, second)] {
        let Step::Write(lease) = step else { panic!("{step:?}") };
        match server.write(&lease) {
            Ok(lease) => each.wrote(s(0), s(0), lease),
            Err(failure) => each.failed(s(0), failure),
        }
    }
    server.serve(&mut one, s(0));
    assert_eq!(server.serve(&mut two, s(0)), Step::Wait(s(15)), "it has looked who was first");
    assert_eq!((one.held(), two.held(), two.other()), (Some(s(10)), None, Some("one")));
}

#[test]
fn a_holder_has_its_time_from_when_it_is_seen_whatever_its_clock_says() {
    for renewed in [0, 1_900_000_000, 4_000_000_000] {
        let mut server = Server::default();
        let mut two = candidate("two");
        two.shown(s(100), server.held_by("one", renewed));
        assert_eq!(server.serve(&mut two, s(100)), Step::Wait(s(115)), "{renewed}");
        two.shown(s(110), server.held_by("one", renewed + 1));
        assert_eq!(server.serve(&mut two, s(115)), Step::Wait(s(125)), "it lives");
        // A clock that was set back: another time is another time.
        two.shown(s(120), server.held_by("one", renewed - 3600));
        assert_eq!(server.serve(&mut two, s(125)), Step::Wait(s(135)), "it lives");
        assert_eq!(server.serve(&mut two, s(135)), Step::Wait(s(137)));
        assert_eq!((two.held(), two.transitions()), (Some(s(145)), 4));
    }
}

#[test]
fn a_change_that_is_none_of_the_holder_s_gives_it_no_time() {
    let (mut server, mut two) = (Server::default(), candidate("two"));
    two.shown(s(0), server.held_by("one", 7));
    let mut labelled = server.held_by("one", 7);
    labelled.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
    two.shown(s(14), labelled.clone());
    server.lease = Some(labelled);
    assert_eq!(server.serve(&mut two, s(15)), Step::Wait(s(17)));
    assert_eq!(server.holder(), Some("two"));
    assert!(server.lease.and_then(|lease| lease.metadata.labels).is_some(), "what others wrote stays");
}

#[test]
fn nobody_is_put_down_unseen() {
    let (mut server, mut two) = (Server::default(), candidate("two"));
    two.shown(s(0), server.held_by("one", 1));
    // The watch is stuck, or this process was stopped; the holder has renewed.
    server.held_by("one", 2);
    assert_eq!(two.next(s(60), &wall()), Step::Look);
    assert_eq!(server.serve(&mut two, s(60)), Step::Wait(s(75)));
    assert_eq!(server.holder(), Some("one"));
}

#[test]
fn what_is_released_is_taken_at_once() {
    let mut server = Server::default();
    let one = leader(&mut server, s(0));
    let mut two = candidate("two");
    two.shown(s(1), server.lease.clone().expect("a Lease"));
    assert_eq!(server.serve(&mut two, s(1)), Step::Wait(s(16)));
    let released = server.write(&one.release(&wall()).expect("it is ours")).expect("it is in time");
    two.shown(s(3), released);
    assert_eq!(server.serve(&mut two, s(3)), Step::Wait(s(5)));
    assert_eq!((two.held(), two.transitions()), (Some(s(13)), 1));
    assert!(two.release(&wall()).is_some() && candidate("three").release(&wall()).is_none());
    // By then another has it.
    assert_eq!(server.write(&one.release(&wall()).expect("as it knows")), Err(Failure::Conflict));
}

#[test]
fn a_leader_stops_at_its_deadline_and_begins_by_looking() {
    let mut server = Server::default();
    let mut one = leader(&mut server, s(0));
    for second in [2, 4, 6, 8] {
        assert!(version(&one.next(s(second), &wall())).is_some(), "it tries at {second} s");
        one.failed(s(second), Failure::Other);
        assert!(one.held().is_some());
    }
    assert_eq!(one.next(s(9), &wall()), Step::Wait(s(10)), "no longer than it is held");
    assert_eq!(one.next(s(10), &wall()), Step::Stop(Lost::Deadline(10)));
    assert_eq!(one.held(), None);
    // Nobody has taken it: it is its again, without a transition.
    server.serve(&mut one, s(10));
    assert_eq!(server.serve(&mut one, s(12)), Step::Wait(s(14)));
    assert_eq!((one.held(), one.transitions()), (Some(s(22)), 0));
}

#[test]
fn who_was_stopped_does_not_lead_when_it_goes_on() {
    let mut server = Server::default();
    let mut one = leader(&mut server, s(0));
    server.held_by("two", 1);
    assert_eq!(one.next(s(60), &wall()), Step::Stop(Lost::Deadline(10)));
    assert_eq!(server.serve(&mut one, s(60)), Step::Wait(s(75)), "it follows");
    assert_eq!(one.other(), Some("two"));
}

#[test]
fn an_answer_that_comes_too_late_makes_nobody_a_leader() {
    let (mut server, mut one) = (Server::default(), candidate("one"));
    one.read(s(0), None);
    let Step::Write(lease) = one.next(s(0), &wall()) else { panic!("it is free") };
    one.wrote(s(0), s(11), server.write(&lease).expect("in time for the server"));
    assert_eq!(one.held(), None);
    assert_eq!(server.serve(&mut one, s(11)), Step::Wait(s(13)), "and yet it is its: it renews");
    assert_eq!(one.held(), Some(s(21)));

    let Step::Write(lease) = one.next(s(14), &wall()) else { panic!("it is due") };
    one.wrote(s(14), s(30), server.write(&lease).expect("in time for the server"));
    assert_eq!(one.next(s(30), &wall()), Step::Stop(Lost::Deadline(10)));
}

#[test]
fn a_leader_that_sees_another_stops() {
    let mut server = Server::default();
    let mut one = leader(&mut server, s(0));
    one.shown(s(1), server.held_by("two", 1));
    assert_eq!(one.next(s(1), &wall()), Step::Stop(Lost::Taken("two".into())));

    // Without the watch, it is told by its next renewal.
    let mut server = Server::default();
    let mut one = leader(&mut server, s(0));
    server.held_by("two", 1);
    assert_eq!(server.serve(&mut one, s(2)), Step::Stop(Lost::Taken("two".into())));

    let mut emptied = Server::default();
    let mut one = leader(&mut emptied, s(0));
    one.shown(s(1), emptied.held_by("", 1));
    assert_eq!(one.next(s(1), &wall()), Step::Stop(Lost::Emptied));
}

#[test]
fn an_edit_of_something_else_does_not_cost_the_lease() {
    let mut server = Server::default();
    let mut one = leader(&mut server, s(0));
    server.version += 1;
    let lease = server.lease.as_mut().expect("a Lease");
    lease.metadata.resource_version = Some(server.version.to_string());
    assert_eq!(server.serve(&mut one, s(2)), Step::Wait(s(4)), "a conflict: it has looked");
    assert_eq!(server.serve(&mut one, s(4)), Step::Wait(s(6)));
    assert_eq!(one.held(), Some(s(14)));
}

#[test]
fn a_lease_that_is_deleted_by_hand_is_made_anew_by_its_holder() {
    let mut server = Server::default();
    let mut one = leader(&mut server, s(0));
    let mut two = candidate("two");
    let lease = server.lease.take().expect("a Lease");
    two.shown(s(0), lease.clone());
    let mut deleted = lease;
    server.version += 1;
    deleted.metadata.resource_version = Some(server.version.to_string());
    two.gone(s(1), &deleted);
    assert_eq!(two.next(s(1), &wall()), Step::Wait(s(15)), "the holder may not know yet");
    one.gone(s(1), &deleted);
    assert_eq!(server.serve(&mut one, s(1)), Step::Wait(s(3)));
    assert_eq!((one.held(), server.holder()), (Some(s(11)), Some("one")));

    // Without the watch, by the answer to its renewal.
    server.lease = None;
    assert_eq!(server.serve(&mut one, s(3)), Step::Wait(s(5)));
    assert_eq!((one.held(), server.holder()), (Some(s(13)), Some("one")));

    // A holder that is gone, too, has a successor in time.
    server.lease = None;
    assert_eq!(server.serve(&mut two, s(15)), Step::Wait(s(17)));
    assert_eq!(server.holder(), Some("two"));
}

#[test]
fn the_watch_may_be_behind_an_answer() {
    let mut server = Server::default();
    let before = server.held_by("two", 1);
    server.lease = None;
    let mut one = leader(&mut server, s(0));
    one.shown(s(1), before.clone());
    one.gone(s(1), &before);
    assert_eq!(one.next(s(1), &wall()), Step::Wait(s(2)), "it is as old as that");
    assert_eq!(one.held(), Some(s(10)));
}

#[test]
fn without_a_watch_it_is_looked_at() {
    let (mut server, mut two) = (Server::default(), candidate("two"));
    server.held_by("one", 1);
    two.watched(false);
    assert_eq!(two.next(s(0), &wall()), Step::Wait(s(2)), "the watch may come");
    assert_eq!(server.serve(&mut two, s(2)), Step::Wait(s(4)));
    server.held_by("", 2);
    assert_eq!(server.serve(&mut two, s(4)), Step::Wait(s(6)));
    assert_eq!(server.holder(), Some("two"));
    // And without an API server, not on and on.
    let mut three = candidate("three");
    three.watched(false);
    for second in [2, 4, 6] {
        assert_eq!(three.next(s(second), &wall()), Step::Look);
        three.failed(s(second), Failure::Other);
        assert_eq!(three.next(s(second), &wall()), Step::Wait(s(second + 2)));
    }
}

#[test]
fn strange_times_of_a_holder_are_bounded() {
    for (asked, wanted) in [(None, 15), (Some(-1), 15), (Some(i32::MAX), 3600), (Some(30), 30)] {
        let (mut server, mut two) = (Server::default(), candidate("two"));
        let mut lease = server.held_by("one", 1);
        if let Some(spec) = &mut lease.spec {
            spec.lease_duration_seconds = asked;
        }
        two.shown(s(0), lease);
        assert_eq!(two.next(s(0), &wall()), Step::Wait(s(wanted)), "{asked:?}");
    }
}
