//! No file of events or log lines makes the reader panic, and a pull that is told twice is one.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use regsweep::policy::IgnoredPulls;
use regsweep::sources::pulls::{Reader, read_events};

fuzz_target!(|bytes: &[u8]| {
    let ignored = IgnoredPulls::default();
    let _ = read_events(bytes, &ignored);
    let Ok(observed) = Reader::read(Cursor::new(bytes), &ignored) else { return };
    assert!(observed.pulls + observed.ignored <= observed.understood);
    let mut twice = observed.record.clone();
    twice.merge(observed.record.clone());
    assert_eq!(twice, observed.record);
    let text = serde_json::to_string(&observed.record).expect("a record is JSON");
    let again: regsweep::sources::pulls::PullRecord = serde_json::from_str(&text).expect("its own text");
    assert_eq!(again, observed.record);
});
