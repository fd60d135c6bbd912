//! Turns marks into steps. Pure: everything that had to be asked of the store is in the inventory by now.

use jiff::Timestamp;
use rustc_hash::{FxHashMap, FxHashSet};

use super::candidates::{in_grace, linked};
use super::freed::freed;
use super::limits::Limits;
use super::managed;
use super::unknown;
use super::waiting::{waits, was_manifest};
use super::{
    Action, Condemnation, Condemned, Counts, Evidence, Header, HeldBack, Mode, Plan, PurgeBan, Reason,
    SCHEMA, Step, Taken,
};
use crate::graph::{Fate, Gone, Marks, Rules};
use crate::inventory::{BlobId, BlobSet, Inventory, Link, Repository, Target};
use crate::layout::{Directory, RegistryLayout};
use crate::oci::Digest;
use crate::policy::EmptyRepositories;
use crate::store::Identity;

/// Something in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrashItem {
    /// The run that put it there.
    pub run: String,
    /// Its place, below the state's root.
    pub place: String,
    /// The blob, when it is one.
    pub digest: Option<Digest>,
    /// Whether it was a manifest.
    pub manifest: bool,
    /// Size in bytes.
    pub size: u64,
    /// When the run that put it there had ended, by its report; `None` when that is not known, and then it stays.
    pub since: Option<Timestamp>,
}

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'s> {
    /// What is there, with candidates inspected.
    pub inventory: &'s Inventory,
    /// What is live.
    pub marks: &'s Marks,
    /// What the mark went by.
    pub rules: &'s Rules<'s>,
    /// Ages, margins, caps and ratios.
    pub limits: &'s Limits,
    /// Whether pushes may be going on.
    pub mode: Mode,
    /// Which store it is.
    pub store: &'s Identity,
    /// Blobs seen unreferenced by earlier runs, and since when.
    pub condemned: &'s FxHashMap<Digest, Condemnation>,
    /// What is in the trash.
    pub trash: &'s [TrashItem],
    /// Blob directories that hold no data.
    pub empty_blobs: &'s [BlobId],
    /// What recent runs took.
    pub taken: &'s Taken,
    /// What may not be purged beside a registry that serves.
    pub purge_ban: Option<&'s PurgeBan>,
}

/// Makes the plan.
pub fn build(sources: &Sources<'_>, layout: &dyn RegistryLayout) -> Plan {
    let Sources { inventory, marks, rules, limits, mode, .. } = *sources;
    let young = in_grace(inventory, marks, rules);
    let linked = linked(inventory);
    let mut builder = Builder::of(sources, layout, &young, &linked);
    builder.mend();
    for index in 0..inventory.repositories.len() {
        builder.repository(index);
    }
    builder.steps.extend(unknown::unknown(sources));
    let (mut swept, mut condemned) = builder.blobs();
    builder.leftovers();
    builder.purge();
    let Builder { mut steps, mends, mut held_back, .. } = builder;
    if mends {
        steps.retain(|step| step.action.gives_back());
        (swept, condemned, held_back) = (Vec::new(), Vec::new(), None);
    }
    let mut notes = Vec::new();
    if let (false, Some(managed)) = (mends, inventory.assets.as_ref().and_then(|one| one.managed.as_ref())) {
        (steps, notes) = managed::through(steps, managed, inventory);
    }
    // References go before what they refer to, so that at every moment a client is told "not here" rather than given
    // a manifest whose layers are gone.
    steps.sort_by_key(|step| step.action.stage());
    let freed = freed(inventory, marks, &swept, &steps);
    let policy = rules.policy;
    Plan {
        schema: SCHEMA.into(),
        header: Header {
            regsweep: env!("CARGO_PKG_VERSION").into(),
            store: sources.store.clone(),
            layout: layout.name().into(),
            listed_at: inventory.listed_at,
            mode,
            policy_origin: policy.map(|policy| policy.origin().to_owned()),
            policy_hash: policy.map(crate::policy::Policy::hash),
            policy: policy.map(|policy| policy.source().to_owned()),
            grace: limits.grace,
            trash_keep: limits.trash_keep,
            saw: counts(inventory, marks),
            managed: !mends && inventory.assets.as_ref().is_some_and(|assets| assets.managed.is_some()),
        },
        steps,
        condemned,
        freed,
        mends,
        notes,
        held_back,
    }
}

/// What the store holds, as far as sizes are known.
pub fn counts(inventory: &Inventory, marks: &Marks) -> Counts {
    let mut counts = Counts {
        repositories: inventory.repositories.len() as u64,
        tags: inventory.tags() as u64,
        manifests: inventory.revisions() as u64,
        ..Counts::default()
    };
    for id in inventory.blobs.present() {
        let size = inventory.blobs.size(id).unwrap_or(0);
        counts.blobs += 1;
        counts.bytes += size;
        if marks.live.contains(id) {
            counts.live_blobs += 1;
            counts.live_bytes += size;
        }
    }
    counts
}

pub(super) struct Builder<'b> {
    pub(super) sources: &'b Sources<'b>,
    layout: &'b dyn RegistryLayout,
    young: &'b BlobSet,
    pub(super) linked: &'b BlobSet,
    pub(super) in_trash: FxHashSet<Digest>,
    pub(super) steps: Vec<Step>,
    /// What comes back may need more than could be seen.
    pub(super) mends: bool,
    pub(super) held_back: Option<HeldBack>,
}

impl<'b> Builder<'b> {
    pub(super) fn of(
        sources: &'b Sources<'b>,
        layout: &'b dyn RegistryLayout,
        young: &'b BlobSet,
        linked: &'b BlobSet,
    ) -> Self {
        let in_trash = sources.trash.iter().filter_map(|item| item.digest).collect();
        Self { sources, layout, young, linked, in_trash, steps: Vec::new(), mends: false, held_back: None }
    }

    pub(super) fn push(&mut self, action: Action, reason: Reason, changed: Option<Timestamp>) {
        self.steps.push(Step { action, evidence: Evidence { reason, changed, listed: None } });
    }

    fn remove_directory(&mut self, directory: &Directory<'_>) {
        if let Some(key) = self.layout.directory_key(directory) {
            self.push(Action::RemoveDirectory { key }, Reason::Empty, None);
        }
    }

    fn repository(&mut self, index: usize) {
        let Sources { inventory, marks, .. } = *self.sources;
        let (repository, marked) = (&inventory.repositories[index], &marks.repositories[index]);
        if !repository.pinned {
            self.tags(repository, marked);
            self.revisions(repository, marked);
            self.layer_links(repository, marked);
            if self.sources.inventory.assets.is_none() {
                self.missing_links(repository, marked);
            }
        }
        let uploads_left = self.uploads(repository);
        self.empty_repository(repository, marked, uploads_left);
    }

    fn tags(&mut self, repository: &Repository, marked: &crate::graph::RepositoryMarks) {
        let blobs = &self.sources.inventory.blobs;
        for (tag, decision) in repository.tags.iter().zip(&marked.tags) {
            if !decision.is_expired() {
                continue;
            }
            let target = match tag.target {
                Target::Manifest(id) => Some(blobs.digest(id)),
                Target::Missing | Target::Corrupt(_) => None,
            };
            let history = tag.history.iter().flatten().map(|entry| blobs.digest(entry.digest)).collect();
            self.steps.push(Step {
                action: Action::Untag {
                    repository: repository.name.clone(),
                    tag: tag.name.clone(),
                    target,
                    history,
                },
                evidence: Evidence {
                    reason: Reason::Policy(decision.clone()),
                    changed: tag.changed,
                    listed: None,
                },
            });
        }
    }

    fn revisions(&mut self, repository: &Repository, marked: &crate::graph::RepositoryMarks) {
        let blobs = &self.sources.inventory.blobs;
        // Which tags that stay remember a manifest.
        let mut remembered: FxHashMap<BlobId, Vec<&crate::oci::TagName>> = FxHashMap::default();
        for (tag, decision) in repository.tags.iter().zip(&marked.tags) {
            if !decision.is_expired() {
                for entry in tag.history.iter().flatten() {
                    remembered.entry(entry.digest).or_default().push(&tag.name);
                }
            }
        }
        for (revision, fate) in repository.revisions.iter().zip(&marked.revisions) {
            let digest = blobs.digest(revision.digest);
            let reason = match fate {
                Fate::Kept(_) => continue,
                Fate::Absent => {
                    self.remove_directory(&Directory::Revision {
                        repository: repository.name.as_str(),
                        digest,
                    });
                    continue;
                }
                Fate::Expired(Gone::Untagged(decision) | Gone::Orphaned(decision)) => {
                    Reason::Policy(decision.clone())
                }
                Fate::Expired(Gone::Along) => Reason::Along,
            };
            let histories =
                remembered.get(&revision.digest).into_iter().flatten().map(|tag| (*tag).clone()).collect();
            let signatures = repository
                .signatures
                .iter()
                .filter(|(manifest, _)| *manifest == revision.digest)
                .map(|(_, signature)| blobs.digest(*signature))
                .collect();
            let action =
                Action::DeleteManifest { repository: repository.name.clone(), digest, histories, signatures };
            self.push(action, reason, revision.changed);
        }
    }

    fn layer_links(&mut self, repository: &Repository, marked: &crate::graph::RepositoryMarks) {
        let Sources { inventory, rules, .. } = *self.sources;
        let reason = |id: BlobId| {
            if inventory.blobs.is_present(id) { Reason::Unreferenced } else { Reason::Dangling }
        };
        for layer in &repository.layers {
            if marked.needed.contains(&layer.digest) {
                continue;
            }
            let digest = inventory.blobs.digest(layer.digest);
            if layer.link() == Link::Missing {
                self.remove_directory(&Directory::LayerLink { repository: repository.name.as_str(), digest });
            } else if !rules.young(layer.changed()) && !self.young.contains(layer.digest) {
                let action = Action::Unlink { repository: repository.name.clone(), digest };
                self.push(action, reason(layer.digest), layer.changed());
            }
        }
        for alias in &repository.aliases {
            let target = alias.target.unwrap_or(alias.alias);
            if marked.needed.contains(&alias.alias) || marked.needed.contains(&target) {
                continue;
            }
            if !rules.young(alias.changed) && !self.young.contains(target) {
                let digest = inventory.blobs.digest(alias.alias);
                let action = Action::Unlink { repository: repository.name.clone(), digest };
                self.push(action, reason(target), alias.changed);
            }
        }
    }

    /// Plans the end of abandoned uploads; returns whether others stay.
    fn uploads(&mut self, repository: &Repository) -> bool {
        let Sources { rules, limits, .. } = *self.sources;
        let mut left = false;
        for upload in &repository.uploads {
            let idle =
                |at: Timestamp| rules.now.duration_since(at) >= limits.uploads_abandoned_after.as_signed();
            if upload.files.is_empty() {
                let directory =
                    Directory::Upload { repository: repository.name.as_str(), upload: &upload.id };
                if upload.active().is_none_or(idle) {
                    self.remove_directory(&directory);
                } else {
                    left = true;
                }
            } else if rules.policy.is_some()
                && upload.active().is_some_and(idle)
                && !rules.young(upload.changed())
            {
                let action = Action::Abandon { files: upload.files.clone() };
                self.push(action, Reason::Abandoned, upload.changed());
            } else {
                left = true;
            }
        }
        left
    }

    fn empty_repository(
        &mut self,
        repository: &Repository,
        marked: &crate::graph::RepositoryMarks,
        uploads_left: bool,
    ) {
        let rules = self.sources.rules;
        let wanted =
            rules.policy.is_some_and(|policy| policy.empty_repositories() == EmptyRepositories::Remove);
        let tags_left = marked.tags.iter().any(|decision| !decision.is_expired());
        let manifests_left = marked.revisions.iter().any(|fate| matches!(fate, Fate::Kept(_)));
        let young_links = repository.layers.iter().any(|layer| {
            layer.link() != Link::Missing
                && (rules.young(layer.changed()) || self.young.contains(layer.digest))
        }) || repository.aliases.iter().any(|alias| rules.young(alias.changed));
        let has_parts = repository.parts != crate::inventory::Parts::default();
        if wanted
            && has_parts
            && !repository.pinned
            && !tags_left
            && !manifests_left
            && marked.needed.is_empty()
            && !young_links
            && !uploads_left
        {
            self.push(Action::RemoveRepository { repository: repository.name.clone() }, Reason::Empty, None);
        }
    }

    /// Plans what becomes of unneeded blobs: gone in this run, or condemned until a later one.
    fn blobs(&mut self) -> (Vec<BlobId>, Vec<Condemned>) {
        let Sources { inventory, marks, empty_blobs, .. } = *self.sources;
        let mut dead: Vec<BlobId> = inventory
            .blobs
            .present()
            .filter(|id| !marks.live.contains(*id) && !self.young.contains(*id))
            .collect();
        dead.sort_by_key(|id| inventory.blobs.digest(*id));
        let (mut swept, mut waiting) = (Vec::new(), Vec::new());
        // A repository manager removes blobs itself when its database lets go of them, and that only a policy can tell.
        let records = inventory.assets.is_some();
        dead.retain(|id| !records || marks.referenced.contains(*id));
        for id in dead {
            let digest = inventory.blobs.digest(id);
            let size = inventory.blobs.size(id).unwrap_or(0);
            let changed = inventory.blobs.changed(id);
            if let Some(condemned) = waits(self.sources, self.linked, id) {
                waiting.push(condemned);
                continue;
            }
            self.push(
                Action::Sweep { digest, size, manifest: was_manifest(self.sources, id) },
                Reason::Unreferenced,
                changed,
            );
            swept.push(id);
        }
        let mut empty_blobs: Vec<&BlobId> = empty_blobs.iter().collect();
        empty_blobs.sort_by_key(|id| inventory.blobs.digest(**id));
        for id in empty_blobs {
            if !marks.live.contains(*id) {
                self.remove_directory(&Directory::Blob { digest: inventory.blobs.digest(*id) });
            }
        }
        (swept, waiting)
    }

    /// Files that a registry died while writing, and uploads in parts that it did not finish.
    fn leftovers(&mut self) {
        let Sources { inventory, rules, limits, .. } = *self.sources;
        let idle = |at: Timestamp| rules.now.duration_since(at) >= limits.uploads_abandoned_after.as_signed();
        for file in inventory.temporary.iter().filter(|file| !rules.young(Some(file.changed))) {
            // Beside an upload it waits as long as the upload does.
            let of_upload = file.key.contains("/_uploads/");
            if rules.policy.is_some() && (!of_upload || idle(file.modified)) {
                let action = Action::Abandon { files: vec![file.clone()] };
                self.push(action, Reason::Abandoned, Some(file.changed));
            }
        }
        for upload in inventory.beside.iter().flat_map(|beside| &beside.uploads) {
            if rules.policy.is_some() && !rules.young(Some(upload.started)) && idle(upload.started) {
                let action = Action::AbortUpload { upload: upload.clone() };
                self.push(action, Reason::Abandoned, Some(upload.started));
            }
        }
    }
}
