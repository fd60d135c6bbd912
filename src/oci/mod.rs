//! The vocabulary of registries: digests, names and what a manifest refers to.
//!
//! No I/O, no clock, and nothing of the rest of the crate: every other module builds on this one.

pub mod config;
pub mod digest;
pub mod image_reference;
pub mod manifest;
pub mod media_type;
pub mod name;

pub use config::Created;
pub use digest::{Digest, DigestError};
pub use image_reference::{ImageReference, ImageReferenceError};
pub use manifest::{Kind, Manifest, ManifestError, Reference, Role};
pub use name::{NameError, RepositoryName, TagName};
