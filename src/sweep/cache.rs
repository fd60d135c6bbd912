//! Placeholder until the branch lands.
use crate::oci::{Digest, RepositoryName};

/// What of the registry remembers blobs.
#[derive(Debug, Clone, Default)]
pub struct Caches;
/// E
#[derive(Debug, thiserror::Error)]
#[error("no")]
pub struct CacheError;
impl Caches {
    /// E
    pub fn of(
        _c: Option<&crate::config::registry::RegistryConfig>,
        _r: Option<&str>,
        _u: &[String],
        _a: bool,
    ) -> Result<Self, CacheError> {
        Ok(Self)
    }
    /// E
    pub fn forbids_purge(&self) -> Option<String> {
        None
    }
    /// E
    pub async fn evict(
        &self,
        _links: &[(RepositoryName, Digest)],
        _data: &[Digest],
    ) -> Result<(), CacheError> {
        Ok(())
    }
}
