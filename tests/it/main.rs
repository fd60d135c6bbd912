//! The one integration binary.

mod synth;
