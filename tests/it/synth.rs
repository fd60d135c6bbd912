//! The generator writes what a registry writes, and its truth is what a walk and a real registry find.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use regsweep::synth::{Builder, ImageSpec, IndexSpec, Link, Recipe, Truth, sha256_digest, sha512_digest};

/// 2026-11-22T13:05:55Z.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_352_755)
}

/// A directory for a store. Shared memory where there is some: taking ten thousand directories away again is by far
/// the slowest part of a test on a disk. `TMPDIR` overrides it.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if std::env::var_os("TMPDIR").is_none() && memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// Every regular file below `root`, by its path relative to `root`, with its size.
pub fn walk(root: &Path) -> BTreeMap<String, u64> {
    let mut files = BTreeMap::new();
    let mut pending = vec![root.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                pending.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(path, entry.metadata().unwrap().len());
            }
        }
    }
    files
}

/// The digests below `blobs/` of the store at `root`.
pub fn blobs(root: &Path) -> BTreeSet<String> {
    let names = walk(root);
    let hex = |path: &String| {
        let rest = path.strip_prefix("docker/registry/v2/blobs/sha256/")?.strip_suffix("/data")?;
        Some(format!("sha256:{}", &rest[3..]))
    };
    names.keys().filter_map(hex).collect()
}

/// The blobs that the installed registry's collector would delete, or `None` where no registry is installed.
///
/// # Panics
/// When the collector fails, with its last words.
pub fn eligible(root: &Path, delete_untagged: bool) -> Option<BTreeSet<String>> {
    let configuration = tempfile::NamedTempFile::new().unwrap();
    let text = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n",
        root.display()
    );
    std::fs::write(configuration.path(), text).unwrap();
    let mut command = Command::new("docker-registry");
    command.args(["garbage-collect", "--dry-run"]).env_remove("AWS_CA_BUNDLE");
    if delete_untagged {
        command.arg("--delete-untagged");
    }
    #[expect(clippy::print_stderr, reason = "a judgement that is not asked for must be seen")]
    let output = match command.arg(configuration.path()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("docker-registry is not installed: its judgement is not asked for");
            return None;
        }
        Err(error) => panic!("docker-registry: {error}"),
    };
    assert!(output.status.success(), "garbage-collect: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    Some(
        text.lines()
            .filter_map(|line| line.strip_prefix("blob eligible for deletion: "))
            .map(str::to_owned)
            .collect(),
    )
}

pub fn generated(recipe: &Recipe) -> (tempfile::TempDir, Truth) {
    let root = scratch();
    let truth = recipe.generate(root.path(), now()).unwrap();
    (root, truth)
}

/// Counts what the paths alone tell, and compares.
fn assert_truth_is_what_a_walk_finds(root: &Path, truth: &Truth) {
    let files = walk(root);
    let count = |holds: &dyn Fn(&str) -> bool| files.keys().filter(|path| holds(path)).count() as u64;
    assert_eq!(truth.files, files.len() as u64);
    assert_eq!(truth.file_bytes, files.values().sum::<u64>());
    assert_eq!(truth.tags, count(&|path| path.ends_with("/current/link")));
    assert_eq!(truth.tag_history, count(&|path| path.contains("/index/sha256/")));
    assert_eq!(
        truth.revisions,
        count(&|path| path.contains("/_manifests/revisions/") && path.ends_with("/link"))
    );
    assert_eq!(truth.layer_links, count(&|path| path.contains("/_layers/")));
    assert_eq!(truth.layer_aliases, count(&|path| path.contains("/_layers/sha512/")));
    assert_eq!(
        truth.uploads,
        count(&|path| path.contains("/_uploads/") && path.ends_with("/hashstates/sha256/0"))
    );
    let link = |path: &str| path.ends_with("/link");
    let empty = files.iter().filter(|(path, size)| link(path) && **size == 0).count() as u64;
    assert_eq!(truth.empty_links, empty);
    assert!(files.iter().all(|(path, size)| !link(path) || *size == 71 || *size == 0));
    let found = blobs(root);
    assert_eq!(truth.blobs, found.len() as u64);
    assert_eq!(truth.digests.keys().cloned().collect::<BTreeSet<_>>(), found);
    let repositories: BTreeSet<&str> = files
        .keys()
        .filter_map(|path| path.strip_prefix("docker/registry/v2/repositories/"))
        .filter_map(|path| path.split("/_").next())
        .collect();
    assert_eq!(truth.repositories, repositories.len() as u64);
    assert!(truth.keep_tagged.is_subset(&truth.keep_all_manifests));
    assert!(truth.keep_all_manifests.is_subset(&found));
    assert_eq!(truth.orphans + truth.orphans_linked, truth.outside(&truth.keep_all_manifests).count() as u64);
}

/// Everything a recipe can ask for.
fn everything() -> Recipe {
    Recipe {
        parents: 3,
        history: 2,
        multiarch: 0.3,
        nested: 0.5,
        referrers: 0.3,
        stale_referrers: 0.3,
        fallback: 0.2,
        cosign: 0.3,
        foreign: 0.1,
        promoted: 0.2,
        dead_links: 0.05,
        empty_links: 6,
        sha512: 3,
        schema1: 3,
        buildkit_caches: 3,
        artifacts: 2,
        opaque: 2,
        unreadable: 1,
        ..Recipe::default()
    }
}

#[test]
fn one_image_is_byte_exact() {
    let root = scratch();
    let mut builder = Builder::new(root.path(), now()).unwrap();
    builder.at(Duration::from_secs(3600));
    let layer = builder.blob(b"a layer").unwrap();
    let mut spec = ImageSpec::new("one", vec![layer.clone()]);
    spec.config = Some((b"{}".to_vec(), "application/vnd.oci.image.config.v1+json".to_owned()));
    let config = sha256_digest(b"{}");
    let image = builder.image("team/app", &spec).unwrap();
    builder.tag("team/app", "v1", &image).unwrap();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{layer}","size":7}}]}}"#
    );
    assert_eq!(image, sha256_digest(manifest.as_bytes()));
    let (layer, config, image) = (&layer[7..], &config[7..], &image[7..]);
    let repository = "docker/registry/v2/repositories/team/app";
    let blob = |hex: &str| format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
    let expected: BTreeMap<String, u64> = [
        (blob(layer), 7),
        (blob(config), 2),
        (blob(image), manifest.len() as u64),
        (format!("{repository}/_layers/sha256/{layer}/link"), 71),
        (format!("{repository}/_layers/sha256/{config}/link"), 71),
        (format!("{repository}/_manifests/revisions/sha256/{image}/link"), 71),
        (format!("{repository}/_manifests/tags/v1/current/link"), 71),
        (format!("{repository}/_manifests/tags/v1/index/sha256/{image}/link"), 71),
    ]
    .into();
    assert_eq!(walk(root.path()), expected);
    let current = root.path().join(repository).join("_manifests/tags/v1/current/link");
    assert_eq!(std::fs::read_to_string(&current).unwrap(), format!("sha256:{image}"));
    assert_eq!(current.metadata().unwrap().mtime(), 1_795_352_755 - 3600);
    assert_eq!(std::fs::read_to_string(root.path().join(blob(image))).unwrap(), manifest);
}

#[test]
fn a_moved_tag_keeps_its_history() {
    let root = scratch();
    let mut builder = Builder::new(root.path(), now()).unwrap();
    let old = builder.image("app", &ImageSpec::new("old", vec![])).unwrap();
    let new = builder.image("app", &ImageSpec::new("new", vec![])).unwrap();
    builder.tag("app", "v1", &old).unwrap();
    builder.tag("app", "v1", &new).unwrap();
    let truth = builder.truth();
    assert_eq!((truth.tags, truth.tag_history, truth.revisions), (1, 2, 2));
    assert!(truth.keep_tagged.contains(&new) && !truth.keep_tagged.contains(&old));
    assert!(truth.keep_all_manifests.contains(&old));
    let current = builder.link_path(Link::Current { repository: "app", tag: "v1" });
    assert_eq!(std::fs::read_to_string(current).unwrap(), new);
    assert!(builder.link_path(Link::History { repository: "app", tag: "v1", digest: &old }).exists());
    assert_truth_is_what_a_walk_finds(root.path(), &truth);
}

#[test]
fn an_upload_has_data_start_time_and_hash_states() {
    let root = scratch();
    let mut builder = Builder::new(root.path(), now()).unwrap();
    let started = now() - Duration::from_secs(60);
    let name = builder.upload("app", started, b"half a layer").unwrap();
    assert_eq!((name.len(), name.as_bytes()[14]), (36, b'4'));
    let files = walk(&builder.repository_path("app").join("_uploads").join(&name));
    let expected: BTreeMap<String, u64> =
        [("data", 12), ("startedat", 20), ("hashstates/sha256/0", 108), ("hashstates/sha256/12", 108)]
            .map(|(path, size)| (path.to_owned(), size))
            .into();
    assert_eq!(files, expected);
    let timed = builder.upload_v7("app", started, b"").unwrap();
    assert_eq!(timed.as_bytes()[14], b'7');
    let milliseconds = u64::from_str_radix(&timed.replace('-', "")[..12], 16).unwrap();
    assert_eq!(milliseconds, 1_795_352_695_000);
}

#[test]
fn a_sha512_layer_lives_under_its_sha256() {
    let root = scratch();
    let mut builder = Builder::new(root.path(), now()).unwrap();
    let canonical = builder.blob(b"layer").unwrap();
    let alias = sha512_digest(b"layer");
    builder.layer_alias("app", &alias, &canonical).unwrap();
    let image = builder.image("app", &ImageSpec::new("one", vec![alias.clone()])).unwrap();
    builder.tag("app", "v1", &image).unwrap();
    let link = builder.link_path(Link::Layer { repository: "app", digest: &alias });
    assert_eq!(std::fs::read_to_string(link).unwrap(), canonical);
    assert!(builder.truth().keep_tagged.contains(&canonical));
}

#[test]
fn children_and_referrers_live_with_what_holds_them() {
    let root = scratch();
    let mut builder = Builder::new(root.path(), now()).unwrap();
    let child = builder.image("app", &ImageSpec::new("child", vec![])).unwrap();
    let inner = builder.index("app", std::slice::from_ref(&child), &IndexSpec::default()).unwrap();
    let index = builder.index("app", std::slice::from_ref(&inner), &IndexSpec::default()).unwrap();
    builder.tag("app", "v1", &index).unwrap();
    let statement = builder.referrer("app", &index, "application/vnd.example.sbom", b"statement").unwrap();
    let signature = builder.referrer("app", &statement, "application/vnd.example.sig", b"signature").unwrap();
    let loose = builder.image("app", &ImageSpec::new("loose", vec![])).unwrap();
    let on_loose = builder.referrer("app", &loose, "application/vnd.example.sbom", b"on loose").unwrap();
    let cosigned = builder.cosign("app", &loose, "sig").unwrap();
    let keep = builder.truth().keep_tagged;
    for digest in [&child, &inner, &index, &statement, &signature] {
        assert!(keep.contains(digest), "{digest}");
    }
    for digest in [&loose, &on_loose, &cosigned] {
        assert!(!keep.contains(digest), "{digest}");
    }
}

#[test]
fn an_unreadable_manifest_holds_all_of_its_repository() {
    let root = scratch();
    let mut builder = Builder::new(root.path(), now()).unwrap();
    let layer = builder.blob(b"perhaps needed").unwrap();
    builder.layer_link("app", &layer).unwrap();
    let loose = builder.image("app", &ImageSpec::new("loose", vec![])).unwrap();
    assert!(!builder.truth().keep_all_manifests.contains(&layer));
    let unknown = builder.image("app", &ImageSpec::new("damaged", vec![])).unwrap();
    builder.corrupt_blob(&unknown, b"{\"schemaVersion\":").unwrap();
    let truth = builder.truth();
    for digest in [&layer, &loose, &unknown] {
        assert!(truth.keep_tagged.contains(digest) && truth.keep_all_manifests.contains(digest), "{digest}");
    }
    assert_truth_is_what_a_walk_finds(root.path(), &truth);
}

#[test]
fn damage_is_counted() {
    let root = scratch();
    let mut builder = Builder::new(root.path(), now()).unwrap();
    let image = builder.image("app", &ImageSpec::new("one", vec![])).unwrap();
    builder.tag("app", "v1", &image).unwrap();
    builder.dangling_tag("app", "gone", &sha256_digest(b"never pushed")).unwrap();
    assert!(builder.dangling_tag("app", "fine", &image).is_err());
    let dead = builder.dangling_layer_link("app", "1").unwrap();
    builder.empty_link(Link::Layer { repository: "app", digest: &dead }).unwrap();
    builder.empty_link(Link::Layer { repository: "app", digest: &dead }).unwrap();
    builder.signatures("app", &image, b"signature").unwrap();
    let link = Link::Revision { repository: "app", digest: &image };
    let leftover = builder.temporary_leftover(link, b"sha256:").unwrap();
    assert!(leftover.file_name().unwrap().to_str().unwrap().starts_with("link."));
    builder.foreign_file("docker/registry/v2/notes.txt", b"by hand").unwrap();
    builder.symlink("docker/registry/v2/blobs/elsewhere", "/").unwrap();
    let lost = builder.blob(b"lost").unwrap();
    builder.layer_link("app", &lost).unwrap();
    builder.remove_blob_data(&lost).unwrap();
    let truth = builder.truth();
    assert_eq!((truth.dangling_tags, truth.dead_links, truth.empty_links), (1, 2, 1));
    let files = walk(root.path());
    assert_eq!((truth.files, truth.file_bytes), (files.len() as u64, files.values().sum()));
    assert_eq!(truth.blobs, blobs(root.path()).len() as u64);
}

#[test]
fn a_store_is_never_written_over() {
    let (root, _) = generated(&Recipe { repositories: 1, tags: 1, ..Recipe::default() });
    assert!(Recipe::default().generate(root.path(), now()).is_err());
}

#[test]
fn truth_counts_are_what_a_walk_finds() {
    for recipe in [Recipe::default(), Recipe::demo(), everything()] {
        let (root, truth) = generated(&recipe);
        assert_truth_is_what_a_walk_finds(root.path(), &truth);
    }
}

#[test]
fn truth_survives_json() {
    let (_root, truth) = generated(&everything());
    let text = serde_json::to_string(&truth).unwrap();
    assert_eq!(serde_json::from_str::<Truth>(&text).unwrap(), truth);
}

#[test]
fn the_registry_finds_exactly_the_unreachable_blobs() {
    let recipe = Recipe {
        multiarch: 0.3,
        nested: 0.5,
        referrers: 0.3,
        fallback: 0.2,
        cosign: 0.2,
        foreign: 0.1,
        promoted: 0.2,
        dead_links: 0.1,
        schema1: 3,
        buildkit_caches: 3,
        ..Recipe::default()
    };
    let (root, truth) = generated(&recipe);
    let expected: BTreeSet<String> = truth.outside(&truth.keep_all_manifests).map(str::to_owned).collect();
    assert!(expected.len() > 50, "{}", expected.len());
    if let Some(found) = eligible(root.path(), false) {
        assert_eq!(found, expected);
    }
}

#[test]
fn the_registry_finds_exactly_the_untagged_where_it_makes_no_mistake() {
    // No indexes and no referrers: 2.8 deletes the children of a living index and the referrers of a living subject.
    let (root, truth) = generated(&Recipe { multiarch: 0.0, history: 2, ..Recipe::default() });
    let expected: BTreeSet<String> = truth.outside(&truth.keep_tagged).map(str::to_owned).collect();
    assert!(expected.len() > truth.outside(&truth.keep_all_manifests).count());
    if let Some(found) = eligible(root.path(), true) {
        assert_eq!(found, expected);
    }
}

#[test]
fn the_registry_would_sweep_a_sha512_layer_that_the_truth_keeps() {
    let (root, truth) = generated(&Recipe { sha512: 2, ..Recipe::default() });
    if let Some(found) = eligible(root.path(), false) {
        let wrong: Vec<&String> = found.intersection(&truth.keep_all_manifests).collect();
        assert_eq!(wrong.len(), 2);
    }
}

#[test]
fn a_store_like_a_registry_has_at_least_the_files_asked_for() {
    let (_root, truth) = generated(&Recipe::like_a_registry(8_000));
    assert!((8_000..10_000).contains(&truth.files), "{}", truth.files);
}

#[test]
#[ignore = "writes 300,000 files"]
fn three_hundred_thousand_files() {
    let (_root, truth) = generated(&Recipe::like_a_registry(300_000));
    assert!((300_000..345_000).contains(&truth.files), "{}", truth.files);
}
