//! References to images, as people and container runtimes write them.

use std::sync::Arc;

use super::Reference;
use crate::oci::{Digest, RepositoryName, TagName};

/// Why a word is no reference. What it names may be anything, so it is not left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It is no text.
    #[error("line {0} is not UTF-8")]
    NotText(usize),
    /// It is no reference.
    #[error(
        "line {line}: `{word}` is no image reference: write host/repository:tag, repository@sha256:… or a digest, and `#` \
         before what is a remark"
    )]
    NoReference {
        /// The line, from 1.
        line: usize,
        /// The word.
        word: String,
    },
    /// It is the first digits of a digest.
    #[error(
        "line {line}: `{word}` looks like a shortened image ID, which could be any image: write it whole"
    )]
    Shortened {
        /// The line, from 1.
        line: usize,
        /// The word.
        word: String,
    },
}

/// Reads references: words between white space, and remarks from `#` to the end of a line.
///
/// # Errors
/// When a word is none. A list with one word left out names too few.
pub fn read_references(text: &[u8]) -> Result<Vec<Reference>, ReferenceError> {
    let mut references = Vec::new();
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = std::str::from_utf8(line).map_err(|_| ReferenceError::NotText(number))?;
        for word in line.split_whitespace().take_while(|word| !word.starts_with('#')) {
            references.push(reference(word, number)?);
        }
    }
    Ok(references)
}

fn reference(word: &str, line: usize) -> Result<Reference, ReferenceError> {
    let shown = || word.chars().take(200).collect::<String>().escape_debug().to_string();
    let none = || ReferenceError::NoReference { line, word: shown() };
    // Runtimes write `docker-pullable://app@sha256:…` and `containerd://sha256:…`.
    let named = match word.split_once("://") {
        Some((scheme, rest)) if !matches!(scheme, "http" | "https") => rest,
        Some(_) => return Err(none()),
        None => word,
    };
    let hex =
        |length| named.len() == length && named.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if hex(12) {
        return Err(ReferenceError::Shortened { line, word: shown() });
    }
    let bare = if hex(64) { format!("sha256:{named}").parse().ok() } else { named.parse::<Digest>().ok() };
    if bare.is_some() {
        return Ok(Reference { repository: None, tag: None, digest: bare });
    }
    let (named, digest) = match named.split_once('@') {
        Some((named, digest)) => (named, Some(digest.parse::<Digest>().map_err(|_| none())?)),
        None => (named, None),
    };
    // A colon before the last slash is of a host's port.
    let last = named.rfind('/').map_or(0, |slash| slash + 1);
    let (path, tag) = match named[last..].split_once(':') {
        Some((name, tag)) => (&named[..last + name.len()], Some(tag)),
        None => (named, None),
    };
    let tag = match tag {
        Some(tag) => Some(TagName::found(tag).ok().filter(TagName::is_valid).ok_or_else(none)?),
        None if digest.is_none() => TagName::found("latest").ok(),
        None => None,
    };
    let name = without_host(path);
    let served = RepositoryName::found(name).is_ok_and(|name| name.is_valid());
    if RepositoryName::found(path).is_err() || !served || matches!(name, "sha256" | "sha512") {
        return Err(none());
    }
    Ok(Reference { repository: Some(Arc::from(path)), tag, digest })
}

/// The path without a first part that can only be a registry's host.
fn without_host(path: &str) -> &str {
    match path.split_once('/') {
        Some((host, rest)) if is_host(host) => rest,
        _ => path,
    }
}

fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|byte| byte.is_ascii_uppercase())
}
