//! What comes back: data that is needed again, links that something kept needs, and what a run took while somebody pushed it.
//!
//! No store deletes on a condition. A push that writes a link in the moment in which a run removes it leaves signs all the
//! same: other links of the push, newer than the listing that the run went by. Here they are read.

use jiff::{SignedDuration, Timestamp};
use rustc_hash::FxHashSet;

use super::build::{Builder, Sources, TrashItem};
use super::candidates::{in_grace, linked};
use super::{Action, HeldBack, Mode, Reason};
use crate::graph::{Fate, RepositoryMarks};
use crate::inventory::{BlobId, Link, Repository, Target};
use crate::layout::RegistryLayout;
use crate::oci::{Digest, RepositoryName, Role, TagName};

/// What recent runs took, by their journals, whatever became of each step: a process that was stopped may have gone on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Tags.
    pub tags: Vec<TakenTag>,
    /// Links of manifests.
    pub manifests: FxHashSet<(RepositoryName, Digest)>,
    /// Links of layers.
    pub layers: FxHashSet<(RepositoryName, Digest)>,
}

/// Trash that is not purged beside a registry that serves, because a cache may still answer for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeBan {
    /// Only for what was a manifest, or for everything.
    pub manifests_only: bool,
    /// Why, and what to do about it.
    pub why: String,
}

impl PurgeBan {
    /// Whether it is for this.
    pub fn covers(&self, manifest: bool) -> bool {
        manifest || !self.manifests_only
    }
}

/// A tag that a run took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenTag {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: TagName,
    /// What it pointed to, where that was a digest.
    pub target: Option<Digest>,
    /// Nothing that the tag pointed to was pushed since, as the run saw it.
    pub from: Timestamp,
    /// When the run had ended for certain; `None` for one that was interrupted.
    pub until: Option<Timestamp>,
}

impl TakenTag {
    fn crossed_by(&self, pushed: Timestamp) -> bool {
        // Some stores tell whole seconds.
        let from = match pushed.subsec_nanosecond() {
            0 => pushed.as_second() >= self.from.as_second(),
            _ => pushed >= self.from,
        };
        from && self.until.is_none_or(|until| pushed <= until)
    }
}

/// Whether the plan gives something back, and takes nothing before that is there.
pub fn gives_back_first(sources: &Sources<'_>, layout: &dyn RegistryLayout) -> bool {
    let Sources { inventory, marks, rules, .. } = *sources;
    let (young, linked) = (in_grace(inventory, marks, rules), linked(inventory));
    let mut builder = Builder::of(sources, layout, &young, &linked);
    builder.mend();
    builder.mends
}

impl Builder<'_> {
    /// Plans all that comes back.
    pub(super) fn mend(&mut self) {
        // What a repository manager misses it writes itself.
        if self.sources.inventory.assets.is_none() {
            self.heal();
            self.give_back();
        }
    }

    /// Data in the trash that something kept needs, or that somebody has linked since it went there.
    pub(super) fn heal(&mut self) {
        let Sources { inventory, trash, .. } = *self.sources;
        let mut healed: FxHashSet<Digest> = FxHashSet::default();
        for item in trash {
            if !self.is_missed(item) {
                continue;
            }
            let Some(digest) = item.digest.filter(|digest| healed.insert(*digest)) else { continue };
            let was_manifest =
                inventory.blobs.find(&digest).is_some_and(|id| inventory.manifests.contains_key(&id));
            // Nobody has seen yet what a manifest in the trash refers to.
            self.mends |= item.manifest || was_manifest;
            let action =
                Action::Heal { run: item.run.clone(), place: item.place.clone(), digest, size: item.size };
            self.push(action, Reason::NeededAgain, None);
        }
    }

    fn is_missed(&self, item: &TrashItem) -> bool {
        let Sources { inventory, marks, .. } = *self.sources;
        item.digest.and_then(|digest| inventory.blobs.find(&digest)).is_some_and(|id| {
            !inventory.blobs.is_present(id) && (marks.live.contains(id) || self.linked.contains(id))
        })
    }

    /// What leaves the trash for good: after a mark that did not need it, and never what a cache may still answer for.
    ///
    /// Nor what went within the settling time of this look, beside a registry that serves: a push that saw it just before
    /// may not have left its signs yet, and the run that took it may have died before it could look for them.
    pub(super) fn purge(&mut self) {
        let Sources { limits, trash, rules, mode, purge_ban, .. } = *self.sources;
        let settle = if mode == Mode::Online { limits.settle.as_signed() } else { SignedDuration::ZERO };
        let due = trash.iter().filter(|item| {
            let factor = if item.manifest { limits.manifest_trash_factor } else { 1 };
            let seconds = limits.trash_keep.as_signed().as_secs().saturating_mul(i64::from(factor));
            let kept = SignedDuration::from_secs(seconds).max(settle);
            item.since.is_some_and(|since| rules.now.duration_since(since) >= kept) && !self.is_missed(item)
        });
        let banned = |item: &&TrashItem| {
            mode == Mode::Online && purge_ban.is_some_and(|ban| ban.covers(item.manifest))
        };
        let (kept, due): (Vec<&TrashItem>, Vec<&TrashItem>) = due.partition(banned);
        if let (Some(ban), false) = (purge_ban, kept.is_empty()) {
            self.held_back = Some(HeldBack {
                objects: kept.len() as u64,
                bytes: kept.iter().map(|item| item.size).sum(),
                why: ban.why.clone(),
            });
        }
        for item in due {
            let action = Action::Purge {
                run: item.run.clone(),
                place: item.place.clone(),
                digest: item.digest,
                size: item.size,
            };
            self.push(action, Reason::TrashKept, item.since);
        }
    }

    /// What a recent run took and a push needs that it crossed.
    pub(super) fn give_back(&mut self) {
        let Sources { inventory, marks, taken, .. } = *self.sources;
        for (repository, marked) in inventory.repositories.iter().zip(&marks.repositories) {
            self.give_back_manifests(repository, marked);
        }
        for tag in &taken.tags {
            let found = inventory.repositories.binary_search_by(|one| one.name.cmp(&tag.repository));
            if let Some(target) =
                found.ok().and_then(|index| self.pushed(&inventory.repositories[index], tag))
            {
                let action =
                    Action::Retag { repository: tag.repository.clone(), tag: tag.tag.clone(), target };
                self.push(action, Reason::NeededAgain, None);
                self.mends = true;
            }
        }
    }

    /// Manifests whose links were taken while somebody pushed a tag or an index that means them.
    fn give_back_manifests(&mut self, repository: &Repository, marked: &RepositoryMarks) {
        let Sources { inventory, taken, .. } = *self.sources;
        if taken.manifests.is_empty() {
            return;
        }
        let linked: FxHashSet<BlobId> = repository
            .revisions
            .iter()
            .filter(|one| one.link != Link::Missing)
            .map(|one| one.digest)
            .collect();
        let mut needed: Vec<BlobId> =
            marked.needed.iter().copied().filter(|id| !linked.contains(id)).collect();
        needed.sort_unstable();
        for id in needed {
            let digest = inventory.blobs.digest(id);
            if self.is_to_be_had(id) && taken.manifests.contains(&(repository.name.clone(), digest)) {
                let action = Action::RelinkManifest { repository: repository.name.clone(), digest };
                self.push(action, Reason::NeededAgain, None);
                self.mends = true;
            }
        }
    }

    /// What was pushed under a tag in the moment in which it was taken.
    ///
    /// A push writes the link of its manifest, an entry in the tag's history, and the tag, in this order. One whose tag
    /// was removed right after left the first two; one whose history was removed too left the first.
    fn pushed(&self, repository: &Repository, taken: &TakenTag) -> Option<Digest> {
        let inventory = self.sources.inventory;
        let tag = repository.tags.iter().find(|tag| tag.name == taken.tag);
        if tag.is_some_and(|tag| tag.target != Target::Missing) {
            return None;
        }
        let history = tag.iter().flat_map(|tag| tag.history.iter().flatten()).map(|entry| entry.digest);
        let target = taken.target.as_ref().and_then(|digest| inventory.blobs.find(digest));
        let meant: FxHashSet<BlobId> = history.chain(target).collect();
        repository
            .revisions
            .iter()
            .filter(|revision| revision.link != Link::Missing && meant.contains(&revision.digest))
            .filter(|revision| revision.changed.is_some_and(|changed| taken.crossed_by(changed)))
            .max_by_key(|revision| revision.changed)
            .map(|revision| inventory.blobs.digest(revision.digest))
    }

    /// A manifest that stays needs a link to each of its layers, or the registry answers that it has none. One can be
    /// missing after an interrupted run, or when a push was answered by a cache while a link went.
    pub(super) fn missing_links(&mut self, repository: &Repository, marked: &RepositoryMarks) {
        let inventory = self.sources.inventory;
        // A directory that may not be listed may hold the links.
        if inventory.pins_everything() {
            return;
        }
        let linked =
            repository.layers.iter().filter(|layer| layer.link() != Link::Missing).map(|layer| layer.digest);
        let manifests =
            repository.revisions.iter().filter(|one| one.link != Link::Missing).map(|one| one.digest);
        let mut there: FxHashSet<BlobId> = linked.chain(manifests).collect();
        for (revision, fate) in repository.revisions.iter().zip(&marked.revisions) {
            let Some(facts) = inventory.facts(revision.digest).filter(|_| matches!(fate, Fate::Kept(_)))
            else {
                continue;
            };
            let layers = facts
                .references
                .iter()
                .filter(|edge| !edge.foreign && matches!(edge.role, Role::Config | Role::Layer | Role::Blob));
            for edge in layers {
                let digest = inventory.blobs.digest(edge.digest);
                if matches!(digest, Digest::Sha256(_))
                    && self.is_to_be_had(edge.digest)
                    && there.insert(edge.digest)
                {
                    let action = Action::Relink { repository: repository.name.clone(), digest };
                    self.push(action, Reason::NeededAgain, None);
                }
            }
        }
    }

    /// Whether the data is there, or comes back in this run.
    fn is_to_be_had(&self, id: BlobId) -> bool {
        let blobs = &self.sources.inventory.blobs;
        blobs.is_present(id) || self.in_trash.contains(&blobs.digest(id))
    }
}
