//! When something was last pulled, read from the record of pulls alone.

use jiff::Timestamp;
use rustc_hash::FxHashSet;

use super::World;
use crate::inventory::BlobId;
use crate::oci::{Kind, RepositoryName, Role, TagName};

/// A time by a policy's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    pub(super) time: Timestamp,
    /// It may be any earlier time as well, because nobody looked.
    pub(super) open: bool,
}

impl Age {
    /// A time that is known.
    pub(super) fn known(time: Timestamp) -> Self {
        Self { time, open: false }
    }
}

/// The last moment at which something was pushed, was pulled, or may have been: until the record `begins` it may have been
/// pulled at any time.
pub(super) fn last_pull(
    world: &World<'_>,
    begins: Timestamp,
    repository: &RepositoryName,
    tag: Option<&TagName>,
    manifest: Option<BlobId>,
    pushed: Timestamp,
) -> Age {
    let mut known = pushed;
    if let Some(at) = tag.and_then(|tag| world.pulls.tag(repository, tag)) {
        known = known.max(at);
    }
    if let Some(manifest) = manifest {
        let mut family = FxHashSet::default();
        of_one_index(world, manifest, &mut family);
        for id in family {
            let digest = world.inventory.blobs.digest(id);
            known = world.pulls.manifest(repository, &digest).map_or(known, |at| known.max(at));
        }
    }
    Age { time: known.max(begins), open: begins >= known }
}

/// A manifest, and all that it lists if it is an index.
fn of_one_index(world: &World<'_>, manifest: BlobId, family: &mut FxHashSet<BlobId>) {
    let mut found = vec![manifest];
    while let Some(id) = found.pop() {
        if family.insert(id)
            && let Some(facts) = world.inventory.facts(id)
            && facts.kind == Kind::Index
        {
            for edge in &facts.references {
                if edge.role == Role::Manifest || edge.role == Role::Unknown {
                    found.push(edge.digest);
                }
            }
        }
    }
}
