//! What the sidecar knows of itself: written by who works, read by whoever asks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;

use crate::report::audit::Audit;
use crate::report::html::Page;
use crate::store::Requests;

/// Runs that are remembered.
const RUNS: usize = 20;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// Everything was done.
    Done,
    /// Some steps could not be carried out; the next run takes them up.
    SomeFailed,
    /// It came to the end of its time; the next run goes on.
    CutShort,
    /// Refused for safety; nothing was done.
    Refused,
    /// The store could not be reached or listed, or the configuration is wrong.
    Failed,
    /// The process was asked to end; the next run goes on.
    Interrupted,
    /// Another held the lease.
    Standby,
    /// No registry has written anything yet, so there was nothing to sweep.
    Empty,
}

impl Ending {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::SomeFailed,
        Self::CutShort,
        Self::Refused,
        Self::Failed,
        Self::Interrupted,
        Self::Standby,
        Self::Empty,
    ];

    /// As it is written in documents and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::SomeFailed => "some_failed",
            Self::CutShort => "cut_short",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Standby => "standby",
            Self::Empty => "empty",
        }
    }
}

/// What became of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RunFacts {
    /// Its name, once it held the lease.
    pub run: Option<String>,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// How.
    pub ending: Ending,
    /// Why it was refused or failed, in sentences.
    pub why: Vec<String>,
    /// The rules that refused, by name.
    #[serde(skip)]
    pub rules: Vec<&'static str>,
    /// Steps carried out, by action.
    pub done: BTreeMap<String, u64>,
    /// Steps left alone because something changed.
    pub skipped: u64,
    /// Steps that could not be carried out.
    pub failed: u64,
    /// Bytes of data that left their place.
    pub freed_bytes: u64,
    /// Bytes deleted from the trash.
    pub purged_bytes: u64,
    /// Blobs and links that were brought back because a push needs them.
    pub given_back: u64,
    /// What it cost.
    #[serde(skip)]
    pub requests: Requests,
    /// Seconds by what was done in them.
    pub phase_seconds: BTreeMap<&'static str, f64>,
}

impl RunFacts {
    /// A run of which nothing is known yet but when it began.
    pub fn begun(now: Timestamp) -> Self {
        Self {
            run: None,
            began: now,
            ended: now,
            ending: Ending::Failed,
            why: Vec::new(),
            rules: Vec::new(),
            done: BTreeMap::new(),
            skipped: 0,
            failed: 0,
            freed_bytes: 0,
            purged_bytes: 0,
            given_back: 0,
            requests: Requests::default(),
            phase_seconds: BTreeMap::new(),
        }
    }
}

/// What the sidecar does at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Role {
    /// It waits for the next run.
    #[default]
    Waiting,
    /// A run is under way.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Another does the work.
    Standby {
        /// Who.
        holder: String,
    },
    /// It ends.
    Ending,
}

/// Sums over all runs of this process.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Runs by how they ended.
    pub runs: BTreeMap<&'static str, u64>,
    /// Steps carried out, by action.
    pub steps: BTreeMap<String, u64>,
    /// Steps that could not be carried out.
    pub failed_steps: u64,
    /// Bytes of data that left their place.
    pub freed_bytes: u64,
    /// Bytes deleted from the trash.
    pub purged_bytes: u64,
    /// Blobs and links brought back.
    pub given_back: u64,
    /// Refusals by rule.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Requests to the store by kind, and bytes.
    pub requests: Requests,
    /// Seconds by phase.
    pub phase_seconds: BTreeMap<&'static str, f64>,
    /// Notices to the webhook: delivered, and given up.
    pub notices: (u64, u64),
    /// Events of the registry.
    pub events: Events,
}

/// Events of the registry, by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    /// Pulls that count.
    pub pulls: u64,
    /// Pulls of those who do not count.
    pub ignored: u64,
    /// Pushes, deletions and the like.
    pub others: u64,
    /// Events that were not understood.
    pub not_understood: u64,
    /// Deliveries that were answered otherwise than 200.
    pub declined: u64,
}

/// What the last look at the store found.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    /// Everything by class.
    pub audit: Option<Arc<Audit>>,
    /// Blobs that are condemned.
    pub condemned: u64,
    /// Objects in the trash.
    pub trash_objects: u64,
    /// Their bytes.
    pub trash_bytes: u64,
}

/// All that is known.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The store's URL.
    pub store: String,
    /// The schedule in words.
    pub schedule: String,
    /// What it does.
    pub role: Role,
    /// When a run last began, here or in another replica.
    pub last_start: Option<Timestamp>,
    /// When one last ended as it should.
    pub last_success: Option<Timestamp>,
    /// When the next is due.
    pub next_due: Option<Timestamp>,
    /// Why the policy file is not the one that is gone by.
    pub policy_problem: Option<String>,
    /// What the store holds.
    pub holdings: Holdings,
    /// Why that is not known, or not known anew.
    pub look_problem: Option<String>,
    /// The page of the last look.
    pub page: Option<Arc<Page>>,
    /// Why events wait that are to be written.
    pub events_problem: Option<String>,
    /// When the registry last told of something.
    pub last_event: Option<Timestamp>,
    /// The last runs of this process, the latest first.
    pub runs: VecDeque<Arc<RunFacts>>,
    /// Sums over all of them.
    pub totals: Totals,
}

/// Where it is written.
#[derive(Debug, Default)]
pub struct Board(Mutex<Facts>);

impl Board {
    /// A board that says which store and schedule it is about.
    pub fn of(store: String, schedule: String) -> Self {
        Self(Mutex::new(Facts { store, schedule, ..Facts::default() }))
    }

    /// Everything, as it is now.
    pub fn facts(&self) -> Facts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes something down.
    pub fn note(&self, change: impl FnOnce(&mut Facts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds up a run that has ended.
    pub fn ended(&self, run: Arc<RunFacts>) {
        self.note(|facts| {
            let totals = &mut facts.totals;
            *totals.runs.entry(run.ending.name()).or_default() += 1;
            for (action, count) in &run.done {
                *totals.steps.entry(action.clone()).or_default() += count;
            }
            totals.failed_steps += run.failed;
            totals.freed_bytes += run.freed_bytes;
            totals.purged_bytes += run.purged_bytes;
            totals.given_back += run.given_back;
            for rule in &run.rules {
                *totals.refusals.entry(rule).or_default() += 1;
            }
            for (phase, seconds) in &run.phase_seconds {
                *totals.phase_seconds.entry(phase).or_default() += seconds;
            }
            totals.requests = totals.requests.plus(&run.requests);
            facts.runs.push_front(run);
            facts.runs.truncate(RUNS);
        });
    }
}
