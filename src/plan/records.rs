//! What a run does to a store that keeps a record beside every blob, and whose owner keeps a database of its own.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a run may take of such a store, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordMode {
    /// What the database does not know.
    #[default]
    Orphans,
    /// What the policy lets go is deleted by the repository manager, through its REST interface.
    Api,
    /// What the policy lets go is flagged as deleted in its record, and stays where it is.
    Soft,
    /// What the policy lets go is flagged, and then leaves its place.
    Hard,
}

impl RecordMode {
    /// Each by its name on the command line.
    pub const NAMES: [&str; 4] = ["orphans", "api", "soft", "hard"];

    /// Whether what goes is known to the database, and goes in files all the same.
    pub fn is_by_policy(self) -> bool {
        matches!(self, Self::Soft | Self::Hard)
    }
}

impl std::fmt::Display for RecordMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Orphans => "orphans",
            Self::Api => "api",
            Self::Soft => "soft",
            Self::Hard => "hard",
        })
    }
}

/// There is no mode of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of orphans, api, soft and hard")]
pub struct UnknownMode(String);

impl FromStr for RecordMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        let all = [Self::Orphans, Self::Api, Self::Soft, Self::Hard];
        all.into_iter().find(|mode| mode.to_string() == text).ok_or_else(|| UnknownMode(text.to_owned()))
    }
}
