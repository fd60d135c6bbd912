//! What recent runs took beside a registry that served, by their journals.

use jiff::{SignedDuration, Timestamp};
use rustc_hash::FxHashSet;

use super::journal::{self, Entry as JournalEntry, Recorded, RunKind};
use super::{SweepError, state};
use crate::layout::{Entry, RegistryLayout};
use crate::oci::{Digest, RepositoryName, TagName};
use crate::plan::{Mode, Taken, TakenTag};
use crate::store::ReadStore;

/// A process that lost its lease while it slept may wake up and finish the batch in its hand: for so long after a run
/// whatever it announced counts as taken.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// How far apart the store's clock and ours may be after what was measured of it.
const SKEW: SignedDuration = SignedDuration::from_secs(2);

/// What the last run beside a serving registry took, and every such run of a day or two graces.
///
/// # Errors
/// When a journal cannot be read or understood.
pub async fn read(
    store: &ReadStore,
    layout: &dyn RegistryLayout,
    runs: &[Recorded],
    now: Timestamp,
) -> Result<Taken, SweepError> {
    let mut taken = Taken::default();
    let mut last = true;
    for recorded in runs.iter().rev().filter(|one| one.run.kind == RunKind::Sweep(Mode::Online)) {
        let grace = recorded.run.grace.as_signed();
        let age = now.duration_since(recorded.run.started);
        if last || age < REMEMBERED.max(grace.saturating_mul(2)) {
            let ended = match state::report(store, &recorded.run.run).await? {
                Some(report) if !report.executed.interrupted => report.ended.checked_add(SKEW).ok(),
                _ => None,
            };
            let from = recorded.run.started.saturating_sub(grace).unwrap_or(Timestamp::MIN);
            for entry in journal::entries(store, recorded).await? {
                take(&mut taken, layout, &entry, from, ended);
            }
        }
        last = false;
    }
    // The latest run that took a tag saw it there: what an earlier one crossed is settled.
    let mut seen = FxHashSet::default();
    taken.tags.retain(|tag| seen.insert((tag.repository.clone(), tag.tag.clone())));
    taken.tags.sort_by(|one, other| (&one.repository, &one.tag).cmp(&(&other.repository, &other.tag)));
    Ok(taken)
}

fn take(
    taken: &mut Taken,
    layout: &dyn RegistryLayout,
    entry: &JournalEntry,
    from: Timestamp,
    until: Option<Timestamp>,
) {
    let JournalEntry::Intent(intent) = entry else { return };
    let mut tag = None;
    for link in &intent.links {
        match layout.classify(&link.key) {
            Entry::TagCurrent { repository, tag: name } => {
                tag = RepositoryName::found(repository).ok().zip(TagName::found(name).ok()).map(
                    |(repository, tag)| {
                        let body = std::str::from_utf8(link.body.bytes()).ok();
                        let target = body.and_then(|body| body.parse::<Digest>().ok());
                        TakenTag { repository, tag, target, from, until }
                    },
                );
            }
            Entry::RevisionLink { repository, digest } => {
                taken.manifests.extend(RepositoryName::found(repository).ok().map(|name| (name, digest)));
            }
            _ => {}
        }
    }
    taken.tags.extend(tag);
}
