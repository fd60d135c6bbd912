//! Who takes how much of the store: bytes that one repository has alone, that several share, and that nobody needs.

use rustc_hash::FxHashMap;

use crate::graph::Marks;
use crate::inventory::{BlobId, Inventory, Link};
use crate::oci::RepositoryName;

/// What one repository takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedIn {
    /// The repository.
    pub repository: RepositoryName,
    /// Its tags.
    pub tags: u64,
    /// Its manifests.
    pub manifests: u64,
    /// Bytes of blobs that it alone links.
    pub exclusive_bytes: u64,
    /// Bytes of blobs that others link too, all of them.
    pub shared_bytes: u64,
    /// Its part of the store: these three add up, over all repositories, to every byte that some repository links.
    pub part: Part,
}

/// A part of the store's bytes. What several repositories share is divided evenly among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// Needed, and linked nowhere else.
    pub alone: u64,
    /// Needed, and linked elsewhere as well.
    pub shared: u64,
    /// Needed by nothing that stays.
    pub unneeded: u64,
}

impl Part {
    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.alone + self.shared + self.unneeded
    }

    /// Adds another part.
    pub fn add(&mut self, other: &Self) {
        self.alone += other.alone;
        self.shared += other.shared;
        self.unneeded += other.unneeded;
    }
}

/// Who takes how much.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Every repository, in the inventory's order.
    pub repositories: Vec<UsedIn>,
    /// Bytes that no repository links.
    pub unlinked: Part,
}

/// Divides the bytes of the store among the repositories that link them.
pub fn usage(inventory: &Inventory, marks: &Marks) -> Usage {
    let linked: Vec<Vec<BlobId>> = (0..inventory.repositories.len()).map(|at| links(inventory, at)).collect();
    let mut holders: FxHashMap<BlobId, u64> = FxHashMap::default();
    for id in linked.iter().flatten() {
        *holders.entry(*id).or_default() += 1;
    }
    // Of a blob that does not divide evenly, the first to ask take a byte more.
    let mut left: FxHashMap<BlobId, u64> = FxHashMap::default();
    let mut usage = Usage::default();
    for (repository, links) in inventory.repositories.iter().zip(&linked) {
        let mut used = UsedIn {
            repository: repository.name.clone(),
            tags: repository.tags.len() as u64,
            manifests: repository.revisions.iter().filter(|revision| revision.link != Link::Missing).count()
                as u64,
            exclusive_bytes: 0,
            shared_bytes: 0,
            part: Part::default(),
        };
        for id in links {
            let size = inventory.blobs.size(*id).unwrap_or(0);
            let count = holders.get(id).copied().unwrap_or(1);
            let part = if count == 1 {
                used.exclusive_bytes += size;
                size
            } else {
                used.shared_bytes += size;
                let rest = left.entry(*id).or_insert(size % count);
                let more = u64::from(*rest > 0);
                *rest -= more;
                size / count + more
            };
            match (marks.live.contains(*id), count) {
                (false, _) => used.part.unneeded += part,
                (true, 1) => used.part.alone += part,
                (true, _) => used.part.shared += part,
            }
        }
        usage.repositories.push(used);
    }
    for id in inventory.blobs.present().filter(|id| !holders.contains_key(id)) {
        let size = inventory.blobs.size(id).unwrap_or(0);
        if marks.live.contains(id) {
            usage.unlinked.alone += size;
        } else {
            usage.unlinked.unneeded += size;
        }
    }
    usage
}

/// Every blob with data that a repository links, each once.
fn links(inventory: &Inventory, index: usize) -> Vec<BlobId> {
    let repository = &inventory.repositories[index];
    let layers = repository.layers.iter().filter(|layer| layer.link() != Link::Missing);
    let revisions = repository.revisions.iter().filter(|revision| revision.link != Link::Missing);
    let mut found: Vec<BlobId> = layers
        .map(|layer| layer.digest)
        .chain(revisions.map(|revision| revision.digest))
        .chain(repository.aliases.iter().filter_map(|alias| alias.target))
        .chain(repository.signatures.iter().map(|(_, signature)| *signature))
        .filter(|id| inventory.blobs.is_present(*id))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}
