//! Stage 3: what is there.
//!
//! An [`Inventory`] is data: everything that decides afterwards takes it by reference and does no I/O. What could not be
//! read or understood is a [`Gap`] in it, and a gap only ever keeps.

use std::sync::Arc;

use jiff::Timestamp;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::oci::{Created, Kind, RepositoryName, Role, TagName};
use crate::store::{MultipartUpload, Noncurrent, Versioning};

pub mod assets;
mod batch;
pub mod created;
pub mod inspect;
mod lanes;
mod layer_link;
mod links;
mod listing;
pub mod manifest_cache;
mod read;
mod record;
pub mod scan;
mod table;
mod walk;

pub use assets::{Asset, Assets, Piece, Recorded, Serves, Standing};
pub use layer_link::LayerLink;
pub use table::{BlobId, BlobSet, BlobTable};

/// How much of every object is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Names, tags and manifests: what the mark needs. Sizes and times come later, for candidates alone.
    Names,
    /// Every object with its size and times: what an audit needs to account for every byte.
    Everything,
}

/// Everything that was found in a store.
#[derive(Debug)]
pub struct Inventory {
    /// How much was asked for.
    pub depth: Depth,
    /// When the listing of blobs began. Roots were read after it.
    pub listed_at: Timestamp,
    /// Every digest seen.
    pub blobs: BlobTable,
    /// Repositories by name.
    pub repositories: Vec<Repository>,
    /// Every manifest body that was looked for, by its digest's row.
    pub manifests: FxHashMap<BlobId, Body>,
    /// By a config's row, when it says that its image was created; only of images that somebody asked about.
    pub created: FxHashMap<BlobId, Created>,
    /// What could not be read or understood.
    pub gaps: Vec<Gap>,
    /// Files that a registry died while writing, `<name>.<uuid>.tmp`.
    pub temporary: Vec<LooseFile>,
    /// Links of schema 1 signatures.
    pub signature_links: Tally,
    /// Keys that belong to nobody that is known.
    pub foreign: Tally,
    /// Our own state and trash.
    pub own_state: Tally,
    /// The store of a pull-through cache, which expires content by itself.
    pub pull_through_cache: bool,
    /// What a bucket holds beside its objects.
    pub beside: Option<Beside>,
    /// Blob directories: their number is what a names-only listing knows of the data.
    pub directories: u64,
    /// The blobs one by one, in a store that keeps a record beside each; `None` where links say what belongs to whom.
    pub assets: Option<Assets>,
}

/// What a bucket holds beside its objects, and what could not be found out about that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// Whether it keeps what is deleted.
    pub versioning: Versioning,
    /// Versions of the registry's objects that are not current, where an audit asked.
    pub noncurrent: Option<Noncurrent>,
    /// Uploads in parts that were neither finished nor given up.
    pub uploads: Vec<MultipartUpload>,
    /// What was not answered, and why. Nothing depends on it.
    pub unknown: Vec<String>,
}

/// One repository.
#[derive(Debug)]
pub struct Repository {
    /// Its name, as found.
    pub name: RepositoryName,
    /// Tags by name.
    pub tags: Vec<Tag>,
    /// Manifests by digest.
    pub revisions: Vec<Revision>,
    /// Layers and configs by digest.
    pub layers: Vec<LayerLink>,
    /// Links whose digest is not the blob's own: `_layers/sha512/…` with a sha256 inside.
    pub aliases: Vec<Alias>,
    /// Signatures of schema 1 manifests: revision and signature blob.
    pub signatures: Vec<(BlobId, BlobId)>,
    /// Uploads under way or abandoned.
    pub uploads: Vec<Upload>,
    /// Which of `_layers`, `_manifests`, `_uploads` exist as directories.
    pub parts: Parts,
    /// Something of this repository was not understood: nothing in it goes.
    pub pinned: bool,
}

/// Which parts of a repository exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// `_layers`: how 2.x enumerates repositories.
    pub layers: bool,
    /// `_manifests`: how 3.x enumerates repositories.
    pub manifests: bool,
    /// `_uploads`.
    pub uploads: bool,
}

/// A tag.
#[derive(Debug)]
pub struct Tag {
    /// Its name.
    pub name: TagName,
    /// What it points to.
    pub target: Target,
    /// When it was last written: moving a tag is a touch.
    pub tagged: Option<Timestamp>,
    /// The latest sign of change.
    pub changed: Option<Timestamp>,
    /// Size of `current/link` in bytes.
    pub size: u64,
    /// The MD5 of `current/link`, where a bucket's listing may have told it.
    pub md5: Option<[u8; 16]>,
    /// Every manifest it points or pointed to; `None` until somebody asked.
    pub history: Option<Vec<History>>,
}

/// What a tag points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A manifest, whether or not it exists.
    Manifest(BlobId),
    /// The tag's directory has no `current/link`.
    Missing,
    /// The link is empty or holds something else than a digest.
    Corrupt(String),
}

/// One entry of a tag's history.
#[derive(Debug, Clone, Copy)]
pub struct History {
    /// The manifest.
    pub digest: BlobId,
    /// Size of the link in bytes, where it was asked for.
    pub size: Option<u64>,
}

/// A manifest's membership in a repository.
#[derive(Debug, Clone, Copy)]
pub struct Revision {
    /// The manifest.
    pub digest: BlobId,
    /// What its link looks like.
    pub link: Link,
    /// When it was last pushed to this repository.
    pub pushed: Option<Timestamp>,
    /// The latest sign of change.
    pub changed: Option<Timestamp>,
}

/// What a link file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// As the registry writes it.
    Whole,
    /// Of another size than a digest has: empty, short or overlong. The path still names the digest.
    Damaged {
        /// Size in bytes.
        size: u64,
    },
    /// The directory is there and the link is not: the registry's own deletes leave that.
    Missing,
    /// Nobody asked.
    Unknown,
}

/// A layer link that stands for another digest.
#[derive(Debug, Clone, Copy)]
pub struct Alias {
    /// The digest in the path, as manifests name it.
    pub alias: BlobId,
    /// The blob that the content names; `None` when it is unreadable, which pins the repository.
    pub target: Option<BlobId>,
    /// Size in bytes.
    pub size: u64,
    /// When the link last changed.
    pub changed: Option<Timestamp>,
}

/// An upload under way or abandoned.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Its identifier.
    pub id: String,
    /// Its files.
    pub files: Vec<LooseFile>,
}

impl Upload {
    /// The latest sign of life: bytes written to any of its files, or the start that its identifier tells.
    pub fn active(&self) -> Option<Timestamp> {
        let started = crate::layout::distribution::upload_started(&self.id);
        self.files.iter().map(|file| file.modified).chain(started).max()
    }

    /// The latest change of any of its files.
    pub fn changed(&self) -> Option<Timestamp> {
        self.files.iter().map(|file| file.changed).max()
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }
}

/// A file that is accounted for by its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LooseFile {
    /// Its key.
    pub key: String,
    /// Size in bytes.
    pub size: u64,
    /// When its content was last written.
    pub modified: Timestamp,
    /// The latest sign of change.
    pub changed: Timestamp,
}

/// What is known of a manifest's body.
#[derive(Debug)]
pub enum Body {
    /// It was read and understood.
    Read(Facts),
    /// It proved absent.
    Missing,
    /// It is there and was not understood: it pins the repositories that have it.
    Unreadable(String),
}

/// What a manifest says.
#[derive(Debug)]
pub struct Facts {
    /// Its kind.
    pub kind: Kind,
    /// Its media type, when it says one.
    pub media_type: Option<Arc<str>>,
    /// What it refers to.
    pub references: Box<[Edge]>,
    /// What it is about.
    pub subject: Option<BlobId>,
    /// Size in bytes.
    pub size: u64,
}

/// One reference of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// What is referred to.
    pub digest: BlobId,
    /// As what.
    pub role: Role,
    /// A layer with `urls`: the registry need not have it.
    pub foreign: bool,
}

/// Something that was listed and could not be read or understood. It keeps whatever it may hide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// The repository that it pins; `None` pins every blob of the store.
    pub repository: Option<RepositoryName>,
    /// Where it is.
    pub key: String,
    /// What is wrong, and what to do.
    pub why: String,
}

/// A number of objects with a few names to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first few keys.
    pub examples: Vec<String>,
}

impl Tally {
    const EXAMPLES: usize = 20;

    /// Adds one object.
    pub fn add(&mut self, key: &str, size: u64) {
        self.objects += 1;
        self.bytes += size;
        if self.examples.len() < Self::EXAMPLES {
            self.examples.push(key.to_owned());
        }
    }
}

impl Inventory {
    /// What `id` says as a manifest, when its body was read.
    pub fn facts(&self, id: BlobId) -> Option<&Facts> {
        match self.manifests.get(&id) {
            Some(Body::Read(facts)) => Some(facts),
            _ => None,
        }
    }

    /// Whether a gap hides what any blob of the store may be needed for.
    pub fn pins_everything(&self) -> bool {
        self.gaps.iter().any(|gap| gap.repository.is_none())
    }

    /// Number of tags.
    pub fn tags(&self) -> usize {
        self.repositories.iter().map(|repository| repository.tags.len()).sum()
    }

    /// Number of manifests, each counted once in every repository that has it.
    pub fn revisions(&self) -> usize {
        let linked = |repository: &Repository| {
            repository.revisions.iter().filter(|revision| revision.link != Link::Missing).count()
        };
        self.repositories.iter().map(linked).sum()
    }
}
