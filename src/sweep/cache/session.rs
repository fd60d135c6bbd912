//! Requests to one registry: with credentials or tokens, again where that may help, and their answers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use url::Url;

use super::registry::Registry;
use super::token::{self, Challenge};
use super::{CacheError, chain};
use crate::config::registry::Secret;
use crate::oci::{Digest, RepositoryName};

const CONNECT: Duration = Duration::from_secs(5);

/// How long one request may take: a registry asks its bucket before it answers.
const ANSWER: Duration = Duration::from_secs(60);

/// How often a request is made that fails on the way, or is answered "later".
const ATTEMPTS: u32 = 3;

/// Bytes of an answer's body that are read; what is looked for is an error's code.
const BODY: usize = 64 * 1024;

/// The header that distribution sends with every answer, its errors among them.
pub(super) const API_VERSION: &str = "docker-distribution-api-version";

/// A client for all registries.
pub(super) fn client() -> Result<Client, CacheError> {
    // The first caller in the process says where the means to encrypt come from.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        // Another process could answer at the end of a redirect, or behind a proxy.
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("regsweep/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(CacheError::Client)
}

/// An answer, its body read.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Vec<u8>,
}

/// distribution's error body.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    code: String,
}

impl Answer {
    pub(super) fn is_of_a_registry(&self) -> bool {
        self.headers.contains_key(API_VERSION) || self.code().is_some()
    }

    /// The first error's code, such as `BLOB_UNKNOWN`.
    pub(super) fn code(&self) -> Option<String> {
        let Errors { errors } = serde_json::from_slice(&self.body).ok()?;
        errors.into_iter().next().map(|error| error.code)
    }
}

/// A request about a repository.
pub(super) struct Request<'r> {
    pub(super) method: Method,
    /// Empty for `/v2/` itself.
    pub(super) repository: &'r str,
    /// What follows the repository in the path.
    pub(super) rest: String,
}

impl<'r> Request<'r> {
    pub(super) fn of_blob(method: Method, repository: &'r RepositoryName, digest: &Digest) -> Self {
        Self { method, repository: repository.as_str(), rest: format!("blobs/{digest}") }
    }

    pub(super) fn shown(&self) -> String {
        let path = [self.repository, &self.rest].join("/");
        format!("{} /v2/{}", self.method, path.trim_matches('/'))
    }

    pub(super) fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v2");
            // Split, since a name found in a store may have any other letter.
            segments.extend(self.repository.split('/').chain(self.rest.split('/')));
            if self.repository.is_empty() {
                segments.pop();
            }
        }
        url
    }
}

/// One registry, a client, and the tokens it was given so far.
pub(super) struct Session<'s> {
    pub(super) registry: &'s Registry,
    client: &'s Client,
    /// By method and repository: what a token is good for.
    tokens: Mutex<HashMap<(Method, String), Secret>>,
}

impl<'s> Session<'s> {
    pub(super) fn new(registry: &'s Registry, client: &'s Client) -> Self {
        Self { registry, client, tokens: Mutex::default() }
    }

    /// Sends a request, again where that may help.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, CacheError> {
        let mut attempt = 1;
        loop {
            let last = attempt == ATTEMPTS;
            match self.send_once(request).await {
                Ok(answer) if !last && is_passing(answer.status) => {}
                Err(CacheError::Unreachable { source, .. }) if !last && !source.is_connect() => {}
                answer => return answer,
            }
            tokio::time::sleep(Duration::from_millis(300) * attempt).await;
            attempt += 1;
        }
    }

    async fn send_once(&self, request: &Request<'_>) -> Result<Answer, CacheError> {
        let answer = self.exchange(self.prepared(request)).await?;
        let challenge = answer
            .headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .find_map(|header| header.to_str().ok().and_then(Challenge::parse));
        match challenge {
            Some(challenge) if answer.status == StatusCode::UNAUTHORIZED => {
                let token = self.token(&challenge).await?;
                self.tokens().insert((request.method.clone(), request.repository.to_owned()), token);
                self.exchange(self.prepared(request)).await
            }
            _ => Ok(answer),
        }
    }

    fn prepared(&self, request: &Request<'_>) -> RequestBuilder {
        let mut prepared = self.client.request(request.method.clone(), request.url(self.registry.base()));
        if request.method == Method::PUT {
            prepared = prepared
                .header(CONTENT_TYPE, "application/vnd.oci.image.manifest.v1+json")
                .body("not a manifest: does this registry take writes?");
        }
        let tokens = self.tokens();
        match tokens.get(&(request.method.clone(), request.repository.to_owned())) {
            Some(token) => prepared.bearer_auth(token.expose()),
            None => self.with_credentials(prepared),
        }
    }

    fn with_credentials(&self, request: RequestBuilder) -> RequestBuilder {
        match self.registry.credentials() {
            Some((username, password)) => request.basic_auth(username, Some(password.expose())),
            None => request,
        }
    }

    /// Asks the service that the registry names for a token.
    async fn token(&self, challenge: &Challenge) -> Result<Secret, CacheError> {
        let refused = |problem: String| CacheError::Token {
            registry: self.registry.name().to_owned(),
            realm: challenge.realm(),
            problem,
        };
        let url = challenge.address(self.registry.base()).map_err(refused)?;
        let answer = match self.exchange(self.with_credentials(self.client.get(url))).await {
            Err(CacheError::Unreachable { source, .. }) => return Err(refused(chain(&source))),
            answer => answer?,
        };
        match token::token(&answer.body) {
            Some(token) if answer.status == StatusCode::OK => Ok(Secret::from(token)),
            _ => Err(refused(format!("it answers {}", answer.status.as_u16()))),
        }
    }

    async fn exchange(&self, request: RequestBuilder) -> Result<Answer, CacheError> {
        let failed = |source: reqwest::Error| CacheError::Unreachable {
            registry: self.registry.name().to_owned(),
            source: source.without_url(),
        };
        let mut response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while body.len() < BODY {
            let Some(chunk) = response.chunk().await.map_err(failed)? else { break };
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<(Method, String), Secret>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn unauthorized(&self, request: &Request<'_>, status: StatusCode) -> CacheError {
        CacheError::Unauthorized {
            registry: self.registry.name().to_owned(),
            request: request.shown(),
            status: status.as_u16(),
        }
    }

    pub(super) fn unexpected(&self, request: &Request<'_>, status: StatusCode) -> CacheError {
        CacheError::Answer {
            registry: self.registry.name().to_owned(),
            request: request.shown(),
            status: status.as_u16(),
        }
    }

    pub(super) fn not_a_registry(&self, status: StatusCode) -> CacheError {
        CacheError::NotARegistry { registry: self.registry.name().to_owned(), status: status.as_u16() }
    }
}

/// Whether a status says that a later attempt may succeed.
fn is_passing(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}
