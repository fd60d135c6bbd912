//! A digest is accepted exactly when it is what we would write.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regsweep::oci::Digest;

fuzz_target!(|text: &str| {
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::from_parts(digest.algorithm(), &digest.hex()), Ok(digest));
    }
});
