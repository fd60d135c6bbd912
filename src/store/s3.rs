//! What the client library does not ask S3 for: versions that are not current, uploads in parts that nobody finished, and
//! copies in parts. Its credentials and signatures serve here as they do there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use object_store::aws::{AmazonS3, AwsAuthorizer};
use object_store::client::{HttpClient, HttpRequestBody};
use object_store::multipart::{MultipartStore, PartId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use super::StoreError;

/// How often a question is asked again that the store did not answer, or with 5xx or 429.
const ATTEMPTS: u32 = 5;

/// What stands for itself in the name of an object within a URL.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A bucket's own requests.
#[derive(Debug)]
pub struct S3 {
    pub(super) store: Arc<AmazonS3>,
    pub(super) client: HttpClient,
    /// Of the bucket, without a slash at its end.
    pub(super) url: String,
    pub(super) bucket: String,
    pub(super) region: String,
    /// Whether objects are encrypted with a key that comes with each request.
    pub(super) customer_key: bool,
}

/// A range of an object that is to become a part of another.
#[derive(Debug)]
pub(crate) struct PartCopy<'p> {
    /// The whole key of what is copied.
    pub(crate) from: &'p str,
    /// Its entity tag, as the store wrote it: what is there meanwhile under the same key is something else.
    pub(crate) e_tag: Option<&'p str>,
    /// The whole key that the upload will become.
    pub(crate) to: &'p str,
    /// The upload.
    pub(crate) id: &'p str,
    /// The part's place, from 0.
    pub(crate) index: usize,
    /// Its bytes, the last one included.
    pub(crate) range: std::ops::RangeInclusive<u64>,
}

/// Why a request of our own failed.
struct Refused {
    status: Option<StatusCode>,
    words: String,
}

impl Refused {
    /// As the client library tells it.
    fn told(self, key: &str) -> object_store::Error {
        let (path, source) = (key.to_owned(), self.words.into());
        match self.status {
            Some(StatusCode::PRECONDITION_FAILED) => object_store::Error::Precondition { path, source },
            Some(StatusCode::FORBIDDEN) => object_store::Error::PermissionDenied { path, source },
            _ => object_store::Error::Generic { store: "S3", source },
        }
    }
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

#[derive(Deserialize)]
struct CopyPartAnswer {
    #[serde(rename = "ETag")]
    e_tag: String,
}

impl S3 {
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

    /// What begins uploads in parts, ends them and gives them up.
    pub(crate) fn multipart(&self) -> &dyn MultipartStore {
        &*self.store
    }

    /// Whether a part of an upload can be copied from an object. Where a key comes with each request the client library
    /// does not tell it.
    pub(super) fn copies_parts(&self) -> bool {
        !self.customer_key
    }

    /// Copies a range of an object into an upload in parts.
    ///
    /// # Errors
    /// When it is not copied; [`object_store::Error::Precondition`] when the object is another one by now.
    pub(crate) async fn copy_part(&self, part: &PartCopy<'_>) -> Result<PartId, StoreError> {
        let encoded = |text: &str| utf8_percent_encode(text, &PLAIN).to_string();
        let number = (part.index + 1).to_string();
        let id: String = url::form_urlencoded::byte_serialize(part.id.as_bytes()).collect();
        let place = format!("/{}?partNumber={number}&uploadId={id}", encoded(part.to));
        let range = format!("bytes={}-{}", part.range.start(), part.range.end());
        let source = format!("{}/{}", self.bucket, encoded(part.from));
        let failed = |refused: Refused| StoreError::request("copy", part.from, refused.told(part.from));
        let mut headers = HeaderMap::from_iter([(http::header::CONTENT_LENGTH, HeaderValue::from(0))]);
        let about = [
            ("x-amz-copy-source", Some(&*source)),
            ("x-amz-copy-source-range", Some(&*range)),
            ("x-amz-copy-source-if-match", part.e_tag),
        ];
        for (name, value) in about {
            let Some(value) = value else { continue };
            let value = HeaderValue::from_str(value)
                .map_err(|error| failed(Refused { status: None, words: error.to_string() }))?;
            headers.insert(name, value);
        }
        let body = self.send(&Method::PUT, &place, &headers).await.map_err(failed)?;
        let answer: CopyPartAnswer = quick_xml::de::from_reader(&*body).map_err(|error| {
            let words = format!("its answer is not understood: {error}");
            failed(Refused { status: None, words })
        })?;
        Ok(PartId { content_id: answer.e_tag })
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        what: &'static str,
        query: &[(&str, String)],
    ) -> Result<T, StoreError> {
        let text = query.iter().fold(format!("/?{what}="), |text, (name, value)| {
            let value: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
            // A space is a plus only in forms.
            format!("{text}&{name}={}", value.replace('+', "%20"))
        });
        let failed = |words: String| {
            let source = words.into();
            StoreError::request("list", what, object_store::Error::Generic { store: "S3", source })
        };
        let answer = self.send(&Method::GET, &text, &HeaderMap::new()).await;
        let body = answer.map_err(|refused| failed(refused.words))?;
        quick_xml::de::from_reader(&*body)
            .map_err(|error| failed(format!("its answer is not understood: {error}")))
    }

    /// Makes a request without a body, again when the store did not answer it, or with an error of its own.
    async fn send(&self, method: &Method, place: &str, headers: &HeaderMap) -> Result<Bytes, Refused> {
        let mut attempt = 1;
        loop {
            let (again, refused) = match self.send_once(method, place, headers).await {
                // A copy that takes long is answered with 200 before it is known whether it succeeds.
                Ok((StatusCode::OK, body)) if !tells_error(&body) => return Ok(body),
                Ok((status, body)) => {
                    let again = status.is_server_error()
                        || status == StatusCode::TOO_MANY_REQUESTS
                        || status == StatusCode::OK;
                    let words = format!("status code: {status}: {}", String::from_utf8_lossy(&body));
                    (again, Refused { status: Some(status), words })
                }
                Err(words) => (true, Refused { status: None, words }),
            };
            if !again || attempt == ATTEMPTS {
                return Err(refused);
            }
            tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
            attempt += 1;
        }
    }

    async fn send_once(
        &self,
        method: &Method,
        place: &str,
        headers: &HeaderMap,
    ) -> Result<(StatusCode, Bytes), String> {
        let words = |error: &dyn std::fmt::Display| error.to_string();
        let credential = self.store.credentials().get_credential().await.map_err(|error| words(&error))?;
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{place}", self.url))
            .body(HttpRequestBody::empty())
            .map_err(|error| words(&error))?;
        request.headers_mut().extend(headers.clone());
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| words(&error))?;
        let answer = self.client.execute(request).await.map_err(|error| words(&error))?;
        let status = answer.status();
        let body = answer.into_body().bytes().await.map_err(|error| words(&error))?;
        Ok((status, body))
    }
}

/// Whether the document is an error. What is told of keys is never written so.
fn tells_error(body: &[u8]) -> bool {
    const NAME: &[u8] = b"<Error>";
    body.windows(NAME.len()).any(|window| window == NAME)
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
