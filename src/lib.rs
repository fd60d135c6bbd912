//! regsweep: the storage garbage collector for self-hosted container registries.
#![warn(missing_docs)]

pub mod clock;
pub mod config;
pub mod oci;

pub mod store;

pub mod layout;

pub mod inventory;

pub mod policy;

pub mod graph;

pub mod plan;

pub mod sweep;

pub mod report;

pub mod cli;
pub mod synth;
