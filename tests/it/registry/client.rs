//! A client of the registry's HTTP API, as small as the tests need.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use ureq::http::{Request, Response};
use ureq::{AsSendBody, Body};

use super::content;

/// Every manifest media type, as clients send them in `Accept`.
const ACCEPT: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v1+prettyjws";

/// One registry's client.
pub struct Client {
    agent: ureq::Agent,
    base: String,
}

/// An answer of the registry.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = String::from_utf8_lossy(&self.body[..self.body.len().min(500)]);
        write!(formatter, "{} with {} bytes: {start}", self.status, self.body.len())
    }
}

impl Answer {
    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The first error code of the body, such as `MANIFEST_UNKNOWN`.
    pub fn error_code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_slice(&self.body).ok()?;
        Some(body["errors"][0]["code"].as_str()?.to_owned())
    }

    /// Whether the registry says in its own words that this is not there.
    pub fn is_clean_404(&self) -> bool {
        let code = self.error_code();
        self.status == 404
            && matches!(code.as_deref(), Some("MANIFEST_UNKNOWN" | "BLOB_UNKNOWN" | "NAME_UNKNOWN"))
    }

    /// The answer itself when its status is `status`; a failed test otherwise.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl Client {
    /// A client of the registry on a loopback port.
    pub fn new(port: u16) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        Self { agent, base: format!("http://127.0.0.1:{port}") }
    }

    /// `GET /v2/`, or `None` while nobody listens.
    pub fn ping(&self) -> Option<Answer> {
        let request = Request::get(format!("{}/v2/", self.base)).body(()).expect("a request");
        self.agent.run(request).ok().map(answer)
    }

    /// Pushes a blob in one request after `POST`, and returns its digest.
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = content::sha256(bytes);
        self.push_blob_as(repository, bytes, &digest);
        digest
    }

    /// Pushes a blob under a digest of the caller's choice, such as a sha512 one.
    pub fn push_blob_as(&self, repository: &str, bytes: &[u8], digest: &str) {
        let location = self.begin_upload(repository);
        self.finish_upload(&location, bytes, digest).expect(201);
    }

    /// Pushes a blob in several `PATCH` requests, and returns its digest.
    pub fn push_blob_in_chunks(&self, repository: &str, bytes: &[u8], chunk: usize) -> String {
        let digest = content::sha256(bytes);
        let mut location = self.begin_upload(repository);
        for part in bytes.chunks(chunk) {
            location = self.upload_part(&location, part);
        }
        self.finish_upload(&location, &[], &digest).expect(201);
        digest
    }

    /// Starts an upload and returns its location.
    pub fn begin_upload(&self, repository: &str) -> String {
        let request = Request::post(self.url(repository, "blobs/uploads/"));
        location(&self.run(request.body(Vec::new()).expect("a request")).expect(202))
    }

    /// Sends a part of an upload and returns the next location.
    pub fn upload_part(&self, location_of_upload: &str, bytes: &[u8]) -> String {
        let request = Request::patch(location_of_upload).header("content-type", "application/octet-stream");
        location(&self.run(request.body(bytes.to_vec()).expect("a request")).expect(202))
    }

    fn finish_upload(&self, location: &str, bytes: &[u8], digest: &str) -> Answer {
        let separator = if location.contains('?') { '&' } else { '?' };
        let request = Request::put(format!("{location}{separator}digest={digest}"))
            .header("content-type", "application/octet-stream");
        self.run(request.body(bytes.to_vec()).expect("a request"))
    }

    /// Mounts a blob of another repository.
    pub fn mount(&self, repository: &str, digest: &str, from: &str) -> Answer {
        let url = self.url(repository, &format!("blobs/uploads/?mount={digest}&from={from}"));
        self.run(Request::post(url).body(Vec::new()).expect("a request"))
    }

    /// Pushes a manifest by tag or digest.
    pub fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) -> Answer {
        let request = Request::put(self.url(repository, &format!("manifests/{reference}")))
            .header("content-type", media_type);
        self.run(request.body(bytes.to_vec()).expect("a request"))
    }

    /// `GET` of a manifest by tag or digest.
    pub fn manifest(&self, repository: &str, reference: &str) -> Answer {
        self.get(repository, &format!("manifests/{reference}"))
    }

    /// `GET` of a blob.
    pub fn blob(&self, repository: &str, digest: &str) -> Answer {
        self.get(repository, &format!("blobs/{digest}"))
    }

    /// The status of a `HEAD` of a blob, by which clients decide whether to upload it.
    pub fn blob_status(&self, repository: &str, digest: &str) -> u16 {
        let request = Request::head(self.url(repository, &format!("blobs/{digest}")));
        self.run(request.body(()).expect("a request")).status
    }

    /// `DELETE` of a manifest: by digest, in 3.x also by tag.
    pub fn delete_manifest(&self, repository: &str, reference: &str) -> Answer {
        let url = self.url(repository, &format!("manifests/{reference}"));
        self.run(Request::delete(url).body(()).expect("a request"))
    }

    /// The tags of a repository; none when the registry does not know it.
    pub fn tags(&self, repository: &str) -> BTreeSet<String> {
        let answer = self.get(repository, "tags/list?n=1000");
        if answer.is_clean_404() {
            return BTreeSet::new();
        }
        strings(&answer.expect(200), "tags")
    }

    /// The repositories that the registry shows.
    pub fn catalog(&self) -> BTreeSet<String> {
        let request = Request::get(format!("{}/v2/_catalog?n=1000", self.base));
        strings(&self.run(request.body(()).expect("a request")).expect(200), "repositories")
    }

    fn get(&self, repository: &str, rest: &str) -> Answer {
        let request = Request::get(self.url(repository, rest)).header("accept", ACCEPT);
        self.run(request.body(()).expect("a request"))
    }

    /// Sends a request to [`Client::url`] or to a location that the registry gave. An error is an answer that did not
    /// come, or not whole.
    pub fn ask(
        &self,
        method: &str,
        url: &str,
        media_type: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(method).uri(url).header("accept", ACCEPT);
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        let response = match body {
            Some(body) => self.agent.run(request.body(body.to_vec()).expect("a request")),
            None => self.agent.run(request.body(()).expect("a request")),
        };
        whole(response?)
    }

    /// The URL of what follows a repository's name.
    pub fn url(&self, repository: &str, rest: &str) -> String {
        format!("{}/v2/{repository}/{rest}", self.base)
    }

    fn run(&self, request: Request<impl AsSendBody>) -> Answer {
        let name = format!("{} {}", request.method(), request.uri());
        match self.agent.run(request) {
            Ok(response) => answer(response),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

fn answer(response: Response<Body>) -> Answer {
    whole(response).expect("a whole body")
}

fn whole(mut response: Response<Body>) -> Result<Answer, ureq::Error> {
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
    Ok(Answer { status, body, headers })
}

fn location(answer: &Answer) -> String {
    answer.header("location").expect("an upload's location").to_owned()
}

fn strings(answer: &Answer, key: &str) -> BTreeSet<String> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let items = body[key].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item.as_str().expect("a name").to_owned()).collect()
}
