//! Reality: real registries and real clients. Push, stop, sweep, start again, and pull everything that was to be kept,
//! byte for byte.
//!
//! Every test runs against distribution 2.8 (Debian's `docker-registry`) and against 3.x. The 3.x binary is
//! not packaged: those tests are `#[ignore]`d in a plain `cargo test` and run by
//! `REGSWEEP_REGISTRY_3=/path/to/registry tests/run`, as the continuous integration does.

pub mod client;
pub mod command;
pub mod content;
pub mod corpus;
pub mod server;
pub mod skopeo;
pub mod world;

mod caches;
mod clients;
mod collect;
mod harness;
mod online;
mod pulled;
mod restore;
mod sweep;

/// Declares tests for both versions from functions that take a `Version`.
macro_rules! on_both_versions {
    ($($test:ident),+ $(,)?) => {
        mod v2_8 {
            $(#[test]
            fn $test() {
                super::$test($crate::registry::server::Version::V2);
            })+
        }

        mod v3 {
            $(#[test]
            #[ignore = "needs REGSWEEP_REGISTRY_3, the path of a distribution 3.x registry"]
            fn $test() {
                super::$test($crate::registry::server::Version::V3);
            })+
        }
    };
}
pub(crate) use on_both_versions;
