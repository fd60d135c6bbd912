//! What manifests say, each read once.

use std::sync::Arc;

use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use super::manifest_cache::{ManifestCache, Remembered};
use super::{BlobId, BlobTable, Body, Edge, Facts, Gap, Inventory, Link, Repository, Target};
use crate::layout::distribution;
use crate::layout::{Entry, RegistryLayout};
use crate::oci::manifest::{self, MAX_MANIFEST_BYTES};
use crate::oci::{Digest, Manifest, RepositoryName, Role};
use crate::store::{Meta, Near, Progress, StoreError, Tree};

/// Manifests whose bodies are in memory at once.
const CHUNK: usize = 2048;

/// What is said of data that was listed and is not there.
const VANISHED: &str = "its data was listed and was not there when it was read: run again";

/// Reads every manifest once, and whatever they refer to as a manifest although no repository lists it.
pub(super) fn manifests(
    tree: &Tree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
    cache: Option<&ManifestCache>,
    progress: &Progress,
) -> Result<(), StoreError> {
    let mut revisions: Vec<BlobId> = inventory
        .repositories
        .iter()
        .flat_map(|repository| &repository.revisions)
        .filter(|revision| revision.link != Link::Missing)
        .map(|revision| revision.digest)
        .collect();
    revisions.sort_unstable();
    revisions.dedup();
    let mut unresolved: FxHashMap<BlobId, String> = FxHashMap::default();
    let near = tree.near(distribution::blobs_root());
    let mut pending = revisions;
    let mut listed = true;
    // A tag holds its image also where the manifest's link is gone: one written again makes it whole. What such a tag
    // means and is no manifest is a blob and nothing else.
    let tags = inventory.repositories.iter().flat_map(|repository| &repository.tags);
    let mut next: Vec<BlobId> = tags
        .filter_map(|tag| match tag.target {
            Target::Manifest(id) => Some(id),
            Target::Missing | Target::Corrupt(_) => None,
        })
        .collect();
    while listed || !pending.is_empty() {
        progress.begin("reading manifests", Some(pending.len() as u64));
        for chunk in pending.chunks(CHUNK) {
            let bodies = read_chunk(&near, layout, &inventory.blobs, chunk, cache, progress)?;
            progress.add(chunk.len());
            for (id, raw) in chunk.iter().zip(bodies) {
                take_body(layout, inventory, *id, raw, listed, &mut unresolved, &mut next);
            }
        }
        next.sort_unstable();
        next.dedup();
        next.retain(|id| !inventory.manifests.contains_key(id) && inventory.blobs.is_present(*id));
        pending = std::mem::take(&mut next);
        listed = false;
    }
    if let Some(cache) = cache {
        cache.trim(inventory.manifests.keys().map(|id| inventory.blobs.digest(*id)));
    }
    recheck_missing(tree, layout, inventory)?;
    pin_unreadable(layout, inventory, &unresolved);
    Ok(())
}

enum Raw {
    Missing,
    /// Its data was listed, and is not there when it is read.
    Vanished,
    Unreadable(String, Option<Meta>),
    /// What it says; its size, and its times where it was read just now.
    Read(Box<Manifest>, u64, Option<Meta>),
}

/// Reads some manifests side by side, but for those that are remembered and whose data was listed with the size that is
/// remembered.
fn read_chunk(
    near: &Near<'_>,
    layout: &dyn RegistryLayout,
    blobs: &BlobTable,
    chunk: &[BlobId],
    cache: Option<&ManifestCache>,
    progress: &Progress,
) -> Result<Vec<Raw>, StoreError> {
    let digests: Vec<Digest> = chunk.iter().map(|id| blobs.digest(*id)).collect();
    let recalled = cache.map_or_else(Vec::new, |cache| cache.recall(&digests));
    let one = |index: usize| {
        progress.go_on()?;
        let (id, digest) = (chunk[index], &digests[index]);
        let listed = blobs.size(id).filter(|_| blobs.is_present(id) && blobs.changed(id).is_some());
        let known = recalled.get(index).and_then(Option::as_ref).filter(|known| listed == Some(known.size));
        match (known.map(|known| &known.said), listed) {
            (Some(Ok(manifest)), Some(size)) => Ok((Raw::Read(Box::new(manifest.clone()), size, None), None)),
            (Some(Err(why)), _) => Ok((Raw::Unreadable(why.clone(), None), None)),
            (None, Some(size)) if size > MAX_MANIFEST_BYTES as u64 => {
                let why = format!("it has {size} bytes; at most {MAX_MANIFEST_BYTES} are read");
                Ok((Raw::Unreadable(why, None), None))
            }
            (None, Some(_)) => read_listed(near, layout, digest),
            _ => read_manifest(near, layout, digest),
        }
    };
    let read: Vec<(Raw, Option<Remembered>)> =
        (0..chunk.len()).into_par_iter().map(one).collect::<Result<_, StoreError>>()?;
    let (raw, remember): (Vec<Raw>, Vec<Option<Remembered>>) = read.into_iter().unzip();
    if let Some(cache) = cache {
        let new = digests.into_iter().zip(remember).filter_map(|(digest, read)| Some((digest, read?)));
        cache.remember(&new.collect::<Vec<_>>());
    }
    Ok(raw)
}

/// Reads a manifest whose data was listed. An answer that it is not there contradicts the listing: it is asked for again,
/// and what it says is not known when the answer stays the same.
fn read_listed(
    tree: &Near<'_>,
    layout: &dyn RegistryLayout,
    digest: &Digest,
) -> Result<(Raw, Option<Remembered>), StoreError> {
    match read_manifest(tree, layout, digest)? {
        (Raw::Missing, _) => match read_manifest(tree, layout, digest)? {
            (Raw::Missing, _) => Ok((Raw::Vanished, None)),
            read => Ok(read),
        },
        read => Ok(read),
    }
}

/// Reads one manifest, with what is worth remembering of it: what its digest vouches for.
fn read_manifest(
    tree: &Near<'_>,
    layout: &dyn RegistryLayout,
    digest: &Digest,
) -> Result<(Raw, Option<Remembered>), StoreError> {
    let Some(key) = layout.key(&Entry::BlobData { digest: *digest }) else {
        return Ok((Raw::Missing, None));
    };
    let (body, meta) = match tree.read(&key, MAX_MANIFEST_BYTES as u64) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok((Raw::Missing, None)),
        // Present but unreadable: a permission, a bad sector, a size that no manifest has. Never absence.
        Err(error @ (StoreError::TooLarge { .. } | StoreError::Io { .. })) => {
            return Ok((Raw::Unreadable(error.with_cause(), None), None));
        }
        Err(error) if error.is_denied() => return Ok((Raw::Unreadable(error.with_cause(), None), None)),
        Err(error) => return Err(error),
    };
    if !digest.matches(&body) {
        let why = "its content has another digest: the disk or a copy damaged it".into();
        return Ok((Raw::Unreadable(why, Some(meta)), None));
    }
    let size = body.len() as u64;
    let said = manifest::read(&body).map_err(|error| error.to_string());
    let raw = match &said {
        Ok(manifest) => Raw::Read(Box::new(manifest.clone()), size, Some(meta)),
        Err(why) => Raw::Unreadable(why.clone(), Some(meta)),
    };
    Ok((raw, Some(Remembered { size, said })))
}

fn take_body(
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
    id: BlobId,
    raw: Raw,
    listed: bool,
    unresolved: &mut FxHashMap<BlobId, String>,
    next: &mut Vec<BlobId>,
) {
    let Inventory { blobs, manifests, gaps, .. } = inventory;
    match raw {
        Raw::Vanished if listed => {
            manifests.insert(id, Body::Unreadable(VANISHED.into()));
        }
        // Whose it is only other manifests tell, and what it needs nobody does.
        Raw::Vanished => gaps.push(Gap {
            repository: None,
            key: layout.key(&Entry::BlobData { digest: blobs.digest(id) }).unwrap_or_default(),
            why: format!("a manifest that others refer to: {VANISHED}"),
        }),
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
        Raw::Read(manifest, size, meta) => {
            blobs.set_present(id, true);
            if let Some(meta) = meta {
                blobs.measure(id, meta.size, meta.changed);
            }
            if let Some(digest) = manifest.unresolved.first() {
                unresolved.insert(id, digest.clone());
            }
            let facts = intern(blobs, &manifest, size);
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

pub(super) fn intern(blobs: &mut BlobTable, manifest: &Manifest, size: u64) -> Facts {
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
    tree: &Tree,
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
