//! Reading a bucket: its listing says sizes and times of everything, so nothing is asked for twice.

use std::sync::{Mutex, PoisonError};

use super::Beside;
use super::batch::Batch;
use super::lanes;
use super::record::Recorder;
use super::scan::ScanError;
use crate::layout::{DISTRIBUTION_ROOT, RegistryLayout, distribution};
use crate::store::{Bucket, Page, PageRequest, Progress, STATE_DIRECTORY, StoreError, Versioning};

/// What digests are made of.
const HEX: &str = "0123456789abcdef";

/// What repositories and tags are mostly made of.
const NAMES: &str = "-./0123456789_abcdefghijklmnopqrstuvwxyz";

/// Lists the registry in a bucket, and our own state beside it. What else lies beside it is named and not counted.
///
/// # Errors
/// When any page of it could not be had.
pub(super) fn list(
    bucket: &Bucket,
    layout: &dyn RegistryLayout,
    progress: &Progress,
) -> Result<Recorder, ScanError> {
    let recorder = Mutex::new(Recorder::default());
    let record = |objects: &[crate::store::Listed]| {
        let mut batch = Batch::default();
        for object in objects {
            batch.file(layout, &object.key, object.meta);
        }
        recorder.lock().unwrap_or_else(PoisonError::into_inner).take(batch);
        progress.add(objects.len());
    };
    // Candidates are listed before roots are read. A blob that is listed here and gains a reference later is seen as
    // referenced; in the other order a blob pushed in between would be listed with its reference unseen.
    progress.begin("listing blobs", None);
    let blobs = level_unless_stopped(bucket, distribution::blobs_root(), progress)?;
    record(&blobs.objects);
    for algorithm in &blobs.prefixes {
        lanes::list(bucket, algorithm, HEX, progress, &record)?;
    }
    progress.begin("listing repositories", None);
    let registry = level_unless_stopped(bucket, DISTRIBUTION_ROOT, progress)?;
    record(&registry.objects);
    for part in &registry.prefixes {
        if part.strip_suffix('/') != Some(distribution::blobs_root()) {
            lanes::list(bucket, part, NAMES, progress, &record)?;
        }
    }
    lanes::list(bucket, &format!("{STATE_DIRECTORY}/"), NAMES, progress, &record)?;
    Ok(recorder.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What the bucket holds beside the registry's objects; its versions only when `everything` is asked for. A user who may
/// not ask is told so, and nothing else depends on it.
pub(super) fn beside(bucket: &Bucket, everything: bool) -> Beside {
    let mut beside = Beside::default();
    let mut note = |error: StoreError| beside.unknown.push(error.with_cause());
    let registry = format!("{DISTRIBUTION_ROOT}/");
    let versioning = bucket.versioning().map_err(&mut note).unwrap_or_default();
    let counted = everything && versioning != Versioning::Never;
    let noncurrent =
        counted.then(|| bucket.noncurrent(&registry)).and_then(|found| found.map_err(&mut note).ok());
    let uploads = bucket.multipart_uploads(&registry).map_err(&mut note).unwrap_or_default();
    Beside { versioning, noncurrent, uploads, ..beside }
}

/// Everything directly below a directory's name.
pub(super) fn level(bucket: &Bucket, key: &str) -> Result<Page, StoreError> {
    level_unless_stopped(bucket, key, &Progress::default())
}

fn level_unless_stopped(bucket: &Bucket, key: &str, progress: &Progress) -> Result<Page, StoreError> {
    let prefix = if key.is_empty() { String::new() } else { format!("{key}/") };
    let mut all = Page::default();
    loop {
        let request = PageRequest {
            prefix: &prefix,
            one_level: true,
            token: all.next.take(),
            ..PageRequest::default()
        };
        let page = bucket.wait(progress.unless_stopped(bucket.page(&request)))?;
        all.objects.extend(page.objects);
        all.prefixes.extend(page.prefixes);
        all.next = page.next;
        if all.next.is_none() {
            all.prefixes.sort();
            all.prefixes.dedup();
            return Ok(all);
        }
    }
}

/// Whether a bucket holds our own state: a run that took the last repository has left nothing but what undoes it.
///
/// # Errors
/// When the bucket cannot be listed.
pub(super) fn has_state(bucket: &Bucket) -> Result<bool, StoreError> {
    let root = level(bucket, "")?;
    Ok(root.prefixes.iter().any(|prefix| prefix.trim_end_matches('/') == STATE_DIRECTORY))
}

/// Finds the registry in a bucket, or says what is there instead.
///
/// # Errors
/// [`ScanError::NoRegistry`] with advice, [`ScanError::Nothing`]; also when the bucket cannot be listed.
pub(super) fn detect(bucket: &Bucket, url: &str) -> Result<(), ScanError> {
    let registry = level(bucket, DISTRIBUTION_ROOT)?;
    let parts = [distribution::blobs_root(), distribution::repositories_root()];
    if registry.prefixes.iter().any(|prefix| parts.contains(&prefix.trim_end_matches('/'))) {
        return Ok(());
    }
    let root = level(bucket, "")?;
    let names: Vec<&str> = root.prefixes.iter().map(|prefix| prefix.trim_end_matches('/')).collect();
    let missing = format!(
        "no registry at {url}: no key begins with {DISTRIBUTION_ROOT}/repositories or {DISTRIBUTION_ROOT}/blobs below it."
    );
    let prefix = "The prefix is what the registry's configuration calls rootdirectory.";
    if names.is_empty() && root.objects.is_empty() {
        return Err(ScanError::Nothing(format!(
            "{missing} Nothing begins with that prefix: a registry writes there with its first push. {prefix}"
        )));
    }
    let advice = if names.is_empty() {
        " What is there are files at its root.".to_owned()
    } else if names.iter().any(|name| name.starts_with("vol-")) {
        " It looks like a part of a Nexus blob store: name the prefix below which metadata.properties is."
            .to_owned()
    } else {
        format!(" What is there: {}.", names[..names.len().min(5)].join(", "))
    };
    Err(ScanError::NoRegistry(format!("{missing}{advice} {prefix}")))
}
