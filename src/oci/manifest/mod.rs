//! A tolerant reader of manifests: which blobs and manifests does this one refer to?
//!
//! Everything that decides about deletion rests on this answer, so the reader errs to one side only. A reference too
//! many keeps a blob too long; a reference too few loses it. What it does not understand it reports, and whoever
//! marks keeps everything that the unknown may need.

mod collect;
mod descriptor;
mod document;
mod json;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::digest::Digest;

/// The largest manifest that distribution accepts and serves, in bytes: 4 MiB. It also bounds what one manifest can
/// make us remember, since a reference takes at least 64 of those bytes.
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// What kind of manifest a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// An image: Docker schema 2 or OCI image manifest.
    Image,
    /// Several manifests under one digest: Docker manifest list or OCI index.
    Index,
    /// The OCI artifact manifest of the 1.1 release candidates (`blobs`).
    Artifact,
    /// Docker schema 1 (`fsLayers`), with or without signatures.
    Schema1,
    /// A JSON object of a type or shape that is not known. Every digest in it counts as a reference.
    Opaque,
}

/// What a reference is, as far as the manifest tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// The image's config.
    Config,
    /// A layer.
    Layer,
    /// Another manifest, which has references of its own.
    Manifest,
    /// A blob that is neither config nor layer: an artifact's, or an index entry that says it is no manifest
    /// (`BuildKit`'s caches list layers there).
    Blob,
    /// The manifest does not tell: it may be either. Look at what exists.
    Unknown,
}

/// One thing that a manifest refers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The digest by which it is referred to.
    pub digest: Digest,
    /// Its size in bytes, where the descriptor gives one that makes sense.
    pub size: Option<u64>,
    /// What it is.
    pub role: Role,
    /// It need not be in this registry (the descriptor has `urls`, or its media type is one that is not distributed).
    /// When it is here it is as alive as any other.
    pub foreign: bool,
    /// `os/architecture` or `os/architecture/variant`, for entries of an index.
    pub platform: Option<String>,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What kind of manifest it is.
    pub kind: Kind,
    /// Its own `mediaType`, when it gives one that is not empty.
    pub media_type: Option<String>,
    /// Its own `artifactType`, when it gives one that is not empty.
    pub artifact_type: Option<String>,
    /// What it refers to, each digest once, in the document's order. Without the subject, except in [`Kind::Opaque`].
    pub references: Vec<Reference>,
    /// The manifest that this one is attached to. It is no reference: a signature does not keep the image.
    pub subject: Option<Reference>,
    /// Texts that stand where a digest should and cannot be resolved to one. Not empty: what this manifest needs is
    /// not fully known, so nothing that it may need can go. At most [`MAX_REMARKS`].
    pub unresolved: Vec<String>,
    /// What is odd but loses nothing, for a person to read. At most [`MAX_REMARKS`].
    pub notes: Vec<String>,
}

/// The most entries in [`Manifest::unresolved`] and in [`Manifest::notes`]: one is enough to act on, and a hostile
/// manifest could bring a million.
pub const MAX_REMARKS: usize = 16;

/// Why a manifest cannot be read at all. What it refers to is unknown, so nothing that it may need can go.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No bytes.
    #[error("the manifest is empty")]
    Empty,
    /// More than [`MAX_MANIFEST_BYTES`].
    #[error("{size} bytes are too many for a manifest; registries take at most {MAX_MANIFEST_BYTES}")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// Compressed content: a layer, or a manifest that something compressed on its way.
    #[error("the manifest is {0} data, not JSON")]
    Compressed(&'static str),
    /// The JSON ends too early.
    #[error("the manifest is cut off")]
    Truncated(#[source] serde_json::Error),
    /// No JSON, or nested deeper than 128 levels.
    #[error("the manifest is not valid JSON")]
    Json(#[source] serde_json::Error),
    /// JSON, but not an object.
    #[error("the manifest is JSON, but not an object")]
    NotAnObject,
}

impl Manifest {
    /// What it refers to, each digest once, in the document's order.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The manifest that this one is attached to.
    pub fn subject(&self) -> Option<&Reference> {
        self.subject.as_ref()
    }
}

/// Reads a manifest.
pub fn read(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    document::read(bytes)
}
