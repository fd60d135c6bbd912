//! The REST interface of Nexus: how it is asked, and how often.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use url::Url;

use super::EvidenceError;
use crate::config::registry::Secret;
use crate::store::layers;

mod listing;

/// How often one question is asked.
const ATTEMPTS: u32 = 6;

/// The longest that a server is waited for because it asks for that.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Who asks.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password, or the passcode of a user token.
    pub password: Secret,
}

impl Credentials {
    /// Reads `USER:PASSWORD`, in one line.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, password) = text.trim_end_matches(['\r', '\n']).split_once(':')?;
        let whole = !user.is_empty() && !password.contains(['\r', '\n']);
        whole.then(|| Self { user: user.to_owned(), password: Secret::from(password.to_owned()) })
    }
}

/// The REST interface of a Nexus.
#[derive(Debug, Clone)]
pub struct Rest {
    /// With a slash at its end, without user and password.
    base: Url,
    credentials: Option<Credentials>,
}

/// What the interface answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Yes, with this.
    Body(bytes::Bytes),
    /// There is no such thing.
    Absent,
}

/// Why a request came to nothing.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// 401 or 403: the user may not ask that.
    Denied(u16),
    /// Anything else, in words.
    Other(String),
}

/// A request that failed, and whether it is worth sending again.
enum Failed {
    Passing(String, Option<Duration>),
    Lasting(Unanswered),
}

impl Rest {
    /// An interface at the address of the user interface, such as `https://nexus.example.org/`.
    ///
    /// # Errors
    /// When that is no address, or has a password in it.
    pub fn new(url: &str, credentials: Option<Credentials>) -> Result<Self, EvidenceError> {
        let refused = |why: &str| EvidenceError::Rest { url: "that address".into(), why: why.to_owned() };
        let mut base = Url::parse(url).map_err(|error| refused(&format!("it is no URL: {error}")))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(refused("it begins with neither http:// nor https://"));
        }
        // An address is shown and logged.
        if !base.username().is_empty() || base.password().is_some() {
            return Err(refused("user and password do not belong into it: give them by environment or file"));
        }
        base.set_query(None);
        base.set_fragment(None);
        let path = format!("{}/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        Ok(Self { base, credentials })
    }

    /// The address.
    pub fn url(&self) -> &str {
        self.base.as_str()
    }

    /// A client to ask with.
    pub(crate) fn client(&self) -> Result<Client, EvidenceError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().timeout(TIMEOUT).build();
        client.map_err(|error| self.failed(&format!("no client: {}", told(&error))))
    }

    /// Asks one question, again while the answer is only late.
    async fn ask(&self, client: &Client, what: &str, query: &[(&str, &str)]) -> Result<Value, EvidenceError> {
        let wrong = |why: &str| self.failed(&format!("{what}: {why}"));
        match self.send(client, Method::GET, what, query).await {
            Ok(Answer::Body(body)) => serde_json::from_slice(&body)
                .map_err(|error| wrong(&format!("it does not answer with JSON: {error}"))),
            Ok(Answer::Absent) => Err(wrong("it answers 404: is this the address of a Nexus?")),
            Err(Unanswered::Denied(status)) => Err(wrong(&format!(
                "it answers {status}: give the user and password of an administrator, since anybody else may be shown only \
                 a part of what is there"
            ))),
            Err(Unanswered::Other(why)) => Err(wrong(&why)),
        }
    }

    /// Sends one request, again while the answer is only late. What it asks for must be safe to ask for twice.
    pub(crate) async fn send(
        &self,
        client: &Client,
        method: Method,
        what: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer, Unanswered> {
        let mut url = self
            .base
            .join(&format!("service/rest/v1/{what}"))
            .map_err(|error| Unanswered::Other(format!("it has no address: {error}")))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut attempt = 1;
        loop {
            match self.try_once(client, method.clone(), &url).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Lasting(why)) => return Err(why),
                Err(Failed::Passing(why, _)) if attempt == ATTEMPTS => {
                    return Err(Unanswered::Other(format!("{why}, {ATTEMPTS} times")));
                }
                Err(Failed::Passing(_, wait)) => {
                    let wait = wait.unwrap_or(Duration::from_millis(250) * 2_u32.pow(attempt));
                    tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn try_once(&self, client: &Client, method: Method, url: &Url) -> Result<Answer, Failed> {
        let mut request = client.request(method, url.clone()).header("accept", "application/json");
        if let Some(Credentials { user, password }) = &self.credentials {
            request = request.basic_auth(user, Some(password.expose()));
        }
        let passing = |error: reqwest::Error| Failed::Passing(told(&error), None);
        let response = request.send().await.map_err(passing)?;
        let status = response.status();
        let wait = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        match status {
            _ if status.is_success() => Ok(Answer::Body(response.bytes().await.map_err(passing)?)),
            StatusCode::NOT_FOUND => Ok(Answer::Absent),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Failed::Lasting(Unanswered::Denied(status.as_u16())))
            }
            StatusCode::TOO_MANY_REQUESTS => Err(Failed::Passing("it asks to slow down".into(), wait)),
            _ if status.is_server_error() => {
                Err(Failed::Passing(format!("it answers {}", status.as_u16()), wait))
            }
            _ => {
                let why = format!("it answers {}: is this the address of a Nexus?", status.as_u16());
                Err(Failed::Lasting(Unanswered::Other(why)))
            }
        }
    }

    fn failed(&self, why: &str) -> EvidenceError {
        EvidenceError::Rest { url: self.url().to_owned(), why: why.to_owned() }
    }
}

/// What a client says, without the address: that is named already.
fn told(error: &reqwest::Error) -> String {
    layers(error).skip(1).last().map_or_else(|| "it cannot be reached".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let credentials = Credentials::parse("admin:se:cret\n").unwrap();
        assert_eq!((credentials.user.as_str(), credentials.password.expose()), ("admin", "se:cret"));
        let rest = Rest::new("http://localhost:8081/nexus", Some(credentials)).unwrap();
        assert_eq!(rest.url(), "http://localhost:8081/nexus/");
        assert!(!format!("{rest:?}").contains("se:cret"));
        let refused = Rest::new("http://admin:secret@localhost", None).unwrap_err().to_string();
        assert!(refused.contains("do not belong into it") && !refused.contains("secret"), "{refused}");
        for bad in ["localhost:8081", "ftp://x", "http://", ""] {
            assert!(Rest::new(bad, None).is_err(), "{bad}");
        }
        for bad in ["", "admin", ":x", "a:b\nc:d"] {
            assert!(Credentials::parse(bad).is_none(), "{bad}");
        }
    }
}
