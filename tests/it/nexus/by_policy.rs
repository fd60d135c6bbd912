//! What a policy lets go of what the database knows: flagged in its record or moved, undone, and nothing else touched.

use proptest::prelude::*;
use regsweep::plan::Halted;
use regsweep::policy::Policy;
use serde_json::Value;

use super::*;
use crate::support::policy;

/// Takes the tags that end in one of these, and what has none.
pub(super) fn policy_without(tags: &[usize]) -> String {
    let names: Vec<String> = tags.iter().map(|tag| format!("\"1.{tag}\"")).collect();
    format!(
        "version: 1\ngrace: 1d\nlimits: {{ tags: 100%, bytes: 100%, repository_may_empty: true }}\nclasses:\n  old: {{ match: \
         [{}, \"none\"] }}\npolicies:\n  - name: all\n    repositories: [\"**\"]\n    tags:\n      old: {{ keep: none }}\n      \
         other: {{ keep: all }}\n    untagged: {{ keep: none }}\n",
        names.join(", ")
    )
}

fn by_policy(policy: &Policy, records: RecordMode, sources: Vec<Source>) -> Job<'_> {
    Job {
        policy: Some(policy),
        limits: limits(Some(policy)),
        mode: Mode::Offline,
        records,
        halted: Some(Halted::Stopped),
        ..job_of(sources)
    }
}

fn is_manifest(blob: &NexusBlob) -> bool {
    blob.name.contains("/manifests/")
}

/// Digests in a manifest, wherever they stand in it.
fn mentioned(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.starts_with("sha256:") => drop(found.insert(text.clone())),
        Value::Array(list) => list.iter().for_each(|one| mentioned(one, found)),
        Value::Object(map) => map.values().for_each(|one| mentioned(one, found)),
        _ => {}
    }
}

/// Blobs that go with these tags, found out anew from what was generated: their manifests by tag and digest, and every
/// layer and configuration that no other manifest needs.
pub(super) fn goes<'s>(scene: &'s Scene, root: &Path, tags: &[usize]) -> Vec<&'s NexusBlob> {
    let known = || scene.blobs(&[State::Live, State::Unneeded]);
    let named = |blob: &NexusBlob| tags.iter().any(|tag| blob.name.ends_with(&format!("/manifests/1.{tag}")));
    let gone: BTreeSet<&str> = known().filter(|blob| named(blob)).map(|blob| blob.digest.as_str()).collect();
    let mut needed = BTreeSet::new();
    for blob in known().filter(|blob| is_manifest(blob) && !gone.contains(blob.digest.as_str())) {
        let body = std::fs::read(root.join(&blob.files[0])).expect("a manifest");
        mentioned(&serde_json::from_slice(&body).expect("JSON"), &mut needed);
    }
    let going = |blob: &&NexusBlob| {
        if is_manifest(blob) { gone.contains(blob.digest.as_str()) } else { !needed.contains(&blob.digest) }
    };
    known().filter(going).collect()
}

fn keys<'b>(blobs: impl IntoIterator<Item = &'b &'b NexusBlob>) -> BTreeSet<String> {
    blobs.into_iter().flat_map(|blob| blob.files.iter().cloned()).collect()
}

/// The keys that a plan takes by policy.
fn taken_by_policy(plan: &Plan) -> BTreeSet<String> {
    let files = plan.steps.iter().flat_map(|step| &step.recorded);
    files.flat_map(|files| [files.record.key.clone(), files.content.key.clone()]).collect()
}

/// A record with the three lines that flag it, and nothing else changed.
pub(super) fn is_flagged(before: &[u8], after: &[u8]) -> bool {
    let Some(added) = after.strip_prefix(before) else { return false };
    let text = std::str::from_utf8(added).expect("ASCII");
    let lines: Vec<&str> = text.lines().collect();
    lines.len() == 3
        && lines[0] == "deleted=true"
        && lines[1].starts_with("deletedReason=regsweep 2")
        && lines[2].strip_prefix("deletedDateTime=").is_some_and(|at| at.parse::<i64>().is_ok())
}

#[test]
fn what_the_policy_lets_go_is_flagged_and_stays_in_its_place() {
    let text = policy_without(&[0, 1]);
    let policy = policy(&text);
    for (era, stores) in SHAPES {
        let scene = Scene::of(era, stores);
        let before = Files::of(&scene.root());
        let expected = keys(&goes(&scene, &scene.root(), &[0, 1]));
        assert!(expected.len() > 40, "{}", expected.len());
        let job = by_policy(&policy, RecordMode::Soft, scene.exports());
        let (plan, refusals) = scene.plan(&job);
        assert!(refusals.is_empty(), "{era:?}: {refusals:?}");
        assert_eq!(taken_by_policy(&plan), expected, "{era:?} in {stores}");
        let (run, executed) = scene.sweep(&job);
        assert!(executed.failed.is_empty() && executed.skipped.is_empty(), "{executed:?}");
        assert_eq!((executed.freed_bytes, executed.flagged_bytes), (0, plan.freed.bytes));
        let after = Files::of(&scene.root());
        for (key, (bytes, _)) in &before.0 {
            let now = &after.0[key].0;
            let record = expected.contains(key) && key.ends_with(".properties");
            assert!(if record { is_flagged(bytes, now) } else { now == bytes }, "{era:?}: {key}");
        }
        assert_eq!(after.0.len(), before.0.len());
        let (_, classes) = scene.classes(&by_policy(&policy, RecordMode::Soft, scene.exports()));
        let flagged = expected.len() + scene.files(&[State::Deleted, State::DeletedUnindexed]).len();
        let found = [Class::Deleted, Class::DeletedUnindexed].map(|class| classes[&class].objects);
        assert_eq!(found.iter().sum::<u64>(), flagged as u64);
        for mode in [RecordMode::Soft, RecordMode::Hard] {
            let (again, refusals) = scene.plan(&by_policy(&policy, mode, scene.exports()));
            assert!(again.steps.is_empty() && refusals.is_empty(), "{:?} {refusals:?}", again.steps);
        }
        comes_back(&scene, &run, &before);
        let (pinned, _) = scene.plan(&by_policy(&policy, RecordMode::Soft, scene.exports()));
        assert!(taken_by_policy(&pinned).is_empty(), "{:?}", pinned.steps);
    }
}

/// Undoes a run, and everything is as it was, byte for byte and to the time of its last change.
fn comes_back(scene: &Scene, run: &str, before: &Files) {
    let restored = scene.undo(run);
    let Restored { failed, lost, changed, .. } = &restored;
    assert!(failed.is_empty() && lost.is_empty() && changed.is_empty(), "{restored:?}");
    assert_eq!(&Files::of(&scene.root()), before);
}

#[test]
fn what_the_policy_lets_go_leaves_its_place_and_comes_back() {
    let text = policy_without(&[0, 1]);
    let policy = policy(&text);
    for (era, stores) in SHAPES {
        let scene = Scene::of(era, stores);
        let before = Files::of(&scene.root());
        let expected = keys(&goes(&scene, &scene.root(), &[0, 1]));
        let job = by_policy(&policy, RecordMode::Hard, scene.exports());
        let (run, executed) = scene.sweep(&job);
        assert!(executed.failed.is_empty() && executed.skipped.is_empty(), "{executed:?}");
        assert_eq!(
            executed.freed_bytes,
            expected.iter().map(|key| before.0[key].0.len() as u64).sum::<u64>()
        );
        let after = Files::of(&scene.root());
        for (key, content) in &before.0 {
            assert_eq!(after.0.get(key), (!expected.contains(key)).then_some(content), "{era:?}: {key}");
        }
        let (again, refusals) = scene.plan(&by_policy(&policy, RecordMode::Hard, scene.exports()));
        assert!(again.steps.is_empty() && refusals.is_empty(), "{:?} {refusals:?}", again.steps);
        comes_back(&scene, &run, &before);
    }
}

#[test]
fn nothing_is_taken_before_the_user_has_said_what_it_needs() {
    let text = policy_without(&[0]);
    let policy = policy(&text);
    let scene = Scene::new(&NexusRecipe { era: Era::Sql, junk: false, ..NexusRecipe::default() });
    let said = |change: &dyn Fn(&mut Job<'_>)| {
        let mut job = by_policy(&policy, RecordMode::Hard, scene.exports());
        change(&mut job);
        let (plan, refusals) = scene.plan(&job);
        assert!(!plan.steps.is_empty());
        refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(said(&|_| {}), "");
    assert!(said(&|job| job.mode = Mode::Online).contains("say --offline"));
    let confirm = "say --nexus-confirm stopped";
    assert!(said(&|job| job.halted = None).contains(confirm));
    assert!(said(&|job| job.halted = Some(Halted::Frozen)).contains(confirm));
    let soft = |job: &mut Job<'_>| (job.records, job.halted) = (RecordMode::Soft, Some(Halted::Frozen));
    assert_eq!(said(&soft), "");
    let nothing = said(&|job| job.database = Database::default());
    assert!(nothing.contains("which repositories are Docker's"), "{nothing}");
    let named = |job: &mut Job<'_>| {
        job.database =
            Database { repositories: REPOSITORIES.map(str::to_owned).to_vec(), ..Database::default() };
    };
    assert_eq!(said(&named), "");
    // A plan for one mode is none for another.
    let job = by_policy(&policy, RecordMode::Soft, scene.exports());
    let (store, survey) = scene.survey(&job).expect("a look");
    let plan = survey.plan(&store, &Nexus, &job);
    let hard = Job { records: RecordMode::Hard, ..by_policy(&policy, RecordMode::Hard, Vec::new()) };
    let refused = survey.check(plan.clone(), &store, &hard).expect_err("another mode").refusals;
    assert!(refused[0].to_string().contains("the plan is for --nexus-mode soft"), "{refused:?}");
    let orphans = Job { records: RecordMode::Orphans, ..by_policy(&policy, RecordMode::Soft, Vec::new()) };
    let refused = survey.check(plan, &store, &orphans).expect_err("another mode").refusals;
    assert!(refused.iter().any(|one| matches!(one, Refusal::NotInFiles { .. })), "{refused:?}");
}

#[test]
fn a_plan_that_takes_more_or_less_than_it_says_is_refused() {
    let text = policy_without(&[0]);
    let policy = policy(&text);
    let scene = Scene::of(Era::Mixed, 1);
    let job = by_policy(&policy, RecordMode::Hard, scene.exports());
    let (store, survey) = scene.survey(&job).expect("a look");
    let plan = survey.plan(&store, &Nexus, &job);
    let refused = |change: &dyn Fn(&mut Plan)| {
        let mut forged = plan.clone();
        change(&mut forged);
        let refused = survey.check(forged, &store, &job).expect_err("a forged plan").refusals;
        refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let last = plan.steps.len() - 1;
    assert_eq!(plan.steps[last].action.name(), "sweep");
    assert!(refused(&|plan| plan.steps[last].recorded.clear()).contains("is what it is about too"));
    let foreign = plan.steps[0].recorded[0].clone();
    assert!(
        refused(&|plan| plan.steps[last].recorded.push(foreign.clone())).contains("is not what it is about")
    );
    assert!(refused(&|plan| plan.steps[last].recorded[0].content.size += 1).contains("not as they are now"));
    let twice = plan.steps[last].recorded[0].clone();
    assert!(refused(&|plan| plan.steps[last].recorded.push(twice.clone())).contains("named twice"));
    assert!(
        refused(&|plan| plan.steps[last].recorded[0].record.key.push('x')).contains("is no record of a blob")
    );
    let files = vec![plan.steps[last].recorded[0].content.clone()];
    assert!(
        refused(&|plan| plan.steps[last].action = Action::Discard { files: files.clone() })
            .contains("it is not for this mode")
    );
    // A layer that other images need.
    let needed = scene.blobs(&[State::Live]).find(|blob| !is_manifest(blob) && !is_gone(&plan, blob));
    let assets = &survey.inventory.assets.as_ref().expect("blobs").list;
    let files = assets.iter().filter_map(|asset| asset.piece.as_ref()).map(|piece| piece.files.clone());
    let needed = needed.expect("a base layer");
    let files = files.into_iter().find(|files| needed.files.contains(&files.record.key)).expect("its files");
    let said = refused(&|plan| {
        let digest = needed.digest.parse().expect("a digest");
        plan.steps[last].action = Action::Sweep { digest, size: files.content.size, manifest: false };
        plan.steps[last].recorded = vec![files.clone()];
    });
    assert!(said.contains("something that stays needs it"), "{said}");
}

fn is_gone(plan: &Plan, blob: &NexusBlob) -> bool {
    taken_by_policy(plan).contains(&blob.files[0])
}

#[test]
fn a_tag_with_two_manifests_stays_with_both() {
    let text = policy_without(&[0, 1]);
    let policy = policy(&text);
    let scene = Scene::of(Era::Sql, 1);
    // The database knows the second blob of each tag too: which is the current one it does not say.
    let twins: Vec<&NexusBlob> =
        scene.blobs(&[State::Unknown]).filter(|blob| blob.name.ends_with("/manifests/1.0")).collect();
    assert!(!twins.is_empty());
    let known = scene.blobs(&[State::Unknown]).fold(scene.truth.export(), |text, blob| {
        text + &format!("{},,,default@{},\n", blob.repository, blob.id)
    });
    let job = by_policy(&policy, RecordMode::Soft, vec![scene.evidence("dump.csv", &known)]);
    let (plan, refusals) = scene.plan(&job);
    assert!(refusals.is_empty(), "{refusals:?}");
    let taken = taken_by_policy(&plan);
    let of_tag = |name: &str| {
        let files = scene.blobs(&[State::Live, State::Unknown]).filter(|blob| blob.name.ends_with(name));
        files.flat_map(|blob| blob.files.clone()).collect::<BTreeSet<_>>()
    };
    assert!(of_tag("/manifests/1.0").is_disjoint(&taken));
    assert!(of_tag("/manifests/1.1").is_subset(&taken));
}

#[test]
fn what_a_repository_needs_that_is_not_looked_at_stays() {
    let text = policy_without(&[0]);
    let policy = policy(&text);
    let scene = Scene::of(Era::Sql, 1);
    let going = goes(&scene, &scene.root(), &[0]);
    // One of the manifests that go belongs to another repository by its record, and the database does not tell of it.
    let twin = going.iter().find(|blob| blob.name.contains("/manifests/sha256:")).expect("a twin by digest");
    let body = std::fs::read(scene.root().join(&twin.files[0])).expect("a manifest");
    let mut needed = BTreeSet::new();
    mentioned(&serde_json::from_slice(&body).expect("JSON"), &mut needed);
    let record = scene.root().join(&twin.files[1]);
    let moved = std::fs::read_to_string(&record).expect("a record").replace("=docker-0", "=elsewhere");
    std::fs::write(&record, moved).expect("a record");
    let export = scene.truth.export();
    let lines = export.lines().filter(|line| !line.contains(&twin.id));
    let export = lines.fold(String::new(), |all, line| all + line + "\n");
    let job = by_policy(&policy, RecordMode::Hard, vec![scene.evidence("dump.csv", &export)]);
    let (plan, refusals) = scene.plan(&job);
    assert!(refusals.is_empty(), "{refusals:?}");
    let taken = taken_by_policy(&plan);
    assert!(!taken.is_empty());
    for blob in scene.blobs(&[State::Live]).filter(|blob| needed.contains(&blob.digest)) {
        assert!(!taken.contains(&blob.files[0]), "{} is needed elsewhere", blob.name);
    }
}

#[test]
fn what_was_written_again_since_it_was_listed_is_left() {
    let text = policy_without(&[0]);
    let policy = policy(&text);
    for records in [RecordMode::Soft, RecordMode::Hard] {
        let scene = Scene::of(Era::Sql, 1);
        let job = by_policy(&policy, records, scene.exports());
        let store = WriteStore::open(&location(&scene.root()), &Access::DEFAULT).expect("the store");
        let (run, executed, touched) = wait(async {
            let caches = Caches::default();
            let means = Means { store: &store, layout: &Nexus, caches: &caches, clock: &scene.clock };
            let session = pipeline::begin(&means, &job.limits).await.expect("the lease");
            let survey = pipeline::survey(store.read(), &Nexus, &job, Depth::Names, &scene.clock)
                .await
                .expect("a look");
            let plan = survey.plan(store.read(), &Nexus, &job);
            let touched = plan.steps[0].recorded[0].record.key.clone();
            let path = scene.root().join(&touched);
            let text = std::fs::read(&path).expect("a record");
            std::fs::write(&path, [&text[..], b"lastDownloaded=x\n"].concat()).expect("a record");
            let checked = survey.check(plan, store.read(), &job).expect("a plan that is safe");
            let run = session.run.clone();
            let executed =
                pipeline::sweep(&session, &run, checked, &survey, &means, &job, || false).await.unwrap();
            session.lease.release().await.expect("the lease back");
            (run, executed, touched)
        });
        // A tag that was pushed keeps its manifests, and with it every layer.
        assert!(executed.skipped.len() > 1 && executed.count("sweep") == 0, "{records}: {executed:?}");
        let text = std::fs::read_to_string(scene.root().join(&touched)).expect("a record");
        assert!(text.ends_with("lastDownloaded=x\n"), "{run}: {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]

    /// Whatever a policy takes, every manifest that is left finds every blob that it refers to; and the same goes wherever
    /// the blobs lie.
    #[test]
    fn nothing_that_is_kept_misses_anything(
        seed in 0_u64..1000,
        mask in 1_usize..8,
        stores in 1_usize..4,
        hard in any::<bool>(),
    ) {
        let tags: Vec<usize> = (0..3).filter(|tag| mask & (1 << tag) != 0).collect();
        let text = policy_without(&tags);
        let policy = policy(&text);
        let mode = if hard { RecordMode::Hard } else { RecordMode::Soft };
        let mut gone: Option<BTreeSet<String>> = None;
        for (era, stores) in [(Era::Sql, 1), (Era::Dated, stores), (Era::Mixed, stores)] {
            let recipe = NexusRecipe { seed, era, stores, repositories: 2, images: 2, tags: 3, ..NexusRecipe::default() };
            let scene = Scene::new(&recipe);
            let before = Files::of(&scene.root());
            let job = by_policy(&policy, mode, scene.exports());
            scene.sweep(&job);
            let after = Files::of(&scene.root());
            let there = |blob: &&NexusBlob| {
                blob.files.iter().all(|key| after.0.get(key).map(|(bytes, _)| bytes) == before.0.get(key).map(|(bytes, _)| bytes))
            };
            let live: Vec<&NexusBlob> = scene.blobs(&[State::Live]).filter(there).collect();
            let digests: BTreeSet<&str> = live.iter().map(|blob| blob.digest.as_str()).collect();
            for blob in live.iter().filter(|blob| is_manifest(blob)) {
                let mut needed = BTreeSet::new();
                mentioned(&serde_json::from_slice(&after.0[&blob.files[0]].0).expect("JSON"), &mut needed);
                for digest in needed {
                    prop_assert!(digests.contains(digest.as_str()), "{era:?}: {} misses {digest}", blob.name);
                }
            }
            let went: BTreeSet<String> = scene
                .blobs(&[State::Live])
                .filter(|blob| !there(blob))
                .map(|blob| format!("{} {}", blob.repository, blob.name.trim_start_matches('/')))
                .collect();
            prop_assert!(!went.is_empty());
            prop_assert_eq!(gone.get_or_insert_with(|| went.clone()), &went);
        }
    }
}
