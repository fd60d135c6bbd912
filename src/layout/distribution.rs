//! The layout of the CNCF distribution registry, 2.x and 3.x.

use jiff::Timestamp;

use super::{Directory, Entry, ForeignReason, RegistryLayout};

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

/// `docker/registry/v2/blobs`.
pub fn blobs_root() -> &'static str {
    "docker/registry/v2/blobs"
}

/// `docker/registry/v2/repositories`.
pub fn repositories_root() -> &'static str {
    "docker/registry/v2/repositories"
}

/// The directory of a repository. Like all directories here without a trailing slash: a listing by prefix must add it,
/// or `v1` also lists `v1-alpine`.
pub fn repository(name: &str) -> String {
    format!("{}/{name}", repositories_root())
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
    format!("{}/{name}/{part}", repositories_root())
}

/// The directory of a tag.
pub fn tag(name: &str, tag: &str) -> String {
    format!("{}/{name}/_manifests/tags/{tag}", repositories_root())
}

/// When an upload began, by its name: distribution 3.1 and later name uploads by UUID version 7, which begins with the
/// milliseconds since 1970. None for the version 4 of earlier registries, and for what is no UUID.
pub fn upload_started(_upload: &str) -> Option<Timestamp> {
    None
}

impl RegistryLayout for Distribution {
    fn name(&self) -> &'static str {
        "distribution"
    }

    fn classify<'k>(&self, _key: &'k str) -> Entry<'k> {
        Entry::Foreign(ForeignReason::Malformed)
    }

    fn classify_directory<'k>(&self, _key: &'k str) -> Directory<'k> {
        Directory::Foreign(ForeignReason::Malformed)
    }

    fn key(&self, _entry: &Entry<'_>) -> Option<String> {
        None
    }

    fn directory_key(&self, _directory: &Directory<'_>) -> Option<String> {
        None
    }
}
