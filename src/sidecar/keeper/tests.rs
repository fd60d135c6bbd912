use std::collections::VecDeque;
use std::sync::Mutex;

use futures::future::BoxFuture;
use jiff::SignedDuration;

use super::*;
use crate::clock::Manual;
use crate::config::values::{Percentage, Period};
use crate::sidecar::schedule::Rhythm;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn every(period: &str) -> Schedule {
    Schedule {
        rhythm: Rhythm::every(period.parse::<Period>().unwrap()).unwrap(),
        jitter: Percentage::from_percent(0),
        window: None,
    }
}

/// A state that several may share, and that may be out of reach.
#[derive(Default)]
struct State {
    agenda: Mutex<Option<Agenda>>,
    down: Mutex<bool>,
}

/// What happens in a run.
enum Fate {
    Ends(Ending),
    /// The store goes away, for this and the next runs.
    Down,
    /// The store comes back.
    Up,
    /// The clock is set, forward or back.
    Set(&'static str),
    /// The process dies: the future is dropped.
    Dies,
}

struct Script<'s> {
    clock: &'s Jumping,
    state: &'s State,
    fates: Mutex<VecDeque<Fate>>,
    starts: Mutex<Vec<String>>,
    told: Mutex<Vec<(Ending, Vec<String>)>>,
    stop: watch::Sender<u8>,
}

/// A clock that can be set to any time.
#[derive(Debug)]
struct Jumping(Mutex<Manual>);

impl Jumping {
    fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap() = Manual::at(now);
    }
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        self.0.lock().unwrap().now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.0.lock().unwrap().advance(time);
        Box::pin(std::future::ready(()))
    }
}

#[async_trait]
impl Work for Script<'_> {
    async fn recall(&self) -> Result<Option<Agenda>, Trouble> {
        if *self.state.down.lock().unwrap() {
            self.starts.lock().unwrap().push(format!("{} down", self.clock.now()));
            let mut fates = self.fates.lock().unwrap();
            if let Some(Fate::Up) = fates.front() {
                *self.state.down.lock().unwrap() = false;
                fates.pop_front();
            }
            return Err(Trouble { why: "the store is down".into(), rule: None, ending: Ending::Failed });
        }
        Ok(self.state.agenda.lock().unwrap().clone())
    }

    async fn remember(&self, agenda: &Agenda) -> Result<(), Trouble> {
        *self.state.agenda.lock().unwrap() = Some(agenda.clone());
        Ok(())
    }

    async fn run(&self) -> RunFacts {
        let mut run = RunFacts::begun(self.clock.now());
        self.starts.lock().unwrap().push(run.began.to_string());
        let fate = self.fates.lock().unwrap().pop_front();
        if self.fates.lock().unwrap().is_empty() {
            self.stop.send_replace(15);
        }
        match fate {
            Some(Fate::Ends(ending)) => run.ending = ending,
            Some(Fate::Down) => *self.state.down.lock().unwrap() = true,
            Some(Fate::Set(now)) => {
                self.clock.set(at(now));
                run.ending = Ending::Done;
            }
            Some(Fate::Dies) => std::future::pending().await,
            Some(Fate::Up) | None => panic!("the script has no run here"),
        }
        run
    }

    async fn look(&self) {}

    fn refresh(&self) {}

    fn tell(&self, run: &Arc<RunFacts>) {
        self.told.lock().unwrap().push((run.ending, run.why.clone()));
    }
}

/// Plays a script and says when runs began.
fn play(schedule: &Schedule, state: &State, clock: &Jumping, holder: &str, fates: Vec<Fate>) -> Vec<String> {
    let dies = matches!(fates.last(), Some(Fate::Dies));
    let (told, stop) = watch::channel(0);
    let script = Script {
        clock,
        state,
        fates: Mutex::new(fates.into()),
        starts: Mutex::default(),
        told: Mutex::default(),
        stop: told,
    };
    let board = Board::default();
    let keeper = Keeper { schedule, clock, board: &board, work: &script, holder, draw: &|| 0.0, stop };
    if dies {
        // Polled until it can go on no more, and dropped.
        assert!(futures::FutureExt::now_or_never(keeper.keep()).is_none());
    } else {
        futures::FutureExt::now_or_never(keeper.keep()).expect("a clock that is set does not make it wait");
        assert_eq!(board.facts().role, Role::Ending);
        let runs: u64 = board.facts().totals.runs.values().sum();
        assert_eq!(runs, script.told.lock().unwrap().len() as u64);
    }
    script.starts.into_inner().unwrap()
}

fn clock(text: &str) -> Jumping {
    Jumping(Mutex::new(Manual::at(at(text))))
}

#[test]
fn runs_follow_the_schedule_and_go_on_after_a_restart() {
    let (state, clock, schedule) = (State::default(), clock("2026-03-01T00:00:00Z"), every("6h"));
    let done = || Fate::Ends(Ending::Done);
    let starts = play(&schedule, &state, &clock, "one", vec![done(), done(), done()]);
    assert_eq!(starts, ["2026-03-01T00:00:00Z", "2026-03-01T06:00:00Z", "2026-03-01T12:00:00Z"]);
    // Stopped for an hour; and for two days, after which one run is due.
    clock.set(at("2026-03-01T13:00:00Z"));
    assert_eq!(play(&schedule, &state, &clock, "one", vec![done()]), ["2026-03-01T18:00:00Z"]);
    clock.set(at("2026-03-03T13:00:00Z"));
    let starts = play(&schedule, &state, &clock, "one", vec![done(), done()]);
    assert_eq!(starts, ["2026-03-03T13:00:00Z", "2026-03-03T19:00:00Z"]);
}

#[test]
fn a_process_that_dies_in_each_run_begins_them_further_and_further_apart() {
    let (state, clock, schedule) = (State::default(), clock("2026-03-01T00:00:00Z"), every("1d"));
    let mut starts = Vec::new();
    for _ in 0..4 {
        starts.extend(play(&schedule, &state, &clock, "one", vec![Fate::Dies]));
    }
    assert_eq!(
        starts,
        ["2026-03-01T00:00:00Z", "2026-03-01T00:05:00Z", "2026-03-01T00:15:00Z", "2026-03-01T00:35:00Z"]
    );
    let starts =
        play(&schedule, &state, &clock, "one", vec![Fate::Ends(Ending::Done), Fate::Ends(Ending::Done)]);
    assert_eq!(starts, ["2026-03-01T01:15:00Z", "2026-03-02T01:15:00Z"]);
}

#[test]
fn a_store_that_is_down_is_tried_again_and_the_schedule_goes_on() {
    let (state, clock, schedule) = (State::default(), clock("2026-03-01T00:00:00Z"), every("6h"));
    let fates = vec![
        Fate::Down,
        Fate::Up,
        Fate::Ends(Ending::Done),
        Fate::Ends(Ending::Refused),
        Fate::Ends(Ending::Done),
    ];
    let starts = play(&schedule, &state, &clock, "one", fates);
    assert_eq!(
        starts,
        [
            "2026-03-01T00:00:00Z",
            "2026-03-01T00:05:00Z down",
            "2026-03-01T00:10:00Z",
            "2026-03-01T06:10:00Z",
            // What was refused would be refused again.
            "2026-03-01T12:10:00Z"
        ]
    );
}

#[test]
fn a_second_replica_stands_by_and_takes_over() {
    let (state, clock, schedule) = (State::default(), clock("2026-03-01T00:00:00Z"), every("6h"));
    // The first is in a run, which the second sees and does not begin; then it looks again, and the lease is held.
    let starts = play(&schedule, &state, &clock, "one", vec![Fate::Dies]);
    assert_eq!(starts, ["2026-03-01T00:00:00Z"]);
    let fates = vec![Fate::Ends(Ending::Standby), Fate::Ends(Ending::Standby), Fate::Ends(Ending::Done)];
    let starts = play(&schedule, &state, &clock, "two", fates);
    assert_eq!(starts, ["2026-03-01T00:05:00Z", "2026-03-01T00:10:00Z", "2026-03-01T00:15:00Z"]);
    let agenda = state.agenda.lock().unwrap().clone().unwrap();
    assert_eq!((agenda.holder.as_str(), agenda.failures), ("two", 0));
    assert_eq!(agenda.next_due, at("2026-03-01T06:15:00Z"));
}

#[test]
fn a_clock_that_jumps_costs_no_more_than_one_interval() {
    let (state, clock, schedule) = (State::default(), clock("2026-03-01T00:00:00Z"), every("6h"));
    let fates = vec![
        Fate::Set("2030-01-01T00:00:00Z"),
        Fate::Ends(Ending::Done),
        Fate::Set("2026-03-01T01:00:00Z"),
        Fate::Ends(Ending::Done),
    ];
    let starts = play(&schedule, &state, &clock, "one", fates);
    let first = starts[1].parse::<Timestamp>().unwrap();
    assert_eq!(first, at("2030-01-01T06:00:00Z"));
    let last = starts[3].parse::<Timestamp>().unwrap();
    assert!(last.duration_since(at("2026-03-01T01:00:00Z")) <= SignedDuration::from_hours(6), "{last}");
}
