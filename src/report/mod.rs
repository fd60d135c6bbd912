//! Stage 9: tell. Counts, bytes and sentences; no fact is computed here that was not there before.

pub mod audit;
pub mod html;
pub mod text;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use crate::graph::{Fate, Marks};
use crate::inventory::{BlobId, Gap, Inventory, Link, Target};
use crate::oci::{Digest, Kind, RepositoryName, TagName};

/// A word as a shell reads it back.
pub fn shell_word(word: &str) -> String {
    let plain = |character: char| character.is_alphanumeric() || "/._-=:,%@+".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// An image that cannot be pulled whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokenImage {
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest.
    pub manifest: Digest,
    /// Tags that lead to it.
    pub tags: Vec<TagName>,
    /// Blobs whose data is missing.
    pub missing: Vec<Digest>,
    /// Blobs that are there, and that this repository has no link to.
    pub unlinked: Vec<Digest>,
}

/// A tag that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DanglingTag {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: TagName,
    /// What it points to, when it says so.
    pub target: Option<Digest>,
}

/// A link file of another size than a digest has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CorruptLink {
    /// The repository.
    pub repository: RepositoryName,
    /// What it links.
    pub what: String,
    /// Its size in bytes.
    pub size: u64,
}

/// A manifest of a media type that is not known. Everything in it that looks like a digest is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpaqueManifest {
    /// The repository.
    pub repository: RepositoryName,
    /// The manifest.
    pub manifest: Digest,
    /// What it calls itself.
    pub media_type: Option<String>,
}

/// Everything that is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// What could not be read or understood; it keeps what it may hide.
    pub gaps: Vec<Gap>,
    /// Images that cannot be pulled whole.
    pub broken_images: Vec<BrokenImage>,
    /// Tags that lead nowhere.
    pub dangling_tags: Vec<DanglingTag>,
    /// Link files that are empty, short or overlong.
    pub corrupt_links: Vec<CorruptLink>,
    /// Manifests of unknown media types.
    pub opaque_manifests: Vec<OpaqueManifest>,
    /// Trash of runs that nobody remembers.
    pub stray_trash: Vec<String>,
}

impl Problems {
    /// Gathers what is not as it should be.
    pub fn of(inventory: &Inventory, marks: &Marks, stray_trash: &[String]) -> Self {
        let mut problems =
            Self { gaps: inventory.gaps.clone(), stray_trash: stray_trash.to_vec(), ..Self::default() };
        let aliases = alias_targets(inventory);
        for (index, marked) in marks.repositories.iter().enumerate() {
            problems.repository(inventory, &aliases, index, marked);
        }
        problems
    }

    fn repository(
        &mut self,
        inventory: &Inventory,
        aliases: &FxHashMap<BlobId, BlobId>,
        index: usize,
        marked: &crate::graph::RepositoryMarks,
    ) {
        let repository = &inventory.repositories[index];
        let digest = |id| inventory.blobs.digest(id);
        let name = || repository.name.clone();
        let links = Links::of(inventory, aliases, index);
        for (revision, fate) in repository.revisions.iter().zip(&marked.revisions) {
            if let Link::Damaged { size } = revision.link {
                self.corrupt_links.push(CorruptLink {
                    repository: name(),
                    what: format!("manifest {}", digest(revision.digest)),
                    size,
                });
            }
            if !matches!(fate, Fate::Kept(_)) {
                continue;
            }
            if let Some(facts) = inventory.facts(revision.digest)
                && facts.kind == Kind::Opaque
            {
                self.opaque_manifests.push(OpaqueManifest {
                    repository: name(),
                    manifest: digest(revision.digest),
                    media_type: facts.media_type.as_deref().map(ToOwned::to_owned),
                });
            }
            let (mut missing, unlinked) = lacks(inventory, &links, revision.digest);
            // A copy that nobody asked for is not missing.
            if inventory.assets.as_ref().is_some_and(|assets| assets.proxied.contains(&repository.name)) {
                missing.clear();
            }
            if !missing.is_empty() || !unlinked.is_empty() {
                let leads = |tag: &&crate::inventory::Tag| tag.target == Target::Manifest(revision.digest);
                self.broken_images.push(BrokenImage {
                    repository: name(),
                    manifest: digest(revision.digest),
                    tags: repository.tags.iter().filter(leads).map(|tag| tag.name.clone()).collect(),
                    missing: missing.into_iter().map(digest).collect(),
                    unlinked: unlinked.into_iter().map(digest).collect(),
                });
            }
        }
        for tag in &repository.tags {
            let target = match &tag.target {
                Target::Corrupt(_) => {
                    let what = format!("tag {}", tag.name);
                    self.corrupt_links.push(CorruptLink { repository: name(), what, size: tag.size });
                    continue;
                }
                Target::Missing => None,
                Target::Manifest(id) if links.manifests.contains(id) && inventory.blobs.is_present(*id) => {
                    continue;
                }
                Target::Manifest(id) => Some(digest(*id)),
            };
            self.dangling_tags.push(DanglingTag { repository: name(), tag: tag.name.clone(), target });
        }
        for layer in &repository.layers {
            if let Link::Damaged { size } = layer.link() {
                let what = format!("layer {}", digest(layer.digest));
                self.corrupt_links.push(CorruptLink { repository: name(), what, size });
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.gaps.len()
            + self.broken_images.len()
            + self.dangling_tags.len()
            + self.corrupt_links.len()
            + self.opaque_manifests.len()
            + self.stray_trash.len()
    }

    /// Whether everything is as it should be.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a repository links.
pub(crate) struct Links<'a> {
    aliases: &'a FxHashMap<BlobId, BlobId>,
    manifests: FxHashSet<BlobId>,
    layers: FxHashSet<BlobId>,
    /// Blobs belong to whoever names them: there are no links.
    unbound: bool,
}

/// Which blob each alias stands for.
pub(crate) fn alias_targets(inventory: &Inventory) -> FxHashMap<BlobId, BlobId> {
    let every = inventory.repositories.iter().flat_map(|repository| &repository.aliases);
    every.filter_map(|alias| alias.target.map(|target| (alias.alias, target))).collect()
}

impl<'a> Links<'a> {
    pub(crate) fn of(inventory: &Inventory, aliases: &'a FxHashMap<BlobId, BlobId>, index: usize) -> Self {
        let repository = &inventory.repositories[index];
        let linked = |link: Link| link != Link::Missing;
        Self {
            aliases,
            unbound: inventory.assets.is_some(),
            manifests: repository.revisions.iter().filter(|r| linked(r.link)).map(|r| r.digest).collect(),
            layers: repository
                .layers
                .iter()
                .filter(|layer| linked(layer.link()))
                .map(|layer| layer.digest)
                .chain(repository.aliases.iter().map(|alias| alias.alias))
                .collect(),
        }
    }
}

/// What a manifest refers to that is missing, and what is there without a link.
pub(crate) fn lacks(
    inventory: &Inventory,
    links: &Links<'_>,
    manifest: BlobId,
) -> (Vec<BlobId>, Vec<BlobId>) {
    let (mut missing, mut unlinked) = (Vec::new(), Vec::new());
    if !inventory.blobs.is_present(manifest) {
        missing.push(manifest);
    }
    for edge in inventory.facts(manifest).into_iter().flat_map(|facts| &facts.references) {
        // What only looks like a digest in a document of unknown kind need not be one.
        if edge.foreign || edge.role == crate::oci::Role::Unknown {
            continue;
        }
        let target = links.aliases.get(&edge.digest).copied().unwrap_or(edge.digest);
        let present = inventory.blobs.is_present(target);
        let linked =
            links.unbound || links.manifests.contains(&edge.digest) || links.layers.contains(&edge.digest);
        if !present {
            missing.push(edge.digest);
        } else if !linked {
            unlinked.push(edge.digest);
        }
    }
    (missing, unlinked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_as_a_shell_wants_them() {
        assert_eq!(shell_word("/tmp/a-b_c.d"), "/tmp/a-b_c.d");
        assert_eq!(shell_word("my demo"), "'my demo'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word(""), "''");
    }
}
