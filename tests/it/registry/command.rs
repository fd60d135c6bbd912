//! The commands under test: `regsweep`, and the registry's own `garbage-collect`.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::server::Version;

/// Keeps the tags `kept-…`, drops all others, and sweeps what is garbage at once.
pub const POLICY: &str = "\
version: 1
grace: 0
trash: { keep: 7d }
repositories: { empty: remove }
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
classes:
  kept: { match: [\"kept-*\"] }
policies:
  - name: everything
    repositories: [\"**\"]
    tags:
      kept: { keep: all }
      other: { keep: none }
    untagged: { keep: none }
";

/// What a command said.
#[derive(Debug)]
pub struct Finished {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    pub fn new(output: &Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Itself when it ended with `status`; a failed test otherwise.
    #[track_caller]
    pub fn expect(self, status: i32) -> Self {
        assert_eq!(self.status, status, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The one JSON document on stdout.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in:\n{}", self.stdout))
    }
}

/// Runs the `regsweep` of this build, with nothing of the caller's environment that configures it.
pub fn regsweep<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Finished {
    Finished::new(&regsweep_command(arguments).output().expect("regsweep runs"))
}

/// The same, not yet run.
pub fn regsweep_command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regsweep"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["REGSWEEP_", "REGISTRY_", "RUST_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&*name);
        }
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Sweeps the store at `root` by `policy`, with the registry stopped.
pub fn sweep_offline(root: &Path, policy: &str) -> Finished {
    sweep(root, policy, &["--offline"])
}

/// Sweeps the store at `root` by `policy` beside a registry that serves, and leaves it to the next sweep to look at it again.
pub fn sweep_online(root: &Path, policy: &str) -> Finished {
    sweep(root, policy, &["--settle", "later"])
}

/// Sweeps the store at `root` by `policy`, beside a registry that serves unless `options` say otherwise.
pub fn sweep(root: &Path, policy: &str, options: &[&str]) -> Finished {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("policy.yml");
    std::fs::write(&file, policy).expect("the policy");
    let mut arguments = vec![OsStr::new("run"), root.as_os_str(), "-p".as_ref(), file.as_os_str()];
    arguments.push("--json".as_ref());
    arguments.extend(options.iter().map(OsStr::new));
    regsweep(arguments)
}

/// What the registry's own garbage collection would delete, without doing so.
#[derive(Debug, PartialEq, Eq, Default)]
pub struct Eligible {
    pub manifests: BTreeSet<String>,
    pub blobs: BTreeSet<String>,
    /// Only 3.x removes those.
    pub layer_links: BTreeSet<String>,
}

/// `garbage-collect --dry-run`, with `-m` as `delete_untagged`.
pub fn garbage_collect(version: Version, configuration: &Path, delete_untagged: bool) -> Eligible {
    let mut command = version.command();
    command.args(["garbage-collect", "--dry-run"]);
    if delete_untagged {
        command.arg("--delete-untagged");
    }
    let finished = Finished::new(&command.arg(configuration).output().expect("garbage-collect runs"));
    assert_eq!(finished.status, 0, "{finished:?}");
    let mut eligible = Eligible::default();
    for line in finished.stdout.lines() {
        let Some((kind, what)) = line.split_once(" eligible for deletion: ") else { continue };
        // 2.8 prints the digest of a manifest alone, 3.x with its repository and tags around it.
        let start = what.find("sha256:").unwrap_or_else(|| panic!("no digest in {line}"));
        let digest = what[start..].chars().take("sha256:".len() + 64).collect();
        let kind = match kind.rsplit(' ').next() {
            Some("blob") => &mut eligible.blobs,
            Some("manifest") => &mut eligible.manifests,
            Some("link") => &mut eligible.layer_links,
            _ => panic!("unknown kind in {line}"),
        };
        kind.insert(digest);
    }
    // The last line counts; if its wording changed, the parsing above would find nothing and prove nothing.
    let counted =
        format!("{} blobs and {} manifests eligible", eligible.blobs.len(), eligible.manifests.len());
    assert!(finished.stdout.contains(&counted), "{counted}, says the test; but:\n{}", finished.stdout);
    eligible
}
