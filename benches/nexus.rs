//! How long an audit of a Nexus blob store takes, and how much memory: beside `find`, and beside `find` with `cat` of every
//! record, since what a blob is only its record tells.
//!
//! `cargo bench --bench nexus -- [--files N] [--repetitions N] [--regsweep BINARY]`. The store, of mixed eras, is generated
//! once and left for the next run.
#![allow(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench measures time and prints"
)]

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use common::{argument, number, peak_bytes};
use regsweep::synth::NexusRecipe;

/// A store of at least this many files: each push adds its layers, config and two manifests, two files each.
fn recipe(files: usize) -> NexusRecipe {
    /// Measured with this recipe, rounded down.
    const FILES_AN_IMAGE: usize = 640;
    let images = files.div_ceil(FILES_AN_IMAGE).div_ceil(4).max(1);
    NexusRecipe { repositories: 4, images, tags: 40, layers: 9, ..NexusRecipe::default() }
}

/// Runs a command: seconds, and the most memory it held in bytes.
fn measure(program: &str, arguments: &[&str]) -> anyhow::Result<(f64, u64)> {
    let mut command = Command::new(program);
    let start = Instant::now();
    let mut child = command.args(arguments).stdout(Stdio::null()).spawn().context(program.to_owned())?;
    let process = child.id().to_string();
    let mut peak = 0;
    let ended = loop {
        peak = peak.max(peak_bytes(&process).unwrap_or(0));
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    ensure!(ended.success(), "{program} {arguments:?} ended with {ended}");
    Ok((start.elapsed().as_secs_f64(), peak))
}

fn main() -> anyhow::Result<()> {
    let (wanted, repetitions) = (number("files", 300_000), number("repetitions", 3).max(1));
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nexus-{wanted}"));
    if !root.exists() {
        let start = Instant::now();
        let truth = recipe(wanted).generate(&root, SystemTime::now())?;
        println!("{} files generated in {:.1} s", truth.files(), start.elapsed().as_secs_f64());
    }
    let place = root.display().to_string();
    let binary = argument("regsweep").unwrap_or_else(|| env!("CARGO_BIN_EXE_regsweep").to_owned());
    let listed = Command::new("find").args([&place, "-type", "f"]).output()?;
    let files = String::from_utf8_lossy(&listed.stdout).lines().count();
    println!("{files} files");
    let cat = format!("find {place} -name '*.properties' -print0 | xargs -0 cat");
    let contenders: [(&str, &str, Vec<&str>); 3] = [
        ("find, with sizes", "find", vec![&place, "-type", "f", "-printf", "%s %p\\n"]),
        ("find and cat every record", "sh", vec!["-c", &cat]),
        ("regsweep audit", &binary, vec!["audit", &place, "--json"]),
    ];
    println!("{:<28} {:>9} {:>10} {:>12}", "", "median s", "peak MiB", "bytes a file");
    for (name, program, arguments) in contenders {
        let mut runs = Vec::new();
        for _ in 0..repetitions {
            runs.push(measure(program, &arguments)?);
        }
        runs.sort_by(|one, other| one.0.total_cmp(&other.0));
        let seconds = runs[runs.len() / 2].0;
        let peak = runs.iter().map(|run| run.1).max().unwrap_or(0);
        let mib = peak as f64 / f64::from(1 << 20);
        println!("{name:<28} {seconds:>9.2} {mib:>10.1} {:>12.0}", peak as f64 / files as f64);
    }
    Ok(())
}
