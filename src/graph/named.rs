//! Images that somebody else says are needed: pins, and what runs.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Held, Marker};
use crate::inventory::{BlobId, Inventory};
use crate::oci::{RepositoryName, Role, TagName};
use crate::sources::{Reference, References};

/// What is named, by where to look for it.
pub(super) struct Named<'n> {
    /// References to repositories, by the last part of their names.
    by_name: FxHashMap<&'n str, Vec<(&'n Arc<str>, &'n Reference)>>,
    /// Digests that are named in no repository, and so in all.
    everywhere: Vec<(BlobId, &'n Arc<str>)>,
}

/// What is named in one repository, and by whom.
#[derive(Default)]
pub(super) struct NamedHere<'n> {
    pub(super) tags: FxHashMap<&'n TagName, &'n Arc<str>>,
    pub(super) digests: Vec<(BlobId, &'n Arc<str>)>,
}

impl<'n> Named<'n> {
    pub(super) fn of(references: &'n References, inventory: &Inventory) -> Self {
        let mut named = Self { by_name: FxHashMap::default(), everywhere: Vec::new() };
        for (source, references) in &references.sources {
            for reference in references {
                if let Some(path) = &reference.repository {
                    let last = path.rsplit('/').next().unwrap_or_default();
                    named.by_name.entry(last).or_default().push((source, reference));
                } else {
                    let id = reference.digest.and_then(|digest| inventory.blobs.find(&digest));
                    named.everywhere.extend(id.map(|id| (id, source)));
                }
            }
        }
        named
    }

    /// Digests that are named whatever repository they are in.
    pub(super) fn everywhere(&self) -> impl Iterator<Item = BlobId> {
        self.everywhere.iter().map(|(id, _)| *id)
    }

    pub(super) fn within(&self, repository: &RepositoryName, inventory: &Inventory) -> NamedHere<'n> {
        let mut here = NamedHere { digests: self.everywhere.clone(), ..NamedHere::default() };
        let last = repository.as_str().rsplit('/').next().unwrap_or_default();
        for (source, reference) in self.by_name.get(last).into_iter().flatten() {
            let Some(path) = reference.repository.as_deref() else { continue };
            if !may_be(path, repository.as_str()) {
                continue;
            }
            if let Some(tag) = &reference.tag {
                here.tags.entry(tag).or_insert(source);
            }
            let id = reference.digest.and_then(|digest| inventory.blobs.find(&digest));
            here.digests.extend(id.map(|id| (id, *source)));
        }
        here
    }
}

/// Whether a path, with or without a host, may be that of the repository: what one of them has before the other may be
/// the host, a proxy's prefix, or left out because it goes without saying.
fn may_be(path: &str, repository: &str) -> bool {
    let ends = |long: &str, short: &str| {
        long.strip_suffix(short).is_some_and(|before| before.is_empty() || before.ends_with('/'))
    };
    let host = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let alone = path.split_once('/').filter(|(first, _)| host(first)).map_or(path, |(_, rest)| rest);
    ends(path, repository) || ends(repository, alone)
}

impl Marker<'_> {
    /// Holds what is named by digest: a manifest, an image by its configuration, or any other blob.
    pub(super) fn hold_named(&mut self) {
        let named = std::mem::take(&mut self.named.digests);
        if named.is_empty() {
            return;
        }
        let layers: FxHashSet<BlobId> = self.repository.layers.iter().map(|layer| layer.digest).collect();
        let mut configured: FxHashMap<BlobId, Vec<BlobId>> = FxHashMap::default();
        for manifest in self.linked.keys() {
            let references = self.inventory.facts(*manifest).into_iter().flat_map(|facts| &facts.references);
            for edge in references.filter(|edge| edge.role == Role::Config) {
                configured.entry(edge.digest).or_default().push(*manifest);
            }
        }
        for (id, source) in named {
            let held = Held::Named(source.clone());
            if self.linked.contains_key(&id) {
                self.reach(id, &held);
            }
            for image in configured.get(&id).into_iter().flatten() {
                self.reach(*image, &held);
            }
            if layers.contains(&id) {
                self.needed.insert(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::may_be;

    #[test]
    fn paths_are_compared_by_whole_parts_from_their_end() {
        for (path, repository, expected) in [
            ("team/app", "team/app", true),
            ("registry.example:5000/team/app", "team/app", true),
            ("localhost/team/app", "team/app", true),
            ("proxy/team/app", "team/app", true),
            ("app", "team/app", true),
            ("docker.io/app", "library/app", true),
            ("registry.example/app", "app", true),
            ("team/app", "app", true),
            ("team/myapp", "app", false),
            ("app", "team/myapp", false),
            ("team/app", "other/app", false),
            ("registry.example/team/app", "other/app", false),
            ("team/app", "team/app/web", false),
            ("", "app", false),
        ] {
            assert_eq!(may_be(path, repository), expected, "{path} and {repository}");
        }
    }
}
