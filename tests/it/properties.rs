//! The invariants I1 to I10 of the design, on small random stores with damage, under random policies.
//!
//! Every store is made now and looked at by a clock that stands weeks later, because no program can set a change time:
//! what is to be young is written with a time ahead of the present.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use regsweep::clock::{Clock as _, Manual};
use regsweep::inventory::Depth;
use regsweep::layout::Distribution;
use regsweep::oci::{Digest, RepositoryName};
use regsweep::pipeline::{self, Job};
use regsweep::plan::build::counts;
use regsweep::plan::{Action, Evidence, Mode, Plan, Reason, Refusal, Step};
use regsweep::policy::Policy;
use regsweep::report::audit::Classifier;
use regsweep::store::{Access, ReadStore, WriteStore};
use regsweep::synth::{Recipe, TagNames, Truth};
use serde_json::Value;

use crate::support::{
    Cycle, Files, Picture, STATE, STORAGE, Thing, cycle, data_key, days_later, job, layer_key, location,
    look, means, policy, present, revision_key, tag_directory, undo, wait,
};
use crate::synth::scratch;

/// How far the clock stands after the moment in which a store was written.
pub const LATER_DAYS: i64 = 40;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    All,
    None,
    Within(u32),
    Last(usize),
}

impl Keep {
    fn text(self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::None => "none".to_owned(),
            Self::Within(days) => format!("{{ within: {days}d }}"),
            Self::Last(count) => format!("{{ last: {count} }}"),
        }
    }
}

/// A random policy that this test can judge by itself.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Tags called `v…`.
    releases: Keep,
    /// All other tags.
    other: Keep,
    untagged: Keep,
    protect: Vec<&'static str>,
    grace: &'static str,
    trash: &'static str,
    /// No policy matches repositories of `team1`.
    spares_team1: bool,
}

impl Rules {
    fn text(&self) -> String {
        let protect = if self.protect.is_empty() {
            String::new()
        } else {
            format!("protect: {{ tags: {:?} }}\n", self.protect)
        };
        format!(
            "version: 1
{protect}grace: {}
trash: {{ keep: {} }}
limits: {{ tags: 100%, bytes: 100%, repository_may_empty: true }}
uploads: {{ abandoned_after: 7d }}
classes:
  release: {{ match: [\"v*\"] }}
  pinned: {{ match: [\"keep-this-*\"] }}
policies:
  - name: all
    repositories: [\"**\"{}]
    tags:
      pinned: {{ keep: all }}
      release: {{ keep: {} }}
      other: {{ keep: {} }}
    untagged: {{ keep: {} }}
",
            self.grace,
            self.trash,
            if self.spares_team1 { ", \"!team1/**\"" } else { "" },
            self.releases.text(),
            self.other.text(),
            self.untagged.text()
        )
    }

    pub fn policy(&self) -> Policy {
        policy(&self.text())
    }

    fn class(&self, tag: &str) -> (u8, Keep) {
        match tag {
            _ if tag.starts_with("keep-this-") => (0, Keep::All),
            _ if tag.starts_with('v') => (1, self.releases),
            _ => (2, self.other),
        }
    }

    /// Tags that the policy keeps whatever else is true. Others may stay too, for instance because they follow.
    fn surely_kept(&self, files: &Files, now: SystemTime) -> BTreeSet<(String, String)> {
        let time = |(repository, tag): &(String, String)| {
            files.0[&format!("{}current/link", tag_directory(repository, tag))].1
        };
        let tags = files.tags();
        let kept = tags.iter().filter(|one| {
            let (repository, tag) = one;
            if tag.starts_with("sha256-") {
                return false;
            }
            let spared = self.spares_team1 && repository.starts_with("team1/");
            if spared || self.protect.contains(&tag.as_str()) {
                return true;
            }
            let (class, keep) = self.class(tag);
            match keep {
                Keep::All => true,
                Keep::None => false,
                Keep::Within(days) => now.duration_since(time(one)).is_ok_and(|age| age + DAY < DAY * days),
                Keep::Last(count) => {
                    let rivals = tags.iter().filter(|other| {
                        other.0 == *repository
                            && other.1 != *tag
                            && !other.1.starts_with("sha256-")
                            && self.class(&other.1).0 == class
                            && time(other) >= time(one)
                    });
                    rivals.count() < count
                }
            }
        });
        kept.cloned().collect()
    }
}

fn keep() -> impl Strategy<Value = Keep> {
    prop_oneof![
        2 => Just(Keep::All),
        1 => Just(Keep::None),
        3 => (41_u32..80).prop_map(Keep::Within),
        3 => (1_usize..4).prop_map(Keep::Last),
    ]
}

pub fn rules() -> impl Strategy<Value = Rules> {
    let untagged =
        prop_oneof![2 => Just(Keep::None), 1 => Just(Keep::All), 1 => (41_u32..80).prop_map(Keep::Within)];
    let protect = prop_oneof![Just(Vec::new()), Just(vec!["latest"])];
    (keep(), keep(), untagged, protect, prop::sample::select(vec!["0", "1d"]), any::<bool>()).prop_map(
        |(releases, other, untagged, protect, grace, spares_team1)| Rules {
            releases,
            other,
            untagged,
            protect,
            grace,
            trash: "7d",
            spares_team1,
        },
    )
}

/// A way in which a store is found damaged, at a place of its kind.
#[derive(Debug, Clone)]
pub enum Damage {
    /// A link becomes empty.
    Empty(Index),
    /// A link holds something else.
    Garbage(Index),
    /// A link holds another digest than its own.
    Swapped(Index),
    /// A blob's data is gone.
    NoData(Index),
    /// A blob holds something else.
    Corrupt(Index),
    /// A file that a registry died while writing.
    Temporary(Index),
    /// A file of nobody, below a blob's directory.
    ForeignBeside(Index),
    /// A file of nobody.
    Foreign,
    /// A tag points to what nobody has.
    Dangling(Index),
    /// A tag points to a blob that is no manifest of its repository.
    Stray(Index, Index),
    /// A directory that nothing is in.
    EmptyDirectory(Index),
}

pub fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    prop_oneof![
        index().prop_map(Damage::Empty),
        index().prop_map(Damage::Garbage),
        index().prop_map(Damage::Swapped),
        index().prop_map(Damage::NoData),
        index().prop_map(Damage::Corrupt),
        index().prop_map(Damage::Temporary),
        index().prop_map(Damage::ForeignBeside),
        Just(Damage::Foreign),
        index().prop_map(Damage::Dangling),
        (index(), index()).prop_map(|(tag, blob)| Damage::Stray(tag, blob)),
        index().prop_map(Damage::EmptyDirectory),
    ]
}

fn write(root: &Path, key: &str, bytes: &[u8]) {
    let path = root.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn remove(root: &Path, key: &str) {
    #[expect(clippy::disallowed_methods, reason = "the test damages its own store")]
    std::fs::remove_file(root.join(key)).unwrap();
}

impl Damage {
    fn strike(&self, root: &Path) {
        const UUID: &str = "0198b2a4-7c1d-7e55-9a3b-6a0a4a4b0c11";
        let files = Files::of(root);
        let with = |part: &str, end: &str| -> Vec<String> {
            files.0.keys().filter(|key| key.contains(part) && key.ends_with(end)).cloned().collect()
        };
        let links = with("/repositories/", "/link");
        let blobs: Vec<String> = files.blobs().into_keys().collect();
        let tags = files.tags();
        match self {
            Self::Empty(at) => write(root, at.get::<String>(&links), b""),
            Self::Garbage(at) => write(root, at.get::<String>(&links), b"sha256:5f"),
            Self::Swapped(at) => write(root, at.get::<String>(&links), blobs[0].as_bytes()),
            Self::NoData(at) => remove(root, &data_key(at.get::<String>(&blobs))),
            Self::Corrupt(at) => {
                write(root, &data_key(at.get::<String>(&blobs)), b"\x1f\x8b\x08 not what it was");
            }
            Self::Temporary(at) => {
                write(root, &format!("{}.{UUID}.tmp", at.get::<String>(&links)), b"sha256:");
            }
            Self::ForeignBeside(at) => {
                write(root, &format!("{}.trash", data_key(at.get::<String>(&blobs))), b"x");
            }
            Self::Foreign => write(root, "lost+found/x", b"x"),
            Self::Dangling(at) => {
                let Some((repository, _)) = tags.get(at.index(tags.len().max(1))) else { return };
                let digest = regsweep::synth::sha256_digest(b"never there");
                write(
                    root,
                    &format!("{}current/link", tag_directory(repository, "dangling")),
                    digest.as_bytes(),
                );
            }
            Self::Stray(tag, blob) => {
                let Some((repository, _)) = tags.get(tag.index(tags.len().max(1))) else { return };
                let digest = blob.get::<String>(&blobs);
                write(
                    root,
                    &format!("{}current/link", tag_directory(repository, "stray")),
                    digest.as_bytes(),
                );
            }
            Self::EmptyDirectory(at) => {
                let Some((repository, _)) = tags.get(at.index(tags.len().max(1))) else { return };
                let hex = "ab".repeat(32);
                let base = format!("{STORAGE}repositories/{repository}");
                for below in ["_layers", "_manifests/revisions"] {
                    std::fs::create_dir_all(root.join(format!("{base}/{below}/sha256/{hex}"))).unwrap();
                }
            }
        }
    }
}

/// A small store with a little of everything.
pub fn recipe() -> impl Strategy<Value = Recipe> {
    let shape = (any::<u64>(), 1_u32..4, 1_u32..5, 0_u32..3, 1_u32..4);
    let kinds = (0_u32..3, 0_u32..2, 0_u32..2, 0_u32..2, 0_u32..4);
    let part = || prop::sample::select(vec![0.0, 0.3, 0.7]);
    let shares = (part(), part(), part(), part(), part(), part());
    (shape, kinds, shares).prop_map(|(shape, kinds, shares)| Recipe {
        seed: shape.0,
        repositories: shape.1,
        tags: shape.2,
        history: shape.3,
        layers: shape.4,
        parents: kinds.1,
        repository_pool: 3,
        pool: 4,
        tag_names: if shape.0.is_multiple_of(2) { TagNames::Versions } else { TagNames::Mixed },
        platforms: 2,
        shared: 0.7,
        cross_repository: 0.5,
        multiarch: shares.0,
        nested: shares.1,
        referrers: shares.2,
        stale_referrers: shares.2,
        fallback: shares.3,
        cosign: shares.3,
        promoted: shares.4,
        foreign: 0.1,
        orphans: 0.1 + shares.5,
        orphans_linked: shares.5,
        dead_links: shares.5,
        uploads: kinds.4,
        sha512: kinds.0,
        schema1: kinds.1,
        buildkit_caches: kinds.2,
        artifacts: kinds.3,
        blob_min: 1,
        blob_max: 40,
        age: DAY,
        spread: DAY * 30,
        ..Recipe::default()
    })
}

pub fn generate(recipe: &Recipe, damage: &[Damage]) -> (tempfile::TempDir, Truth) {
    let root = scratch();
    let truth = recipe.generate(root.path(), present()).unwrap();
    for one in damage {
        one.strike(root.path());
    }
    (root, truth)
}

/// How many random stores each invariant is tried on, and from which seed: the same ones each time, unless
/// `PROPTEST_CASES` and `PROPTEST_RNG_SEED` say otherwise.
pub fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(12),
        max_shrink_iters: 200,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(
            std::env::var("PROPTEST_RNG_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(2026),
        ),
        ..ProptestConfig::default()
    }
}

fn time_of(clock: &Manual) -> SystemTime {
    clock.now().into()
}

/// The keys that a plan may take away.
fn planned(plan: &Plan) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let path = |digest: &Digest| digest.to_string().replacen(':', "/", 1);
    for step in &plan.steps {
        match &step.action {
            Action::Untag { repository, tag, history, .. } => {
                let directory = tag_directory(repository.as_str(), tag.as_str());
                keys.insert(format!("{directory}current/link"));
                keys.extend(history.iter().map(|digest| format!("{directory}index/{}/link", path(digest))));
            }
            Action::DeleteManifest { repository, digest, histories, signatures } => {
                let revision = revision_key(repository.as_str(), &digest.to_string());
                let directory = revision.strip_suffix("/link").unwrap();
                keys.extend(
                    signatures.iter().map(|one| format!("{directory}/signatures/{}/link", path(one))),
                );
                keys.extend(histories.iter().map(|tag| {
                    format!("{}index/{}/link", tag_directory(repository.as_str(), tag.as_str()), path(digest))
                }));
                keys.insert(revision);
            }
            Action::Unlink { repository, digest } => {
                keys.insert(layer_key(repository.as_str(), &digest.to_string()));
            }
            Action::Sweep { digest, .. } => {
                keys.insert(data_key(&digest.to_string()));
            }
            Action::RunTask { .. } => panic!("a registry has no tasks: {step:?}"),
            Action::Abandon { files } | Action::Discard { files } => {
                keys.extend(files.iter().map(|file| file.key.clone()));
            }
            Action::RemoveDirectory { .. }
            | Action::RemoveRepository { .. }
            | Action::AbortUpload { .. }
            | Action::Purge { .. }
            | Action::Relink { .. }
            | Action::RelinkManifest { .. }
            | Action::Retag { .. }
            | Action::Heal { .. } => {}
        }
    }
    keys
}

/// The keys that a plan may add.
fn relinked(plan: &Plan) -> BTreeSet<String> {
    let keys = plan.steps.iter().filter_map(|step| match &step.action {
        Action::Relink { repository, digest } => Some(layer_key(repository.as_str(), &digest.to_string())),
        _ => None,
    });
    keys.collect()
}

fn gone(before: &Files, after: &Files) -> BTreeSet<String> {
    before.0.keys().filter(|key| !after.0.contains_key(*key)).cloned().collect()
}

/// What the journal of a run announced: keys, with the body where it is a link.
fn announced(root: &Path, run: &str) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let directory = root.join(STATE).join("runs").join(run).join("journal");
    let Ok(segments) = std::fs::read_dir(directory) else { return found };
    for segment in segments.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        for line in std::fs::read_to_string(segment).unwrap().lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            let list = |field: &str| entry["intent"][field].as_array().cloned().unwrap_or_default();
            for link in list("links") {
                let body = match &link["body"] {
                    Value::String(text) => text.as_bytes().to_vec(),
                    bytes => serde_json::from_value(bytes.clone()).unwrap(),
                };
                found.insert(link["key"].as_str().unwrap().to_owned(), Some(body));
            }
            for moved in list("data") {
                found.insert(moved["key"].as_str().unwrap().to_owned(), None);
            }
        }
    }
    found
}

/// I1: whatever the policy keeps is whole; and so is whatever stayed.
fn assert_readable(before: &Files, after: &Files, kept: &BTreeSet<(String, String)>) {
    for (repository, tag) in kept {
        let what = format!("{repository}:{tag}, which the policy keeps");
        after.assert_holds(before, &before.image_of_tag(repository, tag), &what);
    }
    for (repository, tag) in after.tags() {
        let what = format!("{repository}:{tag}, which was left");
        after.assert_holds(before, &before.image_of_tag(&repository, &tag), &what);
    }
    for (repository, digest) in after.revisions() {
        let what = format!("{repository}@{digest}, which was left");
        after.assert_holds(before, &before.image(&repository, &digest), &what);
    }
}

/// I3 and I4: what went was planned, announced with what it held, and nothing else changed.
fn assert_planned_and_announced(root: &Path, before: &Files, after: &Files, cycle: &Cycle) {
    let gone = gone(before, after);
    let planned = planned(&cycle.plan);
    let stray: Vec<_> = gone.difference(&planned).collect();
    assert!(stray.is_empty(), "gone and not planned: {stray:?}");
    let added = relinked(&cycle.plan);
    for (key, held) in &after.0 {
        assert!(before.0.get(key) == Some(held) || added.contains(key), "{key} was changed or added");
    }
    let announced = announced(root, &cycle.run);
    for key in &gone {
        match announced.get(key) {
            Some(Some(body)) => {
                assert!(*body == before.0[key].0, "{key}: the journal remembers something else");
            }
            Some(None) => {}
            None => panic!("{key} went without being announced"),
        }
    }
}

/// I9: nothing is left that no remaining root needs.
fn assert_no_garbage(after: &Files) {
    let mut needed = BTreeSet::new();
    for (repository, tag) in after.tags() {
        needed.extend(after.image_of_tag(&repository, &tag));
    }
    for (repository, digest) in after.revisions() {
        needed.extend(after.image(&repository, &digest));
    }
    for digest in after.blobs().keys() {
        assert!(needed.contains(&data_key(digest)), "{digest} is garbage, and left");
    }
}

fn bytes_of_blobs(files: &Files) -> (u64, u64) {
    let blobs = files.blobs();
    (blobs.len() as u64, blobs.values().sum())
}

proptest! {
    #![proptest_config(cases())]

    /// I1, I3, I4, I6, I9 and I10 of one run with the registry stopped.
    #[test]
    fn one_offline_run_holds_to_every_invariant(
        recipe in recipe(),
        rules in rules(),
        damage in prop::collection::vec(damage(), 0..4),
    ) {
        let (root, _) = generate(&recipe, &damage);
        let root = root.path();
        let clock = days_later(LATER_DAYS);
        let policy = rules.policy();
        let job = job(Some(&policy), Mode::Offline);
        let before = Files::of(root);
        let kept = rules.surely_kept(&before, time_of(&clock));
        let cycle = cycle(root, &job, &clock);
        let executed = cycle.executed();
        prop_assert!(executed.failed.is_empty() && executed.skipped.is_empty(), "{executed:#?}");
        let after = Files::of(root);
        assert_readable(&before, &after, &kept);
        assert_planned_and_announced(root, &before, &after, &cycle);
        assert_no_garbage(&after);
        // I10: what the report says is what is gone.
        let ((blobs_before, bytes_before), (blobs_after, bytes_after)) = (bytes_of_blobs(&before), bytes_of_blobs(&after));
        prop_assert_eq!(blobs_before - blobs_after, executed.count("sweep"));
        prop_assert_eq!(cycle.plan.freed.bytes, bytes_before - bytes_after);
        prop_assert_eq!(executed.freed_bytes, bytes_before - bytes_after + cycle.plan.freed.upload_bytes);
        prop_assert_eq!(gone(&before, &after), planned(&cycle.plan));
        // I6: there is nothing left to do.
        let (_, _, again) = look(root, &job, &clock);
        prop_assert_eq!(again.steps, Vec::new());
    }

    /// I1, I3, I4 of each run beside a registry that serves, and I6 and I9 of all together: the first takes no data, and after
    /// a few graces nothing is left to do and nothing that one run with the registry stopped would have taken.
    #[test]
    fn online_runs_hold_to_every_invariant(
        recipe in recipe(),
        rules in rules(),
        damage in prop::collection::vec(damage(), 0..3),
    ) {
        let (root, _) = generate(&recipe, &damage);
        let root = root.path();
        let clock = days_later(LATER_DAYS);
        let rules = Rules { grace: "1d", ..rules };
        let policy = rules.policy();
        let job = job(Some(&policy), Mode::Online);
        for round in 0.. {
            let before = Files::of(root);
            let kept = rules.surely_kept(&before, time_of(&clock));
            let cycle = cycle(root, &job, &clock);
            prop_assert!(cycle.executed().failed.is_empty());
            let after = Files::of(root);
            assert_readable(&before, &after, &kept);
            assert_planned_and_announced(root, &before, &after, &cycle);
            if round == 0 {
                prop_assert_eq!(bytes_of_blobs(&before), bytes_of_blobs(&after));
            }
            // The next may take directories that this one has emptied, and nothing else.
            let (_, _, again) = look(root, &job, &clock);
            let directory = |step: &Step| matches!(
                step.action, Action::RemoveDirectory { .. } | Action::RemoveRepository { .. }
            );
            prop_assert!(again.steps.iter().all(directory), "{:#?}", again.steps);
            if again.steps.is_empty() && again.condemned.is_empty() {
                break;
            }
            prop_assert!(round < 6, "it does not come to an end: {:#?}", again);
            clock.advance(Duration::from_secs(86_401));
        }
        let stopped = Job { mode: Mode::Offline, limits: job.limits.clone(), manifest_cache: None, ..job };
        let (_, _, rest) = look(root, &stopped, &clock);
        prop_assert_eq!(rest.steps, Vec::new());
    }

    /// I2: what was written within the grace is not touched, nor what a young link or manifest needs.
    #[test]
    fn what_is_young_is_not_touched(
        recipe in recipe(),
        rules in rules(),
        touched in prop::collection::vec(any::<Index>(), 1..12),
        online in any::<bool>(),
    ) {
        let (root, _) = generate(&recipe, &[]);
        let root = root.path();
        let clock = days_later(LATER_DAYS);
        let rules = Rules { grace: "1d", ..rules };
        let policy = rules.policy();
        let job = job(Some(&policy), if online { Mode::Online } else { Mode::Offline });
        let before = Files::of(root);
        let young: BTreeSet<String> = touched.iter().map(|at| {
            let keys: Vec<&String> = before.0.keys().filter(|key| !key.contains("/index/")).collect();
            (*at.get(&keys)).clone()
        }).collect();
        let lately = time_of(&clock) - Duration::from_secs(3600);
        for key in &young {
            std::fs::File::options().write(true).open(root.join(key)).unwrap().set_modified(lately).unwrap();
        }
        let before = Files::of(root);
        let cycle = cycle(root, &job, &clock);
        prop_assert!(cycle.executed().failed.is_empty());
        let after = Files::of(root);
        after.assert_holds(&before, &young, "young");
        let repositories = format!("{STORAGE}repositories/");
        for key in &young {
            let Some(rest) = key.strip_prefix(&repositories) else { continue };
            let keys = if let Some((repository, path)) = rest.split_once("/_manifests/revisions/") {
                let parts: Vec<&str> = path.split('/').collect();
                before.image(repository, &format!("{}:{}", parts[0], parts[1]))
            } else if let Some((repository, path)) = rest.split_once("/_manifests/tags/") {
                before.image_of_tag(repository, path.split('/').next().unwrap())
            } else if rest.contains("/_layers/") {
                let target = String::from_utf8(before.0[key].0.clone()).unwrap();
                BTreeSet::from([data_key(&target)]).into_iter().filter(|key| before.0.contains_key(key)).collect()
            } else {
                let upload = key.split_once("/_uploads/").unwrap().1.split('/').next().unwrap();
                before.0.keys().filter(|key| key.contains(upload)).cloned().collect()
            };
            after.assert_holds(&before, &keys, &format!("what the young {key} needs"));
        }
    }

    /// I5: a run can be undone: every file is back with its content, and with its time.
    #[test]
    fn a_run_can_be_undone(
        recipe in recipe(),
        rules in rules(),
        damage in prop::collection::vec(damage(), 0..4),
        online in any::<bool>(),
    ) {
        let (root, _) = generate(&recipe, &damage);
        let root = root.path();
        let clock = days_later(LATER_DAYS);
        let rules = if online { Rules { grace: "1d", ..rules } } else { rules };
        let policy = rules.policy();
        let job = job(Some(&policy), if online { Mode::Online } else { Mode::Offline });
        let before = Files::of(root);
        let cycle = cycle(root, &job, &clock);
        prop_assert!(cycle.executed().failed.is_empty());
        if planned(&cycle.plan).is_empty() {
            return Ok(());
        }
        let restored = undo(root, &cycle.run, &clock);
        prop_assert!(restored.failed.is_empty() && restored.lost.is_empty() && restored.changed.is_empty(), "{restored:?}");
        prop_assert_eq!(restored.done(), planned(&cycle.plan).len());
        let after = Files::of(root);
        after.assert_same_content(&before, "undone");
        for (key, (_, modified)) in &before.0 {
            prop_assert_eq!(*modified, after.0[key].1, "{}: another time", key);
        }
        // What was brought back stays for a while, whatever the policy says. Links that lead to nothing and uploads may go
        // again: no image needs them.
        let (_, _, again) = look(root, &job, &clock);
        let images = planned(&again).into_iter().filter(|key| key.contains("/blobs/") || key.contains("/_manifests/"));
        prop_assert_eq!(images.collect::<Vec<_>>(), Vec::<String>::new());
    }

    /// I7: one more keep rule shrinks what goes.
    #[test]
    fn one_more_keep_rule_only_shrinks(
        recipe in recipe(),
        rules in rules(),
        damage in prop::collection::vec(damage(), 0..3),
        which in 0..5,
    ) {
        let (root, _) = generate(&recipe, &damage);
        let clock = days_later(LATER_DAYS);
        let mut more = rules.clone();
        match which {
            0 => more.protect.push("v1.1.0"),
            1 => more.untagged = Keep::All,
            2 => more.releases = Keep::All,
            3 => more.other = Keep::All,
            _ => more.spares_team1 = true,
        }
        let (less, more) = (rules.policy(), more.policy());
        let wide = planned(&look(root.path(), &job(Some(&less), Mode::Offline), &clock).2);
        let narrow = planned(&look(root.path(), &job(Some(&more), Mode::Offline), &clock).2);
        prop_assert!(narrow.is_subset(&wide), "{:?}", narrow.difference(&wide).collect::<Vec<_>>());
    }

    /// I7: one more gap shrinks what goes.
    #[test]
    fn one_more_gap_only_shrinks(
        recipe in recipe(),
        rules in rules(),
        damage in prop::collection::vec(damage(), 0..2),
        at in any::<Index>(),
        how in 0..3,
    ) {
        let (root, _) = generate(&recipe, &damage);
        let root = root.path();
        let clock = days_later(LATER_DAYS);
        let policy = rules.policy();
        let job = job(Some(&policy), Mode::Offline);
        let wide = planned(&look(root, &job, &clock).2);
        let files = Files::of(root);
        let manifests: Vec<String> =
            files.revisions().into_iter().map(|(_, digest)| data_key(&digest)).filter(|key| files.0.contains_key(key)).collect();
        prop_assume!(!manifests.is_empty());
        let key = at.get::<String>(&manifests);
        match how {
            0 => write(root, key, b""),
            1 => write(root, key, &files.0[key].0[..files.0[key].0.len() / 2]),
            _ => write(root, key, b"\x1f\x8b\x08"),
        }
        let narrow = planned(&look(root, &job, &clock).2);
        prop_assert!(narrow.is_subset(&wide), "{:?}", narrow.difference(&wide).collect::<Vec<_>>());
    }

    /// I7: one more reference shrinks what goes.
    #[test]
    fn one_more_reference_only_shrinks(
        recipe in recipe(),
        rules in rules(),
        damage in prop::collection::vec(damage(), 0..3),
        at in any::<Index>(),
    ) {
        let (root, _) = generate(&recipe, &damage);
        let root = root.path();
        let clock = days_later(LATER_DAYS);
        let policy = rules.policy();
        let job = job(Some(&policy), Mode::Offline);
        let wide = planned(&look(root, &job, &clock).2);
        let revisions = Files::of(root).revisions();
        let (repository, digest) = at.get(&revisions);
        let directory = tag_directory(repository, "keep-this-one");
        let path = digest.replacen(':', "/", 1);
        write(root, &format!("{directory}current/link"), digest.as_bytes());
        write(root, &format!("{directory}index/{path}/link"), digest.as_bytes());
        let narrow = planned(&look(root, &job, &clock).2);
        // The history of the new tag names what the tag protects, and so is never taken.
        prop_assert!(narrow.is_subset(&wide), "{:?}", narrow.difference(&wide).collect::<Vec<_>>());
        let files = Files::of(root);
        let image = files.image_of_tag(repository, "keep-this-one");
        prop_assert!(narrow.is_disjoint(&image), "{:?}", narrow.intersection(&image).collect::<Vec<_>>());
    }

    /// I8: a plan and an audit write nothing. I10: the audit's classes are all that a walk finds.
    #[test]
    fn a_plan_and_an_audit_write_nothing_and_the_audit_accounts_for_everything(
        recipe in recipe(),
        rules in rules(),
        damage in prop::collection::vec(damage(), 0..5),
        swept in any::<bool>(),
    ) {
        let (root, _) = generate(&recipe, &damage);
        let root = root.path();
        let clock = days_later(LATER_DAYS);
        let policy = rules.policy();
        let job = job(Some(&policy), Mode::Offline);
        if swept {
            cycle(root, &job, &clock);
        }
        let before = Picture::of(root);
        let (store, survey, plan) = look(root, &job, &clock);
        let _ = survey.check(plan, &store, &job);
        prop_assert_eq!(store.requests().changes(), 0);
        let store = ReadStore::open(&location(root), &Access::DEFAULT).unwrap();
        let survey = wait(pipeline::survey(&store, &Distribution, &job, Depth::Everything, &clock)).unwrap();
        let young = survey.in_grace(&job);
        let (classes, blobs) =
            Classifier::run(&survey.inventory, &survey.marks, &young, &job.limits, survey.now);
        prop_assert_eq!(store.requests().changes(), 0);
        let after = Picture::of(root);
        prop_assert!(before == after, "something was written");
        prop_assert_eq!(after.0.contains_key(".regsweep"), swept);

        let files: Vec<u64> = after.0.values().filter_map(|(thing, _)| match thing {
            Thing::File(bytes) => Some(bytes.len() as u64),
            _ => None,
        }).collect();
        let (objects, bytes) = classes.values().fold((0, 0), |(objects, bytes), one| (objects + one.objects, bytes + one.bytes));
        prop_assert_eq!((objects, bytes), (files.len() as u64, files.iter().sum::<u64>()), "{:#?}", classes);
        let (objects, bytes) = blobs.values().fold((0, 0), |(objects, bytes), one| (objects + one.objects, bytes + one.bytes));
        let files = after.files();
        prop_assert_eq!((objects, bytes), bytes_of_blobs(&files));
        let saw = counts(&survey.inventory, &survey.marks);
        prop_assert_eq!((saw.blobs, saw.bytes), bytes_of_blobs(&files));
        prop_assert_eq!(saw.manifests, files.revisions().len() as u64);
    }

    /// The checker passes the planner's plans, and no plan that takes what something remaining needs.
    #[test]
    fn a_step_that_would_lose_something_is_refused(
        recipe in recipe(),
        rules in rules(),
        damage in prop::collection::vec(damage(), 0..3),
        at in prop::collection::vec(any::<Index>(), 1..6),
    ) {
        let (root, _) = generate(&recipe, &damage);
        let root = root.path();
        let clock = days_later(LATER_DAYS);
        let policy = rules.policy();
        let job = job(Some(&policy), Mode::Offline);
        let (store, survey, plan) = look(root, &job, &clock);
        prop_assert!(survey.check(plan.clone(), &store, &job).is_ok(), "{:#?}", survey.check(plan, &store, &job).err());

        // What the plan leaves, and what that needs.
        let files = Files::of(root);
        let taken = planned(&plan);
        let left = Files(files.0.iter().filter(|(key, _)| !taken.contains(*key)).map(|(key, held)| (key.clone(), held.clone())).collect());
        let mut needed = BTreeSet::new();
        for (repository, tag) in left.tags() {
            needed.extend(left.image_of_tag(&repository, &tag));
        }
        for (repository, digest) in left.revisions() {
            // That an untagged manifest stays is for the policy to say, not for what is left.
            let mut image = left.image(&repository, &digest);
            image.remove(&revision_key(&repository, &digest));
            needed.extend(image);
        }
        let victims: Vec<Action> = needed.iter().filter_map(|key| destroys(key, &files)).collect();
        prop_assume!(!victims.is_empty());
        for at in at {
            let victim = at.get(&victims);
            let mut tampered = plan.clone();
            let evidence = Evidence { reason: Reason::Unreferenced, changed: None, listed: None };
            tampered.steps.push(Step { action: victim.clone(), evidence });
            tampered.steps.sort_by_key(|step| step.action.stage());
            let refusals = survey.check(tampered, &store, &job).err().map(|refused| refused.refusals).unwrap_or_default();
            prop_assert!(
                refusals.iter().any(|refusal| matches!(refusal, Refusal::Unsafe { why, .. } if !why.contains("policy"))),
                "{victim} was let through: {refusals:?}"
            );
        }
    }
}

/// The step that takes `key` away.
fn destroys(key: &str, files: &Files) -> Option<Action> {
    let digest = |path: &str| path.replacen('/', ":", 1).parse::<Digest>().ok();
    if let Some(path) = key.strip_prefix(&format!("{STORAGE}blobs/")) {
        let mut parts = path.split('/');
        let (algorithm, hex) = (parts.next()?, parts.nth(1)?);
        let size = files.0[key].0.len() as u64;
        return Some(Action::Sweep { digest: digest(&format!("{algorithm}/{hex}"))?, size, manifest: false });
    }
    let rest = key.strip_prefix(&format!("{STORAGE}repositories/"))?.strip_suffix("/link")?;
    if let Some((repository, path)) = rest.split_once("/_layers/") {
        return Some(Action::Unlink {
            repository: RepositoryName::found(repository).ok()?,
            digest: digest(path)?,
        });
    }
    let (repository, path) = rest.split_once("/_manifests/revisions/")?;
    let repository = RepositoryName::found(repository).ok()?;
    Some(Action::DeleteManifest {
        repository,
        digest: digest(path)?,
        histories: Vec::new(),
        signatures: Vec::new(),
    })
}

/// I9, against the generator's truth: garbage goes in one run, the rest stays.
#[test]
fn the_garbage_is_gone_after_one_offline_cycle_without_grace() {
    for seed in 0..4 {
        let recipe = Recipe {
            seed,
            repositories: 3,
            tags: 5,
            multiarch: 0.4,
            referrers: 0.4,
            orphans: 0.3,
            orphans_linked: 0.3,
            dead_links: 0.2,
            ..Recipe::default()
        };
        let (root, truth) = generate(&recipe, &[]);
        let rules = Rules {
            releases: Keep::All,
            other: Keep::All,
            untagged: Keep::None,
            protect: Vec::new(),
            grace: "0",
            trash: "0",
            spares_team1: false,
        };
        let policy = rules.policy();
        cycle(root.path(), &job(Some(&policy), Mode::Offline), &days_later(LATER_DAYS)).executed();
        let left: BTreeSet<String> = Files::of(root.path()).blobs().into_keys().collect();
        assert_eq!(left, truth.keep_tagged, "seed {seed}");
    }
}

/// I9 with grace: what is condemned now goes once it is old enough, and not before.
#[test]
fn the_garbage_outlives_the_grace_and_no_longer() {
    let recipe = Recipe { repositories: 2, tags: 3, orphans: 0.5, ..Recipe::default() };
    let (root, truth) = generate(&recipe, &[]);
    let rules = Rules {
        releases: Keep::All,
        other: Keep::All,
        untagged: Keep::None,
        protect: Vec::new(),
        grace: "1d",
        trash: "0",
        spares_team1: false,
    };
    let policy = rules.policy();
    let job = job(Some(&policy), Mode::Offline);
    let clock = days_later(0);
    clock.advance(Duration::from_secs(23 * 3600));
    let before = Files::of(root.path());
    assert_eq!(cycle(root.path(), &job, &clock).executed().count("sweep"), 0);
    before.assert_same_content(&Files::of(root.path()), "within the grace");
    clock.advance(Duration::from_secs(2 * 3600));
    cycle(root.path(), &job, &clock).executed();
    let left: BTreeSet<String> = Files::of(root.path()).blobs().into_keys().collect();
    assert_eq!(left, truth.keep_tagged);
}

/// I4: when the journal cannot be written nothing is deleted; when it cannot be written any further, nothing further.
#[test]
fn nothing_goes_that_the_journal_could_not_be_told() {
    for (blocked, all_stays) in [
        ("plan.json", true),
        ("run.json", true),
        ("journal/00000000.jsonl", true),
        ("journal/00000001.jsonl", false),
    ] {
        let recipe =
            Recipe { repositories: 2, tags: 4, history: 2, orphans: 0.3, uploads: 2, ..Recipe::default() };
        let (root, _) = generate(&recipe, &[]);
        let root = root.path();
        let clock = days_later(LATER_DAYS);
        let rules = Rules {
            releases: Keep::Last(1),
            other: Keep::None,
            untagged: Keep::None,
            protect: Vec::new(),
            grace: "0",
            trash: "7d",
            spares_team1: false,
        };
        let policy = rules.policy();
        let job = job(Some(&policy), Mode::Offline);
        let before = Files::of(root);
        let store = WriteStore::open(&location(root), &Access::DEFAULT).unwrap();
        let run = wait(async {
            let session = pipeline::begin(&means(&store, &clock), &job.limits).await.unwrap();
            // No file can be renamed over a directory that is not empty.
            let obstacle = root.join(STATE).join("runs").join(&session.run).join(blocked).join("in the way");
            std::fs::create_dir_all(obstacle).unwrap();
            let survey =
                pipeline::survey(store.read(), &Distribution, &job, Depth::Names, &clock).await.unwrap();
            let plan = survey.plan(store.read(), &Distribution, &job);
            let checked = survey.check(plan, store.read(), &job).unwrap();
            let means = means(&store, &clock);
            let result =
                pipeline::sweep(&session, &session.run, checked, &survey, &means, &job, || false).await;
            assert!(result.is_err(), "{blocked}: it went on without a journal");
            session.run.clone()
        });
        let after = Files::of(root);
        let (gone, announced) = (gone(&before, &after), announced(root, &run));
        assert_eq!(gone.is_empty(), all_stays, "{blocked}");
        assert!(gone.iter().all(|key| announced.contains_key(key)), "{blocked}");
    }
}

/// The reader of these tests is worth nothing if it notices no loss: every key that it calls needed is missed.
#[test]
fn the_reader_of_these_tests_has_teeth() {
    let recipe = Recipe {
        repositories: 2,
        tags: 3,
        multiarch: 0.5,
        referrers: 1.0,
        cosign: 0.5,
        sha512: 1,
        ..Recipe::default()
    };
    let (root, truth) = generate(&recipe, &[]);
    let before = Files::of(root.path());
    let mut needed = BTreeSet::new();
    for (repository, tag) in before.tags() {
        let image = before.image_of_tag(&repository, &tag);
        for key in &image {
            let mut after = before.clone();
            after.0.remove(key);
            let lost = std::panic::catch_unwind(|| after.assert_holds(&before, &image, "teeth"));
            assert!(lost.is_err(), "{key} was not missed");
        }
        needed.extend(image);
    }
    let data: BTreeSet<String> = truth.keep_tagged.iter().map(|digest| data_key(digest)).collect();
    let found: BTreeSet<String> = needed.into_iter().filter(|key| key.contains("/blobs/")).collect();
    assert_eq!(found, data);
}
