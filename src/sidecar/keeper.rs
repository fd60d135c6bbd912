//! The loop: waits until a run is due, has it carried out, and remembers when the next one is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::board::{Board, Ending, Role, RunFacts};
use super::schedule::{Agenda, Schedule};
use crate::clock::Clock;

/// How often a clock is looked at that somebody may have set, and the policy file that somebody may have changed.
const TICK: Duration = Duration::from_secs(30);

/// What is done on the schedule.
#[async_trait]
pub trait Work: Send + Sync {
    /// What is remembered of the schedule, by this process or another.
    async fn recall(&self) -> Result<Option<Agenda>, Trouble>;

    /// Remembers it, durable when this returns.
    async fn remember(&self, agenda: &Agenda) -> Result<(), Trouble>;

    /// One run.
    async fn run(&self) -> RunFacts;

    /// Looks at what the store holds, changing nothing.
    async fn look(&self);

    /// Looks at the files that may be changed while nothing is done.
    fn refresh(&self);

    /// Tells of a run.
    fn tell(&self, run: &Arc<RunFacts>);
}

/// Why the state could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In words.
    pub why: String,
    /// The rule that refuses, when that is why.
    pub rule: Option<&'static str>,
    /// How a run ends for that.
    pub ending: Ending,
}

/// Who keeps the schedule.
pub struct Keeper<'k> {
    /// The schedule.
    pub schedule: &'k Schedule,
    /// Time.
    pub clock: &'k dyn Clock,
    /// Where it says what it does.
    pub board: &'k Board,
    /// What it has done.
    pub work: &'k dyn Work,
    /// Its name: host and process.
    pub holder: &'k str,
    /// Where in the time that jitter allows the next run is, from 0 to 1.
    pub draw: &'k (dyn Fn() -> f64 + Sync),
    /// Not 0 any more when it is to end.
    pub stop: watch::Receiver<u8>,
}

impl Keeper<'_> {
    /// Keeps the schedule until it is told to stop. A run in hand finishes its step.
    pub async fn keep(&self) {
        // Runs in a row of which not even the beginning could be remembered.
        let mut unremembered = 0;
        let mut looked = false;
        loop {
            if self.stopped() {
                break;
            }
            let due = self.attempt(&mut unremembered, &mut looked).await;
            self.board.note(|facts| facts.next_due = Some(due));
            if !looked && !self.stopped() {
                self.work.look().await;
                looked = true;
            }
            self.wait(due).await;
        }
        self.board.note(|facts| facts.role = Role::Ending);
    }

    fn stopped(&self) -> bool {
        *self.stop.borrow() != 0
    }

    /// Waits until `due`, or until it is told to stop.
    async fn wait(&self, mut due: Timestamp) {
        let mut stop = self.stop.clone();
        while !self.stopped() {
            let now = self.clock.now();
            // A clock that was set back does not make it wait longer than the schedule.
            due = due.min(self.schedule.after(now, 1.0));
            if due <= now {
                return;
            }
            let left = due.duration_since(now).unsigned_abs();
            tokio::select! {
                () = self.clock.sleep(left.min(TICK)) => {}
                _ = stop.wait_for(|signal| *signal != 0) => {}
            }
            self.work.refresh();
        }
    }

    /// Begins a run if one is due, and says when to look again.
    async fn attempt(&self, unremembered: &mut u32, looked: &mut bool) -> Timestamp {
        let now = self.clock.now();
        // What another replica began meanwhile is not begun again.
        let found = match self.work.recall().await {
            Ok(found) => found,
            Err(trouble) => return self.failed(now, trouble, unremembered),
        };
        let agenda = self.schedule.resume(found.as_ref(), now, (self.draw)());
        self.board.note(|facts| {
            (facts.last_start, facts.last_success) = (agenda.last_start, agenda.last_success);
        });
        if agenda.next_due > now {
            let other = agenda.failures > 0 && agenda.holder != self.holder && !agenda.holder.is_empty();
            let role = if other { Role::Standby { holder: agenda.holder.clone() } } else { Role::Waiting };
            self.board.note(|facts| facts.role = role);
            if found.as_ref() != Some(&agenda)
                && let Err(trouble) = self.work.remember(&agenda).await
            {
                return self.failed(now, trouble, unremembered);
            }
            return agenda.next_due;
        }
        // Remembered before it begins: whoever starts after a crash waits as after a failure.
        let begun = self.schedule.begin(&agenda, now, self.holder);
        if let Err(trouble) = self.work.remember(&begun).await {
            return self.failed(now, trouble, unremembered);
        }
        *unremembered = 0;
        self.board.note(|facts| {
            facts.role = Role::Running { since: now };
            facts.last_start = Some(now);
        });
        let run = Arc::new(self.work.run().await);
        let next = self.after(&agenda, begun, &run).await;
        self.board.ended(run.clone());
        self.work.tell(&run);
        if run.ending != Ending::Standby && !self.stopped() {
            self.work.look().await;
            *looked = true;
        }
        next
    }

    /// Remembers what a run's end means for the next.
    async fn after(&self, before: &Agenda, begun: Agenda, run: &RunFacts) -> Timestamp {
        let now = self.clock.now();
        let next = match run.ending {
            Ending::Done => self.schedule.end(&begun, now, true, (self.draw)()),
            Ending::SomeFailed | Ending::CutShort | Ending::Refused => {
                self.schedule.end(&begun, now, false, (self.draw)())
            }
            Ending::Failed | Ending::Interrupted | Ending::Empty => begun.clone(),
            // It was not this one that began a run: whoever did remembers its end.
            Ending::Standby => Agenda { next_due: self.schedule.retry(now, 1), ..before.clone() },
        };
        let role = match run.ending {
            Ending::Standby => Role::Standby { holder: run.why.join(" ") },
            _ => Role::Waiting,
        };
        self.board.note(|facts| {
            facts.role = role;
            facts.last_success = next.last_success;
        });
        let others = run.ending == Ending::Standby && self.work.recall().await != Ok(Some(begun.clone()));
        if next != begun
            && !others
            && let Err(trouble) = self.work.remember(&next).await
        {
            // What is remembered is that it failed: the next run comes sooner than it need.
            self.board.note(|facts| facts.look_problem = Some(trouble.why));
        }
        next.next_due
    }

    /// A run that could not even be remembered has failed, unless there is no registry yet to work on: that is told once, and
    /// looked at again soon.
    fn failed(&self, now: Timestamp, trouble: Trouble, unremembered: &mut u32) -> Timestamp {
        let empty = trouble.ending == Ending::Empty;
        *unremembered = if empty { 1 } else { unremembered.saturating_add(1) };
        let before = self.board.facts().runs.front().map(|run| run.ending);
        let mut run = RunFacts::begun(now);
        run.ended = self.clock.now();
        run.ending = trouble.ending;
        run.rules.extend(trouble.rule);
        run.why = vec![trouble.why];
        let run = Arc::new(run);
        self.board.note(|facts| facts.role = Role::Waiting);
        self.board.ended(run.clone());
        if !(empty && before == Some(Ending::Empty)) {
            self.work.tell(&run);
        }
        self.schedule.retry(now, *unremembered)
    }
}

#[cfg(test)]
#[path = "keeper/tests.rs"]
mod tests;
