//! When images say that they were created, read where a policy asks.

use rayon::prelude::*;

use super::manifest_cache::ManifestCache;
use super::{BlobId, Inventory, Link};
use crate::layout::distribution;
use crate::layout::{Entry, RegistryLayout};
use crate::oci::config::{self, Created, MAX_CONFIG_BYTES};
use crate::oci::{Digest, Role};
use crate::store::{Near, Progress, StoreError, Tree};

/// Configs whose bodies are asked for at once.
const CHUNK: usize = 2048;

/// Reads the configs of every image of the repositories with these indexes, but for those that are remembered.
///
/// # Errors
/// When the store does not answer. A config that is there and cannot be read is known as such, and is no error.
pub fn created(
    tree: &Tree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
    repositories: &[usize],
    cache: Option<&ManifestCache>,
    progress: &Progress,
) -> Result<(), StoreError> {
    let mut wanted: Vec<BlobId> = repositories
        .iter()
        .flat_map(|index| &inventory.repositories[*index].revisions)
        .filter(|revision| revision.link != Link::Missing)
        .filter_map(|revision| inventory.facts(revision.digest))
        .flat_map(|facts| facts.references.iter())
        .filter(|edge| edge.role == Role::Config)
        .map(|edge| edge.digest)
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    progress.begin("reading image configs", Some(wanted.len() as u64));
    let near = tree.near(distribution::blobs_root());
    for chunk in wanted.chunks(CHUNK) {
        let digests: Vec<Digest> = chunk.iter().map(|id| inventory.blobs.digest(*id)).collect();
        let recalled = cache.map_or_else(Vec::new, |cache| cache.recall_created(&digests));
        let one = |index: usize| match recalled.get(index).copied().flatten() {
            Some(known) => Ok(known),
            None => progress.go_on().and_then(|()| read(&near, layout, &digests[index])),
        };
        let read: Vec<Created> =
            (0..chunk.len()).into_par_iter().map(one).collect::<Result<_, StoreError>>()?;
        if let Some(cache) = cache {
            let new = digests.iter().zip(&read).enumerate();
            let new = new.filter(|(index, _)| recalled.get(*index).copied().flatten().is_none());
            cache.remember_created(&new.map(|(_, (digest, read))| (*digest, *read)).collect::<Vec<_>>());
        }
        inventory.created.extend(chunk.iter().copied().zip(read));
        progress.add(chunk.len());
    }
    if let Some(cache) = cache.filter(|_| !wanted.is_empty()) {
        cache.trim_created(wanted.iter().map(|id| inventory.blobs.digest(*id)));
    }
    Ok(())
}

/// What one config says. Only what its digest vouches for is believed.
fn read(near: &Near<'_>, layout: &dyn RegistryLayout, digest: &Digest) -> Result<Created, StoreError> {
    // A layout in which a digest alone leads nowhere: what it says is not known.
    let Some(key) = layout.key(&Entry::BlobData { digest: *digest }) else { return Ok(Created::Unreadable) };
    match near.read(&key, MAX_CONFIG_BYTES as u64) {
        Ok(Some((body, _))) if digest.matches(&body) => {
            Ok(config::created(&body).map_or(Created::Unstated, Created::At))
        }
        // It is there, and what it says is not known: never the same as having nothing to say.
        Ok(Some(_)) | Err(StoreError::TooLarge { .. } | StoreError::Io { .. }) => Ok(Created::Unreadable),
        Err(error) if error.is_denied() => Ok(Created::Unreadable),
        // An image without its config has no time of its own, nor can anybody pull it.
        Ok(None) => Ok(Created::Unstated),
        Err(error) => Err(error),
    }
}
