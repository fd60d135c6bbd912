//! No list of references makes the reader panic, and one word more never takes one away.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regsweep::sources::references::read_references;

fuzz_target!(|bytes: &[u8]| {
    let Ok(references) = read_references(bytes) else { return };
    for reference in &references {
        assert!(reference.tag.is_some() || reference.digest.is_some());
    }
    let more = [bytes, b"\nteam/app:v1\n"].concat();
    let more = read_references(&more).expect("one word more");
    assert_eq!(more[..references.len()], references[..]);
    assert_eq!(more.len(), references.len() + 1);
});
