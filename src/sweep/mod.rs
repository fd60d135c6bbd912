//! Stage 7: do it.
//!
//! [`execute`] takes a lease and a checked plan and carries it out: it makes no choice that the plan has not made, except
//! to leave something alone that changed since.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::evidence::Rest;
use crate::layout::RegistryLayout;
use crate::oci::{Digest, RepositoryName};
use crate::plan::{Action, CheckedPlan, Counts, Mode, Plan};
use crate::store::threads::Threads;
use crate::store::{StoreError, Tree, WriteStore};

pub mod cache;
mod copy;
mod held;
pub mod journal;
pub mod lease;
mod look;
mod manager;
mod place;
pub mod pulls;
pub mod records;
pub mod recover;
mod replace;
mod rest;
pub mod restore;
mod selection;
pub mod state;
mod step;
pub(crate) mod taken;
pub mod trash;

use cache::Caches;
use held::{HELD, Held};
use journal::{Intent, Journal, Outcome, Run};
use lease::Lease;
use manager::Manager;

/// Why a sweep, a restore or a look at the state ended early.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// Another sweeper works on this store.
    #[error(
        "{holder} holds the lease of this store, renewed {renewed}; one sweeper works at a time. Wait for it, or for \
         {term} seconds after it died"
    )]
    LeaseHeld {
        /// Who.
        holder: String,
        /// When it was last renewed.
        renewed: Timestamp,
        /// Seconds after which it ends by itself.
        term: u64,
    },
    /// Another sweeper took over.
    #[error(
        "the lease was lost to another sweeper; the step in hand was finished, and nothing else was begun"
    )]
    LeaseLost,
    /// Our clock and the store's are too far apart to compare ages.
    #[error("this machine's clock and the store's are {apart:#} apart, more than {limit:#}: set them right")]
    ClockSkew {
        /// How far.
        apart: SignedDuration,
        /// How far is allowed.
        limit: SignedDuration,
    },
    /// The store replaces what it was asked only to create.
    #[error(
        "the store does not honour create-if-absent, so two sweepers could not be told apart: give --state a place that \
         does, such as a directory, and the same one to every sweeper of this store"
    )]
    NoConditions,
    /// A state object is not understood.
    #[error("the state object {key} is not understood; it may be from another version of regsweep")]
    Format {
        /// Its key below the state's root.
        key: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing of that name to restore.
    #[error("{0}")]
    NothingToRestore(String),
}

/// Steps whose intents are made durable together: as many as one request to S3 deletes.
const BATCH: usize = 1000;

/// The same of steps that a repository manager carries out one by one.
const HANDED_OVER: usize = 20;

/// What became of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Executed {
    /// Steps carried out, by action.
    pub done: BTreeMap<String, u64>,
    /// Steps left alone because something changed.
    pub skipped: Vec<Left>,
    /// Steps that could not be carried out.
    pub failed: Vec<Left>,
    /// Bytes of data that left their place.
    pub freed_bytes: u64,
    /// Bytes deleted from the trash.
    pub purged_bytes: u64,
    /// Bytes of content that are flagged as deleted and stay where they are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flagged_bytes: u64,
    /// Whether it was asked to stop before the end.
    pub interrupted: bool,
}

/// A step that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Left {
    /// What it was.
    pub step: String,
    /// Why not.
    pub why: String,
}

/// What a run leaves behind in the state when it ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunReport {
    /// What became of the steps.
    pub executed: Executed,
    /// What the store held afterwards.
    pub after: Counts,
    /// When it ended.
    pub ended: Timestamp,
}

/// What a run works with.
#[derive(Clone, Copy)]
pub struct Means<'m> {
    /// The store.
    pub store: &'m WriteStore,
    /// How its keys are made.
    pub layout: &'m dyn RegistryLayout,
    /// What of the registry remembers blobs.
    pub caches: &'m Caches,
    /// Time.
    pub clock: &'m dyn Clock,
}

/// Carries out a checked plan.
///
/// `rest` is the repository manager that carries out what is its to do. `stop` is asked between batches; when it says so,
/// the rest is left for a later run.
///
/// # Errors
/// When the journal cannot be written or the lease is lost. Everything done by then is in the journal.
pub async fn execute(
    lease: &Lease,
    checked: CheckedPlan,
    run: &Run,
    means: &Means<'_>,
    rest: Option<&Rest>,
    stop: impl Fn() -> bool,
) -> Result<Executed, SweepError> {
    let plan = checked.into_plan();
    let store = means.store;
    let workers = Workers::of(store);
    // The plan is durable before the first effect.
    let journal = Journal::begin(store, run, &plan).await?;
    let hand = hand(means, run, &plan, lease.number());
    let mut progress = Progress {
        plan: &plan,
        hand,
        journal,
        executed: Executed::default(),
        held: Held::new(plan.header.mode),
        unlinked: Vec::new(),
    };
    let mut manager = Manager::of(rest);
    let mut next = 0;
    let shown = store.read().progress();
    shown.begin("sweeping", Some(plan.steps.len() as u64));
    while next < plan.steps.len() {
        if stop() {
            progress.executed.interrupted = true;
            break;
        }
        lease.check().await?;
        let end = batch_end(&plan, next);
        progress.forget(means.caches, next..end).await;
        if plan.steps[next].is_managed() {
            progress.hand_over(next..end, &mut manager).await?;
        } else {
            progress.carry_out(next..end, &workers).await?;
        }
        shown.add(end - next);
        next = end;
    }
    // What was unlinked last is forgotten too.
    progress.forget(means.caches, next..next).await;
    let Progress { journal, executed, .. } = progress;
    let after = recover::after(&plan, &executed);
    journal.end(&RunReport { executed: executed.clone(), after, ended: means.clock.now() }).await?;
    Ok(executed)
}

fn hand<'h>(means: &Means<'h>, run: &'h Run, plan: &Plan, fencing: u64) -> step::Hand<'h> {
    let (mode, records) = (plan.header.mode, plan.header.records);
    let now = means.clock.now();
    let youngest = now.saturating_sub(run.grace.as_signed()).unwrap_or(Timestamp::MIN);
    step::Hand {
        store: means.store,
        layout: means.layout,
        run: &run.run,
        now,
        keep_trash: !run.trash_keep.is_zero(),
        fencing,
        youngest_directory: (mode == Mode::Online).then_some(youngest),
        records,
    }
}

/// Steps of one stage may be carried out side by side; the next stage waits for them.
fn batch_end(plan: &Plan, start: usize) -> usize {
    let stage = plan.steps[start].action.stage();
    // Of what a repository manager was asked just before an interruption nothing tells whether it was done.
    let batch = if plan.steps[start].is_managed() { HANDED_OVER } else { BATCH };
    plan.steps[start..]
        .iter()
        .take(batch)
        .position(|step| step.action.stage() != stage)
        .map_or_else(|| (start + batch).min(plan.steps.len()), |length| start + length)
}

/// A run in progress.
struct Progress<'p> {
    plan: &'p Plan,
    hand: step::Hand<'p>,
    journal: Journal<'p>,
    executed: Executed,
    held: Held,
    /// Links that have gone and that the registry's caches were not told of.
    unlinked: Vec<(RepositoryName, Digest)>,
}

impl Progress<'_> {
    /// Makes the registry's caches forget what has been unlinked, as soon as all links have gone and before any data goes:
    /// until then they answer "here". And what leaves the trash for good once more, since from then on nothing brings it
    /// back. Where they cannot be told, data stays. `next` are the steps that come next.
    async fn forget(&mut self, caches: &Caches, next: std::ops::Range<usize>) {
        let steps = &self.plan.steps[next];
        let data: Vec<Digest> = steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Sweep { digest, .. } => Some(*digest),
                Action::Purge { digest, .. } => *digest,
                _ => None,
            })
            .collect();
        let unlinking = steps.first().is_some_and(|step| {
            matches!(
                step.action,
                Action::Untag { .. } | Action::DeleteManifest { .. } | Action::Unlink { .. }
            )
        });
        if unlinking || (data.is_empty() && self.unlinked.is_empty()) {
            return;
        }
        let unlinked = std::mem::take(&mut self.unlinked);
        if let Err(error) = caches.evict(&unlinked, &data).await {
            self.held.hold_data();
            let why = cache::chain(&error);
            self.executed.failed.push(Left { step: "evict".into(), why });
        }
    }

    async fn carry_out(
        &mut self,
        range: std::ops::Range<usize>,
        workers: &Workers,
    ) -> Result<(), SweepError> {
        let Self { plan, hand, held, .. } = self;
        let steps = &plan.steps;
        // Each is looked at once more, immediately before: what changed since it was listed is left alone.
        let prepared: Vec<(usize, Result<Intent, Outcome>)> = workers.install(|| {
            let seen = hand.look(steps[range.clone()].iter().filter(|step| !held.holds(&step.action)));
            let prepare = |index: usize| {
                if held.holds(&steps[index].action) {
                    return Err(Outcome::Skipped(HELD.into()));
                }
                hand.prepare(index, &steps[index], &seen)
            };
            range.into_par_iter().map(|index| (index, prepare(index))).collect()
        });
        let mut ready = Vec::new();
        for (index, prepared) in prepared {
            match prepared {
                Ok(intent) => ready.push(intent),
                Err(outcome) => self.note(index, outcome),
            }
        }
        // No effect without a durable intent.
        self.journal.intend(ready.iter().cloned()).await?;
        let outcomes = workers.install(|| self.hand.perform_all(&self.plan.steps, &ready));
        for (index, outcome) in outcomes {
            self.note(index, outcome);
        }
        Ok(())
    }

    fn note(&mut self, index: usize, outcome: Outcome) {
        let action = &self.plan.steps[index].action;
        if let (
            Action::DeleteManifest { repository, digest, .. } | Action::Unlink { repository, digest },
            Outcome::Done,
        ) = (action, &outcome)
        {
            self.unlinked.push((repository.clone(), *digest));
        }
        self.held.note(action, &outcome);
        self.executed.note(self.plan, index, &outcome);
        self.journal.outcome(index, outcome);
    }
}

/// Threads to work with side by side: as many as there are processors for a directory, as many as the store bears
/// requests for a bucket.
pub(crate) struct Workers(Option<Threads>);

impl Workers {
    pub(crate) fn of(store: &WriteStore) -> Self {
        match store.read().tree() {
            Tree::Directory(_) => Self(None),
            // Where threads cannot be had, those of the process must do.
            Tree::Bucket(bucket) => Self(Threads::new(bucket.parallel()).ok()),
        }
    }

    pub(crate) fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        tokio::task::block_in_place(|| match &self.0 {
            Some(pool) => pool.install(work),
            None => work(),
        })
    }
}

impl Executed {
    fn note(&mut self, plan: &Plan, index: usize, outcome: &Outcome) {
        let action = &plan.steps[index].action;
        match outcome {
            Outcome::Done => {
                *self.done.entry(action.name().to_owned()).or_default() += 1;
                self.freed_bytes += plan.frees(index);
                self.flagged_bytes += plan.flags(index);
                if let Action::Purge { size, .. } = action {
                    self.purged_bytes += size;
                }
            }
            Outcome::Skipped(why) => self.skipped.push(Left { step: action.to_string(), why: why.clone() }),
            Outcome::Failed(why) => self.failed.push(Left { step: action.to_string(), why: why.clone() }),
        }
    }

    /// Whether anything left its place: then a push may have been crossed.
    pub fn took_anything(&self) -> bool {
        ["untag", "delete-manifest", "unlink", "sweep"].iter().any(|action| self.count(action) > 0)
    }

    /// Blobs and links that were brought back.
    pub fn given_back(&self) -> u64 {
        ["heal", "relink", "relink-manifest", "retag"].iter().map(|action| self.count(action)).sum()
    }

    /// How many steps of an action were carried out.
    pub fn count(&self, action: &str) -> u64 {
        self.done.get(action).copied().unwrap_or(0)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
