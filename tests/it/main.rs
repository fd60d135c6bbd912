//! The one integration binary.

mod cli;
mod independent;
mod registry;
mod synth;
mod tidy;
