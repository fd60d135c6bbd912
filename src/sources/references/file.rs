//! A file of references.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::{LARGEST, SourceError};
use crate::config::values::Period;

/// How far two clocks are apart that nobody minds.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Reads a file whole, when it is as young as it must be.
pub(super) fn read(path: &Path, max_age: Option<Period>, now: Timestamp) -> Result<Vec<u8>, SourceError> {
    // Opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).map_err(SourceError::Unreadable)?.is_file() {
        return Err(SourceError::NotAFile);
    }
    let mut file = File::open(path).map_err(SourceError::Unreadable)?;
    let before = state(&file).map_err(SourceError::Unreadable)?;
    if let Some(max_age) = max_age {
        let age = now.duration_since(before.0);
        if age < -SKEW {
            return Err(SourceError::Future(Period::from_signed(-age).rough()));
        }
        if age > max_age.as_signed() {
            let age = Period::from_signed(age).rough();
            return Err(SourceError::Stale { age, max_age: max_age.to_string() });
        }
    }
    let mut text = Vec::new();
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX).saturating_add(1);
    (&mut file).take(most).read_to_end(&mut text).map_err(SourceError::Unreadable)?;
    if text.len() > LARGEST {
        return Err(SourceError::TooLarge);
    }
    let read = u64::try_from(text.len()).unwrap_or(u64::MAX);
    let after = state(&file).map_err(SourceError::Unreadable)?;
    if after != before || after.1 != read {
        return Err(SourceError::Changed);
    }
    Ok(text)
}

/// When a file was last written, and its size.
fn state(file: &File) -> io::Result<(Timestamp, u64)> {
    let meta = file.metadata()?;
    let modified = Timestamp::try_from(meta.modified()?).map_err(io::Error::other)?;
    Ok((modified, meta.len()))
}
