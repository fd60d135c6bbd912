//! What a key of a distribution registry is.

use super::{BLOBS, REGISTRY, REPOSITORIES, SCHEDULER_STATE, is_own_state, is_plain, is_uuid};
use crate::layout::{DigestPlace, Entry, ForeignReason, UploadPart};
use crate::oci::Digest;

/// A digest at the beginning of a path, and what follows it.
pub(super) enum Place<'k> {
    /// An algorithm that we know. The rest is without its slash, and empty when nothing follows.
    Known(Digest, &'k str),
    /// An algorithm that we do not know.
    Unknown,
}

pub(super) fn classify(key: &str) -> Entry<'_> {
    if key.ends_with('/') {
        return Entry::FolderMarker;
    }
    let found = match file(key) {
        Err(reason) => temporary(key).ok_or(reason),
        found => found,
    };
    // The literal parts of the grammar need no second look; what was taken as it stands does.
    match found {
        Ok(Entry::OwnState | Entry::UnknownDigest { .. }) | Err(_) if !is_plain(key) => {
            Entry::Foreign(ForeignReason::Malformed)
        }
        Ok(entry) => entry,
        Err(reason) => Entry::Foreign(reason),
    }
}

fn file(key: &str) -> Result<Entry<'_>, ForeignReason> {
    if let Some(rest) = below(key, REPOSITORIES) {
        return repository_file(rest);
    }
    if let Some(rest) = below(key, BLOBS) {
        return blob_file(rest);
    }
    if is_own_state(key) {
        return Ok(Entry::OwnState);
    }
    match key {
        SCHEDULER_STATE => Ok(Entry::SchedulerState),
        _ if below(key, REGISTRY).is_some() => Err(ForeignReason::Unexpected),
        _ => Err(ForeignReason::OutsideRegistry),
    }
}

/// The part of `path` below `directory`.
pub(super) fn below<'k>(path: &'k str, directory: &str) -> Option<&'k str> {
    path.strip_prefix(directory)?.strip_prefix('/')
}

/// Splits a path below the repositories into a repository's name, which no component with a leading `_` is part of, and
/// the rest, which begins with that component.
pub(super) fn split_name(path: &str) -> Result<(&str, &str), ForeignReason> {
    let end = path.as_bytes().windows(2).position(|pair| pair == b"/_").ok_or(ForeignReason::NoRepository)?;
    let name = &path[..end];
    if name.starts_with('_') {
        Err(ForeignReason::NoRepository)
    } else if is_plain(name) {
        Ok((name, &path[end + 1..]))
    } else {
        Err(ForeignReason::Malformed)
    }
}

/// Splits at the first slash. Without one, the rest is empty.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

/// Reads `<algorithm>/<digits>` at the beginning of a path.
pub(super) fn split_digest(path: &str) -> Result<Place<'_>, ForeignReason> {
    let (algorithm, rest) = split(path);
    if !is_known(algorithm) {
        return Ok(Place::Unknown);
    }
    let (hex, rest) = split(rest);
    match Digest::from_parts(algorithm, hex) {
        Ok(digest) => Ok(Place::Known(digest, rest)),
        Err(_) => Err(ForeignReason::MalformedDigest),
    }
}

/// The algorithms that [`Digest`] has.
pub(super) fn is_known(algorithm: &str) -> bool {
    matches!(algorithm, "sha256" | "sha512")
}

/// A file below an unknown algorithm: at least one component for it, `digits` for the digest, and `name`.
fn unknown_digest<'k>(
    repository: Option<&'k str>,
    kind: DigestPlace,
    path: &'k str,
    digits: usize,
    name: &str,
) -> Result<Entry<'k>, ForeignReason> {
    match path.rsplit_once('/') {
        Some((digest, file)) if file == name && digest.split('/').count() > digits => {
            Ok(Entry::UnknownDigest { repository, kind, digest })
        }
        _ => Err(ForeignReason::Unexpected),
    }
}

fn blob_file(path: &str) -> Result<Entry<'_>, ForeignReason> {
    let (algorithm, rest) = split(path);
    if !is_known(algorithm) {
        return unknown_digest(None, DigestPlace::Blob, path, 2, "data");
    }
    let (shard, rest) = split(rest);
    let (hex, file) = split(rest);
    if file.is_empty() {
        return Err(ForeignReason::Unexpected);
    }
    let digest = Digest::from_parts(algorithm, hex).map_err(|_| ForeignReason::MalformedDigest)?;
    if shard != &hex[..2] {
        Err(ForeignReason::WrongShard)
    } else if file == "data" {
        Ok(Entry::BlobData { digest })
    } else if file.starts_with("data") {
        Err(ForeignReason::ShadowsBlob)
    } else {
        Err(ForeignReason::Unexpected)
    }
}

fn repository_file(path: &str) -> Result<Entry<'_>, ForeignReason> {
    let (repository, rest) = split_name(path)?;
    let (part, rest) = split(rest);
    match part {
        "_layers" => match split_digest(rest)? {
            Place::Known(digest, "link") => Ok(Entry::LayerLink { repository, digest }),
            Place::Known(..) => Err(ForeignReason::Unexpected),
            Place::Unknown => unknown_digest(Some(repository), DigestPlace::LayerLink, rest, 1, "link"),
        },
        "_manifests" => match split(rest) {
            ("revisions", rest) => revision_file(repository, rest),
            ("tags", rest) => tag_file(repository, rest),
            _ => Err(ForeignReason::Unexpected),
        },
        "_uploads" => upload_file(repository, rest),
        _ => Err(ForeignReason::ReservedName),
    }
}

fn revision_file<'k>(repository: &'k str, path: &'k str) -> Result<Entry<'k>, ForeignReason> {
    match split_digest(path)? {
        Place::Known(digest, "link") => Ok(Entry::RevisionLink { repository, digest }),
        Place::Known(digest, rest) => {
            let path = rest.strip_prefix("signatures/").ok_or(ForeignReason::Unexpected)?;
            match split_digest(path)? {
                Place::Known(signature, "link") => {
                    Ok(Entry::RevisionSignature { repository, digest, signature })
                }
                Place::Known(..) => Err(ForeignReason::Unexpected),
                Place::Unknown => unknown_digest(Some(repository), DigestPlace::Signature, path, 1, "link"),
            }
        }
        Place::Unknown => unknown_digest(Some(repository), DigestPlace::Revision, path, 1, "link"),
    }
}

fn tag_file<'k>(repository: &'k str, path: &'k str) -> Result<Entry<'k>, ForeignReason> {
    let (tag, rest) = split(path);
    if !is_plain(tag) {
        return Err(ForeignReason::Malformed);
    }
    if rest == "current/link" {
        return Ok(Entry::TagCurrent { repository, tag });
    }
    let path = rest.strip_prefix("index/").ok_or(ForeignReason::Unexpected)?;
    match split_digest(path)? {
        Place::Known(digest, "link") => Ok(Entry::TagHistory { repository, tag, digest }),
        Place::Known(..) => Err(ForeignReason::Unexpected),
        Place::Unknown => unknown_digest(Some(repository), DigestPlace::TagHistory, path, 1, "link"),
    }
}

fn upload_file<'k>(repository: &'k str, path: &'k str) -> Result<Entry<'k>, ForeignReason> {
    let (upload, rest) = split(path);
    if !is_uuid(upload) {
        return Err(ForeignReason::UploadName);
    }
    let part = match rest {
        "data" => UploadPart::Data,
        "startedat" => UploadPart::StartedAt,
        _ => {
            let (directory, rest) = split(rest);
            let (algorithm, offset) = split(rest);
            let offset = decimal(offset);
            match (directory, offset) {
                ("hashstates", Some(offset)) if is_plain(algorithm) => {
                    UploadPart::HashState { algorithm, offset }
                }
                _ => return Err(ForeignReason::Unexpected),
            }
        }
    };
    Ok(Entry::UploadPart { repository, upload, part })
}

/// A number as the registry writes it: digits alone, no leading zero.
fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { text.parse().ok() } else { None }
}

/// `<file>.<uuid>.tmp`, beside a file that distribution 3.1 and later would write.
fn temporary(key: &str) -> Option<Entry<'_>> {
    let (of, uuid) = key.strip_suffix(".tmp")?.rsplit_once('.')?;
    let written = is_uuid(uuid)
        && matches!(
            file(of),
            Ok(Entry::BlobData { .. }
                | Entry::RevisionLink { .. }
                | Entry::TagCurrent { .. }
                | Entry::TagHistory { .. }
                | Entry::LayerLink { .. }
                | Entry::UploadPart { .. }
                | Entry::SchedulerState)
        );
    written.then_some(Entry::Temporary { of, uuid })
}
