//! How long a whole store takes to read and judge, beside the registry's own collector and beside `find`.
//!
//! `cargo bench --bench scan -- [--files N] [--repetitions N] [--store DIRECTORY] [--regsweep BINARY]`, or the same by
//! `REGSWEEP_BENCH_FILES`, `_REPETITIONS`, `_STORE` and `_BINARY`. The store is generated once and left for the next run.
//! Seconds depend on the machine; the ratios, taken in one run on one store, are what to compare.
#![allow(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench measures time and prints"
)]

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail, ensure};
use common::peak_bytes;
use regsweep::synth::Recipe;
use serde::{Deserialize, Serialize};

const POLICY: &str = "version: 1
grace: 0
trash: { keep: 0 }
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
policies:
  - name: everything
    repositories: [\"**\"]
    tags: { other: { keep: all } }
    untagged: { keep: none }
";

/// How often a child's memory is looked at. The kernel's high-water mark only grows, so what is missed is what a child
/// gains in its last few milliseconds.
const LOOK: Duration = Duration::from_millis(3);

struct Options {
    files: u64,
    repetitions: usize,
    store: PathBuf,
    binary: PathBuf,
}

impl Options {
    fn read() -> anyhow::Result<Self> {
        let argument = |name: &str| {
            common::argument(name)
                .or_else(|| std::env::var(format!("REGSWEEP_BENCH_{}", name.to_uppercase())).ok())
        };
        let number = |name: &str, default: u64| match argument(name) {
            Some(text) => text.parse().with_context(|| format!("--{name} {text}: write a whole number")),
            None => Ok(default),
        };
        let files = number("files", 300_000)?;
        let repetitions = usize::try_from(number("repetitions", 5)?)?.max(1);
        let default = || Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("scan-{files}"));
        let store = argument("store").map_or_else(default, PathBuf::from);
        let binary = argument("regsweep").or_else(|| argument("binary"));
        let binary = binary.map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_regsweep")), PathBuf::from);
        Ok(Self { files, repetitions, store, binary })
    }
}

/// What is known about a store from an earlier run; lies beside it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Made {
    recipe: Recipe,
    files: u64,
    bytes: u64,
    repositories: u64,
    manifests: u64,
    blobs: u64,
}

/// The store of `recipe`, generated unless an earlier run left it.
fn store(options: &Options, recipe: &Recipe) -> anyhow::Result<Made> {
    let note = options.store.with_extension("recipe.json");
    if let Ok(text) = fs::read(&note) {
        let made: Made = serde_json::from_slice(&text).with_context(|| note.display().to_string())?;
        ensure!(made.recipe == *recipe, "{} is of another recipe; remove it", options.store.display());
        return Ok(made);
    }
    let started = Instant::now();
    let truth = recipe.generate(&options.store, SystemTime::now())?;
    println!("generated in {:.1} s", started.elapsed().as_secs_f64());
    let made = Made {
        recipe: recipe.clone(),
        files: truth.files,
        bytes: truth.file_bytes,
        repositories: truth.repositories,
        manifests: truth.manifests,
        blobs: truth.blobs,
    };
    fs::write(&note, serde_json::to_vec(&made)?)?;
    Ok(made)
}

/// One thing to measure.
struct Contender {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Contender {
    fn new(name: &'static str, program: &Path, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { name, program: program.to_path_buf(), arguments }
    }

    /// Runs once. Answers seconds and the most memory it held, in bytes.
    fn run(&self, words: &Path) -> anyhow::Result<(f64, u64)> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).env_remove("AWS_CA_BUNDLE").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(words)?);
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| self.program.display().to_string())?;
        let process = child.id().to_string();
        let mut peak = 0;
        let status = loop {
            peak = peak.max(peak_bytes(&process).unwrap_or(0));
            if let Some(status) = child.try_wait()? {
                break status;
            }
            std::thread::sleep(LOOK);
        };
        let seconds = started.elapsed().as_secs_f64();
        if !status.success() {
            let said = fs::read_to_string(words).unwrap_or_default();
            bail!("{} ended with {status}: {}", self.name, said.lines().last().unwrap_or_default());
        }
        Ok((seconds, peak))
    }
}

/// The runs of one contender.
#[derive(Default)]
struct Runs {
    seconds: Vec<f64>,
    peaks: Vec<u64>,
}

impl Runs {
    fn median(&self) -> f64 {
        median(self.seconds.clone())
    }

    fn peak_mib(&self) -> f64 {
        median(self.peaks.iter().map(|peak| *peak as f64 / f64::from(1 << 20)).collect())
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

/// Empties the page cache and the caches of names and inodes. False when this process may not.
fn drop_caches() -> bool {
    let synced = Command::new("sync").status().is_ok_and(|status| status.success());
    synced && fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

/// Runs every contender in turn, round after round, so that a busy moment of the machine meets all of them.
fn rounds(contenders: &[Contender], count: usize, cold: bool, words: &Path) -> anyhow::Result<Vec<Runs>> {
    let mut all: Vec<Runs> = contenders.iter().map(|_| Runs::default()).collect();
    for _ in 0..count {
        for (contender, runs) in contenders.iter().zip(&mut all) {
            ensure!(!cold || drop_caches(), "the caches could be dropped before and cannot be any more");
            let (seconds, peak) = contender.run(words)?;
            runs.seconds.push(seconds);
            runs.peaks.push(peak);
        }
    }
    Ok(all)
}

fn print(title: &str, contenders: &[Contender], all: &[Runs]) {
    println!("\n{title:<24} {:>9} {:>9} {:>9} {:>10}", "median s", "least s", "most s", "peak MiB");
    for (contender, runs) in contenders.iter().zip(all) {
        let least = runs.seconds.iter().copied().fold(f64::INFINITY, f64::min);
        let most = runs.seconds.iter().copied().fold(0.0, f64::max);
        println!(
            "{:<24} {:>9.3} {least:>9.3} {most:>9.3} {:>10.1}",
            contender.name,
            runs.median(),
            runs.peak_mib()
        );
    }
    let of = |name: &str| {
        contenders.iter().zip(all).find(|(contender, _)| contender.name == name).map(|(_, runs)| runs)
    };
    let ratio = |label: &str, one: Option<&Runs>, other: Option<&Runs>, value: fn(&Runs) -> f64| {
        if let (Some(one), Some(other)) = (one, other) {
            println!("{label:<24} {:>9.3}", value(one) / value(other));
        }
    };
    ratio("plan : registry", of(PLAN), of(REGISTRY), Runs::median);
    ratio("plan : find", of(PLAN), of(FIND), Runs::median);
    ratio("audit : find", of(AUDIT), of(FIND), Runs::median);
    ratio("memory plan : registry", of(PLAN), of(REGISTRY), Runs::peak_mib);
}

const PLAN: &str = "regsweep plan";
const AUDIT: &str = "regsweep audit";
const REGISTRY: &str = "garbage-collect -n -m";
const FIND: &str = "find -type f";

fn contenders(options: &Options, scratch: &Path) -> anyhow::Result<Vec<Contender>> {
    let store = options.store.to_str().context("the store's path is not UTF-8")?;
    let (policy, configuration) = (scratch.join("policy.yaml"), scratch.join("registry.yml"));
    fs::write(&policy, POLICY)?;
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {store}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n"
    );
    fs::write(&configuration, text)?;
    let (policy, configuration) = (policy.display().to_string(), configuration.display().to_string());
    let mut contenders = vec![
        Contender::new(PLAN, &options.binary, &["plan", store, "-p", &policy, "--offline", "--json"]),
        Contender::new(AUDIT, &options.binary, &["audit", store, "--json"]),
        Contender::new(FIND, Path::new("find"), &[store, "-type", "f"]),
    ];
    if Command::new("docker-registry").arg("--version").output().is_ok() {
        let arguments = ["garbage-collect", "--dry-run", "--delete-untagged", &configuration];
        contenders.push(Contender::new(REGISTRY, Path::new("docker-registry"), &arguments));
    } else {
        println!("docker-registry is not installed: nothing to compare with but find");
    }
    Ok(contenders)
}

fn bench() -> anyhow::Result<()> {
    let options = Options::read()?;
    let made = store(&options, &Recipe::like_a_registry(options.files))?;
    println!(
        "{}: {} files, {} bytes, {} repositories, {} manifests, {} blobs; {} rounds",
        options.store.display(),
        made.files,
        made.bytes,
        made.repositories,
        made.manifests,
        made.blobs,
        options.repetitions
    );
    let scratch = tempfile::tempdir()?;
    let words = scratch.path().join("stderr");
    let contenders = contenders(&options, scratch.path())?;
    if drop_caches() {
        print("cold", &contenders, &rounds(&contenders, options.repetitions, true, &words)?);
    } else {
        println!("\ncold: skipped, since this user may not write /proc/sys/vm/drop_caches");
    }
    rounds(&contenders, 1, false, &words)?;
    print("warm", &contenders, &rounds(&contenders, options.repetitions, false, &words)?);
    Ok(())
}

fn main() -> ExitCode {
    match bench() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
