//! A bucket as clients find it: its URL, the environment that leads a child process to it, and a client of this process.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::HttpRequestBody;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig};
use regsweep::store::{BucketLocation, Location};
use ureq::http::Request;

use super::http;

/// Whose protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon S3.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Gcs,
}

/// The account that Azurite has, and its key: both are in its documentation.
pub const AZURE_ACCOUNT: &str = "devstoreaccount1";
/// As above.
pub const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// The region that all S3 servers of the tests are in.
pub const REGION: &str = "us-east-1";

/// What leads a client elsewhere: variables that begin so are not inherited.
const LEADING: [&str; 7] =
    ["AWS_", "AZURE_", "AZURITE_", "GOOGLE_", "SERVICE_ACCOUNT", "STORAGE_EMULATOR", "REGSWEEP_"];

/// Variables that lead every client elsewhere.
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];

/// A bucket or container on a server of the tests.
#[derive(Debug, Clone)]
pub struct Bucket {
    provider: Provider,
    name: String,
    endpoint: String,
    environment: Vec<(&'static str, String)>,
}

impl Bucket {
    /// A bucket of an S3 server.
    pub fn s3(name: &str, endpoint: &str, access_key: &str, secret_key: &str) -> Self {
        let environment = vec![
            ("AWS_ENDPOINT_URL", endpoint.to_owned()),
            ("AWS_ACCESS_KEY_ID", access_key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", secret_key.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
        ];
        Self { provider: Provider::S3, name: name.to_owned(), endpoint: endpoint.to_owned(), environment }
    }

    /// A container of Azurite.
    pub fn azure(name: &str, endpoint: &str) -> Self {
        let environment = vec![
            ("AZURE_STORAGE_USE_EMULATOR", "true".to_owned()),
            ("AZURITE_BLOB_STORAGE_URL", endpoint.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT.to_owned()),
            ("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY.to_owned()),
        ];
        Self { provider: Provider::Azure, name: name.to_owned(), endpoint: endpoint.to_owned(), environment }
    }

    /// A bucket of a server that speaks the protocol of Google, with the path of a service account's file.
    pub fn gcs(name: &str, endpoint: &str, account: &str) -> Self {
        let environment = vec![("GOOGLE_SERVICE_ACCOUNT", account.to_owned())];
        Self { provider: Provider::Gcs, name: name.to_owned(), endpoint: endpoint.to_owned(), environment }
    }

    /// Whose protocol its server speaks.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The URL of what is below `prefix`, as a user gives it.
    pub fn url(&self, prefix: &str) -> String {
        let scheme = match self.provider {
            Provider::S3 => "s3",
            Provider::Azure => "az",
            Provider::Gcs => "gs",
        };
        format!("{scheme}://{}/{prefix}", self.name)
    }

    /// The variables that lead a client here.
    pub fn environment(&self) -> &[(&'static str, String)] {
        &self.environment
    }

    /// What is below `prefix`, as the library takes it: settings that no variable of this process overrides.
    ///
    /// # Panics
    /// When it is not one of S3.
    pub fn location(&self, prefix: &str) -> BucketLocation {
        let Ok(Location::Bucket(mut location)) = self.url(prefix).parse() else { panic!("no bucket") };
        assert_eq!(self.provider, Provider::S3);
        location.set("aws_endpoint", &self.endpoint);
        location.set("aws_region", REGION);
        location.set("aws_access_key_id", self.variable("AWS_ACCESS_KEY_ID"));
        location.set("aws_secret_access_key", self.variable("AWS_SECRET_ACCESS_KEY"));
        location
    }

    /// One of these variables.
    pub fn variable(&self, name: &str) -> &str {
        let found = self.environment.iter().find(|(known, _)| *known == name);
        found.map_or_else(|| panic!("no {name} here"), |(_, value)| value)
    }

    /// Leads a command here, and nowhere else.
    pub fn lead(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let leads = LEADING.iter().any(|prefix| text.starts_with(prefix));
            if leads || PROXIES.contains(&&*text.to_lowercase()) {
                command.env_remove(&name);
            }
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// A client that tries again as a client does by itself.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.store_with(RetryConfig::default())
    }

    /// A client that tries everything once.
    pub fn store_once(&self) -> Arc<dyn ObjectStore> {
        self.store_with(RetryConfig { max_retries: 0, ..RetryConfig::default() })
    }

    fn store_with(&self, retry: RetryConfig) -> Arc<dyn ObjectStore> {
        // A client wants one even where nothing is encrypted. Whoever was first has installed the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = ClientOptions::new().with_allow_http(true);
        match self.provider {
            Provider::S3 => {
                let builder = AmazonS3Builder::new()
                    .with_client_options(client)
                    .with_retry(retry)
                    .with_bucket_name(&self.name)
                    .with_endpoint(&self.endpoint)
                    .with_region(REGION)
                    .with_access_key_id(self.variable("AWS_ACCESS_KEY_ID"))
                    .with_secret_access_key(self.variable("AWS_SECRET_ACCESS_KEY"));
                Arc::new(builder.build().expect("a client"))
            }
            // Not as an emulator: that would take its place from the environment of this process.
            Provider::Azure => {
                let builder = MicrosoftAzureBuilder::new()
                    .with_client_options(client)
                    .with_retry(retry)
                    .with_container_name(&self.name)
                    .with_endpoint(format!("{}/{AZURE_ACCOUNT}", self.endpoint))
                    .with_account(AZURE_ACCOUNT)
                    .with_access_key(AZURE_KEY);
                Arc::new(builder.build().expect("a client"))
            }
            Provider::Gcs => {
                let builder = GoogleCloudStorageBuilder::new()
                    .with_client_options(client)
                    .with_retry(retry)
                    .with_bucket_name(&self.name)
                    .with_service_account_path(self.variable("GOOGLE_SERVICE_ACCOUNT"));
                Arc::new(builder.build().expect("a client"))
            }
        }
    }

    /// Puts many objects, some at a time.
    ///
    /// # Panics
    /// When one is refused.
    pub async fn put_all(&self, objects: impl IntoIterator<Item = (String, Bytes)>) {
        let store = self.store();
        futures::stream::iter(objects)
            .map(|(key, bytes)| {
                let store = store.clone();
                async move {
                    match self.provider {
                        // What fake-gcs-server has for a put is Google's JSON, not what `object_store` sends.
                        Provider::Gcs => self.put_json(&key, &bytes),
                        _ => store.put(&key.clone().into(), bytes.into()).await.map(drop).expect("a put"),
                    }
                }
            })
            .buffer_unordered(16)
            .collect::<()>()
            .await;
    }

    /// All keys below `prefix`, in the order of bytes.
    ///
    /// # Panics
    /// When the listing fails.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let prefix = prefix.into();
        let listing = self.store().list(Some(&prefix)).map_ok(|meta| String::from(meta.location));
        let mut keys: Vec<String> = listing.try_collect().await.expect("a listing");
        keys.sort();
        keys
    }

    /// Sends a request of S3 that has no body: what follows the bucket in the URL begins with a slash or a question mark.
    /// Answers the status and the body.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn ask_s3(&self, method: &str, rest: &str) -> (u16, String) {
        http::ask(self.signed(method, rest, ""))
    }

    /// Says whether the bucket keeps versions, in S3's own words.
    ///
    /// # Panics
    /// When it is refused.
    pub fn configure_versioning(&self, setting: &'static str) {
        http::send(self.signed("PUT", "?versioning=", setting), 200);
    }

    fn signed(&self, method: &str, rest: &str, body: &'static str) -> Request<Vec<u8>> {
        let credential = AwsCredential {
            key_id: self.variable("AWS_ACCESS_KEY_ID").to_owned(),
            secret_key: self.variable("AWS_SECRET_ACCESS_KEY").to_owned(),
            token: None,
        };
        let request = Request::builder().method(method).header("content-length", body.len());
        let request = request.uri(format!("{}/{}{rest}", self.endpoint, self.name));
        let mut request = request.body(HttpRequestBody::from(body.to_owned())).expect("a request");
        AwsAuthorizer::new(&credential, "s3", REGION).try_authorize(&mut request, None).expect("a signature");
        request.map(|_| body.into())
    }

    fn put_json(&self, key: &str, bytes: &Bytes) {
        let name: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        let url = format!("{}/upload/storage/v1/b/{}/o", self.endpoint, self.name);
        let request = Request::post(format!("{url}?uploadType=media&name={name}"));
        http::send(request.body(bytes.to_vec()).expect("a request"), 200);
    }
}
