//! What others know of a registry, that its storage does not tell: when images were pulled, and which are needed.
//!
//! What is read here can only keep things. Nothing here decides.

pub mod pulls;
pub mod references;

pub use pulls::PullRecord;
pub use references::{Reference, References};
