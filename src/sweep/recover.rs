//! Looking after a run that was interrupted.
//!
//! What it had begun is finished, what it had announced and not begun is left: the next plan decides about that anew, on
//! what is there now. This comes before anything else that a run does.

use jiff::Timestamp;
use rustc_hash::FxHashSet;

use super::journal::{self, Entry, Intent, Journal, Outcome, Recorded, RunKind};
use super::restore::RestorePlan;
use super::{Executed, Means, RunReport, SweepError, trash};
use crate::plan::{Action, Mode, Plan};
use crate::store::{StoreError, WriteStore};

/// What was done about an interrupted run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The run.
    pub run: String,
    /// Steps that were half done, and are done now.
    pub finished: usize,
    /// Steps that had been done without a record of it.
    pub found_done: usize,
    /// Steps that were announced and not begun.
    pub left: usize,
}

/// Finishes every run that did not end.
///
/// # Errors
/// When the journal cannot be read or written, or an effect fails: then nothing else may be done.
pub async fn recover(means: &Means<'_>, fencing: u64) -> Result<Vec<Recovered>, SweepError> {
    let mut recovered = Vec::new();
    let store = means.store;
    for recorded in journal::runs(store.read()).await? {
        if recorded.ended {
            continue;
        }
        let done = match &recorded.run.kind {
            RunKind::Sweep(mode) | RunKind::Mend(mode) => sweep(means, &recorded, *mode, fencing).await?,
            RunKind::Managed => sweep(means, &recorded, Mode::Online, fencing).await?,
            RunKind::Restore { .. } => restore(store, &recorded, means.clock.now()).await?,
        };
        tracing::warn!(
            run = recorded.run.run,
            finished = done.finished,
            left = done.left,
            "an interrupted run was closed"
        );
        recovered.push(done);
    }
    Ok(recovered)
}

async fn sweep(
    means: &Means<'_>,
    recorded: &Recorded,
    mode: Mode,
    fencing: u64,
) -> Result<Recovered, SweepError> {
    let store = means.store;
    let run = &recorded.run.run;
    let key = format!("{}/{run}/plan.json", journal::RUNS);
    let plan: Option<Plan> = journal::read_json(store.read(), &key).await?;
    let Some(plan) = plan else {
        return Err(SweepError::NothingToRestore(format!(
            "{key} of an interrupted run is missing: look at it by hand"
        )));
    };
    let entries = journal::entries(store.read(), recorded).await?;
    let known: FxHashSet<usize> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Outcome { step, .. } => Some(*step),
            Entry::Intent(_) => None,
        })
        .collect();
    let mut executed = Executed { interrupted: true, ..Executed::default() };
    for entry in &entries {
        if let Entry::Outcome { step, outcome } = entry {
            executed.note(&plan, *step, outcome);
        }
    }
    let hand = super::hand(means, &recorded.run, mode, fencing);
    let mut journal = Journal::resume(store, run, recorded.segments);
    let mut result = Recovered { run: run.clone(), finished: 0, found_done: 0, left: 0 };
    for entry in &entries {
        let Entry::Intent(intent) = entry else { continue };
        if known.contains(&intent.step) {
            continue;
        }
        let step = &plan.steps[intent.step];
        if step.is_managed() {
            // Nothing in the store tells whether it was done: the next listing does.
            let outcome = Outcome::Skipped("interrupted; what is left of it the next run lists".into());
            result.left += 1;
            executed.note(&plan, intent.step, &outcome);
            journal.outcome(intent.step, outcome);
            continue;
        }
        let outcome = match look(store, intent)? {
            // No file goes with it: emptying directories and bringing back is safe to repeat.
            Progress::Untraceable if matches!(step.action, Action::Purge { .. }) => {
                result.left += 1;
                Outcome::Skipped("interrupted; the next run purges it".into())
            }
            // What was removed is not removed again: somebody may have pushed it anew.
            Progress::Done => {
                result.found_done += 1;
                hand.finish(step, intent)
            }
            Progress::Untraceable => {
                result.found_done += 1;
                hand.perform(step, intent)
            }
            Progress::Half => {
                result.finished += 1;
                hand.perform(step, intent)
            }
            Progress::NotBegun => {
                result.left += 1;
                Outcome::Skipped("interrupted before it was begun".into())
            }
            Progress::Changed => {
                result.left += 1;
                Outcome::Skipped("it was written again after the interruption".into())
            }
        };
        executed.note(&plan, intent.step, &outcome);
        journal.outcome(intent.step, outcome);
    }
    // A copy that was under way takes room and is of no use. One that cannot be given up now harms nothing.
    if let Err(error) = trash::give_up_copies(store, run) {
        tracing::warn!(run, error = error.with_cause(), "copies that were under way may be left");
    }
    let after = super::after(&plan, &executed);
    journal.end(&RunReport { executed, after, ended: means.clock.now() }).await?;
    Ok(result)
}

enum Progress {
    Done,
    Half,
    NotBegun,
    Changed,
    Untraceable,
}

/// How far the effects of an intent came, by what is there.
fn look(store: &WriteStore, intent: &Intent) -> Result<Progress, StoreError> {
    let tree = store.read().tree();
    let (mut there, mut gone, mut changed) = (0, 0, false);
    for link in &intent.links {
        match tree.stat(&link.key)? {
            None => gone += 1,
            Some(meta) => {
                there += 1;
                changed |= meta.modified != link.modified || meta.size != link.body.bytes().len() as u64;
            }
        }
    }
    for moved in &intent.data {
        match tree.stat(&moved.key)? {
            None => gone += 1,
            Some(_) => there += 1,
        }
    }
    Ok(match (there, gone) {
        (0, 0) => Progress::Untraceable,
        (0, _) => Progress::Done,
        (_, 0) => Progress::NotBegun,
        // Half a tag is no tag, unless somebody pushed it again since.
        _ if changed => Progress::Changed,
        _ => Progress::Half,
    })
}

async fn restore(store: &WriteStore, recorded: &Recorded, now: Timestamp) -> Result<Recovered, SweepError> {
    let run = &recorded.run.run;
    let key = format!("{}/{run}/plan.json", journal::RUNS);
    let plan: Option<RestorePlan> = journal::read_json(store.read(), &key).await?;
    let mut result = Recovered { run: run.clone(), finished: 0, found_done: 0, left: 0 };
    if let Some(plan) = plan {
        let restored = plan.carry_out(store);
        result.finished = restored.done();
        if let Some((key, error)) = restored.failed.first() {
            tracing::warn!(key, error = error.with_cause(), "could not be restored");
        }
        super::state::write_pins(store, run, &plan.pins, now).await?;
    }
    let key = format!("{}/{run}/report.json", journal::RUNS);
    journal::write_json(store, &key, &serde_json::json!({ "interrupted": true, "ended": now })).await?;
    Ok(result)
}
