//! The operations of S3 that a registry, `object_store` and regsweep use, on one bucket.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, BucketVersioningStatus,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput,
    CopyObjectResult, CopySource, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition, Error,
    GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectInput, GetObjectOutput, HeadBucketInput,
    HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output,
    ListPartsInput, ListPartsOutput, PutObjectInput, PutObjectOutput, StreamingBlob, UploadPartCopyInput,
    UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::faults::Effect;
use super::listing::{TOKEN, listed, place_of};
use super::objects::{Page, Query, Stored};
use super::wire::Within;
use super::{Conditions, Shared, StartAfter, Versioning, lock};

/// The bucket as `s3s` calls it.
pub struct Operations(pub Arc<Shared>);

pub type Answer<T> = S3Result<S3Response<T>>;

#[expect(clippy::unnecessary_wraps, reason = "the end of every operation")]
pub fn ok<T>(output: T) -> Answer<T> {
    Ok(S3Response::new(output))
}

#[expect(clippy::unnecessary_wraps, reason = "what every field takes")]
pub fn quoted(etag: &str) -> Option<ETag> {
    Some(ETag::Strong(etag.to_owned()))
}

#[expect(clippy::unnecessary_wraps, reason = "what every field takes")]
pub fn size(bytes: &Bytes) -> Option<i64> {
    Some(i64::try_from(bytes.len()).expect("it fits into memory"))
}

pub async fn read(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let mut bytes = BytesMut::new();
    if let Some(mut stream) = body {
        while let Some(chunk) = stream.next().await {
            bytes.extend_from_slice(&chunk.map_err(|error| s3_error!(IncompleteBody, "{error}"))?);
        }
    }
    Ok(bytes.freeze())
}

/// The keys that a bulk delete refuses, with the code it gives for them.
fn refused(within: Option<&Within>) -> BTreeMap<String, &'static str> {
    let effects = within.map(|within| within.0.as_slice()).unwrap_or_default();
    let refused = effects.iter().filter_map(|effect| match effect {
        Effect::RefuseKeys { keys, code } => Some(keys.iter().map(|key| (key.clone(), *code))),
        _ => None,
    });
    refused.flatten().collect()
}

/// The half of all keys that a bulk delete refuses.
fn refused_half(within: Option<&Within>) -> Option<bool> {
    within?.0.iter().find_map(|effect| match effect {
        Effect::RefuseHalf(half) => Some(*half),
        _ => None,
    })
}

/// In which half of all keys a key is.
fn half_of(key: &str) -> bool {
    key.bytes().fold(0_u8, u8::wrapping_add) % 2 == 1
}

/// How much later than they are the times are that this request is told.
fn shift(within: Option<&Within>) -> SignedDuration {
    let effects = within.map(|within| within.0.as_slice()).unwrap_or_default();
    let shifts = effects.iter().map(|effect| match effect {
        Effect::Shift(by) => *by,
        _ => SignedDuration::ZERO,
    });
    shifts.sum()
}

fn shifted(mut stored: Stored, by: SignedDuration) -> Stored {
    let moved = Timestamp::try_from(stored.modified).and_then(|modified| modified.checked_add(by));
    stored.modified = moved.expect("a time within the calendar").into();
    stored
}

fn shifted_page(mut page: Page, within: Option<&Within>) -> Page {
    let by = shift(within);
    page.objects = page.objects.into_iter().map(|(key, stored)| (key, shifted(stored, by))).collect();
    page
}

pub fn matches(condition: &ETagCondition, stored: &Stored) -> bool {
    condition.as_etag().is_none_or(|etag| etag.value() == stored.etag)
}

impl Operations {
    /// Whether this is the bucket that there is.
    pub fn known(&self, bucket: &str) -> S3Result<()> {
        if lock(&self.0.options).bucket == bucket { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    fn get(&self, bucket: &str, key: &str) -> S3Result<Stored> {
        self.known(bucket)?;
        lock(&self.0.objects).get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    /// The object as a client wants it that has an older one.
    fn get_if(
        &self,
        (bucket, key): (&str, &str),
        only: Option<&ETagCondition>,
        unless: Option<&ETagCondition>,
    ) -> S3Result<Stored> {
        let stored = self.get(bucket, key)?;
        if only.is_some_and(|condition| !matches(condition, &stored)) {
            return Err(s3_error!(PreconditionFailed));
        }
        if unless.is_some_and(|condition| matches(condition, &stored)) {
            return Err(s3_error!(NotModified));
        }
        Ok(stored)
    }

    /// Writes if the conditions allow it. Between them and the write nobody else writes.
    pub fn put(
        &self,
        (bucket, key): (&str, &str),
        stored: Stored,
        only: Option<&ETagCondition>,
        unless: Option<&ETagCondition>,
    ) -> S3Result<()> {
        self.known(bucket)?;
        let honoured = self.0.options().conditions == Conditions::Honoured;
        let mut objects = lock(&self.0.objects);
        let present = objects.get(key);
        if let Some(condition) = only.filter(|_| honoured) {
            let present = present.ok_or_else(|| s3_error!(NoSuchKey))?;
            if !matches(condition, present) {
                return Err(s3_error!(PreconditionFailed));
            }
        }
        if let (Some(condition), Some(present)) = (unless.filter(|_| honoured), present)
            && matches(condition, present)
        {
            return Err(s3_error!(PreconditionFailed));
        }
        objects.put(key, stored);
        Ok(())
    }

    pub fn source(&self, source: &CopySource) -> S3Result<Stored> {
        match source {
            CopySource::Bucket { bucket, key, .. } => self.get(bucket, key),
            _ => Err(s3_error!(NotImplemented)),
        }
    }

    fn page(&self, bucket: &str, query: Query, most: Option<i32>) -> S3Result<Page> {
        self.known(bucket)?;
        let options = self.0.options();
        let most = usize::try_from(most.unwrap_or(1000)).map_err(|_| s3_error!(InvalidArgument))?;
        let mut query = Query { most: most.min(options.page), ..query };
        match options.start_after {
            StartAfter::Honoured => {}
            StartAfter::Ignored => query.after = None,
            StartAfter::SkipsSubtree => query.skipped.clone_from(&query.after),
        }
        Ok(lock(&self.0.objects).page(&query))
    }
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.known(&request.input.bucket)?;
        ok(HeadBucketOutput::default())
    }

    async fn get_bucket_versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> Answer<GetBucketVersioningOutput> {
        self.known(&request.input.bucket)?;
        let status = match self.0.options().versioning {
            Versioning::Never => None,
            Versioning::Enabled => Some(BucketVersioningStatus::ENABLED),
            Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
        };
        let status = status.map(BucketVersioningStatus::from_static);
        ok(GetBucketVersioningOutput { status, ..Default::default() })
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
        let input = request.input;
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
            after: input.start_after,
            token: input.continuation_token.as_deref().map(place_of).transpose()?,
            ..Query::default()
        };
        let page = self.page(&input.bucket, query, input.max_keys)?;
        let count = page.objects.len() + page.prefixes.len();
        let page = shifted_page(page, request.extensions.get::<Within>());
        let (contents, common_prefixes, token) = listed(page);
        let within = request.extensions.get::<Within>();
        let meets = |effect: &Effect| within.is_some_and(|within| within.0.contains(effect));
        let (torn, ended) = (meets(&Effect::NoToken), meets(&Effect::Ends));
        ok(ListObjectsV2Output {
            key_count: i32::try_from(count).ok(),
            contents,
            common_prefixes,
            is_truncated: Some(torn || (token.is_some() && !ended)),
            next_continuation_token: token.filter(|_| !torn && !ended),
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            max_keys: input.max_keys,
            ..Default::default()
        })
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> Answer<ListObjectsOutput> {
        let input = request.input;
        let is_token = input.marker.as_deref().is_some_and(|marker| marker.starts_with(TOKEN));
        let (token, after) = if is_token { (input.marker, None) } else { (None, input.marker) };
        let query = Query {
            prefix: input.prefix.clone().unwrap_or_default(),
            delimiter: input.delimiter.clone().filter(|delimiter| !delimiter.is_empty()),
            after,
            token: token.as_deref().map(place_of).transpose()?,
            ..Query::default()
        };
        let (contents, common_prefixes, token) = listed(self.page(&input.bucket, query, input.max_keys)?);
        ok(ListObjectsOutput {
            contents,
            common_prefixes,
            is_truncated: Some(token.is_some()),
            next_marker: token,
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            max_keys: input.max_keys,
            ..Default::default()
        })
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        let by = shift(request.extensions.get::<Within>());
        let input = request.input;
        let place = (&*input.bucket, &*input.key);
        let stored = self.get_if(place, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let stored = shifted(stored, by);
        let whole = stored.bytes.len() as u64;
        let (data, content_range) = match &input.range {
            None => (stored.bytes, None),
            Some(range) => {
                let range = range.check(whole)?;
                let said = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
                let at = |offset: u64| usize::try_from(offset).expect("it fits into memory");
                (stored.bytes.slice(at(range.start)..at(range.end)), Some(said))
            }
        };
        ok(GetObjectOutput {
            content_length: size(&data),
            content_range,
            accept_ranges: Some("bytes".to_owned()),
            body: Some(StreamingBlob::from(s3s::Body::from(data))),
            last_modified: Some(stored.modified.into()),
            e_tag: quoted(&stored.etag),
            ..Default::default()
        })
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        let by = shift(request.extensions.get::<Within>());
        let input = request.input;
        let place = (&*input.bucket, &*input.key);
        let stored = self.get_if(place, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let stored = shifted(stored, by);
        ok(HeadObjectOutput {
            content_length: size(&stored.bytes),
            last_modified: Some(stored.modified.into()),
            e_tag: quoted(&stored.etag),
            ..Default::default()
        })
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let input = request.input;
        let stored = self.0.stored(read(input.body).await?, self.0.now());
        let e_tag = quoted(&stored.etag);
        let (only, unless) = (input.if_match.as_ref(), input.if_none_match.as_ref());
        self.put((&input.bucket, &input.key), stored, only, unless)?;
        ok(PutObjectOutput { e_tag, ..Default::default() })
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> Answer<CopyObjectOutput> {
        let input = request.input;
        let source = self.source(&input.copy_source)?;
        if input.copy_source_if_match.as_ref().is_some_and(|condition| !matches(condition, &source)) {
            return Err(s3_error!(PreconditionFailed));
        }
        let stored = self.0.stored(source.bytes, self.0.now());
        let result = CopyObjectResult {
            e_tag: quoted(&stored.etag),
            last_modified: Some(stored.modified.into()),
            ..Default::default()
        };
        self.put((&input.bucket, &input.key), stored, None, None)?;
        ok(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() })
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        let input = request.input;
        self.known(&input.bucket)?;
        let honoured = self.0.options().conditions == Conditions::Honoured;
        let mut objects = lock(&self.0.objects);
        if let (Some(condition), Some(present)) =
            (input.if_match.filter(|_| honoured), objects.get(&input.key))
            && !matches(&condition, present)
        {
            return Err(s3_error!(PreconditionFailed));
        }
        objects.remove(&input.key);
        ok(DeleteObjectOutput::default())
    }

    async fn delete_objects(&self, request: S3Request<DeleteObjectsInput>) -> Answer<DeleteObjectsOutput> {
        let within = request.extensions.get::<Within>();
        let refused = refused(within);
        let refused_half = refused_half(within);
        let input = request.input;
        self.known(&input.bucket)?;
        if input.delete.objects.len() > 1000 {
            return Err(s3_error!(MalformedXML));
        }
        let mut objects = lock(&self.0.objects);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let half = (refused_half == Some(half_of(&object.key))).then_some("InternalError");
            if let Some(code) = refused.get(&object.key).copied().or(half) {
                let code = Some(code.to_owned());
                errors.push(Error { code, key: Some(object.key), ..Default::default() });
                continue;
            }
            objects.remove(&object.key);
            if input.delete.quiet != Some(true) {
                deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
            }
        }
        ok(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(errors), ..Default::default() })
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        self.create(request.input)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        self.part(request.input).await
    }

    async fn upload_part_copy(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> Answer<UploadPartCopyOutput> {
        self.part_by_copy(&request.input)
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        self.parts(request.input)
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        self.uploads(request.input)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        self.complete(request.input)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        self.abort(&request.input)
    }
}
