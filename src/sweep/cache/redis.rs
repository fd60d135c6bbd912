//! The registry's Redis, cleared by key. The keys are those of distribution 2.8 and 3.x alike
//! (`registry/storage/cache/redis/redis.go`):
//!
//! * `blobs::<digest>`, a hash: that the data is there, for every repository;
//! * `repository::<repository>::blobs`, a set of digests: what the repository has a link for;
//! * `repository::<repository>::blobs::<digest>`, a hash: the media type there.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use redis::{
    Client, ClientTlsConfig, Connection, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, Pipeline,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
};

use super::CacheError;
use crate::config::registry::{RedisCache, RedisTls, Secret};
use crate::oci::{Digest, RepositoryName};

/// How long a connection may take to be made, with user, password and database.
const CONNECT: Duration = Duration::from_secs(5);

/// How long one batch may take to be sent, and to be answered.
const ANSWER: Duration = Duration::from_secs(10);

/// Commands that are sent at once.
const BATCH: usize = 1000;

const DEFAULT_PORT: u16 = 6379;

/// One server, which takes writes.
#[derive(Debug, Clone)]
pub(super) struct Server {
    host: String,
    port: u16,
    username: Option<String>,
    password: Option<Secret>,
    db: i64,
    tls: Option<RedisTls>,
}

impl fmt::Display for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(formatter, "{host}:{}/{}", self.port, self.db)
    }
}

impl Server {
    /// Reads `redis://[[user]:password@]host[:port][/db]`, or `rediss://` for TLS. `tls` is what the registry's configuration
    /// says of certificates.
    pub(super) fn parse(text: &str, tls: Option<RedisTls>) -> Result<Self, CacheError> {
        let refused = |problem: &str| CacheError::RedisUrl { problem: problem.to_owned() };
        let url = url::Url::parse(text).map_err(|error| refused(&error.to_string()))?;
        if !matches!(url.scheme(), "redis" | "rediss") {
            return Err(refused("it begins with neither redis:// nor rediss://"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("what follows ? or # is not understood"));
        }
        let with_tls = url.scheme() == "rediss";
        let info = url
            .into_connection_info()
            .map_err(|_| refused("its host, user, password or database cannot be read"))?;
        let (host, port) = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (host.clone(), *port)
            }
            _ => return Err(refused("it names no host")),
        };
        let settings = info.redis_settings();
        if settings.db() < 0 {
            return Err(refused("the database is a number from 0"));
        }
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            username: settings.username().map(str::to_owned),
            password: settings.password().map(|password| Secret::from(password.to_owned())),
            db: settings.db(),
            tls: with_tls.then(|| tls.unwrap_or_default()),
        })
    }

    /// The server that a registry's configuration names.
    pub(super) fn of(cache: &RedisCache) -> Result<Self, CacheError> {
        if cache.mastername.is_some() {
            return Err(CacheError::RedisTopology { what: "sentinels of Redis (redis.mastername)" });
        }
        let [addr] = cache.addrs.as_slice() else {
            return Err(CacheError::RedisTopology { what: "a cluster of Redis (several redis.addrs)" });
        };
        let (host, port) = match addr.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                let port = port.parse().map_err(|_| CacheError::RedisUrl {
                    problem: format!("the configuration's {addr} has no port that is a number"),
                })?;
                (host, port)
            }
            _ => (addr.as_str(), DEFAULT_PORT),
        };
        let host = match host.trim_matches(['[', ']']) {
            // Go's dialer takes this for the machine itself.
            "" => "localhost",
            host => host,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            username: cache.username.clone(),
            password: cache.password.clone(),
            db: cache.db.into(),
            tls: cache.tls.clone(),
        })
    }

    /// Deletes what stands for these links and these data, and answers how much of it was there.
    pub(super) async fn evict(
        &self,
        links: &BTreeSet<(RepositoryName, Digest)>,
        data: &[Digest],
    ) -> Result<u64, CacheError> {
        let commands = commands(links, data);
        let server = self.clone();
        // The client blocks.
        let done = tokio::task::spawn_blocking(move || server.run(&commands)).await;
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn run(&self, commands: &[Vec<String>]) -> Result<u64, CacheError> {
        let client = self.client()?;
        let mut connection = self.connect(&client).map_err(|source| self.failed(source, true))?;
        let mut deleted = 0;
        for batch in commands.chunks(BATCH) {
            deleted += delete(&mut connection, batch).map_err(|source| self.failed(source, false))?;
        }
        Ok(deleted)
    }

    fn connect(&self, client: &Client) -> RedisResult<Connection> {
        let mut connection = client.get_connection_with_timeout(CONNECT)?;
        connection.set_read_timeout(Some(ANSWER))?;
        connection.set_write_timeout(Some(ANSWER))?;
        // Not left to the client, whose error would not say whether it is for want of a password.
        if self.db != 0 {
            redis::cmd("SELECT").arg(self.db).exec(&mut connection)?;
        }
        Ok(connection)
    }

    fn client(&self) -> Result<Client, CacheError> {
        let mut settings = RedisConnectionInfo::default();
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password.expose());
        }
        let address = match &self.tls {
            None => ConnectionAddr::Tcp(self.host.clone(), self.port),
            Some(_) => ConnectionAddr::TcpTls {
                host: self.host.clone(),
                port: self.port,
                insecure: false,
                tls_params: None,
            },
        };
        let info = address.into_connection_info().map(|info| info.set_redis_settings(settings));
        let client = match &self.tls {
            None => info.and_then(Client::open),
            Some(tls) => {
                // The first caller in the process says where the means to encrypt come from.
                let _ = rustls::crypto::ring::default_provider().install_default();
                let certificates = certificates(tls)?;
                info.and_then(|info| Client::build_with_tls(info, certificates))
            }
        };
        client.map_err(|source| self.failed(source, true))
    }

    fn failed(&self, source: RedisError, connecting: bool) -> CacheError {
        let server = self.to_string();
        let code = source.code().unwrap_or_default();
        if source.kind() == ErrorKind::AuthenticationFailed
            || matches!(code, "NOAUTH" | "NOPERM" | "WRONGPASS" | "DENIED")
        {
            return CacheError::RedisRefused { server, source };
        }
        match code {
            "READONLY" | "MOVED" | "ASK" | "CLUSTERDOWN" => CacheError::RedisNotMaster { server, source },
            _ if connecting => CacheError::RedisConnect { server, source },
            _ => CacheError::Redis { server, source },
        }
    }
}

fn certificates(tls: &RedisTls) -> Result<TlsCertificates, CacheError> {
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|source| CacheError::RedisCertificate { path: path.display().to_string(), source })
    };
    let mut authorities = Vec::new();
    for path in &tls.rootcas {
        authorities.extend(read(path)?);
        authorities.push(b'\n');
    }
    let client_tls = match &tls.client {
        Some((certificate, key)) => {
            Some(ClientTlsConfig { client_cert: read(certificate)?, client_key: read(key)? })
        }
        None => None,
    };
    Ok(TlsCertificates { client_tls, root_cert: Some(authorities).filter(|pem| !pem.is_empty()) })
}

/// What is to be sent, each a command with its arguments.
fn commands(links: &BTreeSet<(RepositoryName, Digest)>, data: &[Digest]) -> Vec<Vec<String>> {
    let digests: BTreeSet<&Digest> = links.iter().map(|(_, digest)| digest).chain(data).collect();
    let mut commands = Vec::with_capacity(digests.len() + 2 * links.len());
    // A repository's entry counts for nothing without the digest's, so that one goes first.
    commands.extend(digests.into_iter().map(|digest| vec!["DEL".to_owned(), format!("blobs::{digest}")]));
    for (repository, digest) in links {
        let set = format!("repository::{repository}::blobs");
        commands.push(vec!["DEL".to_owned(), format!("{set}::{digest}")]);
        commands.push(vec!["SREM".to_owned(), set, digest.to_string()]);
    }
    commands
}

fn delete(connection: &mut Connection, batch: &[Vec<String>]) -> RedisResult<u64> {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    // One refusal says enough; all of them together would be a page.
    pipeline.ignore_errors();
    for command in batch {
        pipeline.cmd(&command[0]).arg(&command[1..]);
    }
    let answers: Vec<RedisResult<u64>> = pipeline.query(connection)?;
    answers.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(addrs: &[&str]) -> RedisCache {
        RedisCache {
            addrs: addrs.iter().map(|addr| (*addr).to_owned()).collect(),
            username: None,
            password: Some(Secret::from("hidden".to_owned())),
            db: 2,
            mastername: None,
            tls: None,
        }
    }

    #[test]
    fn urls_as_people_write_them() {
        for (url, shown) in [
            ("redis://127.0.0.1", "127.0.0.1:6379/0"),
            ("redis://:hidden@cache.local:7000/3", "cache.local:7000/3"),
            ("rediss://user:hidden@cache.local", "cache.local:6379/0"),
            ("redis://[::1]:7000/1", "[::1]:7000/1"),
        ] {
            let server = Server::parse(url, None).unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(server.tls.is_some(), url.starts_with("rediss"));
            assert!(!format!("{server:?} {server}").contains("hidden"), "{server:?}");
            let client = server.client();
            let client = client.unwrap();
            let settings = client.get_connection_info().redis_settings();
            assert_eq!(settings.password().is_some(), url.contains("hidden"));
            assert_eq!(settings.username(), url.contains("user").then_some("user"));
        }
        let encoded = Server::parse("redis://u%40x:hid%2Fden@h", None).unwrap();
        assert_eq!(encoded.username.as_deref(), Some("u@x"));
        assert_eq!(encoded.password.unwrap().expose(), "hid/den");
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_being_shown() {
        for url in [
            "hidden",
            "http://:hidden@h",
            "redis://:hidden@",
            "redis://:hidden@h/name",
            "redis://:hidden@h/-1",
            "redis://:hidden@h:99999",
            "rediss://:hidden@h/#insecure",
            "redis://:hidden@h/0?protocol=resp3",
            "redis+unix:///run/redis.sock?pass=hidden",
        ] {
            let error = Server::parse(url, None).expect_err(url);
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("--redis: ") && !shown.contains("hidden"), "{shown}");
        }
    }

    #[test]
    fn the_configurations_server() {
        for (addr, shown) in [
            ("redis:6380", "redis:6380/2"),
            ("redis", "redis:6379/2"),
            ("[::1]:6380", "[::1]:6380/2"),
            ("::1", "[::1]:6379/2"),
            (":6379", "localhost:6379/2"),
        ] {
            assert_eq!(Server::of(&cache(&[addr])).unwrap().to_string(), shown);
        }
        assert!(Server::of(&cache(&["redis:port"])).is_err());
        let cluster = Server::of(&cache(&["a:1", "b:2"])).unwrap_err().to_string();
        assert!(cluster.contains("a cluster of Redis") && cluster.contains("--redis"), "{cluster}");
        let sentinels = RedisCache { mastername: Some("m".to_owned()), ..cache(&["a:1"]) };
        assert!(Server::of(&sentinels).unwrap_err().to_string().contains("sentinels"));
    }

    #[test]
    fn a_digest_of_many_repositories_is_deleted_once() {
        let digest = Digest::of(b"x");
        let links = ["a", "b/c"].map(|name| (RepositoryName::found(name).unwrap(), digest)).into();
        let other = Digest::of(b"y");
        let commands: Vec<String> =
            commands(&links, &[digest, other]).iter().map(|words| words.join(" ")).collect();
        let mut expected = vec![
            format!("DEL blobs::{digest}"),
            format!("DEL blobs::{other}"),
            format!("DEL repository::a::blobs::{digest}"),
            format!("SREM repository::a::blobs {digest}"),
            format!("DEL repository::b/c::blobs::{digest}"),
            format!("SREM repository::b/c::blobs {digest}"),
        ];
        expected[..2].sort();
        assert_eq!(commands, expected);
    }

    #[test]
    fn a_missing_certificate_is_named() {
        let tls = RedisTls { client: None, rootcas: vec!["/nowhere/ca.pem".into()] };
        let server = Server::of(&RedisCache { tls: Some(tls), ..cache(&["h:1"]) }).unwrap();
        let error = server.client().err().unwrap().to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }
}
