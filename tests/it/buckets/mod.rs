//! Object stores for tests: one in memory that fails as it is told, and real servers of the protocols of S3, Azure and
//! Google. The tests in here show that each does what the other tests rely on.

pub mod bucket;
pub mod http;
pub mod memory;
pub mod process;
pub mod servers;

mod of_memory;
mod of_registry;
mod of_servers;

mod beside;
mod cost;
mod created;
mod failing;
mod faults_everywhere;
mod killed;
mod lanes;
mod large;
mod pulls;
mod stopped;
mod sweeping;
pub mod trial;

use std::path::Path;
use std::time::{Duration, SystemTime};

use bucket::Bucket;
use regsweep::synth::Recipe;
use serde_json::Value;

use crate::registry::command::{Finished, regsweep_command};

/// Keeps every tag, drops what is untagged, and sweeps what is garbage at once.
const KEEP_TAGS: &str = "version: 1
grace: 0
trash: { keep: 7d }
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
policies:
  - name: everything
    repositories: [\"**\"]
    tags: { other: { keep: all } }
    untagged: { keep: none }
";

/// Where the registry begins in a bucket.
const PREFIX: &str = "pre/fix/";

/// A registry in a directory with a little of everything in it, its policy, and a place for the manifest cache.
struct Scene {
    directory: tempfile::TempDir,
    now: SystemTime,
}

impl Scene {
    fn new(recipe: &Recipe) -> Self {
        let scene = Self::empty(KEEP_TAGS);
        recipe.generate(&scene.store(), scene.now).expect("a store");
        scene
    }

    /// One without a registry yet.
    fn empty(policy: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let now = crate::support::present() - Duration::from_secs(60);
        std::fs::write(directory.path().join("policy.yaml"), policy).expect("the policy");
        Self { directory, now }
    }

    /// One of about 1,500 keys.
    fn small() -> Self {
        Self::new(&Recipe {
            seed: 7,
            repositories: 6,
            parents: 2,
            tags: 6,
            history: 2,
            multiarch: 0.3,
            referrers: 0.2,
            ..Recipe::default()
        })
    }

    /// One for servers that take a while for each request.
    fn tiny() -> Self {
        Self::new(&Recipe { seed: 8, repositories: 2, tags: 4, history: 2, layers: 3, ..Recipe::default() })
    }

    fn store(&self) -> std::path::PathBuf {
        self.directory.path().join("store")
    }

    fn text(path: &Path) -> String {
        path.to_str().expect("UTF-8").to_owned()
    }

    /// Runs a command on the bucket.
    fn on(&self, bucket: &Bucket, arguments: &[&str]) -> Finished {
        let mut command = regsweep_command(arguments);
        bucket.lead(&mut command);
        command.env("XDG_CACHE_HOME", self.directory.path().join("cache"));
        Finished::new(&command.output().expect("regsweep runs"))
    }

    /// Runs a command with this scene's policy on what is below [`PREFIX`] in the bucket.
    fn with_policy(&self, bucket: &Bucket, command: &str, more: &[&str]) -> Finished {
        let policy = Self::text(&self.directory.path().join("policy.yaml"));
        let url = bucket.url(PREFIX);
        self.on(bucket, &[&[command, &url, "-p", &policy][..], more].concat())
    }

    /// Runs a command with this scene's policy on its directory.
    fn in_directory(&self, command: &str, more: &[&str]) -> Finished {
        let policy = Self::text(&self.directory.path().join("policy.yaml"));
        let store = Self::text(&self.store());
        Finished::new(
            &regsweep_command([&[command, &store, "-p", &policy][..], more].concat())
                .output()
                .expect("regsweep runs"),
        )
    }

    /// Every file of the directory that is not regsweep's own.
    fn keys(&self) -> Vec<String> {
        crate::support::Files::of(&self.store()).0.into_keys().collect()
    }
}

/// A part of a report, by its path of names.
fn part<'v>(report: &'v Value, path: &[&str]) -> &'v Value {
    path.iter()
        .fold(report, |value, name| value.get(name).unwrap_or_else(|| panic!("no {name} in {value:#}")))
}

/// A number in a report.
fn number(report: &Value, path: &[&str]) -> u64 {
    part(report, path).as_u64().unwrap_or_else(|| panic!("{path:?} is no number"))
}
