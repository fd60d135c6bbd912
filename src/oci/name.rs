//! Names of repositories and tags, and the image references that people type.
//!
//! A name that is *found* in a store is taken as leniently as a path can be read without doubt: a name outside
//! distribution's grammar may hold manifests all the same, and those must keep their blobs.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::digest::{Digest, DigestError};

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

/// What a person names on the command line: `repository`, `repository:tag` or `repository@digest`.
///
/// The store is named elsewhere, so a repository here has no host part. With both a tag and a digest
/// (`app:v1@sha256:…`, as container runtimes print it) the digest decides and the tag is a remark.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag behind `:`.
    pub tag: Option<TagName>,
    /// The digest behind `@`.
    pub digest: Option<Digest>,
}

/// Why a text is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageReferenceError {
    /// Nothing before the `:` or `@`, or nothing at all.
    #[error("`{0}` names no repository; write repository, repository:tag or repository@digest")]
    NoRepository(String),
    /// `https://…`.
    #[error("`{0}` is a URL; write the repository alone, such as team/app:v1")]
    Url(String),
    /// `localhost:5000/app`.
    #[error(
        "`{text}` begins with a host and port; leave out `{host}/`, the store says which registry is meant"
    )]
    Host {
        /// The whole text.
        text: String,
        /// What looks like a host.
        host: String,
    },
    /// What stands before `:` or `@` cannot be a repository.
    #[error("the repository in `{text}` is not a name")]
    Repository {
        /// The whole text.
        text: String,
        /// Why not.
        source: NameError,
    },
    /// What stands behind `:` cannot be a tag, or distribution would refuse it.
    #[error(
        "`{tag}` in `{text}` is not a tag: 1 to 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`"
    )]
    Tag {
        /// The whole text.
        text: String,
        /// The part that should be a tag.
        tag: String,
    },
    /// What stands behind `@` is no digest.
    #[error("`{digest}` in `{text}` is not a digest")]
    Digest {
        /// The whole text.
        text: String,
        /// The part that should be a digest.
        digest: String,
        /// Why not.
        source: DigestError,
    },
    /// `repository:sha256:…`.
    #[error("the digest in `{0}` goes behind an `@`, not behind a `:`")]
    DigestAsTag(String),
}

impl FromStr for ImageReference {
    type Err = ImageReferenceError;

    fn from_str(text: &str) -> Result<Self, ImageReferenceError> {
        let whole = || text.to_owned();
        if text.contains("://") {
            return Err(ImageReferenceError::Url(whole()));
        }
        let (named, digest) = match text.split_once('@') {
            None => (text, None),
            Some((named, digest)) => (named, Some(parse_digest(text, digest)?)),
        };
        let last = named.rfind('/').map_or(0, |slash| slash + 1);
        if let Some(colon) = named[..last].find(':') {
            let end = colon + named[colon..].find('/').unwrap_or_default();
            return Err(ImageReferenceError::Host { text: whole(), host: named[..end].to_owned() });
        }
        let (repository, tag) = match named[last..].split_once(':') {
            None => (named, None),
            Some((name, tag)) => (&named[..last + name.len()], Some(parse_tag(text, tag)?)),
        };
        if repository.is_empty() {
            return Err(ImageReferenceError::NoRepository(whole()));
        }
        let repository = RepositoryName::found(repository)
            .map_err(|source| ImageReferenceError::Repository { text: whole(), source })?;
        Ok(Self { repository, tag, digest })
    }
}

fn parse_digest(text: &str, digest: &str) -> Result<Digest, ImageReferenceError> {
    digest.parse().map_err(|source| ImageReferenceError::Digest {
        text: text.to_owned(),
        digest: digest.to_owned(),
        source,
    })
}

fn parse_tag(text: &str, tag: &str) -> Result<TagName, ImageReferenceError> {
    if tag.starts_with("sha256:") || tag.starts_with("sha512:") {
        return Err(ImageReferenceError::DigestAsTag(text.to_owned()));
    }
    match TagName::found(tag) {
        Ok(tag) if tag.is_valid() => Ok(tag),
        _ => Err(ImageReferenceError::Tag { text: text.to_owned(), tag: tag.to_owned() }),
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    #[test]
    fn references_as_people_type_them() {
        let digest = Digest::of(b"");
        let plain: ImageReference = "team/app".parse().unwrap();
        assert_eq!((plain.repository.as_str(), &plain.tag, plain.digest), ("team/app", &None, None));
        let tagged: ImageReference = "team/app:v1".parse().unwrap();
        assert_eq!((tagged.repository.as_str(), tagged.tag.unwrap().as_str()), ("team/app", "v1"));
        let both: ImageReference = format!("app:v1@{digest}").parse().unwrap();
        assert_eq!((both.repository.as_str(), both.digest), ("app", Some(digest)));
    }

    #[test]
    fn what_is_no_reference_says_what_to_write() {
        let refused = |text: &str| text.parse::<ImageReference>().unwrap_err();
        let digest = Digest::of(b"");
        assert!(matches!(refused(""), ImageReferenceError::NoRepository(_)));
        assert!(matches!(refused(":v1"), ImageReferenceError::NoRepository(_)));
        assert!(matches!(refused("https://r.example/app"), ImageReferenceError::Url(_)));
        assert!(matches!(
            refused("localhost:5000/team/app:v1"),
            ImageReferenceError::Host { host, .. } if host == "localhost:5000"
        ));
        assert!(matches!(refused("a//b"), ImageReferenceError::Repository { .. }));
        assert!(matches!(refused("a:"), ImageReferenceError::Tag { .. }));
        assert!(matches!(refused("a:b c"), ImageReferenceError::Tag { .. }));
        assert!(matches!(refused("a@sha256:00"), ImageReferenceError::Digest { .. }));
        assert!(matches!(refused(&format!("a:{digest}")), ImageReferenceError::DigestAsTag(_)));
    }

    proptest! {
        #[test]
        fn a_reference_reads_back(name in "[a-z0-9]{1,5}(/[a-z0-9]{1,5}){0,2}", tag in proptest::option::of("[a-z0-9_][a-z0-9_.-]{0,9}"), by_digest: bool) {
            let reference = ImageReference {
                repository: RepositoryName::found(&name).unwrap(),
                tag: tag.map(|tag| TagName::found(&tag).unwrap()),
                digest: by_digest.then(|| Digest::of(name.as_bytes())),
            };
            prop_assert_eq!(reference.to_string().parse(), Ok(reference));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[a-z/:@._-]{0,20}|.*") {
            if let Ok(reference) = text.parse::<ImageReference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
