//! What may go, before it is known well enough to say so.

use rustc_hash::FxHashSet;

use super::Taken;
use super::build::TrashItem;
use crate::graph::{Fate, Marks, Rules};
use crate::inventory::{BlobId, BlobSet, Body, Inventory, Link};

/// What must be looked at more closely before a plan can be made.
#[derive(Debug, Default)]
pub struct Candidates {
    /// Blobs that nothing needs.
    pub blobs: Vec<BlobId>,
    /// Layer links that nothing in their repository needs and that were listed by name only, as repository and layer indexes.
    pub layers: Vec<(usize, usize)>,
    /// Repositories of which a tag or a manifest goes.
    pub histories: Vec<usize>,
}

/// Names what must be looked at more closely. A blob that is in the trash too is looked for: its directory may be left.
pub fn candidates(inventory: &Inventory, marks: &Marks, trash: &[TrashItem], taken: &Taken) -> Candidates {
    let missing =
        inventory.manifests.iter().filter(|(_, body)| matches!(body, Body::Missing)).map(|(id, _)| *id);
    let mut found = Candidates {
        // A manifest whose data proved absent may have left an empty directory.
        blobs: inventory.blobs.present().chain(missing).filter(|id| !marks.live.contains(*id)).collect(),
        ..Candidates::default()
    };
    found.blobs.extend(trash.iter().filter_map(|item| inventory.blobs.find(item.digest.as_ref()?)));
    found.blobs.sort_unstable();
    found.blobs.dedup();
    let of_taken_tags: FxHashSet<_> = taken.tags.iter().map(|tag| &tag.repository).collect();
    let of_taken_layers: FxHashSet<_> = taken.layers.iter().map(|(repository, _)| repository).collect();
    for (index, (repository, marked)) in inventory.repositories.iter().zip(&marks.repositories).enumerate() {
        if repository.pinned {
            continue;
        }
        found.layers.extend(
            repository
                .layers
                .iter()
                .enumerate()
                // A bucket's listing has told everything of every link, and there may be hundreds of millions.
                .filter(|(_, layer)| layer.changed().is_none())
                .filter(|(_, layer)| {
                    // One that a run took has left its directory: whether it is there again is asked.
                    !marked.needed.contains(&layer.digest)
                        || (of_taken_layers.contains(&repository.name)
                            && taken
                                .layers
                                .contains(&(repository.name.clone(), inventory.blobs.digest(layer.digest))))
                })
                .map(|(layer, _)| (index, layer)),
        );
        if marked.tags.iter().any(crate::policy::Decision::is_expired)
            || marked.revisions.iter().any(|fate| matches!(fate, Fate::Expired(_)))
            || of_taken_tags.contains(&repository.name)
        {
            found.histories.push(index);
        }
    }
    found
}

/// Candidate blobs that are too young to go: their data changed, or somebody linked them, within the grace.
pub fn in_grace(inventory: &Inventory, marks: &Marks, rules: &Rules<'_>) -> BlobSet {
    let mut young = BlobSet::for_table(&inventory.blobs);
    for id in inventory.blobs.present().filter(|id| !marks.live.contains(*id)) {
        if rules.young(inventory.blobs.changed(id)) {
            young.insert(id);
        }
    }
    for digest in rules.pinned().flat_map(|pins| &pins.blobs) {
        if let Some(id) = inventory.blobs.find(digest) {
            young.insert(id);
        }
    }
    for repository in &inventory.repositories {
        for layer in &repository.layers {
            let linked = !matches!(layer.link(), Link::Missing);
            if linked && !marks.live.contains(layer.digest) && rules.young(layer.changed()) {
                young.insert(layer.digest);
            }
        }
        for alias in &repository.aliases {
            if let Some(target) = alias.target
                && !marks.live.contains(target)
                && rules.young(alias.changed)
            {
                young.insert(target);
            }
        }
    }
    young
}

/// Every digest that a link of any kind names, in any repository.
pub(super) fn linked(inventory: &Inventory) -> BlobSet {
    let mut linked = BlobSet::for_table(&inventory.blobs);
    for repository in &inventory.repositories {
        for layer in repository.layers.iter().filter(|layer| layer.link() != Link::Missing) {
            linked.insert(layer.digest);
        }
        for revision in repository.revisions.iter().filter(|revision| revision.link != Link::Missing) {
            linked.insert(revision.digest);
        }
        for alias in &repository.aliases {
            linked.insert(alias.alias);
            if let Some(target) = alias.target {
                linked.insert(target);
            }
        }
        for (_, signature) in &repository.signatures {
            linked.insert(*signature);
        }
    }
    linked
}
