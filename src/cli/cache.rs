//! What of the registry remembers blobs, as the command line names it.

use clap::Args;

use super::{Failure, StoreArgs, usage};
use crate::sweep::cache::Caches;

/// What of the registry remembers blobs that are gone.
#[derive(Debug, Clone, Args)]
pub(super) struct CacheArgs {
    #[arg(
        long,
        value_name = "URL",
        env = "REGSWEEP_REDIS",
        help = "The registry's Redis (redis:// or rediss://), to make it forget what goes [default: what --registry-config says]"
    )]
    redis: Option<String>,
    #[arg(
        long,
        value_name = "URL",
        env = "REGSWEEP_REGISTRY_URL",
        value_delimiter = ',',
        help = "The registry itself, once for each replica: makes its cache in memory forget what goes; with --offline, \
                asks whether it takes writes"
    )]
    pub(super) registry_url: Vec<String>,
    /// Every replica of the registry was restarted since the last run: its caches in memory are new
    #[arg(long, env = "REGSWEEP_ASSUME_RESTARTED")]
    pub(super) assume_restarted: bool,
}

impl CacheArgs {
    pub(super) fn caches(&self, store: &StoreArgs) -> Result<Caches, Failure> {
        let config = store.registry_configuration()?;
        Caches::of(config.as_ref(), self.redis.as_deref(), &self.registry_url, self.assume_restarted)
            .map_err(usage)
    }

    /// The caches that outlive the registry's process.
    pub(super) fn of_stopped(&self, store: &StoreArgs) -> Result<Caches, Failure> {
        let config = store.registry_configuration()?;
        Caches::of(config.as_ref(), self.redis.as_deref(), &[], self.assume_restarted).map_err(usage)
    }
}
