//! Any bytes are read or refused, within bounds, each digest once.
#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use regsweep::oci::manifest::{self, Kind, MAX_REMARKS, Role};

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = manifest::read(bytes) else { return };
    let digests: HashSet<_> = manifest.references.iter().map(|reference| reference.digest).collect();
    assert_eq!(digests.len(), manifest.references.len());
    assert!(manifest.unresolved.len() <= MAX_REMARKS && manifest.notes.len() <= MAX_REMARKS);
    if manifest.kind == Kind::Opaque {
        assert!(
            manifest.references.iter().all(|reference| reference.role == Role::Unknown && !reference.foreign)
        );
    }
});
