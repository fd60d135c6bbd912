//! A last look at many objects of a bucket with few requests.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::store::{Bucket, Meta, PageRequest};

/// What was seen, by key.
pub(super) type Seen = FxHashMap<String, Meta>;

/// A page of a listing is worth so many looks at one object: on S3 it costs twelve times as much, and looks at single
/// objects are made side by side.
const WORTH: usize = 100;

/// Lists from the first of `keys` towards the last for as long as that shows enough of them.
///
/// What a listing shows is there. What it does not show, in whatever order it goes and wherever it starts, is only unknown:
/// it is to be asked for by itself, as everything is when the listing fails.
pub(super) fn look(bucket: &Bucket, mut keys: Vec<String>) -> Seen {
    keys.sort_unstable();
    let mut seen = Seen::default();
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return seen };
    let wanted: FxHashSet<&str> = keys.iter().map(String::as_str).collect();
    let mut request = PageRequest {
        prefix: common_directory(first, last),
        after: Some(before(first).to_owned()),
        ..PageRequest::default()
    };
    let mut pages = 0;
    while wanted.len() - seen.len() >= WORTH && seen.len() >= pages * WORTH {
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
