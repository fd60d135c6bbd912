//! The commands under test: `regsweep`, and the registry's own `garbage-collect`.
