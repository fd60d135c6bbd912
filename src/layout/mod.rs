//! What the keys of a store mean.
//!
//! A layout does no I/O: the scanner lists and reads, a layout only interprets names, and builds them. Keys are
//! `/`-separated and relative to the registry's storage root (the directory or prefix that holds
//! `docker/registry/v2`, or the blob stores of a repository manager), without a leading slash.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::oci::Digest;

pub mod distribution;
pub mod nexus;
pub mod properties;

pub use distribution::Distribution;
pub use nexus::Nexus;

/// What one key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'k> {
    /// A blob's content: layer, config or manifest alike.
    BlobData {
        /// The digest that the key names.
        digest: Digest,
    },
    /// A manifest belongs to a repository. The digest is the key's, so that an empty link hides nothing.
    RevisionLink {
        /// The repository's name.
        repository: &'k str,
        /// The manifest.
        digest: Digest,
    },
    /// A signature of a Docker schema 1 manifest, written by distribution up to 2.4.
    RevisionSignature {
        /// The repository's name.
        repository: &'k str,
        /// The manifest that is signed.
        digest: Digest,
        /// The blob that holds the signature.
        signature: Digest,
    },
    /// What a tag points to now; the digest is in the content.
    TagCurrent {
        /// The repository's name.
        repository: &'k str,
        /// The tag.
        tag: &'k str,
    },
    /// A manifest that a tag points to or once pointed to.
    TagHistory {
        /// The repository's name.
        repository: &'k str,
        /// The tag.
        tag: &'k str,
        /// The manifest.
        digest: Digest,
    },
    /// A layer or config may be pulled through a repository.
    LayerLink {
        /// The repository's name.
        repository: &'k str,
        /// The blob. When its algorithm is not sha256 it is an alias, and the content names the blob.
        digest: Digest,
    },
    /// A part of an upload that is under way or abandoned.
    UploadPart {
        /// The repository's name.
        repository: &'k str,
        /// The upload's UUID.
        upload: &'k str,
        /// Which part.
        part: UploadPart<'k>,
    },
    /// What distribution 3.1 and later leave behind when they die between writing a file and renaming it:
    /// `<file>.<uuid>.tmp`, beside the file.
    Temporary {
        /// The key of the file that was to be written; it classifies as something known, never as foreign.
        of: &'k str,
        /// The UUID.
        uuid: &'k str,
    },
    /// A link or content below a digest of an algorithm that is not known, such as `tarsum.v1+sha256` of registries
    /// before 2.1. It may mean a live blob, so its repository's blobs are pinned.
    UnknownDigest {
        /// The repository's name; none for the content of a blob.
        repository: Option<&'k str>,
        /// What stands at this place.
        kind: DigestPlace,
        /// Algorithm and digits as the key has them, such as `tarsum/v1/sha256/0123…`.
        digest: &'k str,
    },
    /// One of the two files of a blob of a Nexus blob store.
    Asset(nexus::AssetKey<'k>),
    /// What a repository manager has in hand: an upload, a blob about to be put in place, a record being replaced.
    Staged,
    /// What a repository manager writes down for itself. Never deleted.
    Bookkeeping,
    /// `scheduler-state.json`: the store of a pull-through cache, which expires content by itself.
    SchedulerState,
    /// Our own state and trash, below [`OWN_STATE`].
    OwnState,
    /// A key that ends in `/`, as some consoles create for a "folder". It holds nothing.
    FolderMarker,
    /// Anything else. Never deleted.
    Foreign(ForeignReason),
}

/// A part of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadPart<'k> {
    /// The bytes so far.
    Data,
    /// When it began: RFC 3339 in UTC, whole seconds.
    StartedAt,
    /// The state of a hash after so many bytes.
    HashState {
        /// The digest's algorithm.
        algorithm: &'k str,
        /// Bytes hashed.
        offset: u64,
    },
}

/// The places of a layout where a digest is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestPlace {
    /// The content of a blob.
    Blob,
    /// A manifest of a repository.
    Revision,
    /// A signature of such a manifest.
    Signature,
    /// What a tag once pointed to.
    TagHistory,
    /// A layer or config of a repository.
    LayerLink,
}

/// Why a key belongs to nobody that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForeignReason {
    /// Empty, a leading slash, `//`, or a component `.` or `..`: a store may take it for another key.
    Malformed,
    /// Outside the registry's own part of the store.
    OutsideRegistry,
    /// Below a blob's directory and begins like the blob's own key. A registry on a bucket takes it for the blob: it
    /// then acknowledges pushes that it does not store.
    ShadowsBlob,
    /// The digits of a known algorithm are too few, too many, not hexadecimal or upper-case.
    MalformedDigest,
    /// A blob's two-digit shard is not the beginning of its digest, or no two digits at all; or a blob lies in another
    /// directory than that of its hash, where nobody looks for it.
    WrongShard,
    /// Below a component that starts with `_` and is not one of the layout's.
    ReservedName,
    /// Below the repositories, but without a repository's name or outside its parts.
    NoRepository,
    /// An upload whose name is no UUID.
    UploadName,
    /// At a place where the layout has no such file or directory.
    Unexpected,
}

impl fmt::Display for ForeignReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Malformed => "the key has an empty component, a leading slash, `.` or `..`",
            Self::OutsideRegistry => "not a part of the registry",
            Self::ShadowsBlob => {
                "the key begins like a blob's: on a bucket the registry takes it for the blob and loses pushes"
            }
            Self::MalformedDigest => "the digest has the wrong length, upper-case or other digits",
            Self::WrongShard => "the blob stands in the wrong directory",
            Self::ReservedName => "names that start with `_` are the layout's, and it has none such",
            Self::NoRepository => "not a part of any repository",
            Self::UploadName => "the upload's name is no UUID",
            Self::Unexpected => "the layout has no such file here",
        })
    }
}

/// What a directory's name alone says, so that a reader of a filesystem need not open it to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directory<'k> {
    /// A part of the layout that means nothing by itself: its children do.
    Open,
    /// A blob.
    Blob {
        /// Its digest.
        digest: Digest,
    },
    /// A manifest of a repository.
    Revision {
        /// The repository's name.
        repository: &'k str,
        /// The manifest.
        digest: Digest,
    },
    /// A tag.
    Tag {
        /// The repository's name.
        repository: &'k str,
        /// The tag.
        tag: &'k str,
    },
    /// A layer or config of a repository.
    LayerLink {
        /// The repository's name.
        repository: &'k str,
        /// The blob, or an alias of it when the algorithm is not sha256.
        digest: Digest,
    },
    /// An upload.
    Upload {
        /// The repository's name.
        repository: &'k str,
        /// The upload's UUID.
        upload: &'k str,
    },
    /// Where a digest should be: a name that is none, or an algorithm that is not known. It may mean a live blob.
    UnknownDigest {
        /// The repository's name; none below the blobs.
        repository: Option<&'k str>,
        /// What stands at this place.
        kind: DigestPlace,
    },
    /// Our own state and trash.
    OwnState,
    /// Anything else. Never deleted.
    Foreign(ForeignReason),
}

/// The directory of our own state, below the storage root.
pub const OWN_STATE: &str = ".regsweep";

/// Where distribution keeps everything, below the storage root.
pub const DISTRIBUTION_ROOT: &str = "docker/registry/v2";

/// How a store says what belongs to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// By links below each repository: a digest's data is there once.
    Links,
    /// By a record beside every blob and a database elsewhere: a digest's data may be there several times.
    Records,
}

/// What was done to the flags of blobs in their records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flags {
    /// They were set, and the blobs are where they were.
    Set,
    /// They were set, and the blobs left their places.
    SetAndMoved,
    /// They were taken away again.
    Lifted,
}

/// What whoever runs a repository manager has to do afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Afterwards {
    /// What, in order.
    pub advice: Vec<String>,
    /// Statements for its database, if it has one of SQL.
    pub statements: Vec<String>,
}

/// Interprets and builds the keys of one storage layout.
pub trait RegistryLayout: Send + Sync {
    /// The layout's name, as the command line and reports write it.
    fn name(&self) -> &'static str;

    /// How such a store says what belongs to whom.
    fn keeps(&self) -> Keeps;

    /// What `key` is. Total: what is not understood is [`Entry::Foreign`]. Allocates nothing.
    fn classify<'k>(&self, key: &'k str) -> Entry<'k>;

    /// What the directory `key`, without a trailing slash, is by its name. The storage root is `""`.
    fn classify_directory<'k>(&self, key: &'k str) -> Directory<'k>;

    /// The one key that classifies as `entry`. None for what has no key of its own: an unknown digest, our own state,
    /// what a repository manager keeps for itself, folder markers, foreign keys, what another layout has; and for names that would not read back as the same entry.
    fn key(&self, entry: &Entry<'_>) -> Option<String>;

    /// The one directory that classifies as `directory`, without a trailing slash. None for what has none of its own.
    fn directory_key(&self, directory: &Directory<'_>) -> Option<String>;

    /// A record that says of its blob that it is deleted since `at`, and why, and else what `record` says, byte for byte.
    /// None where there are no records, or this one cannot be read or says so already.
    fn flagged(&self, _record: &[u8], _reason: &str, _at: Timestamp) -> Option<Vec<u8>> {
        None
    }

    /// What is to be done after the flags of these records were changed, in a store whose own name ends in `root`.
    fn afterwards(&self, _flags: Flags, _records: &[String], _root: &str) -> Afterwards {
        Afterwards::default()
    }
}
