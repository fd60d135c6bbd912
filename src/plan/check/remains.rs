//! What remains after a plan keeps all that it needs.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{After, Violation, World};
use crate::inventory::{BlobId, Body, Inventory, Link, Repository, Target};

/// Validation: everything that remains keeps everything that it refers to.
pub(super) fn remains(after: &After<'_>, world: &World<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let aliases = alias_targets(world.inventory);
    for index in 0..world.inventory.repositories.len() {
        let mut left = Left { after, world, aliases: &aliases, index, found: &mut found };
        left.repository();
    }
    for digest in world.pins.iter().filter(|pins| pins.until > world.now).flat_map(|pins| &pins.blobs) {
        if let Some(step) = world.inventory.blobs.find(digest).and_then(|id| after.data.get(&id)) {
            found.push((*step, format!("{digest}: a restore brought it back a short while ago")));
        }
    }
    if world.inventory.gaps.iter().any(|gap| gap.repository.is_none()) {
        let why = || "something of the store could not be listed, and may need it".to_owned();
        let removed = [&after.manifests, &after.links].into_iter().flat_map(|places| places.values());
        let removed =
            removed.chain(after.tags.values()).chain(after.data.values()).chain(after.repositories.values());
        found.extend(removed.map(|step| (*step, why())));
    }
    found
}

pub(super) fn alias_targets(inventory: &Inventory) -> FxHashMap<BlobId, FxHashSet<BlobId>> {
    let mut targets: FxHashMap<BlobId, FxHashSet<BlobId>> = FxHashMap::default();
    for repository in &inventory.repositories {
        for alias in &repository.aliases {
            targets.entry(alias.alias).or_default().extend(alias.target);
        }
    }
    targets
}

struct Left<'l> {
    after: &'l After<'l>,
    world: &'l World<'l>,
    aliases: &'l FxHashMap<BlobId, FxHashSet<BlobId>>,
    index: usize,
    found: &'l mut Vec<Violation>,
}

impl Left<'_> {
    fn repository(&mut self) {
        let inventory = self.world.inventory;
        let repository = &inventory.repositories[self.index];
        let (after, index) = (self.after, self.index);
        let manifest_left = |id: BlobId| !after.manifests.contains_key(&(index, id));
        let linked: FxHashSet<BlobId> = repository
            .revisions
            .iter()
            .filter(|revision| revision.link != Link::Missing)
            .map(|revision| revision.digest)
            .collect();
        let remaining: Vec<BlobId> = linked.iter().copied().filter(|id| manifest_left(*id)).collect();
        for tag in &repository.tags {
            if let Target::Manifest(id) = tag.target
                && !self.after.tags.contains_key(&(&repository.name, &tag.name))
            {
                let what = format!("the tag {}:{} points to it", repository.name, tag.name);
                self.must_stay(id, &what);
                if !linked.contains(&id) {
                    self.manifest(id, &linked);
                }
            }
        }
        for id in &remaining {
            self.manifest(*id, &linked);
        }
        // A referrer lives as long as its subject.
        for id in linked.iter().filter(|id| !manifest_left(**id)) {
            if let Some(subject) = inventory.facts(*id).and_then(|facts| facts.subject)
                && linked.contains(&subject)
                && manifest_left(subject)
                && let Some(step) = self.after.manifests.get(&(self.index, *id))
            {
                self.found.push((*step, format!("it is a referrer of {}", inventory.blobs.digest(subject))));
            }
        }
        if let Some(step) = self.after.repositories.get(&self.index) {
            let tags_left = repository
                .tags
                .iter()
                .any(|tag| !self.after.tags.contains_key(&(&repository.name, &tag.name)));
            if tags_left || !remaining.is_empty() || repository.pinned {
                self.found.push((*step, format!("{} is not empty", repository.name)));
            }
        }
        self.pinned(repository, &remaining);
    }

    /// Something in the repository could not be read, so all of it stays, and every blob that it links.
    fn pinned(&mut self, repository: &Repository, remaining: &[BlobId]) {
        let inventory = self.world.inventory;
        let unreadable = |id: &BlobId| matches!(inventory.manifests.get(id), Some(Body::Unreadable(_)));
        let torn = |tag: &crate::inventory::Tag| match tag.target {
            Target::Corrupt(_) => true,
            Target::Manifest(id) => {
                unreadable(&id) && !self.after.tags.contains_key(&(&repository.name, &tag.name))
            }
            Target::Missing => false,
        };
        let blind = repository.pinned || remaining.iter().any(unreadable) || repository.tags.iter().any(torn);
        if blind {
            let why = format!("something in {} could not be read", repository.name);
            let links = repository.layers.iter().map(|layer| layer.digest);
            let aliased =
                repository.aliases.iter().flat_map(|alias| std::iter::once(alias.alias).chain(alias.target));
            let revisions = repository.revisions.iter().map(|revision| revision.digest);
            let signatures = repository.signatures.iter().map(|(_, signature)| *signature);
            let every: Vec<BlobId> = links.chain(aliased).chain(revisions).chain(signatures).collect();
            for id in every {
                self.must_stay(id, &why);
            }
            for tag in &repository.tags {
                if let Some(step) = self.after.tags.get(&(&repository.name, &tag.name)) {
                    self.found.push((*step, why.clone()));
                }
            }
        }
        for pins in self.world.pins.iter().filter(|pins| pins.until > self.world.now) {
            let why = "a restore brought it back a short while ago";
            for (_, tag) in pins.tags.iter().filter(|(name, _)| *name == repository.name) {
                if let Some(step) = self.after.tags.get(&(&repository.name, tag)) {
                    self.found.push((*step, why.to_owned()));
                }
            }
            for (_, digest) in pins.revisions.iter().filter(|(name, _)| *name == repository.name) {
                if let Some(id) = inventory.blobs.find(digest) {
                    self.must_stay(id, why);
                }
            }
        }
    }

    /// Neither data, nor manifest, nor link of `id` in this repository may go.
    fn must_stay(&mut self, id: BlobId, why: &str) {
        let place = (self.index, id);
        let after = self.after;
        for step in
            [after.data.get(&id), after.manifests.get(&place), after.links.get(&place)].into_iter().flatten()
        {
            self.found.push((*step, format!("{}: {why}", self.world.inventory.blobs.digest(id))));
        }
        if let Some(step) = after.purged.get(&id)
            && !self.world.inventory.blobs.is_present(id)
        {
            self.found.push((
                *step,
                format!("{} is missing and needed: {why}", self.world.inventory.blobs.digest(id)),
            ));
        }
    }

    /// A manifest that remains, and those below it that no repository lists.
    fn manifest(&mut self, root: BlobId, linked: &FxHashSet<BlobId>) {
        let inventory = self.world.inventory;
        let mut pending = vec![root];
        let mut seen = FxHashSet::default();
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            let why = format!("the manifest {} stays and needs it", inventory.blobs.digest(root));
            self.must_stay(id, &why);
            for (manifest, signature) in &inventory.repositories[self.index].signatures {
                if *manifest == id {
                    self.must_stay(*signature, &why);
                }
            }
            let Some(facts) = inventory.facts(id) else { continue };
            for edge in &facts.references {
                let mut targets: Vec<BlobId> = vec![edge.digest];
                targets.extend(self.aliases.get(&edge.digest).into_iter().flatten());
                for target in targets {
                    self.must_stay(target, &why);
                    // One that this repository lists is judged by itself.
                    if !linked.contains(&target) && inventory.manifests.contains_key(&target) {
                        pending.push(target);
                    }
                }
            }
        }
    }
}
