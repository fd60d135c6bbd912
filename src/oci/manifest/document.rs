//! Reads the document.
use super::{Manifest, ManifestError};
pub(super) fn read(_bytes: &[u8]) -> Result<Manifest, ManifestError> {
    Err(ManifestError::Empty)
}
