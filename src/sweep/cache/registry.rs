//! A registry process, asked through its own API.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use futures::future::try_join_all;
use percent_encoding::percent_decode_str;
use reqwest::{Client, Method, StatusCode};
use url::Url;

use super::session::{API_VERSION, Answer, Request, Session};
use super::{CacheError, ReadOnly, chain};
use crate::config::registry::Secret;
use crate::oci::{Digest, RepositoryName};
use crate::store::layers;

/// Links of one registry that are asked about side by side.
const CONCURRENCY: usize = 8;

/// How often a link that the registry knows again at once is tried.
const TRIES: usize = 3;

/// The repository that is pretended to be pushed to.
const PROBE: &str = "regsweep/probe";

/// One process.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    /// Without user, password, query or a slash at the end.
    base: Url,
    name: String,
    credentials: Option<(String, Secret)>,
}

impl Registry {
    /// Reads `http[s]://[user:password@]host[:port][/prefix]`, with or without `/v2/` at its end.
    pub(super) fn parse(text: &str) -> Result<Self, CacheError> {
        let refused = |problem: &str| CacheError::RegistryUrl { problem: problem.to_owned() };
        let mut base = Url::parse(text).map_err(|error| refused(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(refused("it begins with neither http:// nor https://"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(refused("what follows ? or # is not understood"));
        }
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(Cow::into_owned);
        let credentials = match (base.username(), base.password()) {
            ("", None) => None,
            (username, password) => {
                let username = decoded(username).map_err(|_| refused("its user is not UTF-8"))?;
                let password = decoded(password.unwrap_or_default())
                    .map_err(|_| refused("its password is not UTF-8"))?;
                Some((username, Secret::from(password)))
            }
        };
        if base.set_username("").is_err() || base.set_password(None).is_err() {
            return Err(refused("it names no host"));
        }
        let path = base.path().trim_end_matches('/');
        let path = path.strip_suffix("/v2").unwrap_or(path).trim_end_matches('/').to_owned();
        base.set_path(&path);
        let name = base.as_str().trim_end_matches('/').to_owned();
        Ok(Self { base, name, credentials })
    }

    /// Its URL, without password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    pub(super) fn credentials(&self) -> Option<&(String, Secret)> {
        self.credentials.as_ref()
    }

    /// Makes it forget these links, and answers how many it knew.
    pub(super) async fn evict(
        &self,
        client: &Client,
        links: &BTreeSet<(RepositoryName, Digest)>,
    ) -> Result<u64, CacheError> {
        let session = Session::new(self, client);
        session.check().await?;
        // Lanes that take from one list: the futures of all links at once would be many.
        let remaining = Mutex::new(links.iter());
        let next = || remaining.lock().unwrap_or_else(PoisonError::into_inner).next();
        let lanes = (0..CONCURRENCY).map(|_| async {
            let mut known = 0;
            while let Some((repository, digest)) = next() {
                known += u64::from(session.forget(repository, digest).await?);
            }
            Ok::<u64, CacheError>(known)
        });
        Ok(try_join_all(lanes).await?.into_iter().sum())
    }

    /// Asks whether it takes writes.
    pub(super) async fn probe(&self, client: &Client) -> Result<ReadOnly, CacheError> {
        let session = Session::new(self, client);
        let request = Request { method: Method::PUT, repository: PROBE, rest: "manifests/probe".to_owned() };
        let answer = match session.send(&request).await {
            Err(CacheError::Unreachable { source, .. }) if is_refused(&source) => {
                return Ok(ReadOnly::Stopped);
            }
            Err(error @ CacheError::Unreachable { .. }) => return Ok(ReadOnly::Unclear(told(&error))),
            answer => answer?,
        };
        let known = answer.is_of_a_registry();
        Ok(match answer.status {
            StatusCode::METHOD_NOT_ALLOWED if known => ReadOnly::ReadOnly,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(session.unauthorized(&request, answer.status));
            }
            StatusCode::BAD_REQUEST if answer.code().as_deref() == Some("MANIFEST_INVALID") => {
                ReadOnly::TakesWrites
            }
            status if status.is_success() && known => ReadOnly::TakesWrites,
            status => ReadOnly::Unclear(format!(
                "{} answers {} with {}",
                self.name,
                request.shown(),
                status.as_u16()
            )),
        })
    }
}

impl Session<'_> {
    /// Makes sure that a registry answers here, so that its 404 means that something is not there.
    async fn check(&self) -> Result<(), CacheError> {
        let request = Request { method: Method::GET, repository: "", rest: String::new() };
        let answer = self.send(&request).await?;
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.unauthorized(&request, answer.status))
            }
            StatusCode::OK if answer.headers.contains_key(API_VERSION) => Ok(()),
            status => Err(self.not_a_registry(status)),
        }
    }

    /// Makes the registry forget a link, and answers whether it knew it.
    ///
    /// A push or a pull beside it may have the registry know the link again in the same moment, so that it is tried a few
    /// times.
    async fn forget(&self, repository: &RepositoryName, digest: &Digest) -> Result<bool, CacheError> {
        let mut tries = 1;
        loop {
            match self.try_to_forget(repository, digest).await? {
                Forgot::Knew => return Ok(true),
                Forgot::NeverKnew => return Ok(tries > 1),
                Forgot::StillKnows(_) if tries < TRIES => tries += 1,
                Forgot::StillKnows(status) => {
                    let head = Request::of_blob(Method::HEAD, repository, digest);
                    return Err(self.unexpected(&head, status));
                }
            }
        }
    }

    async fn try_to_forget(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Result<Forgot, CacheError> {
        let head = Request::of_blob(Method::HEAD, repository, digest);
        let delete = Request::of_blob(Method::DELETE, repository, digest);
        let answer = self.send(&head).await?;
        match answer.status {
            // No request can be answered from a cache for a name that the registry does not take.
            StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => {
                return self.confirm(&answer).map(|()| Forgot::NeverKnew);
            }
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                return Err(self.unauthorized(&head, status));
            }
            // Known: 200, or a redirect to a bucket. 500: the link's entry is there without the data's.
            StatusCode::INTERNAL_SERVER_ERROR => {}
            status if status.is_success() || status.is_redirection() => {}
            status => return Err(self.unexpected(&head, status)),
        }
        let answer = self.send(&delete).await?;
        let registry = || self.registry.name().to_owned();
        match answer.status {
            StatusCode::ACCEPTED => Ok(Forgot::Knew),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(self.unauthorized(&delete, status))
            }
            StatusCode::METHOD_NOT_ALLOWED if answer.code().as_deref() == Some("UNSUPPORTED") => {
                Err(CacheError::DeleteDisabled { registry: registry() })
            }
            StatusCode::METHOD_NOT_ALLOWED => Err(CacheError::ReadOnlyRegistry { registry: registry() }),
            // The cache is cleared first, and then 3.x fails on the link that has gone. So would a registry that failed
            // before it came to its cache: whether it still answers tells them apart.
            StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR => {
                let answer = self.send(&head).await?;
                match answer.status {
                    StatusCode::NOT_FOUND => self.confirm(&answer).map(|()| Forgot::Knew),
                    status => Ok(Forgot::StillKnows(status)),
                }
            }
            status => Err(self.unexpected(&delete, status)),
        }
    }

    /// Whether "not here" comes from the registry, and not from what stands before it.
    fn confirm(&self, answer: &Answer) -> Result<(), CacheError> {
        if answer.is_of_a_registry() { Ok(()) } else { Err(self.not_a_registry(answer.status)) }
    }
}

/// How one try to have a link forgotten ended.
enum Forgot {
    Knew,
    NeverKnew,
    /// The answer to the question after the deletion.
    StillKnows(StatusCode),
}

/// Whether nobody listens.
fn is_refused(error: &reqwest::Error) -> bool {
    layers(error).any(|layer| {
        layer.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::ConnectionRefused)
    })
}

fn told(error: &CacheError) -> String {
    match error {
        CacheError::Unreachable { registry, source } => format!("{registry}: {}", chain(source)),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Arc;

    use super::super::session::client;
    use super::*;

    /// A server that answers the first line and the `Authorization` of a request with a status line, headers and a body.
    struct Fake {
        url: String,
        asked: Arc<Mutex<Vec<String>>>,
    }

    fn fake(answer: impl Fn(&str, &str, &str) -> String + Send + 'static) -> Fake {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (own, seen) = (url.clone(), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut part = [0; 4096];
                while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut part) {
                        Ok(0) | Err(_) => break,
                        Ok(length) => request.extend_from_slice(&part[..length]),
                    }
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                let line =
                    request.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
                let authorization =
                    request.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default();
                let (head, body) = {
                    let text = answer(&own, &line, authorization);
                    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
                    (head.replace('\n', "\r\n"), body.to_owned())
                };
                seen.lock().unwrap().push(format!("{line} {authorization}").trim().to_owned());
                let length = body.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
            }
        });
        Fake { url, asked }
    }

    fn links() -> BTreeSet<(RepositoryName, Digest)> {
        [(RepositoryName::found("a/b").unwrap(), Digest::of(b"x"))].into()
    }

    async fn evict(url: &str) -> Result<u64, CacheError> {
        Registry::parse(url).unwrap().evict(&client().unwrap(), &links()).await
    }

    const OURS: &str = "docker-distribution-api-version: registry/2.0";

    #[test]
    fn urls_as_people_write_them() {
        for (text, name) in [
            ("http://localhost:5000", "http://localhost:5000"),
            ("http://localhost:5000/v2/", "http://localhost:5000"),
            ("https://user:hid%20den@registry.example/", "https://registry.example"),
            ("https://registry.example/prefix/v2", "https://registry.example/prefix"),
        ] {
            let registry = Registry::parse(text).unwrap();
            assert_eq!(registry.name(), name);
            assert!(!format!("{registry:?}").contains("hid"), "{registry:?}");
            let blob = Request {
                method: Method::HEAD,
                repository: "a b/c?",
                rest: format!("blobs/{}", Digest::of(b"x")),
            };
            let expected = format!("{name}/v2/a%20b/c%3F/blobs/{}", Digest::of(b"x"));
            assert_eq!(blob.url(&registry.base).as_str(), expected);
            let base = Request { method: Method::GET, repository: "", rest: String::new() };
            assert_eq!(base.url(&registry.base).as_str(), format!("{name}/v2/"));
            assert_eq!(base.shown(), "GET /v2/");
        }
        let (username, password) =
            Registry::parse("https://us%40er:hid%20den@r.example").unwrap().credentials.unwrap();
        assert_eq!((username.as_str(), password.expose()), ("us@er", "hid den"));
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_being_shown() {
        for text in
            ["user:hidden@registry:5000", "https://:hidden@", "http://u:hidden@h?x", "http://u:hidden@h:x"]
        {
            let error = Registry::parse(text).expect_err(text);
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("--registry-url: ") && !shown.contains("hidden"), "{shown}");
        }
    }

    #[tokio::test]
    async fn a_token_is_asked_for_with_the_credentials_and_used() {
        let server = fake(|own, line, authorization| match (line, authorization) {
            (line, "Basic dXNlcjpoaWRkZW4=") if line.starts_with("GET /token?") => {
                let scope = line.rsplit_once('=').map_or("none", |(_, scope)| scope);
                format!("200 OK\n\n{{\"token\":\"for-{}\"}}", scope.replace("%3A", "-").replace("%2F", "-"))
            }
            ("GET /v2/", "Bearer for-registry") => format!("200 OK\n{OURS}"),
            (line, "Bearer for-repository-a-b-pull") if line.starts_with("HEAD ") => {
                format!("200 OK\n{OURS}")
            }
            (line, "Bearer for-repository-a-b-delete") if line.starts_with("DELETE ") => {
                format!("202 Accepted\n{OURS}")
            }
            (line, _) => {
                let scope = match line.split_once(' ').unwrap().0 {
                    "HEAD" => ",scope=\"repository:a/b:pull\"",
                    "DELETE" => ",scope=\"repository:a/b:delete\"",
                    _ => "",
                };
                format!(
                    "401 Unauthorized\n{OURS}\nwww-authenticate: Bearer realm=\"http://{own}/token\",\
                     service=\"registry\"{scope}"
                )
            }
        });
        assert_eq!(evict(&format!("http://user:hidden@{}", server.url)).await.unwrap(), 1);
        let error = evict(&format!("http://user:wrong@{}", server.url)).await.unwrap_err();
        assert!(matches!(error, CacheError::Token { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("wrong"), "{error:?}");
    }

    #[tokio::test]
    async fn credentials_that_are_missing_or_wrong_are_asked_for() {
        let server = fake(|_, _, authorization| match authorization {
            "Basic dXNlcjpoaWRkZW4=" => format!("200 OK\n{OURS}"),
            _ => format!("401 Unauthorized\n{OURS}\nwww-authenticate: Basic realm=\"x\""),
        });
        for user in ["", "user:wrong@"] {
            let error = evict(&format!("http://{user}{}", server.url)).await.unwrap_err();
            assert!(matches!(error, CacheError::Unauthorized { status: 401, .. }), "{error}");
            assert!(error.to_string().contains("user:password") && !error.to_string().contains("wrong"));
            let asked = Registry::parse(&format!("http://{user}{}", server.url)).unwrap();
            assert!(asked.probe(&client().unwrap()).await.is_err());
        }
    }

    /// A gateway's 404 must not pass for "the registry has forgotten".
    #[tokio::test]
    async fn what_is_no_registry_is_told_by_its_answers() {
        let elsewhere = fake(|_, _, _| "404 Not Found\n\n<html>".to_owned());
        let error = evict(&format!("http://{}", elsewhere.url)).await.unwrap_err();
        assert!(matches!(error, CacheError::NotARegistry { status: 404, .. }), "{error}");
        let redirect =
            fake(|_, _, _| "301 Moved Permanently\nlocation: https://registry.example/".to_owned());
        let error = evict(&format!("http://{}", redirect.url)).await.unwrap_err();
        assert!(matches!(error, CacheError::NotARegistry { status: 301, .. }), "{error}");
        let half = fake(|_, line, _| match line {
            "GET /v2/" => format!("200 OK\n{OURS}"),
            _ => "404 Not Found".to_owned(),
        });
        let error = evict(&format!("http://{}", half.url)).await.unwrap_err();
        assert!(matches!(error, CacheError::NotARegistry { status: 404, .. }), "{error}");
        let refusing = fake(|_, _, _| "405 Method Not Allowed".to_owned());
        let registry = Registry::parse(&format!("http://{}", refusing.url)).unwrap();
        let probed = registry.probe(&client().unwrap()).await.unwrap();
        assert!(matches!(probed, ReadOnly::Unclear(_)), "{probed:?}");
    }

    /// 3.x clears its cache and then fails on the link that has gone; a registry whose bucket fails does neither.
    #[tokio::test]
    async fn an_error_counts_only_when_the_registry_no_longer_answers_for_the_blob() {
        for cleared in [true, false] {
            let deleted = Mutex::new(false);
            let server = fake(move |_, line, _| {
                let mut deleted = deleted.lock().unwrap();
                match line.split_once(' ').unwrap().0 {
                    "DELETE" => {
                        *deleted = cleared;
                        format!("500 Internal Server Error\n{OURS}")
                    }
                    "HEAD" if *deleted => format!("404 Not Found\n{OURS}"),
                    _ => format!("200 OK\n{OURS}"),
                }
            });
            let answer = evict(&format!("http://{}", server.url)).await;
            match answer {
                Ok(known) => assert_eq!((known, cleared), (1, true)),
                Err(error) => assert!(!cleared && matches!(error, CacheError::Answer { .. }), "{error}"),
            }
        }
    }

    /// A client that pushes in the same moment links it again between the deletion and the question.
    #[tokio::test]
    async fn a_link_that_is_known_again_at_once_is_forgotten_again() {
        for (relinked, known) in [(TRIES - 1, Some(1)), (TRIES, None)] {
            let deletions = Mutex::new(0);
            let server = fake(move |_, line, _| {
                let mut deletions = deletions.lock().unwrap();
                match line.split_once(' ').unwrap().0 {
                    "DELETE" => {
                        *deletions += 1;
                        format!("500 Internal Server Error\n{OURS}")
                    }
                    "HEAD" if *deletions > relinked => format!("404 Not Found\n{OURS}"),
                    _ => format!("200 OK\n{OURS}"),
                }
            });
            assert_eq!(evict(&format!("http://{}", server.url)).await.ok(), known);
        }
    }

    #[tokio::test]
    async fn nothing_is_deleted_that_the_registry_does_not_answer_for() {
        let server = fake(|_, line, _| match line {
            "GET /v2/" => format!("200 OK\n{OURS}"),
            _ => format!("404 Not Found\n{OURS}"),
        });
        assert_eq!(evict(&format!("http://{}", server.url)).await.unwrap(), 0);
        let asked = server.asked.lock().unwrap().clone();
        let expected = format!("HEAD /v2/a/b/blobs/{}", Digest::of(b"x"));
        assert_eq!(asked, ["GET /v2/".to_owned(), expected]);
    }

    #[tokio::test]
    async fn every_link_is_asked_about_once() {
        let server = fake(|_, line, _| match line.split_once(' ').unwrap().0 {
            "DELETE" => format!("202 Accepted\n{OURS}"),
            _ => format!("200 OK\n{OURS}"),
        });
        let name = RepositoryName::found("a").unwrap();
        let links: BTreeSet<_> = (0_u8..50).map(|number| (name.clone(), Digest::of(&[number]))).collect();
        let registry = Registry::parse(&format!("http://{}", server.url)).unwrap();
        assert_eq!(registry.evict(&client().unwrap(), &links).await.unwrap(), 50);
        let asked = server.asked.lock().unwrap();
        let deleted: BTreeSet<&String> = asked.iter().filter(|line| line.starts_with("DELETE")).collect();
        assert_eq!((deleted.len(), asked.len()), (50, 101));
    }

    #[tokio::test]
    async fn what_passes_is_waited_for() {
        let calls = Mutex::new(0);
        let server = fake(move |_, line, _| {
            let mut calls = calls.lock().unwrap();
            *calls += 1;
            match (*calls, line) {
                (1, _) => "503 Service Unavailable".to_owned(),
                (_, "GET /v2/") => format!("200 OK\n{OURS}"),
                _ => format!("404 Not Found\n{OURS}"),
            }
        });
        assert_eq!(evict(&format!("http://{}", server.url)).await.unwrap(), 0);
    }
}
