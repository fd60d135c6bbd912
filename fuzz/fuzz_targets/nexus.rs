//! A properties file comes out as it went in, an edit reads back; a key of a Nexus blob store is written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regsweep::layout::nexus::{BlobRef, Nexus, Record, docker_name};
use regsweep::layout::properties::Properties;
use regsweep::layout::{Entry, RegistryLayout};

fuzz_target!(|data: &[u8]| {
    if let Ok(properties) = Properties::read(data) {
        assert_eq!(properties.bytes(), data);
        let flagged = properties.with("deleted", "true");
        assert!(Record::of(&flagged).deleted);
        assert!(!Record::of(&flagged.without("deleted")).deleted);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let entry = Nexus.classify(text);
        if matches!(entry, Entry::Asset(_)) {
            assert_eq!(Nexus.key(&entry).as_deref(), Some(text));
        }
        let _ = (Nexus.classify_directory(text), docker_name(text), BlobRef::parse(text));
    }
});
