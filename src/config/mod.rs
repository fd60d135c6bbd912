//! What a user writes in files, flags and the environment, as checked values.

pub mod registry;
pub mod values;
