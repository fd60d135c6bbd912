//! Stage 8: the sidecar. It carries out cycles on a schedule, takes in what the registry tells, and says what it did.

pub mod schedule;
pub mod window;
