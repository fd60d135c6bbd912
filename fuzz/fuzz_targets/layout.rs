//! A key that is understood is written as it was, and no directory above it is foreign.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regsweep::layout::distribution::upload_started;
use regsweep::layout::{Directory, Distribution, Entry, RegistryLayout};

fuzz_target!(|key: &str| {
    let entry = Distribution.classify(key);
    match entry {
        Entry::UnknownDigest { .. } | Entry::OwnState | Entry::FolderMarker | Entry::Foreign(_) => {
            assert_eq!(Distribution.key(&entry), None);
        }
        _ => assert_eq!(Distribution.key(&entry).as_deref(), Some(key)),
    }
    let directory = Distribution.classify_directory(key);
    if let Some(written) = Distribution.directory_key(&directory) {
        assert_eq!(written, key);
    }
    if !matches!(entry, Entry::Foreign(_) | Entry::FolderMarker) {
        for (slash, _) in key.match_indices('/') {
            let above = Distribution.classify_directory(&key[..slash]);
            assert!(!matches!(above, Directory::Foreign(_)), "{above:?}");
        }
    }
    let _ = upload_started(key);
});
