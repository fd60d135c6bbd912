//! Which store: a directory, or what begins with a prefix in a bucket, and how to reach it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::HttpConnector as _;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, RetryConfig};

use super::StoreError;
use super::bucket::Pages;
use super::s3::S3;
use super::transport::Transport;

/// What the user typed as STORE, or what a registry's configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A directory: the registry's `rootdirectory`.
    Directory(PathBuf),
    /// A bucket.
    Bucket(BucketLocation),
}

/// Whose bucket it is, by the protocol that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3 and the servers that speak its protocol.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

impl Provider {
    /// The scheme of its URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
        }
    }
}

/// A bucket or container, the prefix of the registry in it, and settings beyond those of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketLocation {
    /// Whose it is.
    pub provider: Provider,
    /// The bucket's or container's name.
    pub bucket: String,
    /// The registry's `rootdirectory`, without slashes at its ends; empty for the whole bucket.
    pub prefix: String,
    /// Settings by the client library's names, which override the environment.
    pub settings: Vec<(&'static str, Setting)>,
}

/// A setting, which may be a secret and is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting(String);

impl fmt::Debug for Setting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Setting(…)")
    }
}

/// As a person says it.
impl std::fmt::Display for Location {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Directory(path) => write!(formatter, "{}", path.display()),
            Self::Bucket(bucket) => formatter.write_str(&bucket.url()),
        }
    }
}

impl FromStr for Location {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let wrong = |problem: &str| StoreError::Location { text: text.into(), problem: problem.into() };
        if text.is_empty() {
            return Err(wrong("it is empty"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Directory(PathBuf::from(text)));
        };
        let provider = match scheme {
            "file" => {
                let url = url::Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
                return url.to_file_path().map(Self::Directory).map_err(|()| {
                    wrong("a file URL has three slashes and no host, as in file:///var/lib/registry")
                });
            }
            "s3" | "s3a" => Provider::S3,
            "gs" | "gcs" => Provider::Gcs,
            "az" | "azure" | "abfs" => Provider::Azure,
            other => {
                return Err(wrong(&format!(
                    "the scheme {other} is not known; write a path, file://, s3://, gs:// or az://"
                )));
            }
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err(wrong("it names no bucket; write s3://bucket or s3://bucket/prefix"));
        }
        if bucket.contains(['?', '#', '@']) || prefix.contains(['?', '#']) {
            return Err(wrong(
                "it holds more than a bucket and a prefix; settings come from the environment",
            ));
        }
        BucketLocation::new(provider, bucket, prefix).map(Self::Bucket)
    }
}

impl BucketLocation {
    /// What begins with `prefix` in a bucket, with the settings of the environment. Slashes at its ends say nothing.
    ///
    /// # Errors
    /// [`StoreError::Location`] when the client library would name another prefix on the way.
    pub fn new(provider: Provider, bucket: &str, prefix: &str) -> Result<Self, StoreError> {
        let prefix = prefix.trim_matches('/').to_owned();
        object_store::path::Path::parse(&prefix).map_err(|error| StoreError::Location {
            text: format!("{}://{bucket}/{prefix}", provider.scheme()),
            problem: error.to_string(),
        })?;
        Ok(Self { provider, bucket: bucket.to_owned(), prefix, settings: Vec::new() })
    }

    /// Sets what the client library calls `name`, over whatever the environment says.
    pub fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.settings.push((name, Setting(value.into())));
    }

    /// The URL, without anything secret.
    pub fn url(&self) -> String {
        let slash = if self.prefix.is_empty() { "" } else { "/" };
        format!("{}://{}{slash}{}", self.provider.scheme(), self.bucket, self.prefix)
    }

    /// Clients of the bucket that make their requests through `transport`.
    pub(super) fn connect(&self, transport: Transport) -> Result<Clients, StoreError> {
        let wrong = |source| StoreError::Settings { url: self.url(), source };
        match self.provider {
            Provider::S3 => {
                let mut builder =
                    AmazonS3Builder::from_env().with_bucket_name(&self.bucket).with_retry(retry());
                for (name, Setting(value)) in &self.settings {
                    let key: AmazonS3ConfigKey = name.parse().map_err(wrong)?;
                    builder = builder.with_config(key, value);
                }
                let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
                if is_plain(endpoint.as_deref()) {
                    builder = builder.with_allow_http(true);
                }
                if builder.get_config_value(&AmazonS3ConfigKey::Region).is_none() {
                    builder = builder.with_region("us-east-1");
                }
                let value = |key| builder.get_config_value(&key);
                let region = value(AmazonS3ConfigKey::Region).unwrap_or_default();
                let hosted =
                    value(AmazonS3ConfigKey::VirtualHostedStyleRequest).is_some_and(|set| set == "true");
                let host = endpoint.clone().unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
                let host = host.trim_end_matches('/');
                // An endpoint for virtual hosts names the bucket already.
                let bucket_url = if hosted && endpoint.is_some() {
                    host.to_owned()
                } else {
                    format!("{host}/{}", self.bucket)
                };
                let insecure =
                    value(AmazonS3ConfigKey::Client(ClientConfigKey::AllowInvalidCertificates)).is_some();
                let customer_key = value("aws_sse_customer_key_base64".parse().map_err(wrong)?).is_some();
                let options = ClientOptions::new()
                    .with_allow_http(is_plain(endpoint.as_deref()))
                    .with_allow_invalid_certificates(insecure);
                let store = Arc::new(builder.with_http_connector(transport.clone()).build().map_err(wrong)?);
                let client = transport.connect(&options).map_err(wrong)?;
                let bucket = self.bucket.clone();
                let s3 = S3 { store: store.clone(), client, url: bucket_url, bucket, region, customer_key };
                Ok(Clients { objects: store.clone(), pages: store, s3: Some(s3) })
            }
            Provider::Gcs => {
                let mut builder =
                    GoogleCloudStorageBuilder::from_env().with_bucket_name(&self.bucket).with_retry(retry());
                for (name, Setting(value)) in &self.settings {
                    let key: GoogleConfigKey = name.parse().map_err(wrong)?;
                    builder = builder.with_config(key, value);
                }
                let store = Arc::new(builder.with_http_connector(transport).build().map_err(wrong)?);
                Ok(Clients { objects: store.clone(), pages: store, s3: None })
            }
            Provider::Azure => {
                let mut builder =
                    MicrosoftAzureBuilder::from_env().with_container_name(&self.bucket).with_retry(retry());
                for (name, Setting(value)) in &self.settings {
                    let key: AzureConfigKey = name.parse().map_err(wrong)?;
                    builder = builder.with_config(key, value);
                }
                let endpoint = builder.get_config_value(&AzureConfigKey::Endpoint);
                if is_plain(endpoint.as_deref()) {
                    builder = builder.with_allow_http(true);
                }
                let store = Arc::new(builder.with_http_connector(transport).build().map_err(wrong)?);
                Ok(Clients { objects: store.clone(), pages: store, s3: None })
            }
        }
    }

    /// What tells two stores of the same name apart: where it was said to be.
    pub(super) fn place(&self) -> String {
        let of =
            |name: &str| self.settings.iter().find(|(key, _)| *key == name).map(|(_, value)| value.0.clone());
        let environment = |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok());
        match self.provider {
            Provider::S3 => of("aws_endpoint")
                .or_else(|| environment(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]))
                .unwrap_or_else(|| "Amazon S3".into()),
            Provider::Gcs => "Google Cloud Storage".into(),
            Provider::Azure => of("azure_storage_account_name")
                .or_else(|| environment(&["AZURE_STORAGE_ACCOUNT_NAME"]))
                .map_or_else(|| "Azure".into(), |account| format!("account {account}")),
        }
    }
}

/// Clients of one bucket.
pub(super) struct Clients {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) pages: Arc<dyn Pages>,
    pub(super) s3: Option<S3>,
}

fn is_plain(endpoint: Option<&str>) -> bool {
    endpoint.is_some_and(|endpoint| endpoint.starts_with("http://"))
}

/// How often a request is made again that the store did not answer, or answered with 5xx or 429. There is no second loop
/// around this one.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: 7,
        retry_timeout: Duration::from_secs(90),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(text: &str) -> BucketLocation {
        match text.parse().unwrap() {
            Location::Bucket(bucket) => bucket,
            Location::Directory(path) => panic!("{}", path.display()),
        }
    }

    #[test]
    fn a_bucket_is_named_with_and_without_slashes() {
        for text in ["s3://b/pre/fix", "s3://b/pre/fix/", "s3://b//pre/fix//"] {
            assert_eq!(bucket(text).url(), "s3://b/pre/fix", "{text}");
        }
        for text in ["gs://b", "gs://b/"] {
            assert_eq!(bucket(text).url(), "gs://b", "{text}");
        }
    }

    #[test]
    fn what_is_no_bucket_is_refused_with_what_to_write() {
        for text in [
            "",
            "s3://",
            "s3:///x",
            "ftp://x",
            "s3://key:secret@bucket/x",
            "s3://b/x?region=eu",
            "s3://b/a/../c",
            "file://host/x",
        ] {
            assert!(matches!(text.parse::<Location>(), Err(StoreError::Location { .. })), "{text}");
        }
    }

    #[test]
    fn a_setting_is_never_shown() {
        let mut location = bucket("s3://b");
        location.set("aws_secret_access_key", "hush");
        assert!(!format!("{location:?}").contains("hush"));
    }
}
