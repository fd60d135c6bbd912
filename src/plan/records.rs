//! What a run does to a store that keeps a record beside every blob, and whose owner keeps a database of its own.

use std::str::FromStr;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use super::build::Sources;
use super::{Action, Freed, Step};
use crate::inventory::{BlobId, Piece, Recorded, Serves};
use crate::oci::{Digest, RepositoryName, TagName};

/// What a run may take of such a store, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordMode {
    /// What the database does not know.
    #[default]
    Orphans,
    /// What the policy lets go is deleted by the repository manager, through its REST interface.
    Api,
    /// What the policy lets go is flagged as deleted in its record, and stays where it is.
    Soft,
    /// What the policy lets go is flagged, and then leaves its place.
    Hard,
}

impl RecordMode {
    /// Each by its name on the command line.
    pub const NAMES: [&str; 4] = ["orphans", "api", "soft", "hard"];

    /// Whether what goes is known to the database, and goes in files all the same.
    pub fn is_by_policy(self) -> bool {
        matches!(self, Self::Soft | Self::Hard)
    }
}

impl std::fmt::Display for RecordMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Orphans => "orphans",
            Self::Api => "api",
            Self::Soft => "soft",
            Self::Hard => "hard",
        })
    }
}

/// There is no mode of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of orphans, api, soft and hard")]
pub struct UnknownMode(String);

impl FromStr for RecordMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let all = [Self::Orphans, Self::Api, Self::Soft, Self::Hard];
        all.into_iter().find(|mode| mode.to_string() == text).ok_or_else(|| UnknownMode(text.to_owned()))
    }
}

/// What the user has made sure of, beside that nobody pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halted {
    /// The repository manager does not run: it has nothing in its memory.
    Stopped,
    /// It runs, and takes no writes; it is restarted before it does again.
    Frozen,
}

impl Halted {
    /// Each by its name on the command line.
    pub const NAMES: [&str; 2] = ["stopped", "frozen"];

    /// Whether that is enough for a mode. What leaves its place may be held open by whoever runs.
    pub fn is_enough_for(self, mode: RecordMode) -> bool {
        mode != RecordMode::Hard || self == Self::Stopped
    }
}

impl FromStr for Halted {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        match text {
            "stopped" => Ok(Self::Stopped),
            "frozen" => Ok(Self::Frozen),
            _ => Err(UnknownMode(text.to_owned())),
        }
    }
}

/// The blobs of images, by what they are of them.
struct Pieces<'p> {
    tags: FxHashMap<(&'p RepositoryName, &'p TagName), Vec<&'p Piece>>,
    manifests: FxHashMap<(&'p RepositoryName, BlobId), Vec<&'p Piece>>,
    blobs: FxHashMap<BlobId, Vec<&'p Piece>>,
}

impl<'p> Pieces<'p> {
    fn of(sources: &Sources<'p>) -> Self {
        let mut pieces =
            Self { tags: FxHashMap::default(), manifests: FxHashMap::default(), blobs: FxHashMap::default() };
        let assets = sources.inventory.assets.iter().flat_map(|assets| &assets.list);
        for (piece, id) in assets.filter_map(|asset| asset.piece.as_ref().zip(asset.digest)) {
            let place = match &piece.serves {
                Serves::Tag { repository, tag } => pieces.tags.entry((repository, tag)).or_default(),
                Serves::Manifest { repository } => pieces.manifests.entry((repository, id)).or_default(),
                Serves::Blob => pieces.blobs.entry(id).or_default(),
            };
            place.push(piece);
        }
        pieces
    }

    fn files(pieces: Option<&Vec<&Piece>>) -> Vec<Recorded> {
        pieces.into_iter().flatten().map(|piece| piece.files.clone()).collect()
    }
}

/// Whether steps of a policy take blobs that have a record.
fn is_by_policy(sources: &Sources<'_>) -> bool {
    sources.inventory.assets.is_some() && sources.records.is_by_policy()
}

/// Gives every step of a policy the files that it is about, and leaves out what would take more than the step says: such a
/// store has a manifest once for each name of it.
pub(super) fn attach(steps: &mut Vec<Step>, sources: &Sources<'_>) {
    let Sources { inventory, marks, .. } = *sources;
    if !is_by_policy(sources) {
        return;
    }
    let pieces = Pieces::of(sources);
    // A manifest that something in another repository needs stays here too: there it may be known by its digest alone.
    steps.retain(|step| match &step.action {
        Action::DeleteManifest { digest, .. } => {
            !inventory.blobs.find(digest).is_some_and(|id| marks.live.contains(id))
        }
        _ => true,
    });
    let deleted: FxHashSet<(RepositoryName, Digest)> = steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::DeleteManifest { repository, digest, .. } => Some((repository.clone(), *digest)),
            _ => None,
        })
        .collect();
    let untagged: FxHashSet<(RepositoryName, TagName)> = steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Untag { repository, tag, .. } => Some((repository.clone(), tag.clone())),
            _ => None,
        })
        .collect();
    let remains: FxHashSet<(&RepositoryName, BlobId)> = inventory
        .repositories
        .iter()
        .flat_map(|repository| repository.tags.iter().map(move |tag| (&repository.name, tag)))
        .filter(|(repository, tag)| !untagged.contains(&((*repository).clone(), tag.name.clone())))
        .filter_map(|(repository, tag)| match tag.target {
            crate::inventory::Target::Manifest(id) => Some((repository, id)),
            _ => None,
        })
        .chain(pieces.manifests.keys().copied())
        .collect();
    steps.retain_mut(|step| match &step.action {
        Action::Untag { repository, tag, target, .. } => {
            step.recorded = Pieces::files(pieces.tags.get(&(repository, tag)));
            // A manifest that stays without its tag needs another blob of its content.
            target.is_some_and(|target| {
                deleted.contains(&(repository.clone(), target))
                    || inventory.blobs.find(&target).is_some_and(|id| remains.contains(&(repository, id)))
            })
        }
        Action::DeleteManifest { repository, digest, .. } => {
            let id = inventory.blobs.find(digest);
            step.recorded = Pieces::files(id.and_then(|id| pieces.manifests.get(&(repository, id))));
            true
        }
        Action::Sweep { digest, .. } => {
            let id = inventory.blobs.find(digest);
            step.recorded = Pieces::files(id.and_then(|id| pieces.blobs.get(&id)));
            !step.recorded.is_empty()
        }
        _ => true,
    });
}

/// What such a plan frees: every blob by itself, also where several have one content.
pub(super) fn count(freed: &mut Freed, steps: &[Step], sources: &Sources<'_>) {
    if !is_by_policy(sources) {
        return;
    }
    let contents = || steps.iter().flat_map(|step| &step.recorded).map(|files| files.content.size);
    freed.bytes = contents().sum();
    freed.blobs = contents().count() as u64;
}

impl super::Plan {
    /// Bytes of data that leave their place with a step, now or when the trash is purged.
    pub fn frees(&self, step: usize) -> u64 {
        let Step { action, recorded, .. } = &self.steps[step];
        let files = |one: &Recorded| one.record.size + one.content.size;
        match self.header.records {
            RecordMode::Soft if !recorded.is_empty() => 0,
            _ if !recorded.is_empty() => recorded.iter().map(files).sum(),
            RecordMode::Orphans | RecordMode::Api => action.frees(),
            RecordMode::Soft | RecordMode::Hard => match action {
                Action::DeleteManifest { .. } | Action::Untag { .. } | Action::Sweep { .. } => 0,
                other => other.frees(),
            },
        }
    }

    /// Bytes of content that are flagged with a step and stay where they are.
    pub fn flags(&self, step: usize) -> u64 {
        let recorded = &self.steps[step].recorded;
        let soft = self.header.records == RecordMode::Soft;
        if soft { recorded.iter().map(|files| files.content.size).sum() } else { 0 }
    }
}
