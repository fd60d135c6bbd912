//! Object stores for tests: one in memory that fails as it is told, and real servers of the protocols of S3, Azure and
//! Google. The tests in here show that each does what the other tests rely on.

pub mod bucket;
pub mod memory;
pub mod servers;

mod http;
mod process;

mod of_memory;
mod of_registry;
mod of_servers;
