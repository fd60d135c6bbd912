//! What names cannot tell: what a tag points to, what an alias stands for, what a manifest refers to.

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::Arc;

use super::scan::{join, link_state};
use super::{BlobId, BlobTable, Body, Edge, Facts, Gap, Inventory, Link, Repository, Target};
use crate::layout::distribution::{self, Part};
use crate::layout::{Directory, Entry, RegistryLayout};
use crate::oci::manifest::{self, MAX_MANIFEST_BYTES};
use crate::oci::{Digest, Manifest, RepositoryName, Role};
use crate::store::{Kind, LocalTree, Meta, Near, StoreError};

/// A link is 71 bytes, an alias to sha512 would be 135: anything longer is no link.
const MAX_LINK_BYTES: u64 = 1024;

/// Registries before 3.1 truncate a link before they write it again: an empty one may be a moment, not a fact.
const READS_OF_A_DAMAGED_LINK: usize = 5;

/// Manifests whose bodies are in memory at once.
const CHUNK: usize = 2048;

/// A link's content, or what is wrong with it, and its times.
type LinkRead = (Result<Digest, String>, Meta);

/// Reads what every tag points to, with the time of its link.
pub(super) fn tags(
    tree: &LocalTree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
) -> Result<(), StoreError> {
    let read: Vec<Vec<Option<LinkRead>>> = inventory
        .repositories
        .par_iter()
        .map(|repository| {
            let near = tree.near(&distribution::repository_part(repository.name.as_str(), Part::Tags));
            repository
                .tags
                .par_iter()
                .map(|tag| {
                    let entry =
                        Entry::TagCurrent { repository: repository.name.as_str(), tag: tag.name.as_str() };
                    let Some(key) = layout.key(&entry) else { return Ok(None) };
                    read_link(&near, &key)
                })
                .collect::<Result<Vec<_>, StoreError>>()
        })
        .collect::<Result<_, StoreError>>()?;
    let Inventory { repositories, blobs, gaps, .. } = inventory;
    for (repository, read) in repositories.iter_mut().zip(read) {
        for (tag, read) in repository.tags.iter_mut().zip(read) {
            let (digest, meta) = read.unzip();
            tag.target = match digest {
                None => Target::Missing,
                Some(Ok(digest)) => Target::Manifest(blobs.intern(&digest)),
                Some(Err(why)) => Target::Corrupt(why),
            };
            // What stands in the place of a file is accounted for as what it is.
            if let Some(meta) = meta.filter(|meta| meta.kind == Kind::File) {
                tag.tagged = Some(meta.modified);
                tag.changed = Some(meta.changed);
                tag.size = meta.size;
            }
            if let Target::Corrupt(why) = &tag.target {
                let entry =
                    Entry::TagCurrent { repository: repository.name.as_str(), tag: tag.name.as_str() };
                gaps.push(Gap {
                    repository: Some(repository.name.clone()),
                    key: layout.key(&entry).unwrap_or_default(),
                    why: format!(
                        "{why}: which manifest the tag means is not known. Push the tag again, or delete it"
                    ),
                });
                repository.pinned = true;
            }
        }
    }
    Ok(())
}

/// Reads which blob every link of another algorithm than sha256 stands for.
pub(super) fn aliases(
    tree: &LocalTree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
) -> Result<(), StoreError> {
    let Inventory { repositories, blobs, gaps, .. } = inventory;
    for repository in repositories {
        for alias in &mut repository.aliases {
            let digest = blobs.digest(alias.alias);
            let entry = Entry::LayerLink { repository: repository.name.as_str(), digest };
            let Some(key) = layout.key(&entry) else { continue };
            let why = match read_link(&tree.near_root(), &key)? {
                None => continue,
                Some((found, meta)) => {
                    alias.size = meta.size;
                    alias.changed = Some(meta.changed);
                    match found {
                        Ok(target) => {
                            alias.target = Some(blobs.intern(&target));
                            continue;
                        }
                        Err(why) => why,
                    }
                }
            };
            repository.pinned = true;
            gaps.push(Gap {
                repository: Some(repository.name.clone()),
                key,
                why: format!("{why}: which blob the alias stands for is not known"),
            });
        }
        // A directory whose link is gone stands for nothing.
        repository.aliases.retain(|alias| alias.target.is_some() || alias.changed.is_some());
    }
    Ok(())
}

/// Asks which revisions still have their link: the registry's own deletes leave the directory.
pub(super) fn revision_links(
    tree: &LocalTree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
) -> Result<(), StoreError> {
    let Inventory { repositories, blobs, .. } = inventory;
    repositories.par_iter_mut().try_for_each(|repository| {
        let name = &repository.name;
        let near = tree.near(&distribution::repository_part(name.as_str(), Part::Revisions));
        repository.revisions.par_iter_mut().try_for_each(|revision| {
            let digest = blobs.digest(revision.digest);
            let entry = Entry::RevisionLink { repository: name.as_str(), digest };
            let Some(key) = layout.key(&entry) else { return Ok(()) };
            if let Some(meta) = near.stat(&key)? {
                revision.link = link_state(&digest, meta.size);
                revision.pushed = Some(meta.modified);
                revision.changed = Some(meta.changed);
            }
            Ok(())
        })
    })
}

/// Reads every manifest once, and whatever they refer to as a manifest although no repository lists it.
pub(super) fn manifests(
    tree: &LocalTree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
) -> Result<(), StoreError> {
    let mut revisions: Vec<BlobId> = inventory
        .repositories
        .iter()
        .flat_map(|repository| &repository.revisions)
        .filter(|revision| revision.link != Link::Missing)
        .map(|revision| revision.digest)
        .collect();
    // A tag holds its image also where the manifest's link is gone: one written again makes it whole.
    let tagged = inventory.repositories.iter().flat_map(|repository| &repository.tags);
    revisions.extend(tagged.filter_map(|tag| match tag.target {
        Target::Manifest(id) if inventory.blobs.is_present(id) => Some(id),
        _ => None,
    }));
    revisions.sort_unstable();
    revisions.dedup();
    let mut unresolved: FxHashMap<BlobId, String> = FxHashMap::default();
    let near = tree.near(distribution::blobs_root());
    let mut pending = revisions;
    let mut listed = true;
    while !pending.is_empty() {
        let mut next = Vec::new();
        for chunk in pending.chunks(CHUNK) {
            let bodies: Vec<Raw> = chunk
                .par_iter()
                .map(|id| read_manifest(&near, layout, &inventory.blobs.digest(*id)))
                .collect::<Result<_, StoreError>>()?;
            for (id, raw) in chunk.iter().zip(bodies) {
                take_body(inventory, *id, raw, listed, &mut unresolved, &mut next);
            }
        }
        next.sort_unstable();
        next.dedup();
        next.retain(|id| !inventory.manifests.contains_key(id) && inventory.blobs.is_present(*id));
        pending = next;
        listed = false;
    }
    recheck_missing(tree, layout, inventory)?;
    pin_unreadable(layout, inventory, &unresolved);
    Ok(())
}

enum Raw {
    Missing,
    Unreadable(String, Option<Meta>),
    Read(Box<Manifest>, Meta),
}

fn read_manifest(tree: &Near<'_>, layout: &dyn RegistryLayout, digest: &Digest) -> Result<Raw, StoreError> {
    let Some(key) = layout.key(&Entry::BlobData { digest: *digest }) else { return Ok(Raw::Missing) };
    let (body, meta) = match tree.read(&key, MAX_MANIFEST_BYTES as u64) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(Raw::Missing),
        // Present but unreadable: a permission, a bad sector, a size that no manifest has. Never absence.
        Err(error @ (StoreError::TooLarge { .. } | StoreError::Io { .. })) => {
            return Ok(Raw::Unreadable(describe(&error), None));
        }
        Err(error) => return Err(error),
    };
    if !digest.matches(&body) {
        return Ok(Raw::Unreadable(
            "its content has another digest: the disk or a copy damaged it".into(),
            Some(meta),
        ));
    }
    Ok(match manifest::read(&body) {
        Ok(manifest) => Raw::Read(Box::new(manifest), meta),
        Err(error) => Raw::Unreadable(error.to_string(), Some(meta)),
    })
}

fn describe(error: &StoreError) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn take_body(
    inventory: &mut Inventory,
    id: BlobId,
    raw: Raw,
    listed: bool,
    unresolved: &mut FxHashMap<BlobId, String>,
    next: &mut Vec<BlobId>,
) {
    let Inventory { blobs, manifests, .. } = inventory;
    match raw {
        Raw::Missing => {
            // Proved absent by a read that came after its link was listed; a registry writes data before links.
            blobs.set_present(id, false);
            manifests.insert(id, Body::Missing);
        }
        // What only a manifest calls a manifest may be a layer, as in a BuildKit cache: then it is just a blob.
        Raw::Unreadable(..) if !listed => {}
        Raw::Unreadable(why, meta) => {
            blobs.set_present(id, true);
            if let Some(meta) = meta {
                blobs.measure(id, meta.size, meta.changed);
            }
            manifests.insert(id, Body::Unreadable(why));
        }
        Raw::Read(manifest, meta) => {
            blobs.set_present(id, true);
            blobs.measure(id, meta.size, meta.changed);
            if let Some(digest) = manifest.unresolved.first() {
                unresolved.insert(id, digest.clone());
            }
            let facts = intern(blobs, &manifest, meta.size);
            next.extend(
                facts
                    .references
                    .iter()
                    .filter(|edge| matches!(edge.role, Role::Manifest | Role::Unknown))
                    .map(|edge| edge.digest),
            );
            manifests.insert(id, Body::Read(facts));
        }
    }
}

fn intern(blobs: &mut BlobTable, manifest: &Manifest, size: u64) -> Facts {
    let references = manifest
        .references()
        .iter()
        .map(|reference| {
            let digest = blobs.intern(&reference.digest);
            if let Some(size) = reference.size {
                blobs.state_size(digest, size);
            }
            Edge { digest, role: reference.role, foreign: reference.foreign }
        })
        .collect();
    Facts {
        kind: manifest.kind,
        media_type: manifest.media_type.as_deref().map(Arc::from),
        references,
        subject: manifest.subject().map(|subject| blobs.intern(&subject.digest)),
        size,
    }
}

/// A revision that is listed and whose data is missing is looked at once more: when its link is gone by now, the
/// repository changed while it was listed, and that says nothing about its other manifests.
fn recheck_missing(
    tree: &LocalTree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
) -> Result<(), StoreError> {
    let Inventory { repositories, blobs, manifests, .. } = inventory;
    for repository in repositories {
        for revision in &mut repository.revisions {
            if revision.link == Link::Missing
                || !matches!(manifests.get(&revision.digest), Some(Body::Missing))
            {
                continue;
            }
            let digest = blobs.digest(revision.digest);
            let entry = Entry::RevisionLink { repository: repository.name.as_str(), digest };
            if let Some(key) = layout.key(&entry)
                && tree.stat(&key)?.is_none()
            {
                revision.link = Link::Missing;
            }
        }
    }
    Ok(())
}

fn pin_unreadable(
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
    unresolved: &FxHashMap<BlobId, String>,
) {
    let Inventory { repositories, blobs, manifests, gaps, .. } = inventory;
    // A gap that may hide anything pins everything: what cannot be listed may be another repository, or the very tags and
    // manifests of this one.
    let everything = gaps.iter().any(|gap| gap.repository.is_none());
    let gapped: FxHashSet<RepositoryName> = gaps.iter().filter_map(|gap| gap.repository.clone()).collect();
    for repository in repositories {
        repository.pinned |= everything || gapped.contains(&repository.name);
        let Repository { name, revisions, pinned, .. } = repository;
        for revision in revisions.iter().filter(|revision| revision.link != Link::Missing) {
            let why = match (manifests.get(&revision.digest), unresolved.get(&revision.digest)) {
                (Some(Body::Unreadable(why)), _) => format!("the manifest is not understood: {why}"),
                (_, Some(digest)) => {
                    format!("the manifest refers to {digest}, which is no digest that is known")
                }
                _ => continue,
            };
            *pinned = true;
            let entry = Entry::BlobData { digest: blobs.digest(revision.digest) };
            gaps.push(Gap {
                repository: Some(name.clone()),
                key: layout.key(&entry).unwrap_or_default(),
                why,
            });
        }
    }
}

/// Finds the signature blobs of schema 1 manifests, which only their revision's directory names.
pub(super) fn signatures(
    tree: &LocalTree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
) -> Result<(), StoreError> {
    let Inventory { repositories, blobs, manifests, .. } = inventory;
    for repository in repositories {
        let name = repository.name.as_str();
        for revision in &repository.revisions {
            // One that cannot be read may have been of schema 1: a gap must not let its signatures go.
            let signed = match manifests.get(&revision.digest) {
                Some(Body::Read(facts)) => facts.kind == crate::oci::Kind::Schema1,
                Some(Body::Unreadable(_)) => true,
                Some(Body::Missing) | None => false,
            };
            if !signed {
                continue;
            }
            let directory = Directory::Revision { repository: name, digest: blobs.digest(revision.digest) };
            let Some(directory) = layout.directory_key(&directory) else { continue };
            let signatures = join(&directory, "signatures");
            for algorithm in tree.list(&signatures)?.map(|list| list.names).unwrap_or_default() {
                let algorithm = join(&signatures, &algorithm.0);
                for (hex, _) in tree.list(&algorithm)?.map(|list| list.names).unwrap_or_default() {
                    let key = [&algorithm, "/", &hex, "/link"].concat();
                    if let Entry::RevisionSignature { signature, .. } = layout.classify(&key) {
                        repository.signatures.push((revision.digest, blobs.intern(&signature)));
                    }
                }
            }
        }
        repository.signatures.sort_unstable();
        repository.signatures.dedup();
    }
    Ok(())
}

/// Reads a link, again when it looks torn. `None` when it is not there.
fn read_link(tree: &Near<'_>, key: &str) -> Result<Option<LinkRead>, StoreError> {
    let mut last = None;
    for _ in 0..READS_OF_A_DAMAGED_LINK {
        let (body, meta) = match tree.read(key, MAX_LINK_BYTES) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(StoreError::TooLarge { size, .. }) => match tree.stat(key)? {
                Some(meta) => return Ok(Some((Err(format!("the link has {size} bytes")), meta))),
                None => return Ok(None),
            },
            // It is there and says nothing: as a damaged link it keeps what it may mean.
            Err(error) if error.is_denied() => match tree.stat(key)? {
                Some(meta) => return Ok(Some((Err("the link may not be read by this user".into()), meta))),
                None => return Ok(None),
            },
            // A registry may follow a symbolic link, and nothing here does.
            Err(error) => match tree.stat(key)? {
                Some(meta) if meta.kind != Kind::File => {
                    return Ok(Some((Err("the link is no regular file".into()), meta)));
                }
                _ => return Err(error),
            },
        };
        let parsed = match std::str::from_utf8(&body) {
            _ if body.is_empty() => Err("the link is empty".to_owned()),
            Ok(text) => text.parse::<Digest>().map_err(|error| format!("the link holds no digest: {error}")),
            Err(_) => Err("the link holds bytes that are no text".to_owned()),
        };
        if parsed.is_ok() {
            return Ok(Some((parsed, meta)));
        }
        last = Some((parsed, meta));
        std::thread::yield_now();
    }
    Ok(last)
}
