//! What was pushed, and what is to become of it.
