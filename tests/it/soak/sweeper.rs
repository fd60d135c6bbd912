//! The binary under test, run again and again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::Duration;

use regsweep::clock::{Clock as _, System};
use serde_json::Value;

use super::model::Model;
use super::pusher::since;
use super::scene::Scene;
use crate::registry::server::Registry;

/// What all runs did.
#[derive(Debug, Default)]
pub struct Sweeper {
    runs: u64,
    longest: Duration,
    done: BTreeMap<String, u64>,
    mended: BTreeMap<String, u64>,
    skipped: u64,
    failed: Vec<String>,
}

impl Sweeper {
    /// Runs it once; how many steps it carried out in the registry's place. What it purges from its trash, where manifests
    /// stay ten times longer, is none of them.
    pub fn run(&mut self, scene: &Scene, registry: &Registry, model: &Model) -> u64 {
        let begun = System.now();
        model.note(|| "run begins".to_owned());
        let finished = scene.sweep(registry);
        self.runs += 1;
        self.longest = self.longest.max(since(begun));
        if finished.status != 0 {
            // The report is long, and what failed stands far down in it.
            let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_default();
            model.fault(format!(
                "run {} ended with {}\nfailed: {}\nmended: {}\nstderr: {}",
                self.runs,
                finished.status,
                report["executed"]["failed"],
                start(&report["mended"].to_string(), 2_000),
                start(&finished.stderr, 2_000)
            ));
            thread::sleep(Duration::from_millis(500));
            return 1;
        }
        let report = finished.json();
        let mut steps = self.add(&report["executed"], false);
        for mended in report["mended"].as_array().into_iter().flatten() {
            steps += self.add(&mended["executed"], true);
        }
        let mended: Vec<&Value> = report["mended"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|mended| &mended["executed"]["done"])
            .collect();
        model
            .note(|| format!("run {} ends: {} mended {mended:?}", report["run"], report["executed"]["done"]));
        steps
    }

    fn add(&mut self, executed: &Value, mended: bool) -> u64 {
        let into = if mended { &mut self.mended } else { &mut self.done };
        let mut steps = 0;
        for (action, count) in executed["done"].as_object().into_iter().flatten() {
            let count = count.as_u64().unwrap_or(0);
            *into.entry(action.clone()).or_default() += count;
            steps += if action == "purge" { 0 } else { count };
        }
        self.skipped += executed["skipped"].as_array().map_or(0, Vec::len) as u64;
        let failed = executed["failed"].as_array().into_iter().flatten();
        self.failed.extend(failed.map(ToString::to_string));
        steps
    }

    /// How often an action was carried out.
    pub fn count(&self, action: &str) -> u64 {
        self.done.get(action).copied().unwrap_or(0)
    }

    /// Everything in a few lines.
    pub fn summary(&self) -> String {
        let list = |map: &BTreeMap<String, u64>| {
            map.iter().map(|(action, count)| format!("{count} {action}")).collect::<Vec<_>>().join(", ")
        };
        let mut text =
            format!("{} runs, the longest of {:.1?}: {}", self.runs, self.longest, list(&self.done));
        write!(text, "; mended: {}; {} skipped", list(&self.mended), self.skipped)
            .expect("a string takes all");
        if let Some(first) = self.failed.first() {
            write!(text, "; {} failed, such as {first}", self.failed.len()).expect("a string takes all");
        }
        text
    }
}

fn start(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}
