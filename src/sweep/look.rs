//! A last look at many objects of a bucket with few requests.

use md5::{Digest as _, Md5};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

use crate::layout::Entry;
use crate::oci::{Digest, TagName};
use crate::plan::Action;
use crate::store::{Bucket, Meta, PageRequest};

/// What was seen, by key.
pub(super) type Seen = FxHashMap<String, Meta>;

/// A page of a listing is worth so many looks at one object, which is how much more it costs on S3.
const WORTH: usize = 13;

/// Where a page shows so many of them, listing from page to page is as quick as looks that are made side by side. Where it
/// shows fewer, several parts are listed at once.
const DENSE: usize = 100;

/// How many pages a part has that is listed beside others.
const PAGES: usize = 4;

/// Lists where that shows enough of `keys`.
///
/// What a listing shows is there. What it does not show, in whatever order it goes and wherever it starts, is only unknown:
/// it is to be asked for by itself, as everything is when the listing fails.
pub(super) fn look(bucket: &Bucket, mut keys: Vec<String>) -> Seen {
    keys.sort_unstable();
    keys.dedup();
    let mut seen = list(bucket, &keys, 1);
    let last = seen.keys().max();
    let rest = &keys[last.map_or(0, |last| keys.partition_point(|key| key <= last))..];
    let length = match seen.len() {
        found if found < WORTH => return seen,
        found if found < DENSE => found * PAGES,
        _ => rest.len(),
    };
    let parts: Vec<Seen> =
        rest.par_chunks(length.max(1)).map(|part| list(bucket, part, usize::MAX)).collect();
    seen.extend(parts.into_iter().flatten());
    seen
}

/// Lists from the first of some keys in order towards the last, for as long as that shows enough of them.
fn list(bucket: &Bucket, keys: &[String], most: usize) -> Seen {
    let mut seen = Seen::default();
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return seen };
    let wanted: FxHashSet<&str> = keys.iter().map(String::as_str).collect();
    let mut request = PageRequest {
        prefix: common_directory(first, last),
        after: Some(before(first).to_owned()),
        ..PageRequest::default()
    };
    let mut pages = 0;
    while pages < most && wanted.len() - seen.len() >= WORTH && seen.len() >= pages * WORTH {
        let Ok(page) = bucket.wait(bucket.page(&request)) else { break };
        pages += 1;
        let passed = page.objects.last().is_none_or(|object| object.key >= *last);
        let found = page.objects.into_iter().filter(|object| wanted.contains(object.key.as_str()));
        seen.extend(found.map(|object| (object.key, object.meta)));
        if passed || page.next.is_none() {
            break;
        }
        request = PageRequest { after: None, token: page.next, ..request };
    }
    seen
}

/// What was seen of a link, when its MD5 and its size are those of a link to `digest` as the registry writes it.
pub(super) fn link(seen: &Seen, key: &str, digest: &Digest) -> Option<(Vec<u8>, Meta)> {
    let meta = *seen.get(key)?;
    let body = digest.to_string().into_bytes();
    let md5: [u8; 16] = Md5::digest(&body).into();
    (meta.md5 == Some(md5) && meta.size == body.len() as u64).then_some((body, meta))
}

/// What goes with a step, and is looked at before.
pub(super) fn entries(action: &Action) -> Vec<Entry<'_>> {
    match action {
        Action::Sweep { digest, .. } => vec![Entry::BlobData { digest: *digest }],
        Action::Unlink { repository, digest } => {
            vec![Entry::LayerLink { repository: repository.as_str(), digest: *digest }]
        }
        Action::Untag { repository, tag, target: _, history } => {
            let (repository, tag) = (repository.as_str(), tag.as_str());
            let mut entries = vec![Entry::TagCurrent { repository, tag }];
            entries.extend(history.iter().map(|digest| Entry::TagHistory {
                repository,
                tag,
                digest: *digest,
            }));
            entries
        }
        Action::DeleteManifest { repository, digest, histories, signatures } => {
            let (repository, digest) = (repository.as_str(), *digest);
            let mut entries = vec![Entry::RevisionLink { repository, digest }];
            let tags = histories.iter().map(TagName::as_str);
            entries.extend(tags.map(|tag| Entry::TagHistory { repository, tag, digest }));
            let signatures = signatures.iter().copied();
            entries.extend(signatures.map(|signature| Entry::RevisionSignature {
                repository,
                digest,
                signature,
            }));
            entries
        }
        _ => Vec::new(),
    }
}

/// What both keys lie below, with the slash.
fn common_directory<'k>(first: &'k str, last: &str) -> &'k str {
    let same = first.bytes().zip(last.bytes()).take_while(|(one, other)| one == other).count();
    first.as_bytes()[..same].iter().rposition(|byte| *byte == b'/').map_or("", |at| &first[..=at])
}

/// A name that stands before the key, right after whatever does, and that no directory has: some servers skip what lies
/// below a directory of the name to start after.
fn before(key: &str) -> &str {
    let directory = key.rsplit_once('/').map_or(key, |(directory, _)| directory);
    let cut = directory.char_indices().next_back().map_or(0, |(at, _)| at);
    &directory[..cut]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_known_by_its_md5_and_its_size_and_by_nothing_less() {
        let (digest, other) = (Digest::of(b"x"), Digest::of(b"y"));
        let body = digest.to_string().into_bytes();
        let meta = Meta {
            kind: crate::store::Kind::File,
            size: body.len() as u64,
            modified: jiff::Timestamp::UNIX_EPOCH,
            changed: jiff::Timestamp::UNIX_EPOCH,
            md5: Some(Md5::digest(&body).into()),
            shared: false,
        };
        let seen = |meta: Meta| Seen::from_iter([("link".to_owned(), meta)]);
        assert_eq!(link(&seen(meta), "link", &digest).unwrap().0, body);
        assert!(link(&seen(meta), "link", &other).is_none(), "another digest");
        assert!(link(&seen(meta), "other", &digest).is_none(), "not seen");
        assert!(link(&seen(Meta { md5: None, ..meta }), "link", &digest).is_none());
        assert!(link(&seen(Meta { size: 70, ..meta }), "link", &digest).is_none());
    }

    #[test]
    fn a_range_of_keys_is_listed_from_right_before_it() {
        let (first, last) = ("blobs/sha256/ab/abcd/data", "blobs/sha256/fe/fe01/data");
        assert_eq!(common_directory(first, last), "blobs/sha256/");
        assert_eq!(common_directory(first, first), "blobs/sha256/ab/abcd/");
        assert_eq!(common_directory("a", "b"), "");
        assert_eq!(before(first), "blobs/sha256/ab/abc");
        assert!(before(first) < first && before(first) > "blobs/sha256/ab/abb/data");
        assert_eq!(before("data"), "dat");
    }
}
