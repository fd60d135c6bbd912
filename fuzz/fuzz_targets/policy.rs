//! No policy document makes the reader panic, and one that it accepts decides the same twice.
#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use regsweep::policy::{Policy, TagFacts};

fuzz_target!(|text: &str| {
    let Ok(policy) = Policy::parse(text, "fuzz.yaml") else { return };
    let now = Timestamp::from_second(1_800_000_000).expect("a moment within the calendar");
    let tags: Vec<TagFacts<'_>> = ["latest", "v1.2.3", "nightly-1", "pr-7", "sha256-00.sig"]
        .into_iter()
        .zip(0_i64..)
        .map(|(name, day)| {
            let at = Timestamp::from_second(1_800_000_000 - day * 40 * 86_400).ok();
            TagFacts { name, tagged: at, pushed: at, ..TagFacts::default() }
        })
        .collect();
    let decided = policy.decide_tags("team/app", &tags, now);
    assert_eq!(decided.len(), tags.len());
    assert_eq!(decided, policy.decide_tags("team/app", &tags, now));
    let _ = policy.describe();
});
