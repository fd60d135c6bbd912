//! What a manifest has been found to say so far.

use std::collections::HashMap;

use serde::de::{MapAccess, SeqAccess};

use super::json::{Any, ReadWith, Reader};
use super::{MAX_REMARKS, Reference, Role};
use crate::oci::Digest;

/// Remarks are cut to so many characters.
const MAX_REMARK_CHARS: usize = 200;

/// Up to so many references, looking through the list is faster than a map beside it.
const LINEAR: usize = 32;

/// Digits that a text needs behind its `:` before it looks like a digest: as many as the shortest hash in use has.
const LEAST_DIGITS: usize = 32;

/// Texts for [`super::Manifest::unresolved`] and [`super::Manifest::notes`]: few and short, whatever the document does.
#[derive(Debug, Default)]
pub(super) struct Remarks(pub(super) Vec<String>);

impl Remarks {
    pub(super) fn push(&mut self, remark: &str) {
        if self.0.len() < MAX_REMARKS && !self.0.iter().any(|known| known == remark) {
            self.0.push(remark.chars().take(MAX_REMARK_CHARS).collect());
        }
    }

    pub(super) fn append(&mut self, more: &Remarks) {
        more.0.iter().for_each(|remark| self.push(remark));
    }
}

/// References, each digest once, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct References {
    list: Vec<Reference>,
    /// Where each digest is in the list; filled only once the list is long.
    places: HashMap<Digest, usize>,
}

impl References {
    pub(super) fn push(&mut self, reference: Reference) {
        if let Some(place) = self.place(&reference.digest) {
            merge(&mut self.list[place], reference);
            return;
        }
        if self.list.len() == LINEAR {
            self.places = self.list.iter().enumerate().map(|(place, known)| (known.digest, place)).collect();
        }
        if self.list.len() >= LINEAR {
            self.places.insert(reference.digest, self.list.len());
        }
        self.list.push(reference);
    }

    pub(super) fn push_unknown(&mut self, digests: &[Digest]) {
        for digest in digests {
            self.push(Reference {
                digest: *digest,
                size: None,
                role: Role::Unknown,
                foreign: false,
                platform: None,
            });
        }
    }

    pub(super) fn into_list(self) -> Vec<Reference> {
        self.list
    }

    fn place(&self, digest: &Digest) -> Option<usize> {
        if self.list.len() <= LINEAR {
            self.list.iter().position(|known| known.digest == *digest)
        } else {
            self.places.get(digest).copied()
        }
    }
}

/// Two mentions of one digest. Whatever either of them needs, the result needs.
fn merge(known: &mut Reference, again: Reference) {
    let leaf = |role| matches!(role, Role::Config | Role::Layer | Role::Blob);
    if known.role != again.role && !(leaf(known.role) && leaf(again.role)) {
        known.role = Role::Unknown;
    }
    known.foreign &= again.foreign;
    known.size = known.size.or(again.size);
    known.platform = known.platform.take().or(again.platform);
}

/// Digests in a part of the document whose meaning is not known.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) digests: Vec<Digest>,
    pub(super) unresolved: Remarks,
}

impl Findings {
    /// Takes what `text` mentions: digests anywhere in it, bare sha256 digits, and as unresolved what looks like a
    /// digest and is none that we know.
    pub(super) fn scan(&mut self, text: &str) {
        // Shorter than any digest: nearly all texts are.
        if text.len() < LEAST_DIGITS {
            return;
        }
        let known = self.scan_for("sha256", 64, text) | self.scan_for("sha512", 128, text);
        if known {
            return;
        }
        if let Ok(digest) = Digest::from_parts("sha256", text) {
            self.digests.push(digest);
            return;
        }
        let last = text.rsplit('@').next().unwrap_or(text);
        if let Some((algorithm, digits)) = last.split_once(':')
            && looks_like_an_algorithm(algorithm)
            && digits.len() >= LEAST_DIGITS
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            self.unresolved.push(last);
        }
    }

    /// Takes every `algorithm:digits` in `text`; whether there was anything like it. Digits that run on make it no
    /// digest, but what they begin with may have been meant.
    fn scan_for(&mut self, algorithm: &str, length: usize, text: &str) -> bool {
        let mut found = false;
        for (start, _) in text.match_indices(algorithm) {
            let Some(rest) = text[start + algorithm.len()..].strip_prefix(':') else { continue };
            let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
            if digits < LEAST_DIGITS {
                continue;
            }
            found = true;
            let digest = Digest::from_parts(algorithm, &rest[..digits.min(length)]);
            self.digests.extend(digest);
            if digest.is_err() || digits > length {
                self.unresolved.push(&text[start..]);
            }
        }
        found
    }
}

/// `[A-Za-z0-9]+([+._-][A-Za-z0-9]+)*`, roughly.
fn looks_like_an_algorithm(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+._-".contains(&byte))
}

/// Scans a value and all that it holds, keys included.
pub(super) struct Scan<'f>(pub(super) &'f mut Findings);

impl<'de> Reader<'de> for Scan<'_> {
    type Value = ();

    fn other(self) {}

    fn text(self, text: &str) {
        self.0.scan(text);
    }

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while array.next_element_seed(Any(Scan(self.0)))?.is_some() {}
        Ok(())
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while object.next_key_seed(Any(ReadWith(|key: &str| self.0.scan(key))))?.is_some() {
            object.next_value_seed(Any(Scan(self.0)))?;
        }
        Ok(())
    }
}
