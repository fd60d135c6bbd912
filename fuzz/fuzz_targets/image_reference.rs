//! An image reference, once read, is written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regsweep::oci::{ImageReference, RepositoryName, TagName};

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<ImageReference>() {
        assert_eq!(reference.to_string(), text);
    }
    if let Ok(name) = RepositoryName::found(text) {
        let _ = name.is_valid();
    }
    if let Ok(tag) = TagName::found(text) {
        let _ = tag.is_valid();
    }
});
