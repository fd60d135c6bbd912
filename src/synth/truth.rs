//! What a generated store holds and what must survive in it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The known truth about a generated store. Digests are written `sha256:<64 hex>`; sizes are bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// Regular files under the root.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Repositories, those with upload sessions only included.
    pub repositories: u64,
    /// Current tags, dangling ones included.
    pub tags: u64,
    /// Entries of the tags' histories (`tags/<tag>/index/...`), the current ones included.
    pub tag_history: u64,
    /// Revision links over all repositories.
    pub revisions: u64,
    /// Distinct manifests with at least one revision link and data.
    pub manifests: u64,
    /// Blobs with data.
    pub blobs: u64,
    /// Their bytes.
    pub blob_bytes: u64,
    /// Layer links over all repositories, those by another algorithm than sha256 included.
    pub layer_links: u64,
    /// Layer links by another algorithm than sha256.
    pub layer_aliases: u64,
    /// Blobs that no manifest needs and that have no layer link.
    pub orphans: u64,
    /// Blobs that no manifest needs but that have a layer link, as an API delete of their manifest leaves them.
    pub orphans_linked: u64,
    /// Layer links whose blob has no data.
    pub dead_links: u64,
    /// Tags whose digest has no revision link.
    pub dangling_tags: u64,
    /// Upload sessions.
    pub uploads: u64,
    /// Link files that were emptied.
    pub empty_links: u64,
    /// Every blob with data, and its size.
    pub digests: BTreeMap<String, u64>,
    /// The blobs that must survive when policy removes nothing: whatever a revision or a tag leads to. The rest is what
    /// `registry garbage-collect` calls eligible, but for the registry's own mistakes (sha512 references, dangling tags).
    pub keep_all_manifests: BTreeSet<String>,
    /// The blobs that must survive when every tag is kept and every untagged manifest goes: what the tags lead to, with
    /// the children of kept indexes and the referrers of kept subjects.
    pub keep_tagged: BTreeSet<String>,
    /// Per repository, the revision links that must survive under the policy of `keep_tagged`.
    pub revisions_keep_tagged: BTreeMap<String, BTreeSet<String>>,
}

impl Truth {
    /// The blobs outside `keep`, which is one of the sets of this truth.
    pub fn outside<'a>(&'a self, keep: &'a BTreeSet<String>) -> impl Iterator<Item = &'a str> {
        self.digests.keys().filter(|digest| !keep.contains(*digest)).map(String::as_str)
    }

    /// The bytes of the blobs outside `keep`.
    pub fn bytes_outside(&self, keep: &BTreeSet<String>) -> u64 {
        self.digests.iter().filter(|(digest, _)| !keep.contains(*digest)).map(|(_, size)| size).sum()
    }
}
