//! Why caches cannot be made to forget.

use thiserror::Error;

use crate::store::layers;

/// Why caches cannot be made to forget, with what to do about it. No message has a password.
#[derive(Debug, Error)]
pub enum CacheError {
    /// `--redis` is not understood.
    #[error(
        "--redis: {problem}; write redis://user:password@host:6379/0, or rediss:// for TLS (encode @ : / in a password as \
         %40 %3A %2F)"
    )]
    RedisUrl {
        /// What is wrong with it.
        problem: String,
    },
    /// The configuration names several servers, of which only one takes writes.
    #[error(
        "the registry's configuration names {what}, which regsweep does not follow to the one that takes writes: give the \
         master's own address with --redis, or the registry's with --registry-url"
    )]
    RedisTopology {
        /// Sentinels or a cluster.
        what: &'static str,
    },
    /// A certificate or key that the configuration names cannot be read.
    #[error(
        "cannot read {path}, which the registry's configuration names for TLS with Redis: make it readable here at that path"
    )]
    RedisCertificate {
        /// The file.
        path: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// Redis is not reached.
    #[error(
        "cannot connect to Redis at {server}: start it, or name another with --redis; until it is cleared the registry \
         answers for what is gone"
    )]
    RedisConnect {
        /// Host, port and database.
        server: String,
        /// What happened.
        #[source]
        source: ::redis::RedisError,
    },
    /// User or password are wrong, or missing, or not allowed what is needed.
    #[error(
        "Redis at {server} refuses us: give a user and password that may DEL and SREM the keys blobs::* and repository::*, \
         in --redis or in the registry's configuration"
    )]
    RedisRefused {
        /// Host, port and database.
        server: String,
        /// What it says.
        #[source]
        source: ::redis::RedisError,
    },
    /// A replica, or one of a cluster.
    #[error(
        "Redis at {server} is not the one that takes writes of these keys: give the master's address with --redis, or for a \
         cluster the registry's with --registry-url"
    )]
    RedisNotMaster {
        /// Host, port and database.
        server: String,
        /// What it says.
        #[source]
        source: ::redis::RedisError,
    },
    /// Anything else that goes wrong between us and Redis.
    #[error(
        "Redis at {server} did not delete the registry's entries: see to it and run again; deleting twice is harmless"
    )]
    Redis {
        /// Host, port and database.
        server: String,
        /// What it says.
        #[source]
        source: ::redis::RedisError,
    },
    /// `--registry-url` is not understood.
    #[error(
        "--registry-url: {problem}; write http://host:5000 or https://user:password@host, once for each registry process"
    )]
    RegistryUrl {
        /// What is wrong with it.
        problem: String,
    },
    /// No HTTP client: the system's certificates cannot be used.
    #[error("cannot prepare to speak to a registry: check the system's certificates")]
    Client(#[source] reqwest::Error),
    /// A registry does not answer.
    #[error("{registry} does not answer: start it, or leave out its --registry-url when it is stopped")]
    Unreachable {
        /// Its URL.
        registry: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// What answers is not a registry.
    #[error(
        "{registry}/v2/ answers {status} and not as a registry does: give the address at which its /v2/ is found, without a \
         redirect"
    )]
    NotARegistry {
        /// Its URL.
        registry: String,
        /// The HTTP status.
        status: u16,
    },
    /// Credentials are missing, wrong or not enough.
    #[error(
        "{registry} refuses {request} ({status}): put user:password of somebody who may pull, push and delete into the \
         --registry-url, such as https://user:password@host"
    )]
    Unauthorized {
        /// Its URL.
        registry: String,
        /// Method and path.
        request: String,
        /// The HTTP status, 401 or 403.
        status: u16,
    },
    /// `storage.delete.enabled` is off.
    #[error(
        "{registry} does not delete, so it cannot be made to forget: set `storage: {{ delete: {{ enabled: true }} }}` in its \
         configuration, or restart it between the runs and say --assume-restarted"
    )]
    DeleteDisabled {
        /// Its URL.
        registry: String,
    },
    /// The registry is read-only.
    #[error(
        "{registry} is read-only, so it cannot be made to forget: the restart that lets it take writes again clears a cache \
         in its memory; say --assume-restarted after it"
    )]
    ReadOnlyRegistry {
        /// Its URL.
        registry: String,
    },
    /// It went on answering, or answered what nobody expects.
    #[error("{registry} answers {request} with {status}: look into its log, and run again")]
    Answer {
        /// Its URL.
        registry: String,
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
    },
    /// The token service that a registry names gives no token, or is not one that credentials may be sent to.
    #[error(
        "{registry} asks for a token from {realm}, and none was given: {problem}; check user and password in the \
         --registry-url, and the registry's `auth: {{ token: … }}`"
    )]
    Token {
        /// Its URL.
        registry: String,
        /// The token service.
        realm: String,
        /// What is wrong.
        problem: String,
    },
}

/// An error with all that caused it, in one line.
pub(in crate::sweep) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    layers(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
