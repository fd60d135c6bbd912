//! Who may read the page and the metrics, and tell of events.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::config::registry::Secret;

/// A token of fewer letters could be guessed.
const SHORTEST: usize = 16;

/// Why the port is not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// Everybody could read and write.
    #[error(
        "{0} can be reached from elsewhere, and the page, the metrics and the events would be open to all: give --token-file \
         or REGSWEEP_TOKEN, or --tls-client-ca with --tls-cert and --tls-key, or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    /// A token that could be guessed.
    #[error(
        "the token has {0} letters, and one of fewer than 16 could be guessed: make one with `openssl rand -hex 32`"
    )]
    Short(usize),
    /// A token that no header can carry.
    #[error("the token has a letter that no header can carry: make one with `openssl rand -hex 32`")]
    Letters,
}

/// What somebody must have to be let in.
#[derive(Debug)]
pub struct Guard {
    token: Option<Secret>,
    certificates: bool,
}

impl Guard {
    /// A guard of a port at `address`. `certificates` says that clients are asked for theirs.
    ///
    /// # Errors
    /// When nobody would be kept out who is not on this machine, or the token is none.
    pub fn of(address: SocketAddr, token: Option<Secret>, certificates: bool) -> Result<Self, GuardError> {
        if let Some(token) = &token {
            let text = token.expose();
            if text.len() < SHORTEST {
                return Err(GuardError::Short(text.len()));
            }
            if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(GuardError::Letters);
            }
        }
        if token.is_none() && !certificates && !address.ip().is_loopback() {
            return Err(GuardError::Open(address));
        }
        Ok(Self { token, certificates })
    }

    /// Whether a request is let in: by a certificate that was verified, by the token, or because the port is this
    /// machine's alone.
    pub fn admits(&self, headers: &HeaderMap, verified: bool) -> bool {
        if self.certificates && verified {
            return true;
        }
        match &self.token {
            Some(token) => offered(headers).is_some_and(|offered| same(&offered, token.expose())),
            None => !self.certificates && named_locally(headers),
        }
    }
}

/// The token of `Authorization: Bearer`, or the password of `Authorization: Basic`, which browsers ask for.
fn offered(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// Compares in a time that says nothing of what was compared, nor of its length.
fn same(one: &str, other: &str) -> bool {
    Sha256::digest(one.as_bytes()).ct_eq(&Sha256::digest(other.as_bytes())).into()
}

/// A browser that was told another name for this machine must not carry a stranger's page here.
fn named_locally(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(authority) = host.to_str().unwrap_or_default().parse::<http::uri::Authority>() else {
        return false;
    };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_can_be_reached_from_elsewhere_needs_a_token_or_certificates() {
        let token = || Some(Secret::from(TOKEN.to_owned()));
        for (text, token, certificates, open) in [
            ("127.0.0.1:9123", None, false, true),
            ("[::1]:9123", None, false, true),
            ("127.8.8.8:9123", None, false, true),
            ("0.0.0.0:9123", None, false, false),
            ("[::]:9123", None, false, false),
            ("10.0.0.1:9123", None, false, false),
            ("0.0.0.0:9123", token(), false, true),
            ("0.0.0.0:9123", None, true, true),
        ] {
            assert_eq!(Guard::of(address(text), token, certificates).is_ok(), open, "{text}");
        }
        let short = Guard::of(address("127.0.0.1:1"), Some(Secret::from("short".to_owned())), false);
        assert_eq!(short.unwrap_err(), GuardError::Short(5));
        let spaced =
            Guard::of(address("127.0.0.1:1"), Some(Secret::from("0123456789 abcdef".to_owned())), false);
        assert_eq!(spaced.unwrap_err(), GuardError::Letters);
    }

    #[test]
    fn the_token_as_bearer_or_as_password() {
        let guard = Guard::of(address("0.0.0.0:1"), Some(Secret::from(TOKEN.to_owned())), false).unwrap();
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        for (value, admitted) in [
            (format!("Bearer {TOKEN}"), true),
            (format!("bearer {TOKEN}"), true),
            (basic(&format!("anybody:{TOKEN}")), true),
            (basic(&format!(":{TOKEN}")), true),
            (basic(TOKEN), false),
            (basic(&format!("{TOKEN}:anybody")), false),
            (format!("Bearer {TOKEN}0"), false),
            (format!("Bearer {}", &TOKEN[1..]), false),
            ("Bearer".to_owned(), false),
            ("Bearer ".to_owned(), false),
            ("Basic %%%".to_owned(), false),
            (TOKEN.to_owned(), false),
        ] {
            let headers = headers(&[("authorization", &value)]);
            assert_eq!(guard.admits(&headers, false), admitted, "{value}");
        }
        assert!(!guard.admits(&HeaderMap::new(), false));
        // No certificates were asked for: nobody has verified one.
        assert!(!guard.admits(&HeaderMap::new(), true));
        assert!(!format!("{guard:?}").contains(TOKEN));
    }

    #[test]
    fn certificates_and_names() {
        let guard = Guard::of(address("0.0.0.0:1"), None, true).unwrap();
        assert!(guard.admits(&HeaderMap::new(), true));
        assert!(!guard.admits(&HeaderMap::new(), false));
        let local = Guard::of(address("127.0.0.1:1"), None, false).unwrap();
        for (host, admitted) in [
            ("127.0.0.1:9123", true),
            ("localhost:9123", true),
            ("[::1]:9123", true),
            ("evil.example", false),
            ("localhost.evil.example:9123", false),
        ] {
            assert_eq!(local.admits(&headers(&[("host", host)]), false), admitted, "{host}");
        }
    }
}
