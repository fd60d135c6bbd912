//! regsweep: the storage garbage collector for self-hosted container registries.
//!
//! Data flows one way, and the modules are its stages:
//!
//! ```text
//! store → layout → inventory → policy → sources → graph → plan → sweep → report
//!  open    what      what is    what is   what is   what    what   do it   tell
//!          keys mean there      wanted    in use    lives   will be
//! ```
//!
//! `store`, `inventory::scan`, `sources`, `sweep` and `cli` do I/O; everything between them is pure. A plan is data: it makes no
//! choices when it is carried out, and only a plan that an independent checker has passed can be. Only
//! `sweep/trash.rs` deletes, only `clock.rs` reads time, only `cli` prints.

pub mod oci;

pub mod clock;
pub mod config;
pub mod exit;

pub mod store;

pub mod layout;

pub mod evidence;

pub mod inventory;

pub mod policy;

pub mod sources;

pub mod graph;

pub mod plan;

pub mod sweep;

pub mod report;

pub mod sidecar;

pub mod cli;
pub mod pipeline;
pub mod synth;
