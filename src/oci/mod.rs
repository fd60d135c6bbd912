//! The vocabulary of registries: digests, names and what a manifest refers to.
//!
//! No I/O, no clock, and nothing of the rest of the crate: every other module builds on this one.

pub mod digest;
pub mod manifest;
pub mod media_type;
pub mod name;

pub use digest::{Digest, DigestError};
pub use manifest::{Kind, Manifest, ManifestError, Reference, Role};
pub use name::{ImageReference, ImageReferenceError, NameError, RepositoryName, TagName};
