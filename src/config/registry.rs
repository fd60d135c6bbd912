//! Reads distribution's own `config.yml` (2.8 and 3.x) with its `REGISTRY_*` environment, to find the storage that a
//! registry writes and to learn what bears on a sweep: the descriptor cache, read-only mode, pull-through caching.
//!
//! The format is documented by distribution (`configuration/configuration.go`, version 0.1). It is the registry's
//! file: keys that say nothing about storage are ignored, whatever they hold. What the registry itself would refuse
//! to start with is an error here too, since then nobody knows which store it meant.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

use document::{Node, Value};
use reader::Reader;

mod document;
mod location;
mod reader;
#[cfg(test)]
mod tests;

/// The top-level sections that are read, and that environment variables may overwrite.
const SECTIONS: [&str; 4] = ["http", "proxy", "redis", "storage"];

/// A registry's configuration, as far as it bears on its storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The one storage driver.
    pub storage: Storage,
    /// Where the registry caches blob descriptors (`storage.cache.blobdescriptor`, formerly `layerinfo`).
    pub cache: DescriptorCache,
    /// `storage.delete.enabled`: the registry's API deletes manifests and blobs.
    pub delete_enabled: bool,
    /// `storage.maintenance.readonly.enabled`: the registry answers every write with 405.
    pub read_only: bool,
    /// `proxy.remoteurl` is set: the store is a pull-through cache.
    pub proxy: bool,
    /// `http.addr`, the address that the registry listens on, such as `:5000`.
    pub http_addr: Option<String>,
}

/// The storage driver and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// `filesystem`.
    Filesystem {
        /// The directory that contains `docker/registry/v2`. A relative one starts at the registry's working
        /// directory.
        root: PathBuf,
    },
    /// `s3` or `s3aws`.
    S3(S3Storage),
    /// `gcs`.
    Gcs(GcsStorage),
    /// `azure`.
    Azure(AzureStorage),
    /// A driver that keeps its data elsewhere, such as `inmemory`, `swift` or `oss`, by its name.
    Other(String),
}

impl Storage {
    /// The driver's name, as the configuration writes it.
    pub fn name(&self) -> &str {
        match self {
            Self::Filesystem { .. } => "filesystem",
            Self::S3(_) => "s3",
            Self::Gcs(_) => "gcs",
            Self::Azure(_) => "azure",
            Self::Other(name) => name,
        }
    }
}

/// The parameters of the `s3` driver. Keys and region may come from the environment of the process instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Storage {
    /// `bucket`.
    pub bucket: String,
    /// `region`; optional only beside an endpoint.
    pub region: Option<String>,
    /// `regionendpoint`: a server other than AWS, with or without a scheme.
    pub regionendpoint: Option<String>,
    /// `rootdirectory`, without slashes at either end; empty for the whole bucket.
    pub rootdirectory: String,
    /// `accesskey`.
    pub accesskey: Option<String>,
    /// `secretkey`.
    pub secretkey: Option<Secret>,
    /// `sessiontoken` (2.8 only).
    pub sessiontoken: Option<Secret>,
    /// `forcepathstyle`. When absent, 2.8 uses path style beside an endpoint, and 3.x does not.
    pub forcepathstyle: Option<bool>,
    /// `secure`: HTTPS, for an endpoint without a scheme.
    pub secure: bool,
    /// `skipverify`: any certificate is accepted.
    pub skipverify: bool,
}

/// The parameters of the `gcs` driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcsStorage {
    /// `bucket`.
    pub bucket: String,
    /// `rootdirectory`, without slashes at either end; empty for the whole bucket.
    pub rootdirectory: String,
    /// `keyfile`: a service account's JSON file.
    pub keyfile: Option<PathBuf>,
    /// `credentials`: the same written in line, as JSON.
    pub credentials: Option<Secret>,
}

/// The parameters of the `azure` driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzureStorage {
    /// `accountname`.
    pub accountname: String,
    /// `accountkey`.
    pub accountkey: Option<Secret>,
    /// `connectionstring` (3.x only).
    pub connectionstring: Option<Secret>,
    /// `container`.
    pub container: String,
    /// `realm`; `core.windows.net` when absent.
    pub realm: String,
    /// `rootdirectory` (3.x only), without slashes at either end; empty for the whole container.
    pub rootdirectory: String,
    /// `serviceurl` (3.x only).
    pub serviceurl: Option<String>,
}

/// Where a registry keeps blob descriptors, without any expiry: what is cached is believed after its blob has gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DescriptorCache {
    /// Nowhere. Also what the registry does with a name it does not know.
    None,
    /// In the memory of each registry process: only a restart clears it.
    InMemory,
    /// In Redis, shared and surviving restarts.
    Redis(RedisCache),
}

/// The registry's Redis (top-level section `redis`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisCache {
    /// `addr` in 2.8, `addrs` in 3.x: one `host:port`, or those of a cluster or of sentinels; never empty.
    pub addrs: Vec<String>,
    /// `username` (3.x only).
    pub username: Option<String>,
    /// `password`.
    pub password: Option<Secret>,
    /// `db`.
    pub db: u32,
    /// `mastername` (3.x only): the addresses are those of sentinels.
    pub mastername: Option<String>,
    /// `tls`, when it names a certificate or authorities (3.x only): without, the registry speaks plain TCP.
    pub tls: Option<RedisTls>,
}

/// How a registry of 3.x speaks TLS with Redis (`redis.tls`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RedisTls {
    /// `certificate` and `key`, the registry's own, as files of PEM; the registry does without when one of them is missing.
    pub client: Option<(PathBuf, PathBuf)>,
    /// `rootcas`: files of PEM with the authorities to trust; those of the system when there are none.
    pub rootcas: Vec<PathBuf>,
}

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value itself, for the client that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Why a registry's configuration cannot be used. No message quotes a value that could be a secret.
#[derive(Debug, Error)]
pub enum RegistryConfigError {
    /// The file is not YAML.
    #[error("{origin} is not YAML; give the registry's own config.yml")]
    Syntax {
        /// The file.
        origin: String,
        /// What the YAML reader says, with line and column.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A `REGISTRY_*` variable that holds no YAML.
    #[error(
        "environment variable {name} holds no YAML, so the registry would not start with it; correct or unset it"
    )]
    Variable {
        /// The variable.
        name: String,
    },
    /// Not a file of distribution, or one of an unknown version.
    #[error(
        "{origin}: `version` is {found}, but distribution's configuration starts with `version: 0.1`; \
         give the registry's own config.yml"
    )]
    Version {
        /// The file.
        origin: String,
        /// What stands there.
        found: String,
    },
    /// `storage` names no driver.
    #[error(
        "{origin}: `storage` names no driver; add one, such as `storage: {{ filesystem: {{ rootdirectory: … }} }}`, \
         or set REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY as for the registry"
    )]
    NoDriver {
        /// The file.
        origin: String,
    },
    /// `storage` names several drivers.
    #[error(
        "{origin}: `storage` names several drivers ({drivers}), so the registry would not start; keep one, \
         and look for REGISTRY_STORAGE_* variables that add another"
    )]
    SeveralDrivers {
        /// The file.
        origin: String,
        /// Each driver with its place.
        drivers: String,
    },
    /// A parameter that the driver cannot do without.
    #[error("{origin}, {place}: `{key}` is missing or empty; the registry would not start, so set it")]
    Missing {
        /// The file.
        origin: String,
        /// The section's line or variable.
        place: String,
        /// The key, with dots.
        key: String,
    },
    /// A value of the wrong kind.
    #[error("{origin}, {place}: `{key}` must be {expected}")]
    Kind {
        /// The file.
        origin: String,
        /// The value's line or variable.
        place: String,
        /// The key, with dots.
        key: String,
        /// What is wanted.
        expected: &'static str,
    },
}

impl RegistryConfig {
    /// Reads the text of a `config.yml` and the environment that the registry runs with.
    ///
    /// `origin` names the file in errors. Only variables named `REGISTRY_…` are looked at.
    pub fn read(
        text: &str,
        origin: &str,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, RegistryConfigError> {
        let mut root = document::parse(text, origin)?;
        check_version(&root, origin)?;
        document::apply_environment(&mut root, environment, &SECTIONS)?;
        let reader = Reader { origin, root: &root };
        Ok(Self {
            storage: reader.storage()?,
            cache: reader.cache()?,
            delete_enabled: reader.flag(&["storage", "delete", "enabled"], false)?,
            read_only: reader.flag(&["storage", "maintenance", "readonly", "enabled"], false)?,
            proxy: reader.text(&["proxy", "remoteurl"])?.is_some(),
            http_addr: reader.text(&["http", "addr"])?,
        })
    }
}

fn check_version(root: &Node, origin: &str) -> Result<(), RegistryConfigError> {
    let found = match root.get("version").map(|node| &node.value) {
        Some(Value::Text(version)) if version == "0.1" => return Ok(()),
        Some(Value::Text(version)) => format!("`{version}`"),
        Some(_) => "not a version".to_owned(),
        None => "absent".to_owned(),
    };
    Err(RegistryConfigError::Version { origin: origin.to_owned(), found })
}
