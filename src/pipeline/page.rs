//! The page, from what a survey found and what the state remembers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{PipelineError, Survey};
use crate::plan::build::counts;
use crate::plan::limits::Limits;
use crate::plan::usage::usage;
use crate::report::audit::{Amount, Class};
use crate::report::html::{Contents, History, RunLine, RunOutcome, TrashLine};
use crate::report::text::{bytes, counted};
use crate::report::{Problems, shell_word};
use crate::store::ReadStore;
use crate::sweep::journal::{Recorded, RunKind};
use crate::sweep::state::{self, Memory};

/// Runs that the page shows, and as many places of the trash.
const RUNS: usize = 10;

impl Survey {
    /// What the page says of the store; `classes` are those of an audit.
    pub fn contents(&self, classes: Option<BTreeMap<Class, Amount>>) -> Contents {
        Contents::of(
            self.inventory.listed_at,
            counts(&self.inventory, &self.marks),
            usage(&self.inventory, &self.marks),
            Problems::of(&self.inventory, &self.marks, &self.memory.stray_trash),
            classes,
        )
    }

    /// Where nothing of a registry is left and earlier runs are remembered: what of it can be brought back, and how.
    pub fn emptied(&self, store: &ReadStore) -> Option<String> {
        let Survey { inventory, memory, .. } = self;
        let is_empty = inventory.repositories.is_empty()
            && inventory.blobs.present().next().is_none()
            && inventory.assets.is_none();
        if !is_empty || memory.runs.is_empty() {
            return None;
        }
        let runs: BTreeSet<&str> = memory.trash.iter().map(|item| item.run.as_str()).collect();
        let size = memory.trash.iter().map(|item| item.size).sum();
        let objects = counted(memory.trash.len() as u64, "object", "objects");
        let can = if runs.is_empty() {
            "and the trash is empty".to_owned()
        } else {
            let runs = counted(runs.len() as u64, "run", "runs");
            let place = shell_word(&store.identity().url);
            format!(
                "and {objects} of {runs} in the trash, {}: `regsweep restore {place}` lists them",
                bytes(size)
            )
        };
        Some(format!("nothing of a registry is left here; regsweep's own state is, {can}"))
    }
}

/// What the page says of earlier runs, and of the one that has just ended.
///
/// # Errors
/// When the state cannot be read.
pub async fn history(store: &ReadStore) -> Result<History, PipelineError> {
    let memory = state::read(store).await?;
    let mut history = History::default();
    for recorded in memory.runs.iter().rev().take(RUNS) {
        history.runs.push(line(store, recorded).await?);
    }
    history.older = memory.runs.len().saturating_sub(RUNS) as u64;
    (history.trash, history.more_trash) = trash(&memory);
    Ok(history)
}

async fn line(store: &ReadStore, recorded: &Recorded) -> Result<RunLine, PipelineError> {
    let kind = match &recorded.run.kind {
        RunKind::Sweep(mode) => format!("sweep, {mode}"),
        RunKind::Managed => "deleted by the repository manager".to_owned(),
        RunKind::Mend(_) => "gave back".to_owned(),
        RunKind::Restore { of } => format!("restore of {of}"),
    };
    let outcome = match (&recorded.run.kind, recorded.ended) {
        (_, false) => RunOutcome::Unfinished,
        (RunKind::Restore { .. }, true) => RunOutcome::Restored,
        (_, true) => state::report(store, &recorded.run.run)
            .await?
            .map_or(RunOutcome::Unfinished, |report| RunOutcome::Ended(report.executed)),
    };
    Ok(RunLine { run: recorded.run.run.clone(), kind, started: recorded.run.started, outcome })
}

/// The trash by run, the newest first, and what is in that of others.
fn trash(memory: &Memory) -> (Vec<TrashLine>, Amount) {
    #[derive(Default)]
    struct Of {
        amount: Amount,
        since: Option<Timestamp>,
        manifests: bool,
        others: bool,
    }
    let mut by_run: BTreeMap<&str, Of> = BTreeMap::new();
    for item in &memory.trash {
        let of = by_run.entry(&item.run).or_default();
        of.amount.objects += 1;
        of.amount.bytes += item.size;
        of.since = item.since;
        of.manifests |= item.manifest;
        of.others |= !item.manifest;
    }
    let longer = i32::try_from(Limits::default().manifest_trash_factor).unwrap_or(i32::MAX);
    let (mut lines, mut more) = (Vec::new(), Amount::default());
    for (run, Of { amount, since, manifests, others }) in by_run.into_iter().rev() {
        if lines.len() == RUNS {
            more.objects += amount.objects;
            more.bytes += amount.bytes;
            continue;
        }
        let kept = memory.runs.iter().find(|recorded| recorded.run.run == run);
        let until = |times: i32| {
            let (since, recorded) = since.zip(kept)?;
            since.checked_add(recorded.run.trash_keep.as_signed().saturating_mul(times)).ok()
        };
        lines.push(TrashLine {
            run: run.to_owned(),
            amount,
            until: others.then(|| until(1)).flatten(),
            manifests_until: manifests.then(|| until(longer)).flatten(),
        });
    }
    (lines, more)
}
