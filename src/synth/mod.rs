//! Distribution stores made to order, with known truth.
//!
//! [`Builder`] writes single objects into a directory exactly as registry 2.8 and 3.x write them on a filesystem: real
//! digests, valid manifests, link files of 71 bytes without a newline, upload sessions with their hash states. It also
//! damages what it wrote, in the ways stores are found damaged. [`Recipe`] draws a whole store from numbers and a seed.
//! Both end in a [`Truth`]: what was written and which blobs must survive.
//!
//! The module decides on its own what lives, and shares no code with the planner it is used to test.

mod builder;
mod damage;
mod generate;
mod ledger;
mod manifests;
mod nexus;
mod nexus_blobs;
mod random;
mod recipe;
mod referrers;
mod truth;

pub use builder::{Builder, sha256_digest, sha512_digest};
pub use damage::Link;
pub use manifests::{Foreign, Format, ImageSpec, IndexSpec, Platform};
pub use nexus::{Era, NexusRecipe};
pub use nexus_blobs::{NexusBlob, NexusTruth, State};
pub use random::SplitMix64;
pub use recipe::{Recipe, TagNames};
pub use truth::Truth;
