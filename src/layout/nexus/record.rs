//! What the record beside a blob says: its `.properties`.

use jiff::Timestamp;

use super::place::Minute;
use crate::layout::properties::Properties;

/// The keys that are read.
mod keys {
    pub(super) const NAME: &str = "@BlobStore.blob-name";
    pub(super) const REPOSITORY: &str = "@Bucket.repo-name";
    pub(super) const TEMPORARY: &str = "@BlobStore.temporary-blob";
    pub(super) const DIRECT_PATH: &str = "@BlobStore.direct-path";
    pub(super) const SIZE: &str = "size";
    pub(super) const CREATED: &str = "creationTime";
    pub(super) const DELETED: &str = "deleted";
    pub(super) const REASON: &str = "deletedReason";
    pub(super) const DELETED_AT: &str = "deletedDateTime";
    pub(super) const ORIGINAL: &str = "originalLocation";
}

/// What a record says of its blob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The asset's name when the blob was made.
    pub name: Option<String>,
    /// The repository's name when the blob was made. It may have moved since.
    pub repository: Option<String>,
    /// Size in bytes; `None` when it is missing or no number, and then Nexus cannot open the blob.
    pub size: Option<u64>,
    /// When the blob was made; `None` as for `size`.
    pub created: Option<Timestamp>,
    /// Whether it is flagged as deleted. The key alone says so, whatever its value.
    pub deleted: bool,
    /// It is a temporary blob or lies at a place of its own: nothing that a sweep is about.
    pub reserved: bool,
    /// It is the copy of a record whose blob was deleted elsewhere, and this is where, if it says so.
    pub copy_of: Option<Option<Minute>>,
}

impl Record {
    /// Reads a record. Nothing in it is taken to be right.
    pub fn of(properties: &Properties) -> Self {
        let text = |key| properties.get(key).map(ToOwned::to_owned);
        let flag = |key| properties.get(key).is_some_and(|value| value != "false");
        let created = properties.get(keys::CREATED).and_then(|value| value.parse::<i64>().ok());
        Self {
            name: text(keys::NAME),
            repository: text(keys::REPOSITORY),
            size: properties.get(keys::SIZE).and_then(|value| value.parse().ok()),
            created: created.and_then(|at| Timestamp::from_millisecond(at).ok()),
            deleted: properties.get(keys::DELETED).is_some(),
            reserved: flag(keys::TEMPORARY) || flag(keys::DIRECT_PATH),
            copy_of: properties.get(keys::ORIGINAL).map(|place| place.parse().ok()),
        }
    }
}

/// The record with its blob flagged as deleted, everything else as it was: what Nexus itself writes, without the place of
/// a copy of the record, since there is none. None when it is flagged already.
pub(super) fn flagged(record: &Properties, reason: &str, at: Timestamp) -> Option<Properties> {
    if record.get(keys::DELETED).is_some() {
        return None;
    }
    let flagged = record
        .with(keys::DELETED, "true")
        .with(keys::REASON, reason)
        .with(keys::DELETED_AT, &at.as_millisecond().to_string());
    // An edit that does not read back is no edit.
    flagged.get(keys::DELETED).is_some().then_some(flagged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record::of(&Properties::read(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_record_says_what_java_reads_in_it() {
        let file = "#2026-11-22 13:10:57,661+0000\n#Sun Nov 22 13:10:57 UTC 2026\nsha1=ddef\n\
                    @BlobStore.blob-name=/v2/-/blobs/sha256\\:6a0a\nsize=19\ncreationTime=1795353057660\n\
                    @Bucket.repo-name=docker-hosted\nunknown=\\u00e9\n";
        let read = record(file);
        assert_eq!(read.name.as_deref(), Some("/v2/-/blobs/sha256:6a0a"));
        assert_eq!(read.repository.as_deref(), Some("docker-hosted"));
        assert_eq!(
            (read.size, read.created.map(Timestamp::as_millisecond)),
            (Some(19), Some(1_795_353_057_660))
        );
        assert!(!read.deleted && !read.reserved && read.copy_of.is_none());
    }

    #[test]
    fn the_key_alone_says_that_a_blob_is_deleted() {
        for text in ["deleted=true", "deleted=false", "deleted=", "deleted"] {
            assert!(record(text).deleted, "{text}");
        }
    }

    #[test]
    fn a_flag_changes_nothing_but_itself() {
        let text = "#2026-11-22 13:10:57,661+0000\r\nsize : 1\\\n 9\n@x=\\u00e9\ncreationTime=1";
        let at = Timestamp::from_millisecond(1_795_353_937_818).unwrap();
        let before = Properties::read(text.as_bytes()).unwrap();
        let after = flagged(&before, "regsweep run: 1", at).unwrap();
        let added = "\ndeleted=true\ndeletedReason=regsweep run\\: 1\ndeletedDateTime=1795353937818\n";
        assert_eq!(std::str::from_utf8(after.bytes()).unwrap(), [text, added].concat());
        assert!(record(std::str::from_utf8(after.bytes()).unwrap()).deleted);
        assert_eq!(flagged(&after, "again", at), None);
        assert_eq!(flagged(&Properties::read(b"deleted=false").unwrap(), "again", at), None);
    }

    #[test]
    fn a_copy_tells_of_what() {
        assert_eq!(record("originalLocation=").copy_of, Some(None));
        assert_eq!(
            record("originalLocation=2026-11-22T13\\:24").copy_of,
            Some("2026-11-22T13:24".parse().ok())
        );
    }

    #[test]
    fn numbers_that_are_none_are_missing() {
        for text in ["size=\ncreationTime=", "size=x\ncreationTime=y", "size=-1\ncreationTime=1e9", ""] {
            assert_eq!((record(text).size, record(text).created), (None, None), "{text}");
        }
    }
}
