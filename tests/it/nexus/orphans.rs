//! Blobs that the database does not know go, come back, and nothing else is touched.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

/// What may go of a generated store when the database and its index were exported.
const GOES: [State; 3] = [State::Unknown, State::BytesOnly, State::DeletedUnindexed];

#[test]
fn exactly_what_the_database_does_not_know_goes_and_comes_back() {
    for (era, stores) in SHAPES {
        let scene = Scene::of(era, stores);
        let before = Files::of(&scene.root());
        let job = job_of(scene.exports());
        let (plan, refusals) = scene.plan(&job);
        assert!(refusals.is_empty(), "{refusals:?}");
        assert_eq!(taken(&plan), scene.files(&GOES), "{era:?} in {stores}");
        let (run, executed) = scene.sweep(&job);
        assert_eq!(executed.count("discard"), plan.steps.len() as u64);
        assert!(executed.failed.is_empty() && executed.skipped.is_empty(), "{executed:?}");
        let after = Files::of(&scene.root());
        for (key, (bytes, _)) in &before.0 {
            let gone = scene.files(&GOES).contains(key);
            assert_eq!(after.0.get(key).map(|(bytes, _)| bytes), (!gone).then_some(bytes), "{key}");
        }
        let (again, _) = scene.plan(&job_of(scene.exports()));
        assert!(again.steps.is_empty(), "{:?}", again.steps);
        let restored = scene.undo(&run);
        assert!(restored.failed.is_empty() && restored.lost.is_empty());
        let back = Files::of(&scene.root());
        for (key, (bytes, _)) in &before.0 {
            assert_eq!(back.0.get(key).map(|(bytes, _)| bytes), Some(bytes), "{key}");
        }
    }
}

#[test]
fn a_listing_that_does_not_name_blobs_keeps_whatever_it_may_mean() {
    let scene = Scene::of(Era::Mixed, 1);
    let pages = |named| {
        let items: Vec<_> = REPOSITORIES.iter().flat_map(|name| scene.truth.assets(name, named)).collect();
        serde_json::json!({ "items": items, "continuationToken": null }).to_string()
    };
    let named = job_of(vec![scene.evidence("named.json", &pages(true))]);
    let unnamed = job_of(vec![scene.evidence("unnamed.json", &pages(false))]);
    let (named, unnamed) = (taken(&scene.plan(&named).0), taken(&scene.plan(&unnamed).0));
    // Without the index what is flagged may go too: the database does not know it.
    let expected = scene.files(&[GOES.as_slice(), &[State::Deleted]].concat());
    assert_eq!(named, expected);
    assert!(unnamed.is_subset(&named));
    // A second blob of a tag that the database has may be the current one, so that stays with all that it needs; content
    // without a record may be anything.
    let kept: BTreeSet<String> = scene
        .blobs(&[State::Unknown])
        .filter(|blob| !blob.name.contains("/manifests/sha256:"))
        .chain(scene.blobs(&[State::BytesOnly]))
        .flat_map(|blob| blob.files.clone())
        .collect();
    assert!(!kept.is_empty());
    assert_eq!(named.difference(&unnamed).cloned().collect::<BTreeSet<_>>(), kept);
}

#[test]
fn evidence_of_another_time_is_refused() {
    let scene = Scene::of(Era::Sql, 1);
    let now = scene.clock.now();
    let hours = |hours| now + SignedDuration::from_hours(hours);
    let why = |source: Source| scene.survey(&job_of(vec![source])).unwrap_err().to_string();
    let old = scene.evidence_at("old.csv", &scene.truth.export(), hours(-25));
    assert!(why(old).contains("too long ago"));
    let new = scene.evidence_at("new.csv", &scene.truth.export(), hours(1));
    assert!(why(new).contains("in the future"));
    let none = scene.evidence("none.csv", "blob_ref\n");
    assert!(why(none).contains("does not know a single blob"));
    let torn = scene.evidence("torn.csv", &scene.truth.export()[..300]);
    assert!(why(torn).contains("torn.csv, line"));
}

#[test]
fn what_is_younger_than_the_evidence_and_its_grace_stays() {
    let scene = Scene::of(Era::Dated, 1);
    let before = scene.clock.now() - SignedDuration::from_hours(23);
    // The clock is three days ahead: two days less a bit is not enough for a grace of as much.
    let mut job = job_of(vec![scene.evidence_at("dump.csv", &scene.truth.export(), before)]);
    assert!(!scene.plan(&job).0.steps.is_empty());
    job.limits.grace = "60h".parse().expect("a period");
    assert!(scene.plan(&job).0.steps.is_empty());
}

#[test]
fn an_export_that_was_cut_short_is_not_believed() {
    let scene = Scene::new(&NexusRecipe { repositories: 1, ..NexusRecipe::default() });
    let text = scene.truth.export();
    let cut: String = text.lines().take(6).fold(String::new(), |all, line| all + line + "\n");
    let job = job_of(vec![scene.evidence("dump.csv", &cut)]);
    let (_, refusals) = scene.plan(&job);
    assert!(refusals.iter().any(|one| matches!(one, Refusal::TooMuch { what: "bytes", .. })), "{refusals:?}");
}

#[test]
fn the_only_copy_of_what_an_image_needs_stays() {
    let scene = Scene::of(Era::Sql, 1);
    // The database has lost the row of one layer that images need.
    let layer = scene
        .blobs(&[State::Live])
        .find(|blob| blob.name.contains("/blobs/") && blob.repository == "docker-0")
        .expect("a layer");
    let text: String = scene
        .truth
        .export()
        .lines()
        .filter(|line| !line.contains(&layer.digest))
        .fold(String::new(), |all, line| all + line + "\n");
    let job = job_of(vec![scene.evidence("dump.csv", &text)]);
    let (plan, refusals) = scene.plan(&job);
    assert!(refusals.is_empty(), "{refusals:?}");
    assert!(!plan.steps.is_empty());
    assert!(taken(&plan).is_disjoint(&layer.files.iter().cloned().collect()));
    // A plan that takes it is not carried out.
    let (store, survey) = scene.survey(&job).expect("a look");
    let mut plan = survey.plan(&store, &Nexus, &job);
    let files = survey.inventory.assets.as_ref().expect("blobs").list.iter().map(|asset| &asset.files);
    let files = files.into_iter().find(|files| files.iter().any(|file| layer.files.contains(&file.key)));
    plan.steps[0].action = Action::Discard { files: files.expect("its files").clone() };
    let refused = survey.check(plan, &store, &job).unwrap_err().refusals;
    assert!(refused[0].to_string().contains("an image needs it, and there is no other"), "{refused:?}");
}

#[test]
fn a_blob_that_changed_since_it_was_listed_is_left_alone() {
    let scene = Scene::of(Era::Sql, 1);
    let job = job_of(scene.exports());
    let (store, survey) = scene.survey(&job).expect("a look");
    let plan = survey.plan(&store, &Nexus, &job);
    let mut changed = plan.clone();
    let Action::Discard { files } = &mut changed.steps[0].action else { panic!("{plan:?}") };
    files.truncate(1);
    let refused = survey.check(changed, &store, &job).unwrap_err().refusals;
    assert!(refused[0].to_string().contains("not all the files"), "{refused:?}");
    let Action::Discard { files } = &plan.steps[0].action else { panic!("{plan:?}") };
    let touched = scene.root().join(&files[0].key);
    let text = std::fs::read(&touched).expect("a record");
    std::fs::write(&touched, [&text[..], b"lastDownloaded=x\n"].concat()).expect("a record");
    // What was written again is young by the disk's clock alone; the plan that has it is no plan for this store any more.
    let again = scene.survey(&job).expect("a look").1;
    let refused = again.check(plan, &store, &job).unwrap_err().refusals;
    assert!(refused[0].to_string().contains("as they are now"), "{refused:?}");
}

#[test]
fn a_mode_that_is_not_there_yet_is_refused() {
    let scene = Scene::of(Era::Sql, 1);
    for records in [RecordMode::Soft, RecordMode::Hard] {
        let (_, refusals) = scene.plan(&Job { records, ..job_of(scene.exports()) });
        let said = refusals[0].to_string();
        assert!(said.contains(&format!("there is no mode {records}: say --nexus-mode orphans")), "{said}");
    }
}

/// An index of deleted blobs as Nexus up to 3.70 keeps it in a blob store.
fn queue(ids: &[&str]) -> Vec<u8> {
    let number = |value: usize| u32::try_from(value).expect("a number").to_be_bytes();
    let elements: Vec<u8> =
        ids.iter().flat_map(|id| number(id.len()).into_iter().chain(id.bytes())).collect();
    let mut file: Vec<u8> = [4096, ids.len(), 16, 16].into_iter().flat_map(number).collect();
    file.extend(elements);
    file.resize(4096, 0);
    file
}

#[test]
fn the_index_that_a_store_has_itself_is_read() {
    let scene = Scene::of(Era::Orient, 1);
    let job = || job_of(vec![scene.evidence("dump.csv", &scene.truth.export())]);
    let deleted: Vec<&str> = scene.blobs(&[State::Deleted]).map(|blob| blob.id.as_str()).collect();
    assert!(deleted.len() > 2);
    // Without any index what is flagged goes if the database does not know it.
    let all = scene.files(&[GOES.as_slice(), &[State::Deleted]].concat());
    assert_eq!(taken(&scene.plan(&job()).0), all);
    // Two nodes, each with an index of its own.
    let (one, other) = deleted.split_at(1);
    let path = |node: &str| scene.root().join(format!("{node}-deletions.index"));
    std::fs::write(path("5C8B"), queue(one)).expect("an index");
    std::fs::write(path("9D2E"), queue(other)).expect("an index");
    assert_eq!(taken(&scene.plan(&job()).0), scene.files(&GOES));
    let (_, classes) = scene.classes(&job_of(Vec::new()));
    let unindexed = scene.files(&[State::DeletedUnindexed]).len() as u64;
    assert_eq!(classes[&Class::DeletedUnindexed].objects, unindexed);
    // One that cannot be read may have any.
    std::fs::write(path("9D2E"), b"torn").expect("an index");
    assert_eq!(taken(&scene.plan(&job()).0), scene.files(&[State::Unknown, State::BytesOnly]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Where a blob lies, what else is there and over how many stores it is spread changes nothing; whatever the database
    /// knows more only shrinks what goes.
    #[test]
    fn the_same_goes_however_the_store_is_laid_out(seed in 0_u64..1000, stores in 1_usize..4, more in 0_usize..40) {
        let recipe = NexusRecipe { seed, repositories: 1, images: 2, tags: 2, ..NexusRecipe::default() };
        let ids = |scene: &Scene, plan: &Plan| -> BTreeSet<String> {
            let keys = taken(plan);
            let gone = scene.truth.blobs.iter().filter(|blob| keys.contains(&blob.files[0]));
            gone.map(|blob| format!("{:?} {}", blob.state, blob.digest)).collect()
        };
        let of = |recipe: &NexusRecipe| {
            let scene = Scene::new(recipe);
            let (plan, refusals) = scene.plan(&job_of(scene.exports()));
            assert!(refusals.is_empty(), "{refusals:?}");
            let gone = ids(&scene, &plan);
            (scene, gone)
        };
        let hashed = NexusRecipe { era: Era::Sql, ..recipe.clone() };
        let (scene, gone) = of(&hashed);
        prop_assert_eq!(&of(&NexusRecipe { era: Era::Dated, ..hashed.clone() }).1, &gone);
        prop_assert_eq!(&of(&NexusRecipe { stores, ..hashed.clone() }).1, &gone);
        // Blobs of other repositories, ghosts and rows that were not there before.
        let unknown: Vec<&NexusBlob> = scene.blobs(&GOES).collect();
        let known = unknown.iter().take(more).fold(scene.truth.export(), |text, blob| {
            text + &format!("docker-0,,,default@{},\n", blob.id)
        });
        let sources = vec![scene.evidence("dump.csv", &known), scene.evidence("index.csv", &scene.truth.index())];
        let (plan, _) = scene.plan(&job_of(sources));
        let fewer = ids(&scene, &plan);
        prop_assert!(fewer.is_subset(&gone));
        prop_assert_eq!(plan.steps.len(), unknown.len().saturating_sub(more));
    }
}
