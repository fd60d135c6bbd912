//! Makes a registry forget the blobs whose links or data have gone.
//!
//! distribution (2.8 and 3.x) keeps blob descriptors in a cache without expiry, if its configuration says so: one entry for
//! each pair of repository and digest, which stands for the layer link and, since 3.0, for the revision link; and one for each
//! digest, which stands for the data. What is cached is believed: `HEAD`, mounts and checks of a manifest's references
//! succeed after link and data have gone, so that clients skip uploads and their images are corrupt.
//!
//! Redis forgets by key. A registry that caches in memory forgets through its own API, each process for itself, and only the
//! entries of repositories: see [`Caches::evict`] for what remains.

use std::collections::BTreeSet;

use crate::config::registry::{DescriptorCache, RegistryConfig};
use crate::oci::{Digest, RepositoryName};
use crate::plan::PurgeBan;

mod error;
mod redis;
mod registry;
mod session;
mod token;

pub use self::error::CacheError;
pub(super) use self::error::chain;
use self::redis::Server;
use self::registry::Registry;

/// What of the registry remembers blobs, and how it can be made to forget them.
///
/// The default knows nothing of the registry, and so forbids to purge.
#[derive(Debug, Clone, Default)]
pub struct Caches {
    kept: Kept,
    redis: Option<Server>,
    registries: Vec<Registry>,
    assume_restarted: bool,
}

/// Where descriptors are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kept {
    /// Nobody said; the configurations that registries ship with keep them in memory.
    #[default]
    Unknown,
    Nowhere,
    InMemory,
    InRedis,
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Keys and members of sets that were deleted in Redis; what it did not hold is not counted.
    pub redis_entries: u64,
    /// Entries that registries were told to drop; what a registry did not answer for is not counted.
    pub registry_entries: u64,
}

/// What a registry does with an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadOnly {
    /// It refuses (405).
    ReadOnly,
    /// Nobody listens: the connection was refused.
    Stopped,
    /// It would take it.
    TakesWrites,
    /// Neither is certain, for this reason.
    Unclear(String),
}

impl Caches {
    /// What the registry's configuration says, where it is given, and what the user says beside it.
    ///
    /// `redis` is a URL that takes the place of the configuration's server; `registries` are the base URLs of the registry's
    /// processes, one for each replica (a load balancer in front hides all but one); `assume_restarted`, that every
    /// process was restarted since links last went. Nothing is connected to.
    ///
    /// # Errors
    /// When a URL is not understood, or the configuration's Redis is a cluster or behind sentinels and neither a URL of
    /// Redis nor one of a registry is given.
    pub fn of(
        config: Option<&RegistryConfig>,
        redis: Option<&str>,
        registries: &[String],
        assume_restarted: bool,
    ) -> Result<Self, CacheError> {
        let registries = registries.iter().map(|url| Registry::parse(url)).collect::<Result<Vec<_>, _>>()?;
        let cached = config.map(|config| &config.cache);
        let tls = match cached {
            Some(DescriptorCache::Redis(cache)) => cache.tls.clone(),
            _ => None,
        };
        let mut redis = redis.map(|url| Server::parse(url, tls)).transpose()?;
        let kept = match cached {
            None if redis.is_some() => Kept::InRedis,
            None => Kept::Unknown,
            Some(DescriptorCache::None) => Kept::Nowhere,
            Some(DescriptorCache::InMemory) => Kept::InMemory,
            Some(DescriptorCache::Redis(cache)) => {
                if redis.is_none() {
                    redis = match Server::of(cache) {
                        Err(CacheError::RedisTopology { .. }) if !registries.is_empty() => None,
                        server => Some(server?),
                    };
                }
                Kept::InRedis
            }
        };
        Ok(Self { kept, redis, registries, assume_restarted })
    }

    /// What of the trash may not be purged beside the registry, because a cache that nobody clears can still answer for it.
    ///
    /// It trusts that [`Caches::evict`] succeeded for what is purged. A restart clears what is in memory only, so
    /// `assume_restarted` counts for nothing beside Redis, which is cleared in any case. Through the registry's API layers
    /// are cleared, and never the entry of a manifest's digest alone: up to 3.1.1 such a manifest is acknowledged when it
    /// is pushed again, and not stored.
    pub fn purge_ban(&self) -> Option<PurgeBan> {
        let manifests_only = !self.registries.is_empty();
        let why = match self.kept {
            Kept::Nowhere => return None,
            Kept::InRedis if self.redis.is_some() => return None,
            Kept::InRedis => {
                "Redis may go on answering for a manifest, and the registry's API does not clear that: give --redis"
            }
            Kept::InMemory | Kept::Unknown if self.assume_restarted => return None,
            Kept::InMemory | Kept::Unknown if manifests_only => {
                "the registry's memory may go on answering for a manifest until it is restarted, and its API does not \
                 clear that: restart all of its processes and say --assume-restarted, or take `cache` out of its `storage` \
                 section and give --registry-config"
            }
            Kept::InMemory => {
                "the registry keeps blob descriptors in its memory and would go on answering for what is purged: give the \
                 --registry-url of each of its processes, or restart them all and say --assume-restarted, or take `cache` \
                 out of its `storage` section"
            }
            Kept::Unknown => {
                "nothing says whether the registry keeps blob descriptors in its memory, as the configurations that \
                 registries ship with do, and would go on answering for what is purged: give --registry-config, or the \
                 --registry-url of each of its processes, or --redis where it keeps them there, or restart them all and \
                 say --assume-restarted"
            }
        };
        Some(PurgeBan { manifests_only, why: why.to_owned() })
    }

    /// One line for a person: where descriptors are kept, and what clears them.
    pub fn describe(&self) -> String {
        let place = match (self.kept, &self.redis) {
            (Kept::Nowhere, _) => return "the registry caches no blob descriptors".to_owned(),
            (Kept::InRedis, Some(server)) => {
                return format!("blob descriptors in Redis at {server}, cleared there");
            }
            (Kept::InRedis, None) => "blob descriptors in Redis",
            (Kept::InMemory, _) => "blob descriptors in the registry's memory",
            (Kept::Unknown, _) => "it is not known whether the registry caches blob descriptors",
        };
        let mut ways = Vec::new();
        if !self.registries.is_empty() {
            let urls: Vec<&str> = self.registries.iter().map(Registry::name).collect();
            ways.push(format!("invalidated through {}", urls.join(", ")));
        }
        if self.assume_restarted && self.kept != Kept::InRedis {
            ways.push("assumed to be cleared by a restart".to_owned());
        }
        if ways.is_empty() {
            ways.push("not invalidated".to_owned());
        }
        format!("{place}: {}", ways.join("; "))
    }

    /// Makes the caches forget: `links` are pairs whose layer link or revision link has gone, by the link's own digest (of a
    /// sha512 alias too); `data` are digests whose data has gone or is about to go.
    ///
    /// Idempotent. To be called after links have gone, and once more before data is purged: an answer that was under way
    /// while a link went may be cached after the first call.
    ///
    /// In memory only `links` are cleared: HTTP offers no way to the entry of the digest alone. That entry is not consulted
    /// for layers whose link has gone, but up to 3.1.1 a manifest that is swept and pushed again is acknowledged and not
    /// stored because of it, until the registry restarts. So keep purged manifests in the trash for long.
    ///
    /// A registry forgets by `DELETE /v2/<repository>/blobs/<digest>`, which removes the layer link as well, if a client has
    /// pushed it again since: let little time pass between the unlinking and this, and verify links afterwards. To
    /// make that rare, only what the registry still answers for is deleted.
    ///
    /// # Errors
    /// When anything could not be cleared. What was cleared by then stays so; call it again.
    pub async fn evict(
        &self,
        links: &[(RepositoryName, Digest)],
        data: &[Digest],
    ) -> Result<Evicted, CacheError> {
        let mut evicted = Evicted::default();
        let links: BTreeSet<(RepositoryName, Digest)> = links.iter().cloned().collect();
        if let Some(server) = &self.redis
            && !(links.is_empty() && data.is_empty())
        {
            evicted.redis_entries = server.evict(&links, data).await?;
        }
        // Where nothing else can answer, a registry that answers has been given the link anew: it must stay.
        let through_registries = match self.kept {
            Kept::Nowhere => false,
            Kept::InRedis => self.redis.is_none(),
            Kept::InMemory | Kept::Unknown => true,
        };
        if through_registries && !links.is_empty() && !self.registries.is_empty() {
            let client = session::client()?;
            let all = self.registries.iter().map(|registry| registry.evict(&client, &links));
            evicted.registry_entries = futures::future::try_join_all(all).await?.into_iter().sum();
        }
        Ok(evicted)
    }

    /// Asks each registry whether it would take an upload, and answers for each by its URL.
    ///
    /// Nothing is written, not even for a moment: what is sent is a manifest that is none, which a registry that takes
    /// writes finds invalid and a read-only one does not look at.
    ///
    /// # Errors
    /// When a registry does not let us push: then it does not tell. Or when a client cannot be made.
    pub async fn probe_read_only(&self) -> Result<Vec<(String, ReadOnly)>, CacheError> {
        if self.registries.is_empty() {
            return Ok(Vec::new());
        }
        let client = session::client()?;
        let all = self.registries.iter().map(|registry| {
            let client = &client;
            async move { Ok((registry.name().to_owned(), registry.probe(client).await?)) }
        });
        futures::future::try_join_all(all).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn config(cache: &str) -> RegistryConfig {
        let text = format!("version: 0.1\nstorage: {{ filesystem: {{}}, cache: {{ {cache} }} }}\n")
            + "redis: { addr: 'cache:6379', password: hidden }\n";
        RegistryConfig::read(&text, "config.yml", &BTreeMap::new()).unwrap()
    }

    /// Of the trash, what a ban on purging covers.
    const ALL: Option<bool> = Some(false);
    const MANIFESTS: Option<bool> = Some(true);

    #[test]
    fn a_purge_needs_every_cache_to_be_clearable() {
        let (nowhere, memory, redis) =
            (config(""), config("blobdescriptor: inmemory"), config("blobdescriptor: redis"));
        let (none, url): (&[String], &[String]) = (&[], &["http://user:hidden@registry:5000".to_owned()]);
        let with = Some("redis://:hidden@other:7000/1");
        // Configuration, --redis, --registry-url, --assume-restarted; what may not be purged; what is said.
        let cases = [
            (None, None, none, false, ALL, "it is not known whether the registry caches"),
            (None, None, url, false, MANIFESTS, "through http://registry:5000"),
            (None, None, none, true, None, "by a restart"),
            (None, with, none, false, None, "Redis at other:7000/1, cleared there"),
            (Some(&nowhere), None, none, false, None, "caches no blob descriptors"),
            (Some(&memory), None, none, false, ALL, "memory: not invalidated"),
            (Some(&memory), None, url, false, MANIFESTS, "memory: invalidated through http://registry:5000"),
            (Some(&memory), None, none, true, None, "by a restart"),
            // What Redis forgets does not help a registry that has it in memory.
            (Some(&memory), with, none, false, ALL, "memory: not invalidated"),
            (Some(&redis), None, none, false, None, "Redis at cache:6379/0, cleared there"),
            (Some(&redis), with, none, false, None, "Redis at other:7000/1, cleared there"),
        ];
        for (config, redis, registries, restarted, forbidden, said) in cases {
            let caches = Caches::of(config, redis, registries, restarted).unwrap();
            assert_eq!(caches.purge_ban().map(|ban| ban.manifests_only), forbidden, "{caches:?}");
            assert!(caches.describe().contains(said), "{}", caches.describe());
            assert!(!format!("{caches:?}{}", caches.describe()).contains("hidden"), "{caches:?}");
            if let Some(ban) = caches.purge_ban() {
                assert!(ban.why.contains("--assume-restarted"));
                assert!(ban.manifests_only || ban.why.contains("--registry-url"));
            }
        }
        assert!(Caches::default().purge_ban().is_some());
    }

    #[test]
    fn sentinels_need_an_address_that_can_be_used() {
        let text = "version: 0.1\nstorage: { filesystem: {}, cache: { blobdescriptor: redis } }\n\
                    redis: { addrs: [a:1, b:2], mastername: m }\n";
        let config = RegistryConfig::read(text, "config.yml", &BTreeMap::new()).unwrap();
        let refused = Caches::of(Some(&config), None, &[], true).unwrap_err().to_string();
        assert!(refused.contains("sentinels") && refused.contains("--redis"), "{refused}");
        assert!(Caches::of(Some(&config), Some("redis://master:6379"), &[], false).is_ok());
        let through = Caches::of(Some(&config), None, &["http://r:5000".to_owned()], false).unwrap();
        assert_eq!(through.describe(), "blob descriptors in Redis: invalidated through http://r:5000");
        assert!(through.purge_ban().unwrap().why.contains("--redis"));
    }

    #[test]
    fn what_evicts_can_be_moved_to_another_thread() {
        fn is_send(_: impl Send) {}
        let caches = Caches::default();
        is_send(caches.evict(&[], &[]));
        is_send(caches.probe_read_only());
    }

    #[tokio::test]
    async fn without_anything_to_do_nobody_is_asked() {
        let caches = Caches::of(None, Some("redis://127.0.0.1:1"), &["http://127.0.0.1:1".to_owned()], false);
        assert_eq!(caches.unwrap().evict(&[], &[]).await.unwrap(), Evicted::default());
    }

    /// A registry without a cache answers for a link only if a push has made it anew.
    #[tokio::test]
    async fn a_registry_that_caches_nothing_is_asked_to_delete_nothing() {
        let urls = ["http://127.0.0.1:1".to_owned()];
        let links = [(RepositoryName::found("a").unwrap(), Digest::of(b"x"))];
        let caches = Caches::of(Some(&config("")), None, &urls, false).unwrap();
        assert_eq!(caches.evict(&links, &[]).await.unwrap(), Evicted::default());
        let asked = Caches::of(Some(&config("blobdescriptor: inmemory")), None, &urls, false).unwrap();
        assert!(matches!(asked.evict(&links, &[]).await, Err(CacheError::Unreachable { .. })));
    }
}
