//! The blob stores of Sonatype Nexus Repository 3.
//!
//! ```text
//! [<store>/]metadata.properties                                   which kind of store it is
//! [<store>/]content/vol-NN/chap-NN/<uuid>.{bytes,properties}      by the hash of the UUID
//! [<store>/]content/yyyy/MM/dd/HH/mm/<uuid>.{bytes,properties}    by the minute of its creation, in UTC
//! [<store>/]content/tmp/…                                         uploads, and what is about to be put in place
//! [<store>/]content/directpath/…                                  files of Nexus itself
//! [<store>/]{*-metrics.properties,*deletions.index,reconciliation/…}
//! ```
//!
//! The `.bytes` are a blob's content as it is, and the `.properties` beside it say what it is. The root may be one blob
//! store or a directory of several, such as Nexus's own `blobs`: blobs of one repository may be spread over the members of
//! a group, so those are looked at together.

mod blob_ref;
mod names;
mod place;
mod queue;
mod record;
#[cfg(test)]
mod tests;

pub use blob_ref::BlobRef;
pub use names::{DockerName, docker_name, hides_a_manifest};
pub use place::{Minute, Place, Uuid};
pub use queue::deleted;
pub use record::Record;

use super::{Directory, Entry, ForeignReason, Keeps, RegistryLayout};

/// The blob stores of Sonatype Nexus Repository 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nexus;

/// One of the two files of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AssetKey<'k> {
    /// The blob store's directory below the root; empty when the root is the blob store.
    pub store: &'k str,
    /// The blob.
    pub id: Uuid,
    /// How it is placed.
    pub place: Place,
    /// Which of the two files.
    pub part: Part,
}

/// Which of a blob's two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `.bytes`: the content.
    Bytes,
    /// `.properties`: the record.
    Record,
}

impl Part {
    fn suffix(self) -> &'static str {
        match self {
            Self::Bytes => ".bytes",
            Self::Record => ".properties",
        }
    }
}

/// The directory of a blob store that holds its blobs.
pub const CONTENT: &str = "content";

/// The file that says which kind of store it is.
pub const METADATA: &str = "metadata.properties";

/// The blob store, by its directory, whose index of deleted blobs is at this key; nothing for any other key.
pub fn index_of(key: &str) -> Option<&str> {
    let (store, rest) = split_store(key);
    (is_plain(key) && !rest.contains('/') && rest.ends_with(INDEX)).then_some(store)
}

/// How the index of deleted blobs is called, behind the node that keeps it.
const INDEX: &str = "deletions.index";

/// Splits a key into the blob store's directory and the key in that store.
fn split_store(key: &str) -> (&str, &str) {
    let own = |rest: &str| {
        let first = rest.split('/').next().unwrap_or_default();
        first == CONTENT || first == "reconciliation"
    };
    match key.split_once('/') {
        Some((store, rest)) if !own(key) && !store.is_empty() => (store, rest),
        _ => ("", key),
    }
}

fn is_plain(key: &str) -> bool {
    key.split('/').all(|component| !matches!(component, "" | "." | ".."))
}

fn is_own_state(key: &str) -> bool {
    key.strip_prefix(super::OWN_STATE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn classify(key: &str) -> Result<Entry<'_>, ForeignReason> {
    if key.ends_with('/') {
        return Ok(Entry::FolderMarker);
    }
    if !is_plain(key) {
        return Err(ForeignReason::Malformed);
    }
    if is_own_state(key) {
        return Ok(Entry::OwnState);
    }
    let (store, rest) = split_store(key);
    let Some(path) = rest.strip_prefix(CONTENT).and_then(|rest| rest.strip_prefix('/')) else {
        let of_store = rest == METADATA
            || (!rest.contains('/') && (rest.ends_with("-metrics.properties") || rest.ends_with(INDEX)))
            || rest.starts_with("reconciliation/");
        return if of_store { Ok(Entry::Bookkeeping) } else { Err(ForeignReason::OutsideRegistry) };
    };
    if path.starts_with("directpath/") {
        return Ok(Entry::Bookkeeping);
    }
    if path.starts_with("tmp/") {
        return Ok(Entry::Staged);
    }
    let (directory, file) = path.rsplit_once('/').ok_or(ForeignReason::Unexpected)?;
    if is_replacement(file) && leads_to_blobs(directory) {
        return Ok(Entry::Staged);
    }
    let named = [Part::Bytes, Part::Record]
        .into_iter()
        .find_map(|part| Some((Uuid::parse(file.strip_suffix(part.suffix())?)?, part)));
    let (id, part) = named.ok_or(ForeignReason::Unexpected)?;
    match Place::read(directory, id) {
        Ok(Some(place)) => Ok(Entry::Asset(AssetKey { store, id, place, part })),
        Ok(None) => Err(ForeignReason::Unexpected),
        Err(()) => Err(ForeignReason::WrongShard),
    }
}

fn leads_to_blobs(directory: &str) -> bool {
    place::leads_to_blobs(directory)
}

/// `<uuid>.properties-<uuid>-<n>.tmp` and `….bak`: a record while it is being replaced.
fn is_replacement(file: &str) -> bool {
    let Some(name) = file.strip_suffix(".tmp").or_else(|| file.strip_suffix(".bak")) else { return false };
    name.get(..36).and_then(Uuid::parse).is_some() && name[36..].starts_with(".properties")
}

impl RegistryLayout for Nexus {
    fn name(&self) -> &'static str {
        "nexus"
    }

    fn keeps(&self) -> Keeps {
        Keeps::Records
    }

    fn classify<'k>(&self, key: &'k str) -> Entry<'k> {
        classify(key).unwrap_or_else(Entry::Foreign)
    }

    fn classify_directory<'k>(&self, key: &'k str) -> Directory<'k> {
        if key.is_empty() {
            return Directory::Open;
        }
        if !is_plain(key) {
            return Directory::Foreign(ForeignReason::Malformed);
        }
        if is_own_state(key) {
            return Directory::OwnState;
        }
        let (_, rest) = split_store(key);
        match rest.strip_prefix(CONTENT) {
            Some("") => Directory::Open,
            Some(path) => {
                let path = path.strip_prefix('/').unwrap_or_default();
                let reserved = ["tmp", "directpath"];
                let first = path.split('/').next().unwrap_or_default();
                if leads_to_blobs(path) || reserved.contains(&first) {
                    Directory::Open
                } else {
                    Directory::Foreign(ForeignReason::Unexpected)
                }
            }
            None if !key.contains('/') || rest.split('/').next() == Some("reconciliation") => Directory::Open,
            None => Directory::Foreign(ForeignReason::OutsideRegistry),
        }
    }

    fn key(&self, entry: &Entry<'_>) -> Option<String> {
        let Entry::Asset(AssetKey { store, id, place, part }) = *entry else { return None };
        let slash = if store.is_empty() { "" } else { "/" };
        let key = format!("{store}{slash}{CONTENT}/{}/{id}{}", place.directory(id), part.suffix());
        // A store's name that is the layout's own would build the key of something else.
        (self.classify(&key) == *entry).then_some(key)
    }

    fn directory_key(&self, _directory: &Directory<'_>) -> Option<String> {
        None
    }
}
