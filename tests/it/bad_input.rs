//! Bad input, one test a line of the list: whatever is wrong in a store becomes a class, a gap or a refusal; nothing
//! aborts an audit, and nothing ever widens what is swept.

#![expect(clippy::disallowed_methods, reason = "damages stores that the tests wrote")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use regsweep::clock::{Clock as _, System};
use regsweep::synth::{Builder, Foreign, ImageSpec, IndexSpec, Link, sha256_digest, sha512_digest};
use serde_json::Value;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The repository that is damaged, and one that has nothing to do with it.
const BAD: &str = "lib/bad";
const BESIDE: &str = "lib/beside";
const REPOSITORIES: &str = "docker/registry/v2/repositories";

const DOCUMENT: &str = "\
version: 1
limits: { tags: 100%, bytes: 100%, repository_may_empty: true }
policies:
  - name: everything
    repositories: [\"**\"]
    untagged: { keep: none }
";

/// Nothing is too young, and what goes is deleted, or kept in the trash.
const AT_ONCE: [&str; 2] = ["grace: 0\ntrash: { keep: 0 }\n", "grace: 0\ntrash: { keep: 7d }\n"];

/// Nothing of a test is old enough: change times are always the present.
const YOUNG: &str = "grace: 24h\n";

/// What a command said.
struct Said {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Said {
    #[track_caller]
    fn expect(self, status: i32, what: &str) -> Self {
        assert_eq!(self.status, status, "{what}\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in:\n{}", self.stdout))
    }
}

/// The binary under test, or the same as a user whom permissions hold.
fn said(mut command: Command, arguments: &[&OsStr]) -> Said {
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("REGSWEEP_")) {
        command.env_remove(name);
    }
    let output = command.args(arguments).args(["--json", "--concurrency", "2"]).output().unwrap();
    Said {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_regsweep"))
}

/// A store with a little of everything, and the policy that it is swept by.
struct Store {
    directory: tempfile::TempDir,
    builder: Builder,
    /// The digest of the tag `v1` of the repository that is damaged.
    v1: String,
    /// One of its layers, which nothing else has.
    layer: String,
    /// A manifest of that repository without a tag.
    old: String,
    /// A blob of that repository that nothing refers to.
    stale: String,
    /// A blob that no repository has.
    orphan: String,
    /// What a case remembers.
    noted: String,
}

impl Store {
    fn new(ages: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut builder = Builder::new(directory.path().join("root"), System.now().into()).unwrap();
        let made = Self::fill(&mut builder).unwrap();
        fs::write(directory.path().join("policy.yaml"), format!("{DOCUMENT}{ages}")).unwrap();
        let [v1, layer, old, stale, orphan] = made;
        Self { directory, builder, v1, layer, old, stale, orphan, noted: String::new() }
    }

    fn fill(builder: &mut Builder) -> io::Result<[String; 5]> {
        builder.at(30 * DAY);
        let base = builder.blob(b"a layer that both repositories have")?;
        let layer = builder.blob(b"the layer of v1")?;
        let v1 = builder.image(BAD, &ImageSpec::new("v1", vec![base.clone(), layer.clone()]))?;
        builder.tag(BAD, "v1", &v1)?;
        let gone = builder.blob(b"the layer of an untagged manifest")?;
        let old = builder.image(BAD, &ImageSpec::new("old", vec![base.clone(), gone]))?;
        let stale = builder.blob(b"a linked blob that nothing refers to")?;
        builder.layer_link(BAD, &stale)?;
        let own = builder.blob(b"the layer of the image beside it")?;
        let live = builder.image(BESIDE, &ImageSpec::new("live", vec![base.clone(), own]))?;
        builder.tag(BESIDE, "live", &live)?;
        let gone = builder.blob(b"the layer of an untagged manifest beside it")?;
        builder.image("lib/third", &ImageSpec::new("third", vec![base, gone]))?;
        let orphan = builder.blob(b"nobody knows this one")?;
        Ok([v1, layer, old, stale, orphan])
    }

    fn root(&self) -> PathBuf {
        self.builder.root().to_path_buf()
    }

    fn command(&self, subcommand: &str) -> Said {
        self.command_by(binary(), subcommand)
    }

    fn command_by(&self, command: Command, subcommand: &str) -> Said {
        let (root, policy) = (self.root(), self.directory.path().join("policy.yaml"));
        let [subcommand, flag, offline] = [subcommand, "--policy", "--offline"].map(OsStr::new);
        said(command, &[subcommand, root.as_os_str(), flag, policy.as_os_str(), offline])
    }

    /// What the plan would sweep.
    fn swept(&self, what: &str) -> (BTreeSet<String>, Value) {
        let report = self.command("plan").expect(0, what).json();
        assert_eq!(report["refusals"], Value::Array(vec![]), "{what}");
        (sweeps(&report), report)
    }

    /// An audit whose classes are everything on the disk.
    fn audit(&self, what: &str) -> Value {
        let audit = self.command("audit").expect(0, what).json();
        assert_whole(&audit, &self.root(), what);
        audit
    }

    /// The files of the repository beside it, and the data of all its blobs: path and content.
    fn beside(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        let repository = self.builder.repository_path(BESIDE);
        for path in files(&repository) {
            if let Some(hex) = linked(&path) {
                let data = self.builder.blob_path(&format!("sha256:{hex}"));
                found.push((data.clone(), fs::read(data).unwrap()));
            }
            found.push((path.clone(), fs::read(path).unwrap()));
        }
        assert!(found.len() > 8);
        found
    }

    /// The blobs that have data.
    fn blobs(&self) -> BTreeSet<String> {
        let root = self.root().join("docker/registry/v2/blobs/sha256");
        let hex = |path: &Path| path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let data = files(&root).into_iter().filter(|path| path.ends_with("data"));
        data.map(|path| format!("sha256:{}", hex(&path))).collect()
    }
}

/// The hexadecimal in the path of a link that stands for a digest.
fn linked(path: &Path) -> Option<&str> {
    let hex = path.parent()?.file_name()?.to_str()?;
    (path.ends_with("link") && hex.len() == 64).then_some(hex)
}

/// Everything below `directory` that is no directory; links are not followed. A directory whose name is not UTF-8 is
/// one thing: nobody looks into it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() && path.to_str().is_some() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn sweeps(report: &Value) -> BTreeSet<String> {
    let steps = report["plan"]["steps"].as_array().unwrap().iter();
    let swept = steps.filter(|step| step["action"] == "sweep");
    swept.map(|step| step["digest"].as_str().unwrap().to_owned()).collect()
}

/// The classes of an audit are all files and bytes below `root`; a symbolic link is an object without bytes.
#[track_caller]
fn assert_whole(audit: &Value, root: &Path, what: &str) {
    let (mut objects, mut bytes) = (0, 0);
    for path in files(root) {
        let meta = path.symlink_metadata().unwrap();
        objects += 1;
        bytes += if meta.is_file() { meta.len() } else { 0 };
    }
    let sum = |field: &str| -> u64 {
        audit["classes"].as_object().unwrap().values().map(|amount| amount[field].as_u64().unwrap()).sum()
    };
    let classes = serde_json::to_string_pretty(&audit["classes"]).unwrap();
    assert_eq!((sum("objects"), sum("bytes")), (objects, bytes), "{what}: {classes}");
    assert_eq!(audit["total"]["objects"].as_u64(), Some(objects), "{what}");
    assert_eq!(audit["total"]["bytes"].as_u64(), Some(bytes), "{what}");
}

/// What the damage does to what is swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sweeps {
    /// The same blobs as without it.
    Same,
    /// Fewer: the repository is pinned, or more is referred to. The orphan that no repository has still goes.
    Fewer,
    /// None at all.
    Nothing,
}

type Change = Box<dyn Fn(&mut Store) -> io::Result<()>>;

/// What an entry says, which may depend on the store.
type Words = Box<dyn Fn(&Store) -> String>;

/// A damage and what is said about it.
struct Case {
    name: String,
    prepare: Change,
    damage: Change,
    sweeps: Sweeps,
    /// A list of the problems, and what one of its entries says.
    named: Vec<(&'static str, Words)>,
    /// How many objects more a class has.
    grows: Vec<(&'static str, u64)>,
}

fn case(
    name: impl Into<String>,
    sweeps: Sweeps,
    damage: impl Fn(&mut Store) -> io::Result<()> + 'static,
) -> Case {
    let (prepare, damage): (Change, Change) = (Box::new(|_| Ok(())), Box::new(damage));
    Case { name: name.into(), prepare, damage, sweeps, named: Vec::new(), grows: Vec::new() }
}

impl Case {
    fn prepared(mut self, prepare: impl Fn(&mut Store) -> io::Result<()> + 'static) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    fn named(mut self, list: &'static str, says: impl Fn(&Store) -> String + 'static) -> Self {
        self.named.push((list, Box::new(says)));
        self
    }

    fn grows(mut self, class: &'static str, by: u64) -> Self {
        self.grows.push((class, by));
        self
    }

    fn check(&self) {
        for ages in AT_ONCE {
            self.check_with(ages);
        }
    }

    fn check_with(&self, ages: &str) {
        let what = format!("{} with {}", self.name, ages.replace('\n', " "));
        let mut store = Store::new(ages);
        (self.prepare)(&mut store).unwrap();
        let (whole, _) = store.swept(&what);
        assert!(whole.contains(&store.orphan) && whole.len() >= 5, "{what}: {whole:?}");
        let audit_before = store.audit(&what);
        (self.damage)(&mut store).unwrap();

        let audit = store.audit(&what);
        for (class, by) in &self.grows {
            let objects = |audit: &Value| audit["classes"][class]["objects"].as_u64().unwrap();
            let classes = &audit["classes"];
            assert_eq!(objects(&audit), objects(&audit_before) + by, "{what}: {class} in {classes}");
        }
        let (planned, plan) = store.swept(&what);
        self.assert_named(&store, &audit, &plan, &what);
        self.assert_not_widened(&store, &whole, &planned, &what);

        let (before, beside) = (store.blobs(), store.beside());
        let report = store.command("run").expect(0, &what).json();
        self.assert_problems(&store, &report["problems"], false, &what);
        assert_eq!(report["executed"]["failed"].as_array().map_or(0, Vec::len), 0, "{what}: {report}");
        for (path, content) in beside {
            assert!(fs::read(&path).is_ok_and(|now| now == content), "{what}: {} is lost", path.display());
        }
        let lost: BTreeSet<String> = before.difference(&store.blobs()).cloned().collect();
        assert_eq!(lost, planned, "{what}: the run did not sweep what the plan said");
        store.audit(&what);
    }

    fn assert_named(&self, store: &Store, audit: &Value, plan: &Value, what: &str) {
        self.assert_problems(store, &audit["problems"], true, what);
        self.assert_problems(store, &plan["problems"], false, what);
    }

    /// `everything`: sizes of layer links are asked by an audit alone.
    fn assert_problems(&self, store: &Store, problems: &Value, everything: bool, what: &str) {
        for (list, says) in &self.named {
            let says = says(store);
            if !everything && says.starts_with("layer ") {
                continue;
            }
            let entries = problems[list].as_array().unwrap();
            let found = entries.iter().any(|entry| entry.to_string().contains(&says));
            assert!(found, "{what}: no {list} says {says}: {problems:#}");
        }
        if self.named.is_empty() {
            let empty = problems.as_object().unwrap().values().all(|list| list == &Value::Array(vec![]));
            assert!(empty, "{what}: {problems:#}");
        }
    }

    fn assert_not_widened(
        &self,
        store: &Store,
        whole: &BTreeSet<String>,
        planned: &BTreeSet<String>,
        what: &str,
    ) {
        let wider: Vec<&String> = planned.difference(whole).collect();
        assert!(wider.is_empty(), "{what}: without the damage these were kept: {wider:?}");
        match self.sweeps {
            Sweeps::Same => assert_eq!(planned, whole, "{what}"),
            Sweeps::Fewer => {
                assert!(planned.len() < whole.len(), "{what}: nothing is kept for it");
                assert!(planned.contains(&store.orphan), "{what}: it pins more than its repository");
            }
            Sweeps::Nothing => assert!(planned.is_empty(), "{what}: {planned:?}"),
        }
    }
}

/// Checks every case, also after one that failed: each says by itself what is wrong.
fn check(cases: impl IntoIterator<Item = Case>) {
    let failed = |case: &Case| std::panic::catch_unwind(AssertUnwindSafe(|| case.check())).is_err();
    let failed: Vec<String> = cases.into_iter().filter(failed).map(|case| case.name).collect();
    assert!(failed.is_empty(), "failed, see above: {failed:?}");
}

/// Contents that no link has.
fn no_links() -> Vec<(&'static str, Vec<u8>)> {
    let digest = sha256_digest(b"a digest");
    vec![
        ("empty", Vec::new()),
        ("short", digest.as_bytes()[..40].to_vec()),
        ("overlong by a line feed", format!("{digest}\n").into_bytes()),
        ("overlong by far", format!("{digest}{}", "x".repeat(4000)).into_bytes()),
        ("garbage", vec![0xff, 0x00, 0xfe, b'{', b'\n']),
    ]
}

#[test]
fn revision_links_that_are_none() {
    check(no_links().into_iter().map(|(name, content)| {
        case(format!("{name} revision link"), Sweeps::Same, move |store| {
            let link = Link::Revision { repository: BAD, digest: &store.v1 };
            store.builder.wrong_link(link, &content)
        })
        .named("corrupt_links", |store| format!("manifest {}", store.v1))
        .grows("corrupt_link", 1)
    }));
}

#[test]
fn current_links_that_are_none_pin_their_repository() {
    check(no_links().into_iter().map(|(name, content)| {
        case(format!("{name} current link"), Sweeps::Fewer, move |store| {
            store.builder.wrong_link(Link::Current { repository: BAD, tag: "v1" }, &content)
        })
        .named("corrupt_links", |_| "tag v1".into())
        .named("gaps", |_| format!("{BAD}/_manifests/tags/v1/current/link"))
        .grows("corrupt_link", 1)
    }));
}

#[test]
fn history_links_that_are_none() {
    for (name, content) in no_links() {
        case(format!("{name} history link"), Sweeps::Same, move |store| {
            let link = Link::History { repository: BAD, tag: "v1", digest: &store.v1 };
            store.builder.wrong_link(link, &content)
        })
        .grows("corrupt_link", 1)
        .check();
    }
}

#[test]
fn layer_links_that_are_none() {
    check(no_links().into_iter().map(|(name, content)| {
        case(format!("{name} layer link"), Sweeps::Same, move |store| {
            let link = Link::Layer { repository: BAD, digest: &store.layer };
            store.builder.wrong_link(link, &content)
        })
        .named("corrupt_links", |store| format!("layer {}", store.layer))
        .grows("corrupt_link", 1)
    }));
}

/// Tags an image with a layer that it names by sha512.
fn tag_sha512(store: &mut Store) -> io::Result<()> {
    let content = b"a layer that a manifest names by sha512";
    let canonical = store.builder.blob(content)?;
    store.noted = sha512_digest(content);
    store.builder.layer_alias(BAD, &store.noted, &canonical)?;
    let image = store.builder.image(BAD, &ImageSpec::new("wide", vec![store.noted.clone()]))?;
    store.builder.tag(BAD, "wide", &image)
}

#[test]
fn aliases_that_are_none_pin_their_repository() {
    check(no_links().into_iter().map(|(name, content)| {
        case(format!("{name} alias"), Sweeps::Fewer, move |store| {
            let link = Link::Layer { repository: BAD, digest: &store.noted };
            store.builder.wrong_link(link, &content)
        })
        .prepared(tag_sha512)
        .named("gaps", |store| store.noted.replace(':', "/"))
        .grows("corrupt_link", 1)
    }));
}

#[test]
fn links_that_name_another_digest_than_their_path() {
    check([
        case("revision link", Sweeps::Same, |store| {
            let link = Link::Revision { repository: BAD, digest: &store.v1 };
            store.builder.wrong_link(link, store.old.as_bytes())
        }),
        case("history link", Sweeps::Same, |store| {
            let link = Link::History { repository: BAD, tag: "v1", digest: &store.v1 };
            store.builder.wrong_link(link, store.old.as_bytes())
        }),
        case("layer link", Sweeps::Same, |store| {
            let link = Link::Layer { repository: BAD, digest: &store.layer };
            store.builder.wrong_link(link, store.stale.as_bytes())
        }),
        case("revision link of an untagged manifest", Sweeps::Same, |store| {
            let link = Link::Revision { repository: BAD, digest: &store.old };
            store.builder.wrong_link(link, store.v1.as_bytes())
        }),
    ]);
}

#[test]
fn sha512_references_hold_the_blob_that_their_alias_names() {
    case("sha512", Sweeps::Fewer, |store| {
        store.noted = sha512_digest(b"a linked blob that nothing refers to");
        store.builder.layer_alias(BAD, &store.noted, &store.stale)?;
        let image = store.builder.image(BAD, &ImageSpec::new("wide", vec![store.noted.clone()]))?;
        store.builder.tag(BAD, "wide", &image)
    })
    .check();
}

#[test]
fn tags_without_a_revision_and_revisions_without_a_blob() {
    check([
        case("tag of a manifest that has no link", Sweeps::Same, |store| {
            fs::remove_file(store.builder.link_path(Link::Revision { repository: BAD, digest: &store.v1 }))
        })
        .named("dangling_tags", |_| "\"v1\"".into()),
        case("tag of a digest that is nowhere", Sweeps::Same, |store| {
            store.builder.dangling_tag(BAD, "nowhere", &sha256_digest(b"nowhere"))
        })
        .named("dangling_tags", |_| "\"nowhere\"".into())
        .grows("dangling_link", 2),
        case("tag without a current link", Sweeps::Same, |store| {
            let nowhere = sha256_digest(b"nowhere");
            store.builder.dangling_tag(BAD, "headless", &nowhere)?;
            fs::remove_file(store.builder.link_path(Link::Current { repository: BAD, tag: "headless" }))
        })
        .named("dangling_tags", |_| "\"headless\"".into()),
        case("revision whose blob never was", Sweeps::Same, |store| {
            store.builder.revision_link(BAD, &sha256_digest(b"nowhere"))
        })
        .grows("dangling_link", 1),
        case("tag of a revision whose blob is gone", Sweeps::Same, |store| {
            store.builder.remove_blob_data(&store.noted)
        })
        .prepared(|store| {
            // Its layers are those of v1: what a manifest that is gone needed, nobody can tell.
            let spec = ImageSpec {
                config: Some((b"the layer of v1".to_vec(), "application/json".into())),
                ..ImageSpec::new("twin", vec![store.layer.clone()])
            };
            store.noted = store.builder.image(BAD, &spec)?;
            store.builder.tag(BAD, "twin", &store.noted)
        })
        .named("dangling_tags", |_| "\"twin\"".into()),
        case("image without a layer", Sweeps::Same, |store| {
            store.builder.remove_blob_data(&store.layer)?;
            // A run lists names alone: what has no directory is known to be missing.
            fs::remove_dir(store.builder.blob_path(&store.layer).parent().unwrap())
        })
        .named("broken_images", |store| store.layer.clone()),
    ]);
}

/// Bodies that are no manifest.
fn no_manifests() -> Vec<(&'static str, Vec<u8>)> {
    let manifest = format!(r#"{{"schemaVersion":2,"config":{{"digest":"{}"}}"#, sha256_digest(b"some"));
    let nested = format!("{}{}", r#"{"layers":["#.repeat(200), "]}".repeat(200));
    let large = format!(r#"{{"schemaVersion":2,"pad":"{}"}}"#, "x".repeat(4 << 20));
    vec![
        ("empty", Vec::new()),
        ("truncated", manifest.into_bytes()),
        ("compressed", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\x56\x2a".to_vec()),
        ("not JSON", b"<html>502 Bad Gateway</html>".to_vec()),
        ("larger than 4 MiB", large.into_bytes()),
        ("nested deeply", nested.into_bytes()),
    ]
}

#[test]
fn manifests_of_another_content_pin_their_repository() {
    let other = (r"of another content", br#"{"schemaVersion":2,"layers":[]}"#.to_vec());
    for (name, content) in no_manifests().into_iter().chain([other]) {
        case(format!("manifest {name}"), Sweeps::Fewer, move |store| {
            store.builder.corrupt_blob(&store.v1, &content)
        })
        .named("gaps", |store| store.v1.replacen("sha256:", "", 1))
        .check_with(AT_ONCE[0]);
    }
}

#[test]
fn manifests_that_are_none_pin_their_repository() {
    for (name, content) in no_manifests() {
        case(format!("pushed manifest {name}"), Sweeps::Fewer, move |store| {
            store.noted = store.builder.blob(&content)?;
            store.builder.revision_link(BAD, &store.noted)?;
            store.builder.tag(BAD, "strange", &store.noted)
        })
        .named("gaps", |store| store.noted.replacen("sha256:", "", 1))
        .check_with(AT_ONCE[1]);
    }
}

#[test]
fn a_layer_of_another_content_stays() {
    case("layer", Sweeps::Same, |store| store.builder.corrupt_blob(&store.layer, b"bits that rot")).check();
}

#[test]
fn manifests_of_an_unknown_kind_hold_every_digest_in_them() {
    case("unknown media type", Sweeps::Fewer, |store| {
        let stale = [store.stale.clone()];
        store.noted = store.builder.opaque(BAD, "application/vnd.example.unknown", &stale)?;
        store.builder.tag(BAD, "unknown", &store.noted)
    })
    .named("opaque_manifests", |store| store.noted.clone())
    .check();
}

#[test]
fn indexes_that_name_what_is_not_there() {
    case("sparse index", Sweeps::Same, |store| {
        store.noted = sha256_digest(b"a platform that was not copied");
        let children = [store.v1.clone(), store.noted.clone()];
        let index = store.builder.index(BAD, &children, &IndexSpec::default())?;
        store.builder.tag(BAD, "sparse", &index)
    })
    .named("broken_images", |store| store.noted.clone())
    .grows("broken_image", 4)
    .check();
}

#[test]
fn whole_images_of_unusual_kinds_hold_what_they_need() {
    check([
        case("BuildKit cache", Sweeps::Fewer, |store| {
            let layers = [store.stale.clone()];
            store.builder.buildkit_cache(BAD, "cache", &layers).map(drop)
        }),
        case("foreign layer", Sweeps::Same, |store| {
            let mut spec = ImageSpec::new("foreign", vec![store.layer.clone()]);
            let urls = vec!["https://example.com/layer".into()];
            spec.foreign = vec![Foreign { digest: sha256_digest(b"elsewhere"), size: 9, urls }];
            let image = store.builder.image(BAD, &spec)?;
            store.builder.tag(BAD, "foreign", &image)
        }),
        case("schema 1 with a signature", Sweeps::Fewer, |store| {
            let layers = [store.stale.clone()];
            let manifest = store.builder.schema1(BAD, "one", &layers)?;
            store.builder.signatures(BAD, &manifest, b"a signature").map(drop)
        }),
    ]);
}

fn leave_temporaries(store: &mut Store) -> io::Result<()> {
    let Store { builder, v1, layer, .. } = store;
    let (v1, layer) = (v1.as_str(), layer.as_str());
    for link in [
        Link::Revision { repository: BAD, digest: v1 },
        Link::Current { repository: BAD, tag: "v1" },
        Link::History { repository: BAD, tag: "v1", digest: v1 },
        Link::Layer { repository: BAD, digest: layer },
    ] {
        builder.temporary_leftover(link, b"sha256:12")?;
    }
    Ok(())
}

#[test]
fn temporary_links_are_leftovers_when_they_are_old() {
    case("temporary links", Sweeps::Same, leave_temporaries).grows("abandoned_upload", 4).check();
    let mut store = Store::new(YOUNG);
    let before = store.audit("young temporary links");
    leave_temporaries(&mut store).unwrap();
    let after = store.audit("young temporary links");
    let young = |audit: &Value| audit["classes"]["in_grace"]["objects"].as_u64().unwrap();
    assert_eq!(young(&after), young(&before) + 4);
    let blobs = store.blobs();
    let all = files(&store.root().join("docker")).len();
    store.command("run").expect(0, "young temporary links");
    assert_eq!(store.blobs(), blobs, "everything is young");
    let left = files(&store.root().join("docker")).len();
    assert_eq!(left, all, "a young temporary link may be about to be renamed");
}

#[test]
fn uploads_without_a_start() {
    check([
        case("old cancelled upload", Sweeps::Same, |store| store.builder.upload_cancelled(BAD).map(drop))
            .grows("abandoned_upload", 1),
        case("young cancelled upload", Sweeps::Same, |store| {
            store.builder.at(Duration::from_secs(60)).upload_cancelled(BAD).map(drop)
        })
        .grows("in_grace", 1),
        case("upload that lost its start", Sweeps::Same, |store| {
            let started = System.now().into();
            let name = store.builder.upload(BAD, started, b"some bytes")?;
            fs::remove_file(store.builder.repository_path(BAD).join(format!("_uploads/{name}/startedat")))
        })
        .grows("abandoned_upload", 3),
    ]);
}

#[test]
fn names_like_those_of_the_layout() {
    let tags = ["current", "index", "_layers", "_manifests", "link", "sha256", "data", "_"];
    check(tags.map(|tag| {
        case(format!("tag {tag}"), Sweeps::Fewer, move |store| {
            let image = store.builder.image(BAD, &ImageSpec::new(tag, vec![store.stale.clone()]))?;
            store.builder.tag(BAD, tag, &image)
        })
    }));
    let repositories = ["blobs", "link", "data", "lib", "lib/bad/below", "current", "index", "sha256", "v2"];
    check(repositories.map(|name| {
        case(format!("repository {name}"), Sweeps::Fewer, move |store| {
            let image = store.builder.image(name, &ImageSpec::new(name, vec![store.stale.clone()]))?;
            store.builder.tag(name, "latest", &image)
        })
    }));
}

#[test]
fn a_tag_goes_and_the_one_whose_name_begins_like_it_stays() {
    let mut store = Store::new("");
    let image = store.builder.image(BAD, &ImageSpec::new("alpine", vec![store.layer.clone()])).unwrap();
    store.builder.tag(BAD, "v1-alpine", &image).unwrap();
    store.builder.tag(BAD, "v10", &image).unwrap();
    let policy = DOCUMENT
        .replace("policies:", "classes: { first: { match: [v1] } }\npolicies:")
        .replace("    untagged:", "    tags: { first: { keep: none }, other: { keep: all } }\n    untagged:");
    fs::write(store.directory.path().join("policy.yaml"), policy + AT_ONCE[0]).unwrap();
    let beside = store.beside();
    store.command("run").expect(0, "v1");
    let tags = store.builder.repository_path(BAD).join("_manifests/tags");
    assert!(!tags.join("v1/current/link").exists());
    for tag in ["v1-alpine", "v10"] {
        assert_eq!(fs::read_to_string(tags.join(tag).join("current/link")).unwrap(), image);
        assert_eq!(files(&tags.join(tag)).len(), 2, "{tag} has its history");
    }
    assert!(!store.blobs().contains(&store.v1));
    assert!(store.blobs().contains(&image) && store.blobs().contains(&store.layer));
    assert!(beside.iter().all(|(path, content)| fs::read(path).unwrap() == *content));
}

#[test]
fn keys_that_belong_to_nobody_stay() {
    let foreign = |key: &'static str| {
        case(key, Sweeps::Same, move |store| store.builder.foreign_file(key, b"mine").map(drop))
            .grows("foreign", 1)
    };
    check([
        foreign("notes.txt"),
        foreign("lost+found/file"),
        foreign("docker/registry/notes.txt"),
        foreign("docker/registry/v2/notes/file"),
        foreign("docker/registry/v2/blobs/sha256/0g/file"),
        foreign("docker/registry/v2/repositories/file"),
        foreign("docker/registry/v2/repositories/lib/bad/file"),
        foreign("docker/registry/v2/repositories/lib/bad/_trash/file"),
        foreign("docker/registry/v2/repositories/lib/bad/_uploads/no-uuid/data"),
        foreign("docker/registry/v2/repositories/lib/bad/_manifests/tags/v1/file"),
        case("beside a blob's data", Sweeps::Same, |store| {
            let path = store.builder.blob_path(&store.layer).with_file_name("data.trash");
            fs::write(path, b"mine")
        })
        .grows("foreign", 1),
    ]);
}

#[test]
fn digests_of_unknown_algorithms_pin_what_they_may_mean() {
    check([
        case("blob", Sweeps::Nothing, |store| {
            let key = "docker/registry/v2/blobs/md5/d4/d41d8cd98f00b204e9800998ecf8427e/data";
            store.builder.foreign_file(key, b"mine").map(drop)
        })
        .named("gaps", |_| "blobs/md5".into())
        .grows("foreign", 1),
        case("layer link", Sweeps::Fewer, |store| {
            let key = format!("{REPOSITORIES}/{BAD}/_layers/tarsum.v1+sha256/0123/link");
            store.builder.foreign_file(key, store.stale.as_bytes()).map(drop)
        })
        .named("gaps", |_| "tarsum.v1+sha256".into())
        .grows("foreign", 1),
        case("malformed revision", Sweeps::Fewer, |store| {
            let key = format!("{REPOSITORIES}/{BAD}/_manifests/revisions/sha256/ABCDEF/link");
            store.builder.foreign_file(key, store.stale.as_bytes()).map(drop)
        })
        .named("gaps", |_| "revisions/sha256/ABCDEF".into())
        .grows("foreign", 1),
    ]);
}

#[test]
fn names_that_are_not_utf_8() {
    let file = |place: &'static str| {
        case(format!("file in {place:?}"), Sweeps::Same, move |store| {
            fs::write(store.root().join(place).join(OsStr::from_bytes(b"odd-\xff")), b"mine")
        })
        .grows("foreign", 1)
    };
    let directory = |place: &'static str, sweeps: Sweeps| {
        case(format!("directory in {place:?}"), sweeps, move |store| {
            let path = store.root().join(place).join(OsStr::from_bytes(b"odd-\xff"));
            fs::create_dir(&path)?;
            fs::write(path.join("file"), b"mine")
        })
        .grows("foreign", 1)
    };
    check([
        file(""),
        file("docker/registry/v2/repositories"),
        file("docker/registry/v2/repositories/lib/bad/_manifests/tags/v1"),
        file("docker/registry/v2/repositories/lib/bad/_manifests/tags/v1/current"),
        directory("", Sweeps::Same),
        directory("docker/registry/v2/repositories", Sweeps::Nothing).named("gaps", |_| "odd-".into()),
        directory("docker/registry/v2/repositories/lib/bad/_layers/sha256", Sweeps::Nothing)
            .named("gaps", |_| "odd-".into()),
        directory("docker/registry/v2/repositories/lib/bad/_manifests/tags", Sweeps::Nothing)
            .named("gaps", |_| "odd-".into()),
    ]);
}

#[test]
fn symbolic_links_are_not_followed_and_pin_what_they_may_hide() {
    check([
        case("at the root", Sweeps::Same, |store| store.builder.symlink("latest", "/etc").map(drop))
            .grows("foreign", 1),
        case("repository", Sweeps::Nothing, |store| {
            let elsewhere = store.directory.path().join("elsewhere");
            fs::create_dir(&elsewhere)?;
            store.builder.symlink(format!("{REPOSITORIES}/linked"), elsewhere).map(drop)
        })
        .named("gaps", |_| "repositories/linked".into())
        .grows("foreign", 1),
        case("dangling repository", Sweeps::Nothing, |store| {
            store.builder.symlink(format!("{REPOSITORIES}/lib/linked"), "/nowhere").map(drop)
        })
        .named("gaps", |_| "repositories/lib/linked".into())
        .grows("foreign", 1),
        case("tag", Sweeps::Nothing, |store| {
            store.builder.symlink(format!("{REPOSITORIES}/{BAD}/_manifests/tags/linked"), "v1").map(drop)
        })
        .named("gaps", |_| "tags/linked".into())
        .grows("foreign", 1),
    ]);
    check([case("current link", Sweeps::Fewer, |store| {
        let path = store.builder.link_path(Link::Current { repository: BAD, tag: "v1" });
        replace_by_symlink(&path, store)
    })
    .named("gaps", |_| "v1/current/link".into())
    .grows("foreign", 1)]);
}

/// Moves a file out of the store and leaves a link to it.
fn replace_by_symlink(path: &Path, store: &Store) -> io::Result<()> {
    let elsewhere = store.directory.path().join("moved");
    fs::rename(path, &elsewhere)?;
    std::os::unix::fs::symlink(elsewhere, path)
}

#[test]
fn a_manifest_behind_a_symbolic_link_pins_its_repository() {
    case("manifest", Sweeps::Fewer, |store| replace_by_symlink(&store.builder.blob_path(&store.v1), store))
        .named("gaps", |store| store.v1.replacen("sha256:", "", 1))
        .check();
}

#[test]
fn directories_where_links_belong() {
    check([
        case("current link", Sweeps::Fewer, |store| {
            let path = store.builder.link_path(Link::Current { repository: BAD, tag: "v1" });
            fs::remove_file(&path)?;
            fs::create_dir(path)
        })
        .named("gaps", |_| "v1/current/link".into()),
        case("manifest", Sweeps::Fewer, |store| {
            let path = store.builder.blob_path(&store.v1);
            fs::remove_file(&path)?;
            fs::create_dir(path)
        })
        .named("gaps", |store| store.v1.replacen("sha256:", "", 1)),
    ]);
}

#[track_caller]
fn assert_refused(root: &Path, status: i32, advice: &[&str]) {
    for subcommand in ["audit", "plan", "run"] {
        let arguments = [OsStr::new(subcommand), root.as_os_str(), OsStr::new("--offline")];
        let said = said(binary(), &arguments).expect(status, subcommand);
        assert!(said.stdout.is_empty(), "{}", said.stdout);
        for advice in advice {
            assert!(said.stderr.contains(advice), "{subcommand} {}: {}", root.display(), said.stderr);
        }
    }
}

#[test]
fn a_linked_registry_is_refused_with_advice() {
    for part in ["docker", "docker/registry", "docker/registry/v2", "docker/registry/v2/blobs"] {
        let store = Store::new("");
        let blobs = store.blobs();
        let (path, moved) = (store.root().join(part), store.directory.path().join("moved"));
        fs::rename(&path, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &path).unwrap();
        assert_refused(&store.root(), 3, &["is a symbolic link", "bind mount"]);
        assert_eq!(store.blobs(), blobs);
    }
}

#[test]
fn other_places_are_refused_with_advice() {
    let store = Store::new("");
    let root = store.root();
    assert_refused(&root.join("docker"), 3, &["directory above is the root"]);
    assert_refused(&root.join("docker/registry"), 3, &["two directories above is the root"]);
    assert_refused(&root.join("docker/registry/v2"), 3, &["three directories above is the root"]);
    let other = tempfile::tempdir().unwrap();
    assert_refused(other.path(), 3, &["no registry at", "rootdirectory"]);
    let deeper = other.path().join("data");
    fs::create_dir(&deeper).unwrap();
    fs::rename(root.join("docker"), deeper.join("docker")).unwrap();
    assert_refused(other.path(), 3, &["no registry at", "rootdirectory"]);
    for volume in ["vol-01/chap-01", "content/vol-01/chap-01"] {
        let nexus = tempfile::tempdir().unwrap();
        fs::create_dir_all(nexus.path().join(volume)).unwrap();
        assert_refused(nexus.path(), 3, &["Nexus"]);
    }
    assert_refused(&other.path().join("nowhere"), 4, &["nowhere"]);
}

/// The binary as a user whom permissions hold: root reads everything.
fn as_nobody(directory: &Path) -> Command {
    let copy = directory.join("regsweep");
    // Another process copies it: a file that this one had open for writing may still be open in a child that another
    // test has just started, and cannot be executed then.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_regsweep")).arg(&copy).status();
    assert!(copied.is_ok_and(|status| status.success()));
    if !rustix::process::geteuid().is_root() {
        return Command::new(copy);
    }
    let works = Command::new("setpriv").args(["--reuid=65534", "--clear-groups", "true"]).status();
    assert!(works.is_ok_and(|status| status.success()), "setpriv (util-linux) cannot change the user");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
    command
}

fn give_away(path: &Path) {
    let directory = path.is_dir();
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    fs::set_permissions(path, fs::Permissions::from_mode(if directory { 0o755 } else { 0o644 })).unwrap();
    if directory {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}

type Place = fn(&Store) -> PathBuf;

#[test]
fn what_may_not_be_read_pins_what_it_may_hide() {
    let scratch = tempfile::tempdir().unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let places: [(&str, Place, Sweeps); 7] = [
        ("repositories/lib/bad", |store| store.builder.repository_path(BAD), Sweeps::Nothing),
        ("_manifests", |store| store.builder.repository_path(BAD).join("_manifests"), Sweeps::Nothing),
        ("_layers", |store| store.builder.repository_path(BAD).join("_layers"), Sweeps::Nothing),
        // One tag hides which of its repository's manifests it means, and nothing of others.
        ("tags/v1", |store| store.builder.repository_path(BAD).join("_manifests/tags/v1"), Sweeps::Fewer),
        (
            "v1/current/link",
            |store| store.builder.link_path(Link::Current { repository: BAD, tag: "v1" }),
            Sweeps::Fewer,
        ),
        ("/data", |store| store.builder.blob_path(&store.v1), Sweeps::Fewer),
        ("", |store| store.builder.blob_path(&store.v1).parent().unwrap().into(), Sweeps::Fewer),
    ];
    for (named, place, expected) in places {
        let store = Store::new(AT_ONCE[0]);
        give_away(store.directory.path());
        let (whole, _) = store.swept(named);
        let (before, beside, hidden) = (store.blobs(), store.beside(), place(&store));
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o000)).unwrap();
        let by = |subcommand| store.command_by(as_nobody(scratch.path()), subcommand);
        let what = format!("unreadable {}", hidden.display());
        let audit = by("audit").expect(0, &what).json();
        assert!(audit["problems"]["gaps"].to_string().contains(named), "{what}: {audit:#}");
        let planned = sweeps(&by("plan").expect(0, &what).json());
        assert!(planned.is_subset(&whole) && planned != whole, "{what}: {planned:?}");
        assert!(planned.is_empty() == (expected == Sweeps::Nothing), "{what}: {planned:?}");
        by("run").expect(0, &what);
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o755)).unwrap();
        let lost: BTreeSet<String> = before.difference(&store.blobs()).cloned().collect();
        assert_eq!(lost, planned, "{what}");
        assert!(beside.iter().all(|(path, content)| fs::read(path).unwrap() == *content), "{what}");
    }
}
