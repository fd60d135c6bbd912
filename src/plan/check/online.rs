//! Beside a registry that serves, data goes only after it was seen unneeded for the whole grace.

use rustc_hash::FxHashSet;

use super::{After, Violation, World};
use crate::inventory::{BlobId, Link};
use crate::plan::Mode;

/// Validation: a blob was condemned at least a grace ago, its data is older than that, and in the listing of this run
/// nothing names it: no link of any kind in any repository, and no manifest that any repository has, whether that stays
/// or goes.
pub(super) fn waited(after: &After<'_>, world: &World<'_>) -> Vec<Violation> {
    if world.mode == Mode::Offline || after.data.is_empty() {
        return Vec::new();
    }
    let named = named(world);
    let blobs = &world.inventory.blobs;
    let mut found = Vec::new();
    for (id, step) in &after.data {
        let why = match world.condemned.get(&blobs.digest(*id)) {
            None => "no earlier run saw it unreferenced",
            Some(earlier) if world.now.duration_since(earlier.since) < world.limits.grace.as_signed() => {
                "it was condemned within the grace"
            }
            Some(earlier)
                if blobs.changed(*id).is_none_or(|at| at.as_second() >= earlier.since.as_second()) =>
            {
                "its data was written since it was condemned"
            }
            Some(_) if named.contains(id) => "something still names it",
            Some(_) => continue,
        };
        found.push((*step, format!("{}: {why}", blobs.digest(*id))));
    }
    found
}

fn named(world: &World<'_>) -> FxHashSet<BlobId> {
    let mut named = FxHashSet::default();
    let mut stands_for: Vec<(BlobId, BlobId)> = Vec::new();
    for repository in &world.inventory.repositories {
        named
            .extend(repository.layers.iter().filter(|one| one.link() != Link::Missing).map(|one| one.digest));
        named.extend(repository.signatures.iter().map(|(_, signature)| *signature));
        for alias in &repository.aliases {
            named.insert(alias.alias);
            named.extend(alias.target);
            stands_for.extend(alias.target.map(|target| (alias.alias, target)));
        }
        for revision in repository.revisions.iter().filter(|one| one.link != Link::Missing) {
            named.insert(revision.digest);
            let facts = world.inventory.facts(revision.digest);
            named.extend(facts.iter().flat_map(|facts| facts.references.iter()).map(|edge| edge.digest));
        }
    }
    named.extend(
        stands_for
            .iter()
            .filter(|(alias, _)| named.contains(alias))
            .map(|(_, target)| *target)
            .collect::<Vec<_>>(),
    );
    named
}
