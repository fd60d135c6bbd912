//! Uploads in parts.

use std::collections::BTreeMap;

use bytes::BytesMut;
use md5::{Digest as _, Md5};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyPartResult, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload,
    Part, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3Result, s3_error};

use super::objects::Stored;
use super::operations::{Answer, Operations, matches, ok, quoted, read, size};
use super::{Upload, hex, lock};

impl Operations {
    pub fn create(&self, input: CreateMultipartUploadInput) -> Answer<CreateMultipartUploadOutput> {
        self.known(&input.bucket)?;
        let upload = Upload { key: input.key.clone(), started: self.0.now(), parts: BTreeMap::new() };
        let id = self.0.begin(upload);
        ok(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            ..Default::default()
        })
    }

    pub async fn part(&self, input: UploadPartInput) -> Answer<UploadPartOutput> {
        let part = self.0.stored(read(input.body).await?, self.0.now());
        let e_tag = quoted(&part.etag);
        self.add(&input.upload_id, input.part_number, part)?;
        ok(UploadPartOutput { e_tag, ..Default::default() })
    }

    pub fn part_by_copy(&self, input: &UploadPartCopyInput) -> Answer<UploadPartCopyOutput> {
        let source = self.source(&input.copy_source)?;
        if input.copy_source_if_match.as_ref().is_some_and(|wanted| !matches(wanted, &source)) {
            return Err(s3_error!(PreconditionFailed));
        }
        let source = source.bytes;
        let bytes = match &input.copy_source_range {
            None => source,
            Some(text) => {
                let wrong = || s3_error!(InvalidArgument, "not a range");
                let (first, last) =
                    text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(wrong)?;
                let first: usize = first.parse().map_err(|_| wrong())?;
                let last: usize = last.parse().map_err(|_| wrong())?;
                if first > last || last >= source.len() {
                    return Err(wrong());
                }
                source.slice(first..=last)
            }
        };
        let part = self.0.stored(bytes, self.0.now());
        let result = CopyPartResult {
            e_tag: quoted(&part.etag),
            last_modified: Some(part.modified.into()),
            ..Default::default()
        };
        self.add(&input.upload_id, input.part_number, part)?;
        ok(UploadPartCopyOutput { copy_part_result: Some(result), ..Default::default() })
    }

    fn add(&self, id: &str, number: i32, part: Stored) -> S3Result<()> {
        let mut uploads = lock(&self.0.uploads);
        uploads.get_mut(id).ok_or_else(|| s3_error!(NoSuchUpload))?.parts.insert(number, part);
        Ok(())
    }

    pub fn parts(&self, input: ListPartsInput) -> Answer<ListPartsOutput> {
        let uploads = lock(&self.0.uploads);
        let upload = uploads.get(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let parts = upload.parts.iter().map(|(number, part)| Part {
            part_number: Some(*number),
            size: size(&part.bytes),
            e_tag: quoted(&part.etag),
            last_modified: Some(part.modified.into()),
            ..Default::default()
        });
        ok(ListPartsOutput {
            parts: Some(parts.collect()),
            is_truncated: Some(false),
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            ..Default::default()
        })
    }

    /// In the order of keys, and of ids for one key; in pages as long as those of a listing of keys.
    pub fn uploads(&self, input: ListMultipartUploadsInput) -> Answer<ListMultipartUploadsOutput> {
        self.known(&input.bucket)?;
        let most = usize::try_from(input.max_uploads.unwrap_or(1000)).unwrap_or(0).min(self.0.options().page);
        let prefix = input.prefix.clone().unwrap_or_default();
        let uploads = lock(&self.0.uploads);
        let mut found: Vec<(&String, &String, &Upload)> =
            uploads.iter().map(|(id, upload)| (&upload.key, id, upload)).collect();
        found.sort_by_key(|(key, id, _)| (*key, *id));
        let after = |key: &String, id: &String| match (&input.key_marker, &input.upload_id_marker) {
            (None, _) => true,
            (Some(marker), None) => key > marker,
            (Some(marker), Some(last)) => (key, id) > (marker, last),
        };
        found.retain(|(key, id, _)| key.starts_with(&prefix) && after(key, id));
        let truncated = found.len() > most;
        found.truncate(most);
        let last = found.last().filter(|_| truncated);
        let (next_key_marker, next_upload_id_marker) =
            (last.map(|(key, ..)| (*key).clone()), last.map(|(_, id, _)| (*id).clone()));
        let listed = found.iter().map(|(key, id, upload)| MultipartUpload {
            key: Some((*key).clone()),
            upload_id: Some((*id).clone()),
            initiated: Some(upload.started.into()),
            ..Default::default()
        });
        ok(ListMultipartUploadsOutput {
            uploads: Some(listed.collect()),
            is_truncated: Some(truncated),
            next_key_marker,
            next_upload_id_marker,
            bucket: Some(input.bucket),
            prefix: input.prefix,
            ..Default::default()
        })
    }

    pub fn complete(&self, input: CompleteMultipartUploadInput) -> Answer<CompleteMultipartUploadOutput> {
        let upload = lock(&self.0.uploads).get(&input.upload_id).cloned();
        let upload = upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
        let named = input.multipart_upload.and_then(|parts| parts.parts).unwrap_or_default();
        let (mut bytes, mut sums) = (BytesMut::new(), Md5::new());
        for part in &named {
            let stored = part.part_number.and_then(|number| upload.parts.get(&number));
            let stored = stored.ok_or_else(|| s3_error!(InvalidPart))?;
            bytes.extend_from_slice(&stored.bytes);
            sums.update(Md5::digest(&stored.bytes));
        }
        let etag = format!("{}-{}", hex(&sums.finalize()), named.len());
        let stored = Stored { bytes: bytes.freeze(), etag: etag.clone(), modified: self.0.now() };
        let (only, unless) = (input.if_match.as_ref(), input.if_none_match.as_ref());
        self.put((&input.bucket, &upload.key), stored, only, unless)?;
        lock(&self.0.uploads).remove(&input.upload_id);
        ok(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(upload.key),
            e_tag: quoted(&etag),
            ..Default::default()
        })
    }

    pub fn abort(&self, input: &AbortMultipartUploadInput) -> Answer<AbortMultipartUploadOutput> {
        lock(&self.0.uploads).remove(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        ok(AbortMultipartUploadOutput::default())
    }
}
