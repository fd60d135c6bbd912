//! What link files say: where a tag points, what an alias stands for, which revisions are still linked.

use md5::{Digest as _, Md5};
use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::record::link_state;
use super::scan::join;
use super::{BlobId, BlobTable, Body, Gap, Inventory, Link, Repository, Revision, Tag, Target};
use crate::layout::distribution::{self, Part};
use crate::layout::{Directory, Entry, RegistryLayout};
use crate::oci::Digest;
use crate::store::{Kind, Meta, Near, StoreError, Tree};

/// A link is 71 bytes, an alias to sha512 would be 135: anything longer is no link.
const MAX_LINK_BYTES: u64 = 1024;

/// What is said of a file that is there, or may be.
const DENIED: &str = "may not be read by this user: give read permission";

/// Registries before 3.1 truncate a link before they write it again: an empty one may be a moment, not a fact.
const READS_OF_A_DAMAGED_LINK: usize = 5;

/// A link's content, or what is wrong with it, and its times where they may be known.
type LinkRead = (Result<Digest, String>, Option<Meta>);

/// What links of a repository may hold, by the MD5 of it: so a link of a bucket is known without being read.
struct Told {
    revisions: FxHashMap<[u8; 16], BlobId>,
}

impl Told {
    fn of(repository: &Repository, blobs: &BlobTable) -> Self {
        // A tag's own history nearly always tells: all manifests are gone through only where it does not.
        let unknown =
            repository.tags.iter().any(|tag| tag.md5.is_some() && from_history(tag, blobs).is_none());
        let revisions: &[Revision] = if unknown { &repository.revisions } else { &[] };
        let by_md5 = |revision: &Revision| (md5_of_link(&blobs.digest(revision.digest)), revision.digest);
        Self { revisions: revisions.iter().map(by_md5).collect() }
    }

    /// What a tag means, when the MD5 of its link is that of one of the digests it can hold.
    fn target(&self, tag: &Tag, blobs: &BlobTable) -> Option<Digest> {
        from_history(tag, blobs).or_else(|| self.revisions.get(&tag.md5?).map(|id| blobs.digest(*id)))
    }
}

fn from_history(tag: &Tag, blobs: &BlobTable) -> Option<Digest> {
    let told = tag.md5?;
    let digests = tag.history.iter().flatten().map(|entry| blobs.digest(entry.digest));
    digests.into_iter().find(|digest| md5_of_link(digest) == told)
}

/// The MD5 of a link to `digest`, as the registry writes it.
fn md5_of_link(digest: &Digest) -> [u8; 16] {
    Md5::digest(digest.to_string().as_bytes()).into()
}

/// Reads what every tag points to, with the time of its link.
pub(super) fn tags(
    tree: &Tree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
) -> Result<(), StoreError> {
    let read: Vec<Vec<Option<LinkRead>>> = inventory
        .repositories
        .par_iter()
        .map(|repository| {
            let near = tree.near(&distribution::repository_part(repository.name.as_str(), Part::Tags));
            let told = Told::of(repository, &inventory.blobs);
            repository
                .tags
                .par_iter()
                .map(|tag| {
                    if let Some(digest) = told.target(tag, &inventory.blobs) {
                        return Ok(Some((Ok(digest), None)));
                    }
                    let entry =
                        Entry::TagCurrent { repository: repository.name.as_str(), tag: tag.name.as_str() };
                    let Some(key) = layout.key(&entry) else { return Ok(None) };
                    if tag.changed.is_some() { read_listed(&near, &key) } else { read_link(&near, &key) }
                })
                .collect::<Result<Vec<_>, StoreError>>()
        })
        .collect::<Result<_, StoreError>>()?;
    let Inventory { repositories, blobs, gaps, .. } = inventory;
    for (repository, read) in repositories.iter_mut().zip(read) {
        for (tag, read) in repository.tags.iter_mut().zip(read) {
            let (digest, meta) = read.map_or((None, None), |(digest, meta)| (Some(digest), meta));
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
    tree: &Tree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
) -> Result<(), StoreError> {
    let Inventory { repositories, blobs, gaps, .. } = inventory;
    for repository in repositories {
        for alias in &mut repository.aliases {
            let digest = blobs.digest(alias.alias);
            let entry = Entry::LayerLink { repository: repository.name.as_str(), digest };
            let Some(key) = layout.key(&entry) else { continue };
            let near = tree.near_root();
            let read =
                if alias.changed.is_some() { read_listed(&near, &key)? } else { read_link(&near, &key)? };
            let why = match read {
                None => continue,
                Some((found, meta)) => {
                    alias.size = meta.map_or(0, |meta| meta.size);
                    alias.changed = meta.map(|meta| meta.changed);
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
    tree: &Tree,
    layout: &dyn RegistryLayout,
    inventory: &mut Inventory,
) -> Result<(), StoreError> {
    let Inventory { repositories, blobs, gaps, .. } = inventory;
    repositories.par_iter_mut().try_for_each(|repository| {
        let name = &repository.name;
        let near = tree.near(&distribution::repository_part(name.as_str(), Part::Revisions));
        repository.revisions.par_iter_mut().try_for_each(|revision| {
            let digest = blobs.digest(revision.digest);
            let entry = Entry::RevisionLink { repository: name.as_str(), digest };
            let Some(key) = layout.key(&entry) else { return Ok(()) };
            match near.stat(&key) {
                Ok(Some(meta)) => {
                    revision.link = link_state(&digest, meta.size);
                    revision.pushed = Some(meta.modified);
                    revision.changed = Some(meta.changed);
                }
                Ok(None) => {}
                // There may be one: without a time it counts as young.
                Err(error) if error.is_denied() => revision.link = Link::Unknown,
                Err(error) => return Err(error),
            }
            Ok(())
        })
    })?;
    for repository in repositories {
        for revision in repository.revisions.iter().filter(|revision| revision.link == Link::Unknown) {
            let entry = Entry::RevisionLink {
                repository: repository.name.as_str(),
                digest: blobs.digest(revision.digest),
            };
            gaps.push(Gap {
                repository: Some(repository.name.clone()),
                key: layout.key(&entry).unwrap_or_default(),
                why: format!("the link {DENIED}"),
            });
            repository.pinned = true;
        }
    }
    Ok(())
}

/// Finds the signature blobs of schema 1 manifests, which only their revision's directory names.
pub(super) fn signatures(
    tree: &Tree,
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

/// Reads a link that was listed. An answer that it is not there contradicts the listing: it is asked for again, and counts
/// as damaged when the answer stays the same.
fn read_listed(tree: &Near<'_>, key: &str) -> Result<Option<LinkRead>, StoreError> {
    for _ in 0..2 {
        if let Some(read) = read_link(tree, key)? {
            return Ok(Some(read));
        }
    }
    Ok(Some((Err("the link was listed and was not there when it was read".to_owned()), None)))
}

/// Reads a link, again when it looks torn. `None` when it is not there.
fn read_link(tree: &Near<'_>, key: &str) -> Result<Option<LinkRead>, StoreError> {
    let mut last = None;
    for _ in 0..READS_OF_A_DAMAGED_LINK {
        let (body, meta) = match tree.read(key, MAX_LINK_BYTES) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(StoreError::TooLarge { size, .. }) => match tree.stat(key)? {
                Some(meta) => return Ok(Some((Err(format!("the link has {size} bytes")), Some(meta)))),
                None => return Ok(None),
            },
            // It is there and says nothing: as a damaged link it keeps what it may mean.
            Err(error) if error.is_denied() => {
                return Ok(Some((Err(format!("the link {DENIED}")), tree.stat(key).unwrap_or_default())));
            }
            // A registry may follow a symbolic link, and nothing here does.
            Err(error) => match tree.stat(key)? {
                Some(meta) if meta.kind != Kind::File => {
                    return Ok(Some((Err("the link is no regular file".into()), Some(meta))));
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
            return Ok(Some((parsed, Some(meta))));
        }
        last = Some((parsed, Some(meta)));
        std::thread::yield_now();
    }
    Ok(last)
}
