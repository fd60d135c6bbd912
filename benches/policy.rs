//! How long a policy takes to decide about every tag of a large registry, and how much memory that is.
//!
//! `cargo bench --bench policy -- [--repositories N] [--tags N]`: so many repositories with so many tags each. A quarter of
//! them is ordered by semantic version, by calendar version, by captures (the preset `rubin`) and by time. Seconds depend
//! on the machine; beside them stands what one pass over the same names takes that only asks which class each is in.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a bench measures time and prints"
)]

mod common;

use std::time::Instant;

use common::{number, peak_bytes};
use jiff::{SignedDuration, Timestamp};
use regsweep::policy::{Policy, TagFacts};

const POLICY: &str = "version: 1
protect: { tags: [latest, 're:prod-.*'] }
classes:
  release: { match: ['v*'], order_by: semver }
  dated: { match: ['20*'], order_by: calver }
  pr: { match: ['pr-*', 'mr-*'] }
policies:
  - name: versions
    repositories: ['a/**']
    tags: { release: { keep: { last: { majors: 3, minors: 2, patches: 1 } } }, other: { keep: { within: 30d } } }
  - name: dates
    repositories: ['b/**']
    tags: { dated: { keep: { last: 10, monthly: 12 } } }
  - name: lab
    repositories: ['c/**']
    preset: rubin
    tags: { weekly: { keep: { last: 20 } }, daily: { keep: { last: 25 } }, unknown: { keep: { within: 7d } } }
  - name: rest
    repositories: ['**']
    tags: { pr: { keep: { within: 14d } }, other: { keep: { last: 20, daily: 7, weekly: 8, monthly: 12 } } }
    limits: { min_keep: 10, max_delete: 50 }
";

/// The tag with this number in a repository of this kind.
fn tag(kind: usize, number: usize) -> String {
    match kind {
        0 if number.is_multiple_of(10) => format!("pr-{number}"),
        0 => format!("v{}.{}.{}", number / 20, number / 5 % 4, number % 5),
        1 => format!("{}.{:02}.{}", 2020 + number / 40, 1 + number % 12, number % 40),
        2 if number.is_multiple_of(7) => format!("w_{}_{:02}", 2020 + number / 50, 1 + number % 50),
        2 => format!(
            "d_{}_{:02}_{:02}_c0042.{number:03}",
            2020 + number / 50,
            1 + number % 12,
            1 + number % 28
        ),
        _ if number.is_multiple_of(4) => format!("pr-{number}"),
        _ => format!("build-{number:06x}"),
    }
}

/// The most memory that this process had so far, in bytes.
fn peak() -> u64 {
    peak_bytes("self").expect("this process runs")
}

fn main() {
    let (repositories, tags) = (number("repositories", 10_000), number("tags", 100));
    let policy = Policy::parse(POLICY, "bench.yaml").expect("a policy");
    let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a moment");
    let registry: Vec<(String, Vec<String>)> = (0..repositories)
        .map(|number| {
            let kind = number % 4;
            let names = (0..tags).map(|number| tag(kind, number)).collect();
            (format!("{}/team-{}/app-{number}", ["a", "b", "c", "d"][kind], number % 97), names)
        })
        .collect();
    let before = peak();
    let start = Instant::now();
    let (mut kept, mut gone, mut decisions) = (0_usize, 0_usize, Vec::with_capacity(repositories));
    for (repository, names) in &registry {
        let facts: Vec<TagFacts<'_>> = names
            .iter()
            .enumerate()
            .map(|(number, name)| {
                let at = Some(
                    now - SignedDuration::from_hours(i64::try_from(number * 37 % 20_000).unwrap_or(0) + 30),
                );
                TagFacts { name, tagged: at, pushed: at, ..TagFacts::default() }
            })
            .collect();
        decisions.push(policy.decide_tags(repository, &facts, now));
    }
    let seconds = start.elapsed().as_secs_f64();
    let taken = peak() - before;
    for decision in decisions.iter().flatten() {
        if decision.is_expired() { gone += 1 } else { kept += 1 }
    }
    let all = repositories * tags;
    assert_eq!(kept + gone, all, "every tag has its decision");
    assert!(kept > 0 && gone > 0, "both happen");

    let start = Instant::now();
    let matched: usize = registry
        .iter()
        .map(|(repository, names)| {
            let governing = policy.for_repository(repository).expect("one governs it");
            let in_class =
                |name: &String| governing.classes.iter().any(|rule| rule.class.matches.matches(name));
            names.iter().filter(|name| in_class(name)).count()
        })
        .sum();
    let matching = start.elapsed().as_secs_f64();
    println!("{all} tags in {repositories} repositories: {kept} stay, {gone} go; {matched} are in a class");
    println!("{:<40} {seconds:>9.2}", "seconds to decide, one thread");
    println!("{:<40} {:>9.0}", "tags a second", all as f64 / seconds);
    println!("{:<40} {:>9.2}", "deciding : matching names alone", seconds / matching);
    println!("{:<40} {:>9.1}", "MiB that all decisions take", taken as f64 / f64::from(1 << 20));
    println!("{:<40} {:>9.0}", "bytes a decision", taken as f64 / all as f64);
    println!("{:<40} {:>9.1}", "peak MiB of the process", peak() as f64 / f64::from(1 << 20));
}
