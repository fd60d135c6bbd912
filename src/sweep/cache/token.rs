//! Tokens, where a registry answers 401 and names a service that gives them (distribution's token authentication,
//! RFC 6750's `WWW-Authenticate: Bearer`).

use serde::Deserialize;
use url::Url;

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    realm: String,
    service: Option<String>,
    scopes: Vec<String>,
}

/// A token service's answer: `token`, or `access_token` as OAuth 2.0 names it.
#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Challenge {
    /// Reads one value of `WWW-Authenticate`; `None` when it asks for no token.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let (scheme, mut rest) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scopes) = (None, None, Vec::new());
        loop {
            rest = rest.trim_start_matches([' ', ',']);
            let Some((name, value)) = rest.split_once('=') else { break };
            let (value, after) = match value.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => value.split_once(',').unwrap_or((value, "")),
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                "scope" => scopes = value.split_whitespace().map(str::to_owned).collect(),
                _ => {}
            }
            rest = after;
        }
        Some(Self { realm: realm?, service, scopes })
    }

    /// What names the service, for a person.
    pub(super) fn realm(&self) -> String {
        match Url::parse(&self.realm) {
            Ok(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
            }
            Err(_) => "an address that is none".to_owned(),
        }
    }

    /// The address to get the token from.
    ///
    /// # Errors
    /// A problem, when the credentials of a registry at `registry` must not go there.
    pub(super) fn address(&self, registry: &Url) -> Result<Url, String> {
        let mut url = Url::parse(&self.realm).map_err(|error| error.to_string())?;
        match (registry.scheme(), url.scheme()) {
            (_, "https") | ("http", "http") => {}
            _ => return Err("it is not https, as the registry is".to_owned()),
        }
        if let Some(service) = &self.service {
            url.query_pairs_mut().append_pair("service", service);
        }
        for scope in &self.scopes {
            url.query_pairs_mut().append_pair("scope", scope);
        }
        Ok(url)
    }
}

/// The token in a service's answer.
pub(super) fn token(body: &[u8]) -> Option<String> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    answer.token.or(answer.access_token).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_as_distribution_writes_it() {
        let header = r#"Bearer realm="https://auth.example/token?x=1",service="registry, one",scope="repository:a/b:pull,push repository:c:pull",error="x""#;
        let challenge = Challenge::parse(header).unwrap();
        let url = challenge.address(&Url::parse("https://registry.example").unwrap()).unwrap();
        assert_eq!(
            url.as_str(),
            "https://auth.example/token?x=1&service=registry%2C+one&scope=repository%3Aa%2Fb%3Apull%2Cpush\
             &scope=repository%3Ac%3Apull"
        );
        assert_eq!(challenge.realm(), "https://auth.example/token");
        let bare = Challenge::parse("bearer realm=https://a/t, service=s").unwrap();
        assert_eq!((bare.realm.as_str(), bare.service.as_deref()), ("https://a/t", Some("s")));
        assert_eq!(Challenge::parse(r#"Basic realm="x""#), None);
        assert_eq!(Challenge::parse(r#"Bearer service="x""#), None);
    }

    #[test]
    fn credentials_for_https_go_to_no_service_without() {
        let challenge = Challenge::parse(r#"Bearer realm="http://auth.example/token""#).unwrap();
        let address = |registry: &str| challenge.address(&Url::parse(registry).unwrap());
        assert!(address("https://registry.example").is_err());
        assert!(address("http://registry.example").is_ok());
    }

    #[test]
    fn either_name_of_a_token() {
        assert_eq!(token(br#"{"token":"t","expires_in":60}"#).as_deref(), Some("t"));
        assert_eq!(token(br#"{"access_token":"t"}"#).as_deref(), Some("t"));
        assert_eq!(token(br#"{"token":""}"#), None);
        assert_eq!(token(b"<html>"), None);
    }
}
