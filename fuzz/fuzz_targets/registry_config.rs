//! No configuration of the registry makes the reader panic, whatever the environment says.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use regsweep::config::registry::RegistryConfig;

fuzz_target!(|input: (String, BTreeMap<String, String>)| {
    let (text, environment) = input;
    let environment =
        environment.into_iter().map(|(name, value)| (format!("REGISTRY_{}", name.to_uppercase()), value)).collect();
    let _ = RegistryConfig::read(&text, "fuzz.yml", &environment);
});
