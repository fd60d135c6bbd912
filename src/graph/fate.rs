//! What becomes of a manifest, and why.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::oci::{Digest, RepositoryName, TagName};
use crate::policy::Decision;

/// What a restore put back, kept until a moment whatever a policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// Until when.
    pub until: Timestamp,
    /// Tags.
    pub tags: Vec<(RepositoryName, TagName)>,
    /// Manifests.
    pub revisions: Vec<(RepositoryName, Digest)>,
    /// Blobs: these count as in grace.
    pub blobs: Vec<Digest>,
}

/// Why a manifest stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// A tag that stays points to it: the tag's index in its repository.
    Tag(usize),
    /// Something that stays needs it, or is its subject.
    Reference,
    /// No tag, and the policy's rule for untagged manifests keeps it.
    Untagged(Decision),
    /// Younger than the grace.
    Young,
    /// Restored a short while ago.
    Pinned,
    /// A list of pins names it, or something runs it: the source that says so.
    Named(Arc<str>),
    /// Its repository has a gap.
    Gap,
}

/// Why a manifest goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// It has no tag, and no rule holds it.
    Untagged(Decision),
    /// Its subject is gone for long enough.
    Orphaned(Decision),
    /// The manifest that it belongs to goes.
    Along,
}

/// What becomes of a manifest in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Kept(Held),
    /// It goes.
    Expired(Gone),
    /// It has no link any more: only an empty directory is left.
    Absent,
}
