//! The layout of the CNCF distribution registry, 2.x and 3.x.
//!
//! ```text
//! docker/registry/v2/blobs/<algorithm>/<first 2 digits>/<digits>/data
//! docker/registry/v2/repositories/<name>/
//!     _layers/<algorithm>/<digits>/link
//!     _manifests/revisions/<algorithm>/<digits>/link
//!     _manifests/revisions/<algorithm>/<digits>/signatures/<algorithm>/<digits>/link    up to 2.4
//!     _manifests/tags/<tag>/current/link
//!     _manifests/tags/<tag>/index/<algorithm>/<digits>/link
//!     _uploads/<uuid>/{data,startedat,hashstates/<algorithm>/<offset>}
//! scheduler-state.json                                                                  pull-through caches
//! ```
//!
//! A name may have several components, and a repository may stand within another's directory (`a` and `a/b`). Since
//! no component of a name may start with `_`, the first that does ends the name.

mod classify;
mod directory;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

use super::{Directory, Entry, Keeps, RegistryLayout, UploadPart};
use crate::oci::Digest;

/// The layout of the CNCF distribution registry, 2.x and 3.x: `docker/registry/v2/{blobs,repositories}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distribution;

/// A part of a repository that is a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// `_layers`
    Layers,
    /// `_manifests`
    Manifests,
    /// `_manifests/revisions`
    Revisions,
    /// `_manifests/tags`
    Tags,
    /// `_uploads`
    Uploads,
}

const REGISTRY: &str = "docker/registry/v2";
const BLOBS: &str = "docker/registry/v2/blobs";
const REPOSITORIES: &str = "docker/registry/v2/repositories";
const SCHEDULER_STATE: &str = "scheduler-state.json";

/// `docker/registry/v2/blobs`.
pub fn blobs_root() -> &'static str {
    BLOBS
}

/// `docker/registry/v2/repositories`.
pub fn repositories_root() -> &'static str {
    REPOSITORIES
}

/// The directory of a repository. Like all directories here without a trailing slash: a listing by prefix must add it,
/// or `v1` also lists `v1-alpine`.
pub fn repository(name: &str) -> String {
    format!("{REPOSITORIES}/{name}")
}

/// The directory of a part of a repository.
pub fn repository_part(name: &str, part: Part) -> String {
    let part = match part {
        Part::Layers => "_layers",
        Part::Manifests => "_manifests",
        Part::Revisions => "_manifests/revisions",
        Part::Tags => "_manifests/tags",
        Part::Uploads => "_uploads",
    };
    format!("{REPOSITORIES}/{name}/{part}")
}

/// The directory of a tag.
pub fn tag(name: &str, tag: &str) -> String {
    format!("{REPOSITORIES}/{name}/_manifests/tags/{tag}")
}

/// When an upload began, by its name: distribution 3.1 and later name uploads by UUID version 7, which begins with the
/// milliseconds since 1970. None for the version 4 of earlier registries, and for what is no UUID.
pub fn upload_started(upload: &str) -> Option<Timestamp> {
    let bytes = upload.as_bytes();
    let is_version_7 = is_uuid(upload) && bytes[14] == b'7' && matches!(bytes[19], b'8' | b'9' | b'a' | b'b');
    if !is_version_7 {
        return None;
    }
    let high = i64::from_str_radix(&upload[..8], 16).ok()?;
    let low = i64::from_str_radix(&upload[9..13], 16).ok()?;
    Timestamp::from_millisecond((high << 16) | low).ok()
}

/// A UUID as the registry writes it: lower-case, with hyphens.
fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(position, byte)| match position {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// Whether each component of `path` names something: none is empty, `.` or `..`.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|component| !matches!(component, "" | "." | ".."))
}

/// Whether `path` is our own state or below it.
fn is_own_state(path: &str) -> bool {
    path.strip_prefix(super::OWN_STATE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn links(root: &str, digest: &Digest) -> String {
    format!("{root}/{}/{}", digest.algorithm(), digest.hex())
}

fn blob(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{BLOBS}/{}/{}/{hex}", digest.algorithm(), &hex[..2])
}

fn revision(name: &str, digest: &Digest) -> String {
    links(&repository_part(name, Part::Revisions), digest)
}

fn layer(name: &str, digest: &Digest) -> String {
    links(&repository_part(name, Part::Layers), digest)
}

fn upload(name: &str, upload: &str) -> String {
    format!("{}/{upload}", repository_part(name, Part::Uploads))
}

impl RegistryLayout for Distribution {
    fn name(&self) -> &'static str {
        "distribution"
    }

    fn keeps(&self) -> Keeps {
        Keeps::Links
    }

    fn classify<'k>(&self, key: &'k str) -> Entry<'k> {
        classify::classify(key)
    }

    fn classify_directory<'k>(&self, key: &'k str) -> Directory<'k> {
        directory::classify(key)
    }

    fn key(&self, entry: &Entry<'_>) -> Option<String> {
        let key = match *entry {
            Entry::BlobData { digest } => blob(&digest) + "/data",
            Entry::RevisionLink { repository, digest } => revision(repository, &digest) + "/link",
            Entry::RevisionSignature { repository, digest, signature } => {
                links(&(revision(repository, &digest) + "/signatures"), &signature) + "/link"
            }
            Entry::TagCurrent { repository, tag } => self::tag(repository, tag) + "/current/link",
            Entry::TagHistory { repository, tag, digest } => {
                links(&(self::tag(repository, tag) + "/index"), &digest) + "/link"
            }
            Entry::LayerLink { repository, digest } => layer(repository, &digest) + "/link",
            Entry::UploadPart { repository, upload, part } => {
                let directory = self::upload(repository, upload);
                match part {
                    UploadPart::Data => directory + "/data",
                    UploadPart::StartedAt => directory + "/startedat",
                    UploadPart::HashState { algorithm, offset } => {
                        format!("{directory}/hashstates/{algorithm}/{offset}")
                    }
                }
            }
            Entry::Temporary { of, uuid } => format!("{of}.{uuid}.tmp"),
            Entry::SchedulerState => SCHEDULER_STATE.to_owned(),
            Entry::UnknownDigest { .. }
            | Entry::Asset(_)
            | Entry::Staged
            | Entry::Bookkeeping
            | Entry::OwnState
            | Entry::FolderMarker
            | Entry::Foreign(_) => {
                return None;
            }
        };
        // A name such as `a/_layers` would build the key of something else: what reads back otherwise is no key.
        (self.classify(&key) == *entry).then_some(key)
    }

    fn directory_key(&self, directory: &Directory<'_>) -> Option<String> {
        let key = match *directory {
            Directory::Blob { digest } => blob(&digest),
            Directory::Revision { repository, digest } => revision(repository, &digest),
            Directory::Tag { repository, tag } => self::tag(repository, tag),
            Directory::LayerLink { repository, digest } => layer(repository, &digest),
            Directory::Upload { repository, upload } => self::upload(repository, upload),
            Directory::Open
            | Directory::UnknownDigest { .. }
            | Directory::OwnState
            | Directory::Foreign(_) => {
                return None;
            }
        };
        (self.classify_directory(&key) == *directory).then_some(key)
    }
}
