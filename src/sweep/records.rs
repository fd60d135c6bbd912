//! Blobs with a record beside them: flagged in their record, then moved, content first; and all of it undone.

use rayon::prelude::*;
use rustc_hash::FxHashSet;

use super::SweepError;
use super::journal::{self, Entry, Intent, Marked, Moved, Outcome, SavedBody};
use super::recover::Progress;
use super::replace::{MAX_RECORD_BYTES, Replaced, replace};
use super::restore::Restored;
use super::step::{Hand, Leave, Prepared};
use super::trash;
use crate::graph::Pins;
use crate::inventory::{LooseFile, Recorded};
use crate::plan::{Action, RecordMode};
use crate::store::{Kind, Meta, ReadStore, StoreError, WriteStore};

const CHANGED: &str = "it was written again since it was listed";

impl Hand<'_> {
    /// Reads every record once more, and gathers what is written and moved.
    pub(super) fn prepare_recorded(&self, mut intent: Intent, recorded: &[Recorded]) -> Prepared {
        for Recorded { record, content } in recorded {
            let found = self.tree().stat(&content.key)?.ok_or_else(changed)?;
            unchanged(content, &found)?;
            let (body, meta) = self.tree().read(&record.key, MAX_RECORD_BYTES)?.ok_or_else(changed)?;
            unchanged(record, &meta)?;
            let reason = format!("regsweep {}", self.run);
            let after = self.layout.flagged(&body, &reason, self.now).ok_or_else(|| {
                Leave::Skip("its record cannot be read, or says by now that it is deleted".into())
            })?;
            let size = after.len() as u64;
            intent.marks.push(Marked {
                key: record.key.clone(),
                about: content.key.clone(),
                before: SavedBody::of(body),
                after: SavedBody::of(after),
                modified: meta.modified,
            });
            if self.records == RecordMode::Hard {
                // At no moment is there a record that can be opened, and nothing to read.
                intent.data.push(self.moved(content, found.size, found.md5)?);
                intent.data.push(self.moved(record, size, None)?);
            }
        }
        Ok(intent)
    }

    fn moved(&self, file: &LooseFile, size: u64, md5: Option<[u8; 16]>) -> Result<Moved, Leave> {
        if let (true, crate::store::Tree::Bucket(bucket)) = (self.keep_trash, self.tree())
            && let Some(limit) = bucket.largest_copy()
            && size > limit
        {
            return Err(Leave::Skip(format!(
                "{} has {size} bytes and this store copies at most {limit} at once, so it cannot be put in the trash; with \
                 trash: {{ keep: 0 }} in the policy it is deleted",
                file.key
            )));
        }
        let place = self.keep_trash.then(|| format!("{}/{}/files/{}", trash::TRASH, self.run, file.key));
        Ok(Moved { key: file.key.clone(), place, size, md5 })
    }

    /// Writes the records; why not, when one says something else by now.
    pub(super) fn flag(&self, intent: &Intent) -> Result<Option<String>, StoreError> {
        for Marked { key, before, after, .. } in &intent.marks {
            match replace(self.store, key, before.bytes(), after.bytes(), None)? {
                Replaced::Done | Replaced::Already => {}
                // It went to the trash before an interruption.
                Replaced::Absent if intent.data.iter().any(|moved| moved.key == *key) => {}
                Replaced::Absent | Replaced::Changed => {
                    return Ok(Some(format!("{key} was written again while it was to be flagged")));
                }
            }
        }
        Ok(None)
    }
}

fn changed() -> Leave {
    Leave::Skip("one of its files is gone since it was listed".into())
}

fn unchanged(listed: &LooseFile, found: &Meta) -> Result<(), Leave> {
    let same = found.changed <= listed.changed && found.size == listed.size && found.kind == Kind::File;
    if same { Ok(()) } else { Err(Leave::Skip(CHANGED.into())) }
}

/// How far an intent with records came, by what is there.
pub(super) fn look(store: &WriteStore, intent: &Intent) -> Result<Progress, StoreError> {
    let tree = store.read().tree();
    let moves = |key: &str| intent.data.iter().any(|moved| moved.key == key);
    let (mut before, mut after, mut changed) = (0, 0, false);
    for marked in &intent.marks {
        match tree.read(&marked.key, MAX_RECORD_BYTES)? {
            Some((body, _)) if body == marked.before.bytes() => before += 1,
            Some((body, _)) if body == marked.after.bytes() => after += 1,
            None if moves(&marked.key) => after += 1,
            _ => changed = true,
        }
    }
    let mut left = 0;
    for moved in &intent.data {
        left += usize::from(tree.stat(&moved.key)?.is_some());
    }
    Ok(match (before, after) {
        _ if changed => Progress::Changed,
        (_, 0) => Progress::NotBegun,
        (0, _) if left == 0 => Progress::Done,
        _ => Progress::Half,
    })
}

/// Writes records back as they were, of blobs whose content is there.
pub(super) fn unmark(store: &WriteStore, marks: &[Marked], restored: &mut Restored) {
    let away: FxHashSet<String> =
        restored.lost.iter().chain(restored.failed.iter().map(|(key, _)| key)).cloned().collect();
    let back: Vec<_> = marks
        .par_iter()
        .filter(|marked| !away.contains(&marked.about))
        .map(|marked| {
            let Marked { key, before, after, modified, .. } = marked;
            (key, replace(store, key, after.bytes(), before.bytes(), Some(*modified)))
        })
        .collect();
    for (key, replaced) in back {
        match replaced {
            Ok(Replaced::Done) => restored.marks += 1,
            Ok(Replaced::Already) => restored.there += 1,
            Ok(Replaced::Changed) => restored.changed.push(key.clone()),
            Ok(Replaced::Absent) => restored.lost.push(key.clone()),
            Err(error) => restored.failed.push((key.clone(), error)),
        }
    }
    // One that is not in the trash any more is told once.
    restored.lost.sort();
    restored.lost.dedup();
}

/// Keeps for a while what comes back, whatever a policy says.
pub(super) fn pin(named: &[Action], pins: &mut Pins) {
    for action in named {
        match action {
            Action::Untag { repository, tag, .. } => pins.tags.push((repository.clone(), tag.clone())),
            Action::DeleteManifest { repository, digest, .. } => {
                pins.revisions.push((repository.clone(), *digest));
            }
            Action::Sweep { digest, .. } => pins.blobs.push(*digest),
            _ => {}
        }
    }
}

/// Records that a run has flagged, by its journal.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Flagged {
    /// Of blobs that are where they were.
    pub in_place: Vec<String>,
    /// Of blobs that have left their places.
    pub moved: Vec<String>,
}

/// Adds the records that a run has flagged.
///
/// # Errors
/// When the journal cannot be read or understood.
pub async fn flagged(store: &ReadStore, run: &str, found: &mut Flagged) -> Result<(), SweepError> {
    let runs = journal::runs(store).await?;
    let Some(recorded) = runs.iter().find(|recorded| recorded.run.run == run) else { return Ok(()) };
    let entries = journal::entries(store, recorded).await?;
    let left: FxHashSet<usize> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Outcome { step, outcome: Outcome::Skipped(_) } => Some(*step),
            _ => None,
        })
        .collect();
    for entry in entries {
        let Entry::Intent(Intent { step, data, marks, .. }) = entry else { continue };
        if !left.contains(&step) {
            let keys = if data.is_empty() { &mut found.in_place } else { &mut found.moved };
            keys.extend(marks.into_iter().map(|marked| marked.key));
        }
    }
    Ok(())
}
