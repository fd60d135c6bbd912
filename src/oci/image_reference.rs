//! Image references as people type them.

use std::fmt;
use std::str::FromStr;

use super::digest::{Digest, DigestError};
use super::name::{NameError, RepositoryName, TagName};

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
