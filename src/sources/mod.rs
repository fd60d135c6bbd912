//! What others know of a registry, that its storage does not tell: when images were pulled.
//!
//! What is read here can only keep things. Nothing here decides.

pub mod pulls;
