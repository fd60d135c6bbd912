//! The `regsweep` binary.
fn main() {}
