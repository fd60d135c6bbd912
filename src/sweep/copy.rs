//! Copies within a bucket: made by the store itself, in parts where they are large, and looked at before anybody relies on
//! them.

use std::ops::RangeInclusive;

use futures::{StreamExt, TryStreamExt};
use md5::{Digest as _, Md5};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Attribute, Attributes, ObjectMeta, ObjectStoreExt, PutMultipartOptions};

use super::journal::Moved;
use super::trash::{Effect, delete_one, give_up};
use crate::store::{Bucket, Meta, PartCopy, S3, STATE_DIRECTORY, StoreError, is_absence, md5_of};

/// Copies an object of a known size and looks at the copy; `false` when there is none to copy.
pub(super) async fn copy(bucket: &Bucket, moved: &Moved, to: &str) -> Result<bool, StoreError> {
    if !copy_object(bucket, &moved.key, to, moved.size).await? {
        return Ok(false);
    }
    compare(bucket, moved, to, None).await.map(|()| true)
}

/// Has the store copy an object of so many bytes; `false` when there is none.
pub(super) async fn copy_object(
    bucket: &Bucket,
    from: &str,
    to: &str,
    size: u64,
) -> Result<bool, StoreError> {
    let (source, target) = (bucket.path(from)?, bucket.path(to)?);
    if let Some((s3, ranges)) = bucket.parts(size) {
        let Some(found) = look(bucket, from, &source).await? else { return Ok(false) };
        if found.size != size {
            return Err(StoreError::Copy { key: from.to_owned() });
        }
        let large = Large { bucket, s3, from, to, target: &target, size, e_tag: found.e_tag };
        return large.copy(ranges).await.map(|()| true);
    }
    match bucket.objects().copy(&source, &target).await {
        Ok(()) => Ok(true),
        Err(answer) if is_absence(&answer) => Ok(false),
        Err(answer) => Err(StoreError::request("copy", from, answer)),
    }
}

async fn look(bucket: &Bucket, key: &str, path: &Path) -> Result<Option<ObjectMeta>, StoreError> {
    match bucket.objects().head(path).await {
        Ok(found) => Ok(Some(found)),
        Err(answer) if is_absence(&answer) => Ok(None),
        Err(answer) => Err(StoreError::request("stat", key, answer)),
    }
}

/// An object that is copied in parts.
struct Large<'l> {
    bucket: &'l Bucket,
    s3: &'l S3,
    from: &'l str,
    to: &'l str,
    target: &'l Path,
    size: u64,
    e_tag: Option<String>,
}

impl Large<'_> {
    /// Copies all parts and puts them together, or leaves nothing behind.
    async fn copy(&self, ranges: Vec<RangeInclusive<u64>>) -> Effect {
        let error = |answer| StoreError::request("copy", self.from, answer);
        // What a registry says of everything that it writes.
        let attributes = Attributes::from_iter([(Attribute::ContentType, "application/octet-stream")]);
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let multipart = self.s3.multipart();
        let id = multipart.create_multipart_opts(self.target, options).await.map_err(error)?;
        let done = match self.parts(&id, ranges).await {
            Err(error) => Err(error),
            Ok(parts) => {
                let expected = tag_of_parts(&parts);
                match multipart.complete_multipart(self.target, &id, parts).await {
                    Ok(put) => return self.compare(expected, put.e_tag).await,
                    // The answer may have been lost on the way: then the copy is there, and the upload is not.
                    Err(answer) => match look(self.bucket, self.to, self.target).await {
                        Ok(Some(found)) if found.size == self.size => {
                            return self.compare(expected, found.e_tag).await;
                        }
                        _ => Err(error(answer)),
                    },
                }
            }
        };
        if let Err(error) = give_up(self.bucket, self.to, &id).await {
            tracing::warn!(key = self.to, error = error.with_cause(), "a copy in parts was not given up");
        }
        done
    }

    async fn parts(&self, id: &str, ranges: Vec<RangeInclusive<u64>>) -> Result<Vec<PartId>, StoreError> {
        let (from, to) = (self.bucket.full(self.from), self.bucket.full(self.to));
        let copy = |(index, range)| {
            let (from, to, e_tag) = (&from, &to, self.e_tag.as_deref());
            async move { self.s3.copy_part(&PartCopy { from, e_tag, to, id, index, range }).await }
        };
        let parts: Vec<_> = ranges.into_iter().enumerate().map(copy).collect();
        futures::stream::iter(parts).buffered(self.bucket.parallel()).try_collect().await
    }

    /// Holds the tag of what was put together against those of its parts.
    async fn compare(&self, expected: Option<PartsTag>, told: Option<String>) -> Effect {
        match (expected, told.as_deref().and_then(read_tag)) {
            (Some(expected), Some(told)) if expected != told && tells_md5(self.bucket).await? => {
                Err(StoreError::Copy { key: self.from.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// What S3's tag of an object in parts says: the MD5 of their MD5s, and how many they are.
type PartsTag = ([u8; 16], usize);

/// The tag that S3 gives an object of these parts. `None` where a part has none.
fn tag_of_parts(parts: &[PartId]) -> Option<PartsTag> {
    let mut all = Md5::new();
    for part in parts {
        all.update(md5_of(&part.content_id)?);
    }
    Some((all.finalize().into(), parts.len()))
}

/// Reads such a tag; `None` when it is written in another way, as some servers do.
fn read_tag(tag: &str) -> Option<PartsTag> {
    let (md5, parts) = tag.trim_matches('"').split_once('-')?;
    Some((md5_of(md5)?, parts.parse().ok()?))
}

/// Compares a copy, which may have been seen just now, with what was copied. Where either has no MD5, as what was written in
/// parts or is encrypted with a key of KMS has none, the size must do.
pub(super) async fn compare(bucket: &Bucket, moved: &Moved, to: &str, seen: Option<Meta>) -> Effect {
    let copied = match seen {
        Some(seen) => Some(seen),
        None => bucket.head(to).await?,
    };
    let same = match copied.filter(|copied| copied.size == moved.size).map(|copied| (copied.md5, moved.md5)) {
        None => false,
        Some((Some(there), Some(here))) if there != here => !tells_md5(bucket).await?,
        Some(_) => true,
    };
    if same { Ok(()) } else { Err(StoreError::Copy { key: moved.key.clone() }) }
}

/// Whether what looks like an MD5 in this bucket is one. With SSE-KMS it is none, and differs from copy to copy. Asked with
/// an object of our own, when two differ.
async fn tells_md5(bucket: &Bucket) -> Result<bool, StoreError> {
    const BODY: &[u8] = b"regsweep";
    if let Some(known) = bucket.tells_md5.get() {
        return Ok(*known);
    }
    let key = format!("{STATE_DIRECTORY}/md5-probe");
    let written = bucket.objects().put(&bucket.path(&key)?, BODY.into()).await;
    written.map_err(|source| StoreError::request("write", &key, source))?;
    let told = bucket.head(&key).await?.and_then(|meta| meta.md5);
    delete_one(bucket, &key).await?;
    let md5: [u8; 16] = Md5::digest(BODY).into();
    Ok(*bucket.tells_md5.get_or_init(|| told == Some(md5)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_parts_is_that_of_s3() {
        let part = |tag: &str| PartId { content_id: format!("\"{tag}\"") };
        // The parts are `a` and `b`.
        let (a, b) = (part("0cc175b9c0f1b6a831c399e269772661"), part("92eb5ffee6ae2fec3ad71c777531578f"));
        let told = read_tag("\"96e024ba2074fe77e8e965ba43a704be-2\"");
        assert!(told.is_some());
        assert_eq!(tag_of_parts(&[a, b]), told);
        assert_eq!(tag_of_parts(&[part("0x8D4BCC2E4835CD0")]), None);
        for other in ["96e024ba2074fe77e8e965ba43a704be", "96e024ba2074fe77e8e965ba43a704be-x", "abc-2"] {
            assert_eq!(read_tag(other), None, "{other}");
        }
    }
}
