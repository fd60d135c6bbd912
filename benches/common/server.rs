//! The server in memory that the tests have. It asks for `support` and `buckets` at the root of the crate.

#[path = "../../tests/it/support.rs"]
pub mod support;

#[path = "../../tests/it/buckets"]
pub mod buckets {
    pub mod bucket;
    mod http;
    pub mod memory;
}
