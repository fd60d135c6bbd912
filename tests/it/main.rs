//! The one integration binary.

mod independent;
mod synth;
