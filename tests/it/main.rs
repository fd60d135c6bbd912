//! The one integration binary.

mod crash;
mod independent;
mod registry;
mod synth;
