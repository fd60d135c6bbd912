//! Undo: brings back what a run took, whole or one image of it.

use jiff::{SignedDuration, Timestamp};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::journal::{
    self, Entry as JournalEntry, Intent, Marked, Moved, Outcome, Recorded, Run, RunKind, SavedLink,
};
use super::lease::Lease;
use super::selection::Selection;
use super::trash::{self, BroughtBack};
use super::{SweepError, Workers, place, state};
use crate::config::values::Period;
use crate::graph::Pins;
use crate::layout::{Entry, RegistryLayout};
use crate::oci::{Digest, ImageReference, RepositoryName, TagName};
use crate::plan::{Action, Plan};
use crate::store::{StoreError, WriteStore};

/// What is restored is kept for at least so long, whatever a policy says.
const PINNED: SignedDuration = SignedDuration::from_hours(24);

/// What to bring back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Everything that a run took.
    Run(String),
    /// One tag or manifest, with all that it needs and what is about it; without either, every image of the repository.
    Image(ImageReference),
    /// One blob.
    Blob(Digest),
}

/// Everything that a restore does, in order: data, then links to it, then manifests, then tags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestorePlan {
    /// Data that comes back from the trash.
    pub data: Vec<Moved>,
    /// Links that are written again.
    pub links: Vec<SavedLink>,
    /// Records that are written back as they were, when what they are about is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Marked>,
    /// What is kept for a while afterwards.
    pub pins: Pins,
}

/// What became of a restore.
#[derive(Debug, Default)]
pub struct Restored {
    /// Blobs and other data that are back.
    pub data: usize,
    /// Links that are back.
    pub links: usize,
    /// Records that say again what they said.
    pub marks: usize,
    /// Keys that were there already, unchanged or uploaded again.
    pub there: usize,
    /// Keys that hold something else by now, which was left.
    pub changed: Vec<String>,
    /// Data that is not in the trash any more.
    pub lost: Vec<String>,
    /// What could not be done.
    pub failed: Vec<(String, StoreError)>,
}

impl Restored {
    /// Objects brought back.
    pub fn done(&self) -> usize {
        self.data + self.links + self.marks
    }
}

/// What every run took and may be brought back, newest first.
#[derive(Debug, Default)]
pub(super) struct Undo {
    pub(super) links: FxHashMap<String, SavedLink>,
    pub(super) data: FxHashMap<String, Moved>,
    marks: FxHashMap<String, Marked>,
    /// What the marks are about, by what they were in their plans.
    named: Vec<Action>,
}

/// Brings back `wanted`.
///
/// # Errors
/// When nothing of that name was taken, or the state cannot be read or written.
pub async fn restore(
    lease: &Lease,
    store: &WriteStore,
    layout: &dyn RegistryLayout,
    wanted: &Wanted,
    run: &str,
    now: Timestamp,
) -> Result<(RestorePlan, Restored), SweepError> {
    let runs = journal::runs(store.read()).await?;
    let chosen: Vec<&Recorded> = runs
        .iter()
        .filter(|recorded| matches!(recorded.run.kind, RunKind::Sweep(_)))
        .filter(|recorded| !matches!(wanted, Wanted::Run(name) if *name != recorded.run.run))
        .collect();
    let mut undo = Undo::default();
    for recorded in chosen.iter().rev() {
        let entries = journal::entries(store.read(), recorded).await?;
        undo.add(&entries);
        if entries.iter().any(|entry| matches!(entry, JournalEntry::Intent(one) if !one.marks.is_empty())) {
            let key = format!("{}/{}/plan.json", journal::RUNS, recorded.run.run);
            let plan: Option<Plan> = journal::read_json(store.read(), &key).await?;
            undo.named.extend(plan.into_iter().flat_map(|plan| plan.steps).map(|step| step.action));
        }
    }
    let grace = chosen.iter().map(|recorded| recorded.run.grace).max().unwrap_or(Period::ZERO);
    let until = now.saturating_add(grace.as_signed().max(PINNED)).unwrap_or(Timestamp::MAX);
    let plan = undo.select(store, layout, wanted, until)?;
    if plan.data.is_empty() && plan.links.is_empty() && plan.marks.is_empty() {
        return Err(nothing(wanted));
    }
    lease.check().await?;
    let header = Run {
        schema: journal::SCHEMA.into(),
        run: run.to_owned(),
        kind: RunKind::Restore { of: describe_wanted(wanted) },
        started: now,
        fencing: lease.number(),
        grace,
        trash_keep: Period::ZERO,
        regsweep: env!("CARGO_PKG_VERSION").into(),
    };
    // The pins are durable before anything is back, so that no policy takes it again in between.
    let journal = journal::Journal::begin(store, &header, &plan).await?;
    state::write_pins(store, run, &plan.pins, now).await?;
    let restored = plan.carry_out(store);
    journal
        .end(&serde_json::json!({
            "data": restored.data, "links": restored.links, "marks": restored.marks, "lost": restored.lost.len(),
            "failed": restored.failed.len(), "ended": now,
        }))
        .await?;
    Ok((plan, restored))
}

fn describe_wanted(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Run(run) => run.clone(),
        Wanted::Image(image) => image.to_string(),
        Wanted::Blob(digest) => digest.to_string(),
    }
}

fn nothing(wanted: &Wanted) -> SweepError {
    let what = match wanted {
        Wanted::Run(run) => format!("there is no run {run} that took anything"),
        Wanted::Image(image) => format!("no run took {image}"),
        Wanted::Blob(digest) => format!("no run took {digest}"),
    };
    SweepError::NothingToRestore(format!("{what}; `regsweep restore STORE` lists what can be undone"))
}

impl Undo {
    /// Adds a run; what a newer one took is already there and stays.
    fn add(&mut self, entries: &[JournalEntry]) {
        let refused: FxHashSet<usize> = entries
            .iter()
            .filter_map(|entry| match entry {
                JournalEntry::Outcome { step, outcome: Outcome::Skipped(_) } => Some(*step),
                _ => None,
            })
            .collect();
        for entry in entries {
            let JournalEntry::Intent(Intent { step, links, data, marks, .. }) = entry else { continue };
            if refused.contains(step) {
                continue;
            }
            for link in links {
                self.links.entry(link.key.clone()).or_insert_with(|| link.clone());
            }
            for moved in data {
                self.data.entry(moved.key.clone()).or_insert_with(|| moved.clone());
            }
            for marked in marks {
                self.marks.entry(marked.key.clone()).or_insert_with(|| marked.clone());
            }
        }
    }

    fn select(
        mut self,
        store: &WriteStore,
        layout: &dyn RegistryLayout,
        wanted: &Wanted,
        until: Timestamp,
    ) -> Result<RestorePlan, SweepError> {
        let mut pins = Pins { until, tags: Vec::new(), revisions: Vec::new(), blobs: Vec::new() };
        let mut marks = Vec::new();
        if matches!(wanted, Wanted::Run(_)) {
            marks.extend(std::mem::take(&mut self.marks).into_values());
            super::records::pin(&self.named, &mut pins);
        }
        marks.sort_by(|a: &Marked, b| a.key.cmp(&b.key));
        let (mut links, mut data): (Vec<SavedLink>, Vec<Moved>) = match wanted {
            Wanted::Run(_) => (self.links.into_values().collect(), self.data.into_values().collect()),
            Wanted::Blob(digest) => {
                let key = layout.key(&Entry::BlobData { digest: *digest }).unwrap_or_default();
                (Vec::new(), self.data.get(&key).cloned().into_iter().collect())
            }
            Wanted::Image(image) => Selection::of(&self, store, layout, image)?.chosen(&self, layout),
        };
        for link in &links {
            match layout.classify(&link.key) {
                Entry::TagCurrent { repository, tag } => {
                    pins.tags.extend(RepositoryName::found(repository).ok().zip(TagName::found(tag).ok()));
                }
                Entry::RevisionLink { repository, digest } => {
                    pins.revisions.extend(RepositoryName::found(repository).ok().map(|name| (name, digest)));
                }
                _ => {}
            }
        }
        for moved in &data {
            if let Entry::BlobData { digest } = layout.classify(&moved.key) {
                pins.blobs.push(digest);
            }
        }
        pins.blobs.sort_unstable();
        pins.tags.sort();
        pins.revisions.sort();
        // What is referred to comes back before what refers to it.
        links.sort_by_cached_key(|link| (rank_of(&link.key), link.key.clone()));
        data.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(RestorePlan { data, links, marks, pins })
    }
}

/// [`rank`] of a key of the registry's layout.
fn rank_of(key: &str) -> u8 {
    rank(&crate::layout::Distribution.classify(key))
}

fn rank(entry: &Entry<'_>) -> u8 {
    match entry {
        Entry::LayerLink { .. } => 0,
        Entry::RevisionSignature { .. } => 1,
        Entry::RevisionLink { .. } => 2,
        Entry::TagHistory { .. } => 3,
        _ => 4,
    }
}

impl RestorePlan {
    /// Carries the restore out. Safe to repeat.
    pub(super) fn carry_out(&self, store: &WriteStore) -> Restored {
        Workers::of(store).install(|| self.carry_out_side_by_side(store))
    }

    fn carry_out_side_by_side(&self, store: &WriteStore) -> Restored {
        let mut restored = Restored::default();
        let back: Vec<_> = self.data.par_iter().map(|moved| restore_data(store, moved)).collect();
        for (moved, back) in self.data.iter().zip(back) {
            match back {
                Ok(BroughtBack::Restored) => restored.data += 1,
                Ok(BroughtBack::AlreadyThere) => restored.there += 1,
                Ok(BroughtBack::Lost) => restored.lost.push(moved.key.clone()),
                Err(error) => restored.failed.push((moved.key.clone(), error)),
            }
        }
        super::records::unmark(store, &self.marks, &mut restored);
        // What is referred to is there before what refers to it.
        for links in self.links.chunk_by(|one, next| rank_of(&one.key) == rank_of(&next.key)) {
            let back: Vec<_> = links.par_iter().map(|link| restore_link(store, link)).collect();
            for (link, back) in links.iter().zip(back) {
                match back {
                    Ok(Some(true)) => restored.links += 1,
                    Ok(Some(false)) => restored.there += 1,
                    Ok(None) => restored.changed.push(link.key.clone()),
                    Err(error) => restored.failed.push((link.key.clone(), error)),
                }
            }
        }
        restored
    }
}

/// Brings one object back from the trash.
fn restore_data(store: &WriteStore, moved: &Moved) -> Result<BroughtBack, StoreError> {
    match &moved.place {
        Some(place) => trash::bring_back(store, &moved.key, place),
        None => Ok(match store.read().tree().stat(&moved.key)? {
            Some(_) => BroughtBack::AlreadyThere,
            None => BroughtBack::Lost,
        }),
    }
}

/// Writes a link unless one is there: `Some(true)` written, `Some(false)` the same is there, `None` another is.
fn restore_link(store: &WriteStore, link: &SavedLink) -> Result<Option<bool>, StoreError> {
    if trash::write_link(store, link)? {
        return Ok(Some(true));
    }
    let there = store.read().tree().read(&link.key, 4096)?;
    Ok(there.filter(|(body, _)| body == link.body.bytes()).map(|_| false))
}

/// A blob's place in the trash names it.
pub fn blob_in_trash(place: &str) -> Option<Digest> {
    place::blob_of_place(place).map(|(digest, _)| digest)
}
