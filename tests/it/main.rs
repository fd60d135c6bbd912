//! The one integration binary.

mod bad_input;
mod independent;
mod registry;
mod synth;
