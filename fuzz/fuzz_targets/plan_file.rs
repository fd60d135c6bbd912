//! No text makes the plan reader panic, and what it reads it writes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use regsweep::plan::Plan;

fuzz_target!(|text: &str| {
    let Ok(plan) = Plan::read(text) else { return };
    let again = serde_json::to_string(&plan).expect("a plan that was read can be written");
    assert_eq!(Plan::read(&again).expect("what was written can be read"), plan);
});
