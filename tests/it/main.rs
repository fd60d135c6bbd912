//! The one integration binary.

mod bad_input;
mod buckets;
mod changed;
mod checker;
mod cli;
mod crash;
mod decisions;
mod deploy;
mod explain;
mod full_disk;
mod holders;
mod independent;
mod interleave;
mod nexus;
mod page;
mod policy_schema;
mod properties;
mod pulls;
mod registry;
mod rubin;
mod sidecar;
mod soak;
mod support;
mod sweepers;
mod synth;
mod tidy;
