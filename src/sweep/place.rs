//! Where things lie in the trash, and which directories stay when what was in them has gone.

use super::trash;
use crate::layout::distribution;
use crate::oci::Digest;

/// Where a blob lies in the trash. Names that no registry looks for, outside everything that it reads.
pub(super) fn blob_place(run: &str, digest: &Digest, manifest: bool) -> String {
    let kind = if manifest { "manifests" } else { "blobs" };
    let hex = digest.hex();
    [trash::TRASH, "/", run, "/", kind, "/", digest.algorithm(), "/", &hex[..2], "/", &hex].concat()
}

/// Reads a place in the trash back.
pub(super) fn blob_of_place(place: &str) -> Option<(Digest, bool)> {
    let mut parts = place.strip_prefix(trash::TRASH)?.strip_prefix('/')?.split('/').skip(1);
    let manifest = match parts.next()? {
        "manifests" => true,
        "blobs" => false,
        _ => return None,
    };
    let (algorithm, _, hex) = (parts.next()?, parts.next()?, parts.next()?);
    Digest::from_parts(algorithm, hex).ok().map(|digest| (digest, manifest))
}

/// The directory that must stay when everything below it is gone: a part of a repository, or a shard of the blobs.
pub(super) fn stop_at(key: &str) -> &str {
    // The first part ends the repository's name; a tag may be called like one.
    let parts = ["/_layers/", "/_uploads/", "/_manifests/tags/", "/_manifests/revisions/"];
    if let Some((at, part)) = parts.iter().filter_map(|part| key.find(part).map(|at| (at, part))).min() {
        return &key[..at + part.len() - 1];
    }
    let blobs = distribution::blobs_root();
    match key.strip_prefix(blobs) {
        // blobs/sha256/ab/<hex>/data: the shard stays.
        Some(rest) => {
            let shard = rest.match_indices('/').nth(2).map_or(rest.len(), |(at, _)| at);
            &key[..blobs.len() + shard]
        }
        None => trash::parent(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_trash_reads_back() {
        let digest = Digest::of(b"x");
        for manifest in [true, false] {
            assert_eq!(blob_of_place(&blob_place("run", &digest, manifest)), Some((digest, manifest)));
        }
        assert_eq!(blob_of_place("trash/run/files/docker/registry/v2/x"), None);
    }

    #[test]
    fn what_must_stay_is_never_below_what_is_removed() {
        let root = "docker/registry/v2";
        for (key, stop) in [
            ("blobs/sha256/ab/abcd/data", "blobs/sha256/ab"),
            ("repositories/a/b/_layers/sha256/ab/link", "repositories/a/b/_layers"),
            ("repositories/a/_manifests/tags/v1/index/sha256/ab/link", "repositories/a/_manifests/tags"),
            ("repositories/a/_manifests/revisions/sha256/ab/link", "repositories/a/_manifests/revisions"),
            ("repositories/a/_uploads/id/data", "repositories/a/_uploads"),
        ] {
            assert_eq!(stop_at(&format!("{root}/{key}")), format!("{root}/{stop}"));
        }
    }
}
