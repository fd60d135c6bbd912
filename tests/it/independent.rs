//! What a run leaves, judged by others: by the generator's truth, by an independent generator's, and by a registry's own
//! collector.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use regsweep::synth::{Recipe, Truth};
use serde_json::Value;

use crate::synth::{blobs, eligible, generated, scratch, walk};

const STORAGE: &str = "docker/registry/v2/";

/// A policy that removes no tag; `untagged` says what stays of the manifests that none holds.
fn policy(untagged: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let text = format!(
        "version: 1
grace: 0
trash: {{ keep: 0 }}
limits: {{ tags: 100%, bytes: 100%, repository_may_empty: true }}
policies:
  - name: everything
    repositories: [\"**\"]
    tags: {{ other: {{ keep: all }} }}
    untagged: {{ keep: {untagged} }}
"
    );
    std::fs::write(file.path(), text).unwrap();
    file
}

fn regsweep(command: &str, root: &Path, untagged: &str) -> Output {
    let policy = policy(untagged);
    let mut process = Command::new(env!("CARGO_BIN_EXE_regsweep"));
    process.arg(command).arg(root).arg("-p").arg(policy.path()).args(["--offline", "--json"]);
    process.output().unwrap()
}

/// Runs to the end and answers the report.
fn run(name: &str, root: &Path, untagged: &str) -> Value {
    let output = regsweep("run", root, untagged);
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{name}: {words}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{name}: {error}: {words}"))
}

/// The registry's own files: our state is beside them.
fn storage(root: &Path) -> BTreeMap<String, u64> {
    walk(root).into_iter().filter(|(path, _)| path.starts_with(STORAGE)).collect()
}

/// At most a few of many, for a message one can read.
fn some<'a>(digests: impl Iterator<Item = &'a String>) -> Vec<&'a String> {
    digests.take(5).collect()
}

fn assert_left(name: &str, left: &BTreeSet<String>, keep: &BTreeSet<String>) {
    let (lost, leaked) = (keep.difference(left).count(), left.difference(keep).count());
    assert!(lost == 0, "{name}: {lost} live blobs lost: {:?}", some(keep.difference(left)));
    assert!(leaked == 0, "{name}: {leaked} dead blobs left: {:?}", some(left.difference(keep)));
}

/// The digests that a manifest's text names, by the fields every kind of manifest uses for what it needs. Foreign layers
/// are left out.
fn needs(manifest: &Value) -> Vec<String> {
    let lists =
        ["layers", "manifests", "blobs", "fsLayers"].iter().filter_map(|field| manifest[field].as_array());
    let stored = lists.flatten().filter(|descriptor| descriptor["urls"].is_null());
    let digest = |descriptor: &Value| {
        descriptor["digest"].as_str().or_else(|| descriptor["blobSum"].as_str()).map(str::to_owned)
    };
    stored.chain([&manifest["config"]]).filter_map(digest).collect()
}

fn link(hex_of: &str) -> String {
    format!("{}/link", hex_of.replace(':', "/"))
}

fn data(digest: &str) -> String {
    let hex = &digest["sha256:".len()..];
    format!("{STORAGE}blobs/sha256/{}/{hex}/data", &hex[..2])
}

/// Every manifest that `repository` still links can be pulled from it: its data, and for whatever it needs a link in this
/// repository and data behind it.
fn assert_pulls(name: &str, root: &Path, files: &BTreeMap<String, u64>, repository: &str, revision: &str) {
    let base = format!("{STORAGE}repositories/{repository}");
    let text = std::fs::read(root.join(data(revision)));
    let text = text.unwrap_or_else(|error| panic!("{name}: {repository}@{revision}: {error}"));
    // A manifest nobody can read holds everything; that is judged by the sets.
    let Ok(manifest) = serde_json::from_slice::<Value>(&text) else { return };
    for digest in needs(&manifest) {
        let child = format!("{base}/_manifests/revisions/{}", link(&digest));
        let layer = format!("{base}/_layers/{}", link(&digest));
        let found = if files.contains_key(&child) { &child } else { &layer };
        assert!(files.contains_key(found), "{name}: {repository}@{revision} needs {digest}: no link");
        let canonical = if digest.starts_with("sha512:") {
            std::fs::read_to_string(root.join(found)).unwrap()
        } else {
            digest.clone()
        };
        assert!(
            files.contains_key(&data(&canonical)),
            "{name}: {repository}@{revision} needs {digest}: no data"
        );
    }
}

/// The revision links below `root` by repository, and that each of them can be pulled.
fn revisions(name: &str, root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let files = storage(root);
    let mut revisions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files.keys() {
        let Some(rest) = path.strip_prefix(STORAGE).and_then(|rest| rest.strip_prefix("repositories/"))
        else {
            continue;
        };
        let Some((repository, rest)) = rest.split_once("/_manifests/revisions/sha256/") else { continue };
        let Some(hex) = rest.strip_suffix("/link") else { continue };
        let digest = format!("sha256:{hex}");
        assert_pulls(name, root, &files, repository, &digest);
        revisions.entry(repository.to_owned()).or_default().insert(digest);
    }
    revisions
}

/// The tags below `root`, with what they say.
fn tags(root: &Path) -> BTreeMap<String, String> {
    let files = storage(root).into_keys().filter(|path| path.ends_with("/current/link"));
    files.map(|path| (path.clone(), std::fs::read_to_string(root.join(&path)).unwrap())).collect()
}

/// Runs again: nothing is planned, nothing is done, nothing changes.
fn assert_settled(name: &str, root: &Path, untagged: &str) {
    let before = storage(root);
    let report = run(name, root, untagged);
    assert!(before == storage(root), "{name}: a second run changed something");
    assert_eq!(report["planned_steps"], 0, "{name}: a second run found something to do: {report}");
    assert_eq!(report["freed"]["bytes"], 0, "{name}: a second run freed something");
    assert_eq!(report["executed"]["done"], serde_json::json!({}), "{name}: a second run did something");
}

/// The report says what was there and what went.
fn assert_report(name: &str, report: &Value, truth: &Truth, keep: &BTreeSet<String>) {
    let saw = &report["header"]["saw"];
    assert_eq!(saw["repositories"], truth.repositories, "{name}: repositories");
    assert_eq!(saw["tags"], truth.tags, "{name}: tags");
    assert_eq!(saw["manifests"], truth.revisions, "{name}: manifests, counted by repository");
    assert_eq!(saw["blobs"], truth.blobs, "{name}: blobs");
    // A run asks the size of what may go. What stays has the size its descriptors state, and none where none does.
    assert!(saw["bytes"].as_u64().unwrap() <= truth.blob_bytes, "{name}: bytes");
    assert_eq!(saw["live_blobs"], keep.len(), "{name}: live blobs");
    assert_eq!(report["freed"]["blobs"], truth.outside(keep).count(), "{name}: blobs freed");
    assert_eq!(report["freed"]["bytes"], truth.bytes_outside(keep), "{name}: bytes freed");
    assert_eq!(
        report["executed"]["freed_bytes"],
        truth.bytes_outside(keep),
        "{name}: bytes freed in the end"
    );
    assert_eq!(report["executed"]["failed"], serde_json::json!([]), "{name}: failed steps");
}

/// One recipe, both policies, all judges. `registry` says whether the registry's collector can read such a store.
fn judge(name: &str, registry: bool, recipe: &Recipe) {
    for (untagged, policy) in [("none", "tagged"), ("all", "everything")] {
        let name = &format!("{name}, {policy} kept");
        let (root, truth) = generated(recipe);
        let root = root.path();
        let (tags_before, revisions_before) = (tags(root), revisions(name, root));
        let report = run(name, root, untagged);
        let keep = if untagged == "none" { &truth.keep_tagged } else { &truth.keep_all_manifests };
        assert_left(name, &blobs(root), keep);
        assert_report(name, &report, &truth, keep);
        let kept: BTreeMap<String, BTreeSet<String>> = if untagged == "none" {
            let living = truth.revisions_keep_tagged.into_iter();
            living.filter(|(_, revisions)| !revisions.is_empty()).collect()
        } else {
            revisions_before
        };
        assert!(tags(root) == tags_before, "{name}: a tag moved or went");
        assert!(revisions(name, root) == kept, "{name}: other revisions are left than should be");
        assert_settled(name, root, untagged);
        if registry && let Some(found) = eligible(root, false) {
            assert!(found.is_empty(), "{name}: the registry would still sweep {:?}", some(found.iter()));
        }
    }
}

/// A test for each recipe.
macro_rules! judged {
    ($($name:ident($registry:expr) { $($field:ident: $value:expr),* $(,)? })*) => {
        $(#[test]
        fn $name() {
            judge(stringify!($name), $registry, &Recipe { $($field: $value,)* ..small() });
        })*
    };
}

/// About a thousand files.
fn small() -> Recipe {
    Recipe { repositories: 5, tags: 8, layers: 5, repository_pool: 10, ..Recipe::default() }
}

judged! {
    plain(true) { seed: 11 }
    multi_arch(true) { multiarch: 0.6, platforms: 4 }
    nested_indexes(true) { multiarch: 0.8, nested: 0.7, platforms: 2 }
    referrers(true) { referrers: 0.6, multiarch: 0.3 }
    referrers_of_what_goes(true) { referrers: 0.3, stale_referrers: 0.7, history: 2 }
    fallback_tags(true) { fallback: 0.6, referrers: 0.3 }
    cosign_signatures(true) { cosign: 0.6, multiarch: 0.3 }
    orphans(true) { orphans: 0.8, orphans_linked: 0.0 }
    linked_orphans(true) { orphans: 0.0, orphans_linked: 0.8 }
    dead_links(true) { dead_links: 0.5 }
    schema_1(true) { schema1: 8 }
    buildkit_caches(true) { buildkit_caches: 8, shared: 0.5 }
    foreign_layers(true) { foreign: 0.5 }
    promoted(true) { promoted: 0.5, multiarch: 0.3, history: 2 }
    one_component(true) { depth: 1 }
    deep_names_above_names(true) { depth: 4, parents: 3 }
    no_history(true) { history: 0, orphans: 0.0 }
    long_history(true) { history: 4, tags: 4 }
    nothing_shared(true) { shared: 0.0 }
    everything_shared(true) { shared: 1.0, cross_repository: 1.0, pool: 12 }
    no_layers(true) { layers: 0, multiarch: 0.3 }
    many_uploads(true) { uploads: 120 }
    sha512_layers(false) { sha512: 6 }
    emptied_links(false) { empty_links: 12 }
    artifact_manifests(false) { artifacts: 5 }
    unknown_media_types(false) { opaque: 8, history: 2, shared: 0.5 }
    unreadable_manifests(false) { unreadable: 2, history: 2, multiarch: 0.2 }
}

#[test]
fn everything_at_once() {
    let recipe = Recipe {
        parents: 2,
        depth: 3,
        history: 2,
        multiarch: 0.4,
        nested: 0.4,
        referrers: 0.4,
        stale_referrers: 0.4,
        fallback: 0.2,
        cosign: 0.3,
        foreign: 0.1,
        promoted: 0.2,
        orphans: 0.2,
        orphans_linked: 0.2,
        dead_links: 0.2,
        uploads: 20,
        empty_links: 8,
        sha512: 4,
        schema1: 4,
        buildkit_caches: 4,
        artifacts: 2,
        opaque: 4,
        unreadable: 1,
        ..small()
    };
    for seed in 1..=3 {
        judge(&format!("everything at once, seed {seed}"), false, &Recipe { seed, ..recipe.clone() });
    }
}

/// On purpose we differ from the registry here: it marks the sha512 digest and not the data behind it.
#[test]
fn the_registry_would_sweep_the_sha512_layers_that_a_run_leaves() {
    let (root, truth) = generated(&Recipe { sha512: 4, ..small() });
    run("sha512", root.path(), "none");
    assert_left("sha512", &blobs(root.path()), &truth.keep_tagged);
    if let Some(found) = eligible(root.path(), false) {
        assert_eq!(found.len(), 4);
        assert!(found.is_subset(&truth.keep_tagged));
    }
}

/// On purpose we differ from the registry here: without its tags it takes the children of an index for untagged.
#[test]
fn the_registry_would_sweep_the_children_that_a_run_leaves() {
    let (root, truth) = generated(&Recipe { multiarch: 0.7, history: 0, ..small() });
    run("children", root.path(), "none");
    assert_left("children", &blobs(root.path()), &truth.keep_tagged);
    if let Some(found) = eligible(root.path(), true) {
        assert!(!found.is_empty() && found.is_subset(&truth.keep_tagged));
    }
}

/// A store with something for every class of an audit.
fn motley() -> Recipe {
    Recipe {
        multiarch: 0.3,
        sha512: 2,
        schema1: 2,
        empty_links: 4,
        dead_links: 0.2,
        unreadable: 1,
        ..small()
    }
}

#[test]
fn a_plan_of_any_store_writes_nothing() {
    let (root, truth) = generated(&motley());
    let before = walk(root.path());
    let output = regsweep("plan", root.path(), "none");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(walk(root.path()) == before);
    assert_eq!(truth.files, before.len() as u64);
}

#[test]
fn an_audit_sees_every_byte_and_writes_nothing() {
    let (root, truth) = generated(&motley());
    let before = walk(root.path());
    let mut process = Command::new(env!("CARGO_BIN_EXE_regsweep"));
    let output = process.arg("audit").arg(root.path()).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(walk(root.path()) == before);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let saw = &report["saw"];
    assert_eq!(saw["repositories"], truth.repositories);
    assert_eq!(saw["tags"], truth.tags);
    assert_eq!(saw["manifests"], truth.revisions);
    assert_eq!(saw["blobs"], truth.blobs);
    assert_eq!(saw["bytes"], truth.blob_bytes);
    // Every object in exactly one class: together they are every file and all its bytes.
    let classes: Vec<&Value> = report["classes"].as_object().unwrap().values().collect();
    let total = |field: &str| classes.iter().map(|class| class[field].as_u64().unwrap()).sum::<u64>();
    assert_eq!((total("objects"), total("bytes")), (truth.files, truth.file_bytes));
}

fn copy(from: &Path, to: &Path) {
    for path in walk(from).into_keys() {
        let target = to.join(&path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(from.join(&path), target).unwrap();
    }
}

/// The lines of a file.
fn lines(path: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(str::to_owned).collect()
}

/// Judges one store that an independent generator wrote beside its truth.
fn judge_independent(store: &Path) {
    let name = store.file_name().unwrap().to_str().unwrap();
    let beside = |suffix: &str| store.with_file_name(format!("{name}.{suffix}"));
    let truth: Value = serde_json::from_slice(&std::fs::read(beside("truth.json")).unwrap()).unwrap();
    let (keep_untagged, keep_tagged) =
        (lines(&beside("keep_untagged.txt")), lines(&beside("keep_tagged.txt")));

    let root = scratch();
    copy(store, root.path());
    let tags_before = tags(root.path());
    run(name, root.path(), "all");
    assert_left(name, &blobs(root.path()), &keep_untagged);
    assert_settled(name, root.path(), "all");

    // From here on the same copy: a policy that keeps less starts from what one that keeps more has left.
    run(name, root.path(), "none");
    let left = blobs(root.path());
    // The generator's list leaves the referrers of living subjects out, its count does not.
    assert!(keep_tagged.is_subset(&left), "{name}: lost {:?}", some(keep_tagged.difference(&left)));
    assert!(left.is_subset(&keep_untagged));
    assert_eq!(truth["gc_delete_untagged_keep_referrers"]["keep"], left.len(), "{name}: blobs left");
    assert!(tags(root.path()) == tags_before, "{name}: a tag moved or went");
    revisions(name, root.path());
    assert_settled(name, root.path(), "none");

    // And straight from the store as it was.
    let root = scratch();
    copy(store, root.path());
    run(name, root.path(), "none");
    assert_left(name, &blobs(root.path()), &left);
}

#[test]
#[ignore = "needs REGSWEEP_INDEPENDENT_STORES"]
fn the_stores_of_an_independent_generator() {
    let directory = std::env::var_os("REGSWEEP_INDEPENDENT_STORES").map(PathBuf::from);
    let directory = directory.expect("REGSWEEP_INDEPENDENT_STORES names a directory of stores");
    let entries = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
    let stores: BTreeSet<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    assert!(stores.len() >= 12, "{} has {} stores; 12 are the least", directory.display(), stores.len());
    for store in &stores {
        judge_independent(store);
    }
}

/// The judges above are worth nothing if a store that was not swept satisfies them.
#[test]
fn the_judges_have_teeth() {
    let (root, truth): (_, Truth) = generated(&Recipe { multiarch: 0.5, ..small() });
    let all = blobs(root.path());
    let lost = |keep: &BTreeSet<String>, left: &BTreeSet<String>| {
        std::panic::catch_unwind(|| assert_left("teeth", left, keep)).is_err()
    };
    assert!(lost(&truth.keep_tagged, &all), "dead blobs left");
    let mut short = truth.keep_tagged.clone();
    short.pop_first();
    assert!(lost(&truth.keep_tagged, &short), "a live blob lost");
    assert!(!lost(&truth.keep_tagged, &truth.keep_tagged));
    let victim = truth
        .keep_tagged
        .iter()
        .find(|digest| !truth.revisions_keep_tagged.values().any(|revisions| revisions.contains(*digest)));
    #[expect(clippy::disallowed_methods, reason = "loses a live layer, to see that the judge notices")]
    std::fs::remove_file(root.path().join(data(victim.unwrap()))).unwrap();
    assert!(std::panic::catch_unwind(|| revisions("teeth", root.path())).is_err());
}
