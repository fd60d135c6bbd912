//! Names of repositories and tags.
//!
//! A name that is *found* in a store is taken as leniently as a path can be read without doubt: a name outside
//! distribution's grammar may hold manifests all the same, and those must keep their blobs.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

/// The longest repository name that distribution accepts, in bytes.
pub const MAX_REPOSITORY_BYTES: usize = 255;

/// The longest tag that distribution accepts, in bytes.
pub const MAX_TAG_BYTES: usize = 128;

/// The name of a repository, such as `team/app`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryName(Arc<str>);

/// The name of a tag, such as `v1.2`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TagName(Arc<str>);

/// Why a text cannot be the name of a repository or a tag, not even one that is found on a disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("a name cannot be empty")]
    Empty,
    /// `a//b`, `/a` or `a/`.
    #[error("the name `{0}` has an empty component: a `/` too many")]
    EmptyComponent(String),
    /// `.` or `..`, which would lead elsewhere.
    #[error("the name `{0}` has the component `.` or `..`, which a store reads as a place, not as a name")]
    Relative(String),
    /// A component of a repository that starts with `_`: the storage layout's own.
    #[error(
        "the repository name `{0}` has a component that starts with `_`, which the storage layout reserves"
    )]
    Reserved(String),
    /// A tag with a `/`.
    #[error("the tag `{0}` has a `/`; only repository names have several components")]
    SlashInTag(String),
}

impl RepositoryName {
    /// A name that is found in a store: components without a leading `_`, none empty, none `.` or `..`.
    pub fn found(name: &str) -> Result<Self, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        for component in name.split('/') {
            match component {
                "" => return Err(NameError::EmptyComponent(name.to_owned())),
                "." | ".." => return Err(NameError::Relative(name.to_owned())),
                _ if component.starts_with('_') => return Err(NameError::Reserved(name.to_owned())),
                _ => {}
            }
        }
        Ok(Self(name.into()))
    }

    /// Whether distribution itself would serve this name: at most 255 bytes, and components of lower-case letters
    /// and digits that single `.`, one or two `_`, or any number of `-` may part.
    pub fn is_valid(&self) -> bool {
        self.0.len() <= MAX_REPOSITORY_BYTES && self.0.split('/').all(is_valid_component)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TagName {
    /// A tag that is found in a store: one component, not empty, not `.` or `..`.
    pub fn found(name: &str) -> Result<Self, NameError> {
        match name {
            "" => Err(NameError::Empty),
            "." | ".." => Err(NameError::Relative(name.to_owned())),
            _ if name.contains('/') => Err(NameError::SlashInTag(name.to_owned())),
            _ => Ok(Self(name.into())),
        }
    }

    /// Whether distribution itself would serve this tag: 1 to 128 letters, digits, `_`, `.` and `-`, the first
    /// neither `.` nor `-`.
    pub fn is_valid(&self) -> bool {
        let name = self.0.as_bytes();
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        name.len() <= MAX_TAG_BYTES
            && word(&name[0])
            && name.iter().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
fn is_valid_component(component: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = component.as_bytes();
    loop {
        let word = rest.iter().take_while(|byte| alphanumeric(**byte)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        let separator = rest.iter().take_while(|byte| !alphanumeric(**byte)).count();
        match &rest[..separator] {
            [] => return true,
            b"." | b"_" | b"__" => {}
            dashes if dashes.iter().all(|byte| *byte == b'-') => {}
            _ => return false,
        }
        rest = &rest[separator..];
    }
}

macro_rules! name {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, formatter)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::found(name)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::found(&String::deserialize(deserializer)?).map_err(D::Error::custom)
            }
        }
    };
}

name!(RepositoryName);
name!(TagName);

#[cfg(test)]
mod tests {
    use super::*;

    fn valid_repository(name: &str) -> bool {
        RepositoryName::found(name).is_ok_and(|name| name.is_valid())
    }

    #[test]
    fn repositories_by_the_grammar() {
        for name in ["a", "library/alpine", "a.b/c_d/e__f/g---h", "0/1", &"a".repeat(255)] {
            assert!(valid_repository(name), "{name}");
        }
        for name in ["A", "a..b", "a___b", "a.-b", "-a", "a-", "a/b.", "ä", "a b", &"a".repeat(256)] {
            let found = RepositoryName::found(name).expect("a name that a store may hold");
            assert!(!found.is_valid(), "{name}");
        }
    }

    #[test]
    fn names_that_no_store_can_hold() {
        assert_eq!(RepositoryName::found(""), Err(NameError::Empty));
        for name in ["/a", "a/", "a//b"] {
            assert_eq!(RepositoryName::found(name), Err(NameError::EmptyComponent(name.into())));
        }
        for name in ["..", "a/./b", "a/.."] {
            assert_eq!(RepositoryName::found(name), Err(NameError::Relative(name.into())));
        }
        for name in ["_layers", "a/_trash", "a/_/b"] {
            assert_eq!(RepositoryName::found(name), Err(NameError::Reserved(name.into())));
        }
    }

    #[test]
    fn tags_by_the_grammar() {
        for tag in ["v1.2", "_", "_layers", "current", "A-b_c.D", &"x".repeat(128)] {
            assert!(TagName::found(tag).unwrap().is_valid(), "{tag}");
        }
        for tag in [".v1", "-v1", "v1+2", "ü", &"x".repeat(129)] {
            assert!(!TagName::found(tag).unwrap().is_valid(), "{tag}");
        }
        assert_eq!(TagName::found("a/b"), Err(NameError::SlashInTag("a/b".into())));
        assert!(TagName::found("").is_err() && TagName::found("..").is_err());
    }
}
