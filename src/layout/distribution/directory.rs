//! What a directory of a distribution registry is, by its name alone.

use super::classify::{Place, below, is_known, split, split_digest, split_name};
use super::{BLOBS, REGISTRY, REPOSITORIES, is_own_state, is_plain, is_uuid};
use crate::layout::{DigestPlace, Directory, ForeignReason};
use crate::oci::Digest;

const OPEN_ABOVE: [&str; 6] = ["", "docker", "docker/registry", REGISTRY, BLOBS, REPOSITORIES];

pub(super) fn classify(key: &str) -> Directory<'_> {
    if OPEN_ABOVE.contains(&key) {
        return Directory::Open;
    }
    if !is_plain(key) {
        return Directory::Foreign(ForeignReason::Malformed);
    }
    let found = if let Some(path) = below(key, REPOSITORIES) {
        in_repositories(path)
    } else if let Some(path) = below(key, BLOBS) {
        in_blobs(path)
    } else if is_own_state(key) {
        Ok(Directory::OwnState)
    } else if below(key, REGISTRY).is_some() {
        Err(ForeignReason::Unexpected)
    } else {
        Err(ForeignReason::OutsideRegistry)
    };
    found.unwrap_or_else(Directory::Foreign)
}

fn in_blobs(path: &str) -> Result<Directory<'_>, ForeignReason> {
    let unknown = Directory::UnknownDigest { repository: None, kind: DigestPlace::Blob };
    let (algorithm, rest) = split(path);
    if !is_known(algorithm) {
        return Ok(unknown);
    }
    let (shard, rest) = split(rest);
    if shard.is_empty() {
        return Ok(Directory::Open);
    }
    if shard.len() != 2 || !shard.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(ForeignReason::WrongShard);
    }
    let (hex, rest) = split(rest);
    match Digest::from_parts(algorithm, hex) {
        _ if hex.is_empty() => Ok(Directory::Open),
        Err(_) => Ok(unknown),
        Ok(_) if !hex.starts_with(shard) => Err(ForeignReason::WrongShard),
        Ok(digest) if rest.is_empty() => Ok(Directory::Blob { digest }),
        Ok(_) if rest.starts_with("data") => Err(ForeignReason::ShadowsBlob),
        Ok(_) => Err(ForeignReason::Unexpected),
    }
}

fn in_repositories(path: &str) -> Result<Directory<'_>, ForeignReason> {
    let (repository, rest) = match split_name(path) {
        Err(ForeignReason::NoRepository) if !path.starts_with('_') => return Ok(Directory::Open),
        split => split?,
    };
    let (part, rest) = split(rest);
    match part {
        "_layers" => in_digests(repository, DigestPlace::LayerLink, rest, |digest, rest| match rest {
            "" => Ok(Directory::LayerLink { repository, digest }),
            _ => Err(ForeignReason::Unexpected),
        }),
        "_manifests" => match split(rest) {
            ("", "") => Ok(Directory::Open),
            ("revisions", rest) => in_digests(repository, DigestPlace::Revision, rest, |digest, rest| {
                in_revision(repository, digest, rest)
            }),
            ("tags", rest) => in_tags(repository, rest),
            _ => Err(ForeignReason::Unexpected),
        },
        "_uploads" => in_uploads(repository, rest),
        _ => Err(ForeignReason::ReservedName),
    }
}

/// A directory at or below `<algorithm>/<digits>`; `within` says what it is from the digits on.
fn in_digests<'k>(
    repository: &'k str,
    kind: DigestPlace,
    path: &'k str,
    within: impl FnOnce(Digest, &'k str) -> Result<Directory<'k>, ForeignReason>,
) -> Result<Directory<'k>, ForeignReason> {
    if path.is_empty() || is_known(path) {
        return Ok(Directory::Open);
    }
    match split_digest(path) {
        Ok(Place::Known(digest, rest)) => within(digest, rest),
        Ok(Place::Unknown) | Err(_) => Ok(Directory::UnknownDigest { repository: Some(repository), kind }),
    }
}

/// The directory that holds a link and nothing else, and that is already accounted for by what it stands in.
fn link_only(_: Digest, rest: &str) -> Result<Directory<'_>, ForeignReason> {
    if rest.is_empty() { Ok(Directory::Open) } else { Err(ForeignReason::Unexpected) }
}

fn in_revision<'k>(
    repository: &'k str,
    digest: Digest,
    path: &'k str,
) -> Result<Directory<'k>, ForeignReason> {
    match split(path) {
        ("", "") => Ok(Directory::Revision { repository, digest }),
        ("signatures", rest) => in_digests(repository, DigestPlace::Signature, rest, link_only),
        _ => Err(ForeignReason::Unexpected),
    }
}

fn in_tags<'k>(repository: &'k str, path: &'k str) -> Result<Directory<'k>, ForeignReason> {
    let (tag, rest) = split(path);
    match split(rest) {
        _ if tag.is_empty() => Ok(Directory::Open),
        ("", "") => Ok(Directory::Tag { repository, tag }),
        ("current", "") => Ok(Directory::Open),
        ("index", rest) => in_digests(repository, DigestPlace::TagHistory, rest, link_only),
        _ => Err(ForeignReason::Unexpected),
    }
}

fn in_uploads<'k>(repository: &'k str, path: &'k str) -> Result<Directory<'k>, ForeignReason> {
    let (upload, rest) = split(path);
    if upload.is_empty() {
        return Ok(Directory::Open);
    }
    if !is_uuid(upload) {
        return Err(ForeignReason::UploadName);
    }
    match split(rest) {
        ("", "") => Ok(Directory::Upload { repository, upload }),
        ("hashstates", rest) if !rest.contains('/') => Ok(Directory::Open),
        _ => Err(ForeignReason::Unexpected),
    }
}
