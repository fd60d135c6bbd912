//! What S3 keeps beside a bucket's objects: versions that are not current, and uploads in parts that nobody finished. The
//! client library does not ask for them; its credentials and signatures serve here as they do there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use jiff::Timestamp;
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpClient, HttpConnector as _, HttpRequestBody};
use object_store::multipart::MultipartStore;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::transport::Transport;

/// How often a question is asked again that the store did not answer, or with 5xx or 429.
const ATTEMPTS: u32 = 5;

/// Questions about a bucket that are not about an object.
#[derive(Debug)]
pub struct S3 {
    store: Arc<AmazonS3>,
    client: HttpClient,
    /// Of the bucket, without a slash at its end.
    url: String,
    region: String,
}

/// Whether a bucket keeps what is replaced or deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Versioning {
    /// What is deleted is gone.
    #[default]
    Never,
    /// What is deleted stays as a version.
    Enabled,
    /// It did once; older versions may be left.
    Suspended,
}

/// Versions that are not current, below one prefix.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noncurrent {
    /// How many.
    pub objects: u64,
    /// Their bytes, which are paid for.
    pub bytes: u64,
    /// Marks that stand for deleted objects.
    pub delete_markers: u64,
}

/// An upload in parts that was begun and neither finished nor given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultipartUpload {
    /// The key that it would become, below the store's root.
    pub key: String,
    /// Its identifier.
    pub id: String,
    /// When it was begun.
    pub started: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersioningAnswer {
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionsAnswer {
    #[serde(default, rename = "Version")]
    versions: Vec<VersionAnswer>,
    #[serde(default, rename = "DeleteMarker")]
    delete_markers: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: Option<String>,
    #[serde(default)]
    next_version_id_marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionAnswer {
    is_latest: bool,
    #[serde(default)]
    size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadsAnswer {
    #[serde(default, rename = "Upload")]
    uploads: Vec<UploadAnswer>,
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    next_key_marker: Option<String>,
    #[serde(default)]
    next_upload_id_marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UploadAnswer {
    key: String,
    upload_id: String,
    initiated: Timestamp,
}

impl S3 {
    pub(super) fn new(
        store: Arc<AmazonS3>,
        transport: &Transport,
        options: &ClientOptions,
        url: String,
        region: String,
    ) -> object_store::Result<Self> {
        Ok(Self { store, client: transport.connect(options)?, url, region })
    }

    /// Whether the bucket keeps what is replaced or deleted.
    ///
    /// # Errors
    /// When it may not be asked, or does not say.
    pub async fn versioning(&self) -> Result<Versioning, StoreError> {
        let answer: VersioningAnswer = self.ask("versioning", &[]).await?;
        Ok(match answer.status.as_str() {
            "Enabled" => Versioning::Enabled,
            "Suspended" => Versioning::Suspended,
            _ => Versioning::Never,
        })
    }

    /// Counts the versions below `prefix` that are not current.
    ///
    /// # Errors
    /// When they may not be listed, or not whole.
    pub async fn noncurrent(&self, prefix: &str) -> Result<Noncurrent, StoreError> {
        let mut found = Noncurrent::default();
        let mut after = Vec::new();
        loop {
            let query = [&[("prefix", prefix.to_owned())][..], &after].concat();
            let answer: VersionsAnswer = self.ask("versions", &query).await?;
            found.delete_markers += answer.delete_markers.len() as u64;
            for version in answer.versions.iter().filter(|version| !version.is_latest) {
                found.objects += 1;
                found.bytes += version.size;
            }
            let version = answer.next_version_id_marker;
            after = match next(answer.is_truncated, answer.next_key_marker, ("version-id-marker", version)) {
                Some(after) => after,
                None => return Ok(found),
            };
        }
    }

    /// Every upload in parts below `prefix`, as keys of the bucket.
    ///
    /// # Errors
    /// When they may not be listed, or not whole.
    pub async fn uploads(&self, prefix: &str) -> Result<Vec<MultipartUpload>, StoreError> {
        let mut found = Vec::new();
        let mut after = Vec::new();
        loop {
            let query = [&[("prefix", prefix.to_owned())][..], &after].concat();
            let answer: UploadsAnswer = self.ask("uploads", &query).await?;
            found.extend(answer.uploads.into_iter().map(|upload| MultipartUpload {
                key: upload.key,
                id: upload.upload_id,
                started: upload.initiated,
            }));
            let id = answer.next_upload_id_marker;
            after = match next(answer.is_truncated, answer.next_key_marker, ("upload-id-marker", id)) {
                Some(after) => after,
                None => return Ok(found),
            };
        }
    }

    /// What gives uploads up, for `sweep/trash.rs`.
    pub(crate) fn multipart(&self) -> &dyn MultipartStore {
        &*self.store
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        query: &[(&str, String)],
    ) -> Result<T, StoreError> {
        let text = query.iter().fold(format!("{what}="), |text, (name, value)| {
            let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            // A space is a plus only in forms.
            format!("{text}&{name}={}", value.replace('+', "%20"))
        });
        let failed = |words: String| {
            let source = words.into();
            StoreError::request("list", what, object_store::Error::Generic { store: "S3", source })
        };
        let body = self.get(&text).await.map_err(failed)?;
        quick_xml::de::from_reader(&*body)
            .map_err(|error| failed(format!("its answer is not understood: {error}")))
    }

    async fn get(&self, query: &str) -> Result<Bytes, String> {
        let mut attempt = 1;
        loop {
            let (again, words) = match self.get_once(query).await {
                Ok((StatusCode::OK, body)) => return Ok(body),
                Ok((status, body)) => {
                    let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                    (again, format!("status code: {status}: {}", String::from_utf8_lossy(&body)))
                }
                Err(words) => (true, words),
            };
            if !again || attempt == ATTEMPTS {
                return Err(words);
            }
            tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
            attempt += 1;
        }
    }

    async fn get_once(&self, query: &str) -> Result<(StatusCode, Bytes), String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let credential = self.store.credentials().get_credential().await.map_err(|error| words(&error))?;
        let mut request = http::Request::builder()
            .method(Method::GET)
            .uri(format!("{}/?{query}", self.url))
            .body(HttpRequestBody::empty())
            .map_err(|error| words(&error))?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| words(&error))?;
        let answer = self.client.execute(request).await.map_err(|error| words(&error))?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.map_err(|error| words(&error))?;
        Ok((status, body))
    }
}

/// What the next page is asked for with; `None` after the last.
fn next(
    truncated: bool,
    key: Option<String>,
    second: (&'static str, Option<String>),
) -> Option<Vec<(&'static str, String)>> {
    if !truncated {
        return None;
    }
    let mut after = vec![("key-marker", key?)];
    after.extend(second.1.map(|value| (second.0, value)));
    Some(after)
}
