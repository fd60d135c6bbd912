//! Stage 8: the sidecar. It carries out cycles on a schedule, takes in what the registry tells, and says what it did.

pub mod board;
pub mod events;
pub mod guard;
pub mod http;
pub mod keeper;
pub mod metrics;
pub mod page;
pub mod schedule;
pub mod webhook;
pub mod window;
