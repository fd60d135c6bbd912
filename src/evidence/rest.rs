//! Evidence from the REST interface of Nexus: every asset of every Docker repository, page by page.
//!
//! `GET service/rest/v1/repositories` names the repositories, and `GET service/rest/v1/assets?repository=NAME` lists the
//! assets of one, 10 to 100 a page; a `continuationToken` asks for the next, and its absence says that this was the last.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use rustc_hash::FxHashSet;
use serde_json::Value;
use url::Url;

use super::EvidenceError;
use super::row::{self, Row};
use crate::config::registry::Secret;
use crate::store::layers;

/// How often one page is asked for.
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

/// A question that failed, and whether it is worth asking again.
enum Failed {
    Passing(String, Option<Duration>),
    Lasting(String),
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

    /// Every asset of every Docker repository but groups, which have none of their own.
    pub(super) async fn assets(&self) -> Result<Vec<Row>, EvidenceError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| self.failed(&format!("no client: {}", told(&error))))?;
        // Validation: who may not see everything is shown a part of it as if it were all. The blob stores are shown to
        // administrators alone.
        self.ask(&client, "blobstores", &[]).await?;
        let repositories = self.ask(&client, "repositories", &[]).await?;
        let repositories = repositories.as_array().ok_or_else(|| {
            self.failed("the list of repositories is not one: is this the address of a Nexus?")
        })?;
        let mut rows = Vec::new();
        for repository in repositories {
            let text = |name| repository.get(name).and_then(Value::as_str);
            let (Some(name), Some(format), Some(kind)) = (text("name"), text("format"), text("type")) else {
                return Err(self.failed("a repository has no name, format or type"));
            };
            if matches!(format, "docker" | "oci") && kind != "group" {
                self.assets_of(&client, name, kind == "proxy", &mut rows).await?;
            }
        }
        Ok(rows)
    }

    async fn assets_of(
        &self,
        client: &Client,
        name: &str,
        of_proxy: bool,
        rows: &mut Vec<Row>,
    ) -> Result<(), EvidenceError> {
        let mut token: Option<String> = None;
        let mut seen = FxHashSet::default();
        loop {
            let mut query = vec![("repository", name)];
            query.extend(token.as_deref().map(|token| ("continuationToken", token)));
            let page = self.ask(client, "assets", &query).await?;
            let wrong = |why: String| self.failed(&format!("a page of assets of {name}: {why}"));
            let items = page.get("items").and_then(Value::as_array);
            let items = items.ok_or_else(|| wrong("it has no items".into()))?;
            for item in items {
                if item.get("repository").and_then(Value::as_str) != Some(name) {
                    return Err(wrong("it has an asset of another repository".into()));
                }
                let mut row = row::of_json(item).map_err(wrong)?;
                if let Row::Asset { proxy, .. } = &mut row {
                    *proxy = of_proxy;
                }
                rows.push(row);
            }
            token = match page.get("continuationToken") {
                None | Some(Value::Null) => return Ok(()),
                Some(Value::String(token)) => Some(token.clone()),
                Some(_) => return Err(wrong("its continuationToken is no text".into())),
            };
            // Validation: a listing that goes in circles has no end, and what it left out is not known.
            if !seen.insert(token.clone()) {
                return Err(wrong("its continuationToken was given before".into()));
            }
        }
    }

    /// Asks one question, again while the answer is only late.
    async fn ask(&self, client: &Client, what: &str, query: &[(&str, &str)]) -> Result<Value, EvidenceError> {
        let mut url = self
            .base
            .join(&format!("service/rest/v1/{what}"))
            .map_err(|error| self.failed(&format!("no address for {what}: {error}")))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut attempt = 1;
        loop {
            match self.try_once(client, &url).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Lasting(why)) => return Err(self.failed(&format!("{what}: {why}"))),
                Err(Failed::Passing(why, _)) if attempt == ATTEMPTS => {
                    return Err(self.failed(&format!("{what}: {why}, {ATTEMPTS} times")));
                }
                Err(Failed::Passing(_, wait)) => {
                    let wait = wait.unwrap_or(Duration::from_millis(250) * 2_u32.pow(attempt));
                    tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn try_once(&self, client: &Client, url: &Url) -> Result<Value, Failed> {
        let mut request = client.get(url.clone()).header("accept", "application/json");
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
            StatusCode::OK => {
                let body = response.bytes().await.map_err(passing)?;
                serde_json::from_slice(&body)
                    .map_err(|error| Failed::Lasting(format!("it does not answer with JSON: {error}")))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Failed::Lasting(format!(
                "it answers {}: give the user and password of an administrator, since anybody else may be shown only a \
                 part of what is there",
                status.as_u16()
            ))),
            StatusCode::TOO_MANY_REQUESTS => Err(Failed::Passing("it asks to slow down".into(), wait)),
            _ if status.is_server_error() => {
                Err(Failed::Passing(format!("it answers {}", status.as_u16()), wait))
            }
            _ => Err(Failed::Lasting(format!(
                "it answers {}: is this the address of a Nexus?",
                status.as_u16()
            ))),
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
