//! When images were pulled, from what a registry tells of it.
//!
//! A GET of a manifest is a pull; a HEAD is none, since clients and scanners ask so for what they do not take. A registry
//! tells of it in the events that it posts ([`events`]) and in its logs ([`log`]); [`Reader`] reads both from a file. The
//! last pulls are remembered in a [`PullRecord`], by tag and by manifest.

mod events;
mod log;
mod read;
mod record;

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;

pub use events::{EventsError, read_events};
pub use read::{Observed, ReadError, Reader};
pub use record::{LastPulls, PullRecord, Span};

use crate::oci::{Digest, RepositoryName, TagName};

/// One pull of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pull {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag that was asked for, when one was.
    pub tag: Option<TagName>,
    /// The manifest, when it is told.
    pub manifest: Option<Digest>,
    /// When.
    pub at: Timestamp,
}

/// A repository as a registry serves it; nothing else can have been pulled.
fn repository(name: &str) -> Option<RepositoryName> {
    RepositoryName::found(name).ok().filter(RepositoryName::is_valid)
}

/// A tag as a registry serves it.
fn tag(name: &str) -> Option<TagName> {
    TagName::found(name).ok().filter(TagName::is_valid)
}

/// What a client asked for behind `manifests/`: a digest or a tag.
fn reference(text: &str) -> Option<(Option<TagName>, Option<Digest>)> {
    match text.parse::<Digest>() {
        Ok(digest) => Some((None, Some(digest))),
        Err(_) => tag(text).map(|tag| (Some(tag), None)),
    }
}

/// An address with or without its port, as registries write it.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let alone = text.trim_start_matches('[').trim_end_matches(']').parse().ok();
    alone.or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests;
