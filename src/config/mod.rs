//! Placeholder.

pub mod registry;
