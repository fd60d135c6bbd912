//! The one integration binary.

mod independent;
mod registry;
mod synth;
