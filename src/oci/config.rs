//! What an image's config says of its age.

use jiff::Timestamp;
use serde::Deserialize;

/// The largest config that is read, in bytes: 4 MiB, as for a manifest.
pub const MAX_CONFIG_BYTES: usize = super::manifest::MAX_MANIFEST_BYTES;

/// When an image says that it was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Created {
    /// It does not say, or there is nothing that could.
    #[default]
    Unstated,
    /// Then.
    At(Timestamp),
    /// What would say so is there and could not be read.
    Unreadable,
}

impl Created {
    /// What an index says whose manifests say these two: the newest, unless one of them could not be read.
    #[must_use]
    pub fn newest(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unreadable, _) | (_, Self::Unreadable) => Self::Unreadable,
            (Self::At(left), Self::At(right)) => Self::At(left.max(right)),
            (Self::Unstated, one) | (one, Self::Unstated) => one,
        }
    }
}

/// Reads the `created` of an image config (OCI image specification, Docker's image specification 1.x): a date and time
/// of RFC 3339. `None` when it has none, or is no such document.
pub fn created(bytes: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Config {
        created: Option<serde_json::Value>,
    }
    let config: Config = serde_json::from_slice(bytes).ok()?;
    config.created?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_config_is_read() {
        for (config, time) in [
            (r#"{"created":"2015-10-31T22:22:56.015925234Z"}"#, Some("2015-10-31T22:22:56.015925234Z")),
            (r#"{"created":"2024-08-20T14:00:00+02:00","os":"linux"}"#, Some("2024-08-20T12:00:00Z")),
            (r#"{"created":"0001-01-01T00:00:00Z"}"#, Some("0001-01-01T00:00:00Z")),
            (r#"{"created":"yesterday"}"#, None),
            (r#"{"created":1446330176}"#, None),
            (r#"{"created":null}"#, None),
            ("{}", None),
            ("[]", None),
            ("no JSON", None),
        ] {
            assert_eq!(created(config.as_bytes()), time.map(|time| time.parse().unwrap()), "{config}");
        }
    }

    #[test]
    fn an_index_is_as_young_as_its_youngest() {
        let at = |second| Created::At(Timestamp::new(second, 0).unwrap());
        assert_eq!(at(1).newest(at(2)), at(2));
        assert_eq!(at(1).newest(Created::Unstated), at(1));
        assert_eq!(Created::Unstated.newest(at(1)), at(1));
        assert_eq!(at(1).newest(Created::Unreadable), Created::Unreadable);
        assert_eq!(Created::Unreadable.newest(Created::Unstated), Created::Unreadable);
    }
}
