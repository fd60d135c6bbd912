//! What the property, crash and bad input tests share: a picture of a store, a reader of its own that says what an image
//! needs, and short ways to run a cycle. None of it shares code with the product's reader or its mark.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{LazyLock, OnceLock};
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};
use regsweep::clock::{Clock as _, Manual, System};
use regsweep::inventory::Depth;
use regsweep::layout::Distribution;
use regsweep::pipeline::{self, Job, Survey};
use regsweep::plan::limits::Limits;
use regsweep::plan::{Mode, Plan, Refusal};
use regsweep::policy::Policy;
use regsweep::store::{Access, Location, ReadStore, WriteStore};
use regsweep::sweep::cache::Caches;
use regsweep::sweep::restore::{self, Restored, Wanted};
use regsweep::sweep::{Executed, Means};
use serde_json::Value;

/// Where a registry keeps everything.
pub const STORAGE: &str = "docker/registry/v2/";

/// Where regsweep keeps its own.
pub const STATE: &str = ".regsweep/";

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thing {
    /// A regular file's content.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link, a socket, a device.
    Other,
}

/// Everything below a root, by its path relative to it; names that are not UTF-8 are made readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture(pub BTreeMap<String, (Thing, SystemTime)>);

impl Picture {
    /// Takes the picture of all there is.
    pub fn of(root: &Path) -> Self {
        let mut found = BTreeMap::new();
        let mut pending = vec![root.to_path_buf()];
        while let Some(directory) = pending.pop() {
            for entry in std::fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let meta = path.symlink_metadata().unwrap();
                let thing = if meta.is_dir() {
                    pending.push(path.clone());
                    Thing::Directory
                } else if meta.is_file() {
                    Thing::File(std::fs::read(&path).unwrap())
                } else {
                    Thing::Other
                };
                let key = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
                found.insert(key, (thing, meta.modified().unwrap()));
            }
        }
        Self(found)
    }

    /// The files outside regsweep's own state, with their content.
    pub fn files(&self) -> Files {
        let files = self.0.iter().filter_map(|(key, (thing, modified))| match thing {
            Thing::File(bytes) if !key.starts_with(STATE) => Some((key.clone(), (bytes.clone(), *modified))),
            _ => None,
        });
        Files(files.collect())
    }
}

/// The regular files of a store with content and modification time, regsweep's own state left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(pub BTreeMap<String, (Vec<u8>, SystemTime)>);

/// `sha256:<hex>` and `sha512:<hex>` to the path that stands for it.
fn path_of(digest: &str) -> String {
    digest.replacen(':', "/", 1)
}

/// The key of a blob's data.
pub fn data_key(digest: &str) -> String {
    let (algorithm, hex) = digest.split_once(':').unwrap_or(("sha256", digest));
    format!("{STORAGE}blobs/{algorithm}/{}/{hex}/data", hex.get(..2).unwrap_or(hex))
}

/// The key of a manifest's link.
pub fn revision_key(repository: &str, digest: &str) -> String {
    format!("{STORAGE}repositories/{repository}/_manifests/revisions/{}/link", path_of(digest))
}

/// The key of a layer's link.
pub fn layer_key(repository: &str, digest: &str) -> String {
    format!("{STORAGE}repositories/{repository}/_layers/{}/link", path_of(digest))
}

/// The directory of a tag, with a slash at its end.
pub fn tag_directory(repository: &str, tag: &str) -> String {
    format!("{STORAGE}repositories/{repository}/_manifests/tags/{tag}/")
}

/// A whole digest of a known algorithm.
pub fn is_digest(text: &str) -> bool {
    let length = match text.split_once(':') {
        Some(("sha256", hex)) if hex.len() == 64 => 64,
        Some(("sha512", hex)) if hex.len() == 128 => 128,
        _ => return false,
    };
    text[7..].len() == length && text[7..].bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What a manifest says, as far as it matters here.
enum Said {
    /// The digests of what it refers to, and of what it is about.
    References(Vec<String>, Option<String>),
    /// The digests in a document of an unknown kind, which may be a manifest.
    Unknown(Vec<String>),
    /// Nobody can tell.
    Nothing,
}

/// Every digest anywhere in a document that nobody knows.
fn mentions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if is_digest(text) => found.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|one| mentions(one, found)),
        Value::Object(map) => map.values().for_each(|one| mentions(one, found)),
        _ => {}
    }
}

fn say(bytes: &[u8]) -> Said {
    let Ok(manifest) = serde_json::from_slice::<Value>(bytes) else { return Said::Nothing };
    let fields = ["config", "layers", "manifests", "blobs", "fsLayers"];
    let told = |field: &str| !manifest[field].is_null();
    if !fields.iter().any(|field| told(field)) || !(told("schemaVersion") || told("mediaType")) {
        let mut mentioned = Vec::new();
        mentions(&manifest, &mut mentioned);
        return Said::Unknown(mentioned);
    }
    let mut references = Vec::new();
    for field in fields {
        let list = match &manifest[field] {
            Value::Array(list) => list.as_slice(),
            Value::Null => &[],
            one => std::slice::from_ref(one),
        };
        for descriptor in list {
            let digest = descriptor["digest"].as_str().or_else(|| descriptor["blobSum"].as_str());
            references.extend(digest.map(str::to_owned));
        }
    }
    Said::References(references, manifest["subject"]["digest"].as_str().map(str::to_owned))
}

impl Files {
    /// Reads the files below `root`.
    pub fn of(root: &Path) -> Self {
        Picture::of(root).files()
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|(bytes, _)| std::str::from_utf8(bytes).ok())
    }

    /// The keys that begin with `prefix`, without it.
    pub fn below<'f>(&'f self, prefix: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.range(prefix.to_owned()..).map_while(move |(key, _)| key.strip_prefix(prefix))
    }

    /// The data of all blobs: digest and size.
    pub fn blobs(&self) -> BTreeMap<String, u64> {
        let blobs = format!("{STORAGE}blobs/");
        let found = self.below(&blobs).filter_map(|rest| {
            let mut parts = rest.strip_suffix("/data")?.split('/');
            let (algorithm, _, hex) = (parts.next()?, parts.next()?, parts.next()?);
            Some(format!("{algorithm}:{hex}")).filter(|digest| is_digest(digest))
        });
        found.map(|digest| (digest.clone(), self.0[&data_key(&digest)].0.len() as u64)).collect()
    }

    /// All tags: repository and name.
    pub fn tags(&self) -> Vec<(String, String)> {
        let repositories = format!("{STORAGE}repositories/");
        let found = self.below(&repositories).filter_map(|rest| {
            let (repository, tag) = rest.strip_suffix("/current/link")?.split_once("/_manifests/tags/")?;
            Some((repository.to_owned(), tag.to_owned()))
        });
        found.collect()
    }

    /// All manifests of all repositories: repository and digest.
    pub fn revisions(&self) -> Vec<(String, String)> {
        let repositories = format!("{STORAGE}repositories/");
        let found = self.below(&repositories).filter_map(|rest| {
            let (repository, path) = rest.strip_suffix("/link")?.split_once("/_manifests/revisions/")?;
            let digest = path.replacen('/', ":", 1);
            is_digest(&digest).then(|| (repository.to_owned(), digest))
        });
        found.collect()
    }

    /// What a tag points to, when its link says so.
    pub fn target(&self, repository: &str, tag: &str) -> Option<String> {
        let text = self.text(&format!("{}current/link", tag_directory(repository, tag)))?;
        is_digest(text).then(|| text.to_owned())
    }

    /// The keys of everything that a tag needs to be pulled, its own link included.
    pub fn image_of_tag(&self, repository: &str, tag: &str) -> BTreeSet<String> {
        let directory = tag_directory(repository, tag);
        let mut keys = BTreeSet::from([format!("{directory}current/link")]);
        match self.target(repository, tag) {
            Some(digest) => {
                keys.insert(format!("{directory}index/{}/link", path_of(&digest)));
                keys.extend(self.image(repository, &digest));
            }
            None => keys.extend(self.everything(repository)),
        }
        keys.retain(|key| self.0.contains_key(key));
        keys
    }

    /// The keys of everything that pulling `root` from `repository` needs, of what is about it, and of what that needs.
    pub fn image(&self, repository: &str, root: &str) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut pending = vec![(root.to_owned(), true)];
        while let Some((digest, named)) = pending.pop() {
            if !seen.insert(digest.clone()) {
                continue;
            }
            let revision = revision_key(repository, &digest);
            let listed = self.0.contains_key(&revision);
            keys.extend([revision, layer_key(repository, &digest), data_key(&digest)]);
            pending.extend(self.stands_for(&digest).into_iter().map(|canonical| (canonical, false)));
            let Some((bytes, _)) = self.0.get(&data_key(&digest)) else { continue };
            if !listed && !named && !matches!(say(bytes), Said::References(..)) {
                continue;
            }
            let damaged = regsweep::synth::sha256_digest(bytes) != digest;
            match say(bytes) {
                Said::References(references, _) | Said::Unknown(references) if !damaged => {
                    pending.extend(references.into_iter().map(|digest| (digest, false)));
                }
                _ if listed => keys.extend(self.everything(repository)),
                _ => {}
            }
            pending.extend(self.about(repository, &digest).into_iter().map(|digest| (digest, true)));
            for tag in self.followers(repository, &digest) {
                let directory = tag_directory(repository, &tag);
                keys.insert(format!("{directory}current/link"));
                pending.extend(self.target(repository, &tag).map(|digest| (digest, true)));
            }
            keys.extend(self.signatures(repository, &digest));
        }
        keys.retain(|key| self.0.contains_key(key));
        keys
    }

    /// The blobs that an alias such as a sha512 stands for, whichever repository says so.
    fn stands_for(&self, digest: &str) -> Vec<String> {
        if digest.starts_with("sha256:") {
            return Vec::new();
        }
        let link = format!("/_layers/{}/link", path_of(digest));
        let found = self.0.keys().filter(|key| key.ends_with(&link));
        found.filter_map(|key| self.text(key)).filter(|text| is_digest(text)).map(str::to_owned).collect()
    }

    /// Manifests of `repository` whose subject is `digest`.
    fn about(&self, repository: &str, digest: &str) -> Vec<String> {
        let prefix = format!("{STORAGE}repositories/{repository}/_manifests/revisions/");
        let listed = self.below(&prefix).filter_map(|rest| rest.strip_suffix("/link"));
        let digests = listed.map(|path| path.replacen('/', ":", 1)).filter(|found| is_digest(found));
        let subject = |found: &String| match self.0.get(&data_key(found)).map(|(bytes, _)| say(bytes)) {
            Some(Said::References(_, subject)) => subject.as_deref() == Some(digest),
            _ => false,
        };
        digests.filter(subject).collect()
    }

    /// Tags of `repository` that name `digest`: the fallback tag and cosign's.
    fn followers(&self, repository: &str, digest: &str) -> Vec<String> {
        let name = digest.replacen(':', "-", 1);
        let prefix = format!("{STORAGE}repositories/{repository}/_manifests/tags/{name}");
        let found = self.below(&prefix).filter_map(|rest| rest.strip_suffix("/current/link"));
        found.filter(|suffix| !suffix.contains('/')).map(|suffix| format!("{name}{suffix}")).collect()
    }

    fn signatures(&self, repository: &str, digest: &str) -> Vec<String> {
        let revision = revision_key(repository, digest);
        let prefix = format!("{}/signatures/", revision.strip_suffix("/link").unwrap());
        let found = self.below(&prefix).filter_map(|rest| Some((rest, rest.strip_suffix("/link")?)));
        found
            .flat_map(|(rest, path)| [format!("{prefix}{rest}"), data_key(&path.replacen('/', ":", 1))])
            .collect()
    }

    /// Every link of a repository and the data behind each: what stays when nobody can tell what is needed.
    pub fn everything(&self, repository: &str) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        for part in ["_layers/", "_manifests/"] {
            let prefix = format!("{STORAGE}repositories/{repository}/{part}");
            for rest in self.below(&prefix).filter(|rest| rest.ends_with("/link")) {
                let key = format!("{prefix}{rest}");
                let mut parts = rest.rsplit('/').skip(1);
                if let (Some(hex), Some(algorithm)) = (parts.next(), parts.next()) {
                    keys.insert(data_key(&format!("{algorithm}:{hex}")));
                }
                if let Some(text) = self.text(&key).filter(|text| is_digest(text) && part == "_layers/") {
                    keys.insert(data_key(text));
                }
                keys.insert(key);
            }
        }
        keys.retain(|key| self.0.contains_key(key));
        keys
    }

    /// Asserts that what `keys` name is here as it was in `before`, byte for byte.
    pub fn assert_holds(&self, before: &Self, keys: &BTreeSet<String>, what: &str) {
        for key in keys {
            let now = self.0.get(key).map(|(bytes, _)| bytes);
            assert!(now.is_some(), "{what}: {key} is lost");
            assert!(now == before.0.get(key).map(|(bytes, _)| bytes), "{what}: {key} is changed");
        }
    }

    /// Asserts that both hold the same files with the same content, times aside.
    pub fn assert_same_content(&self, other: &Self, what: &str) {
        let (ours, theirs): (BTreeSet<&String>, BTreeSet<&String>) =
            (self.0.keys().collect(), other.0.keys().collect());
        assert!(
            ours == theirs,
            "{what}: {:?}",
            ours.symmetric_difference(&theirs).take(8).collect::<Vec<_>>()
        );
        self.assert_holds(other, &other.0.keys().cloned().collect(), what);
    }
}

/// One runtime for all tests: the pipeline leaves its threads to block on the disk.
static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
});

/// Runs a future to its end.
pub fn wait<F: Future<Output: Send> + Send>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

/// The present, from which ages of generated stores count.
pub fn present() -> SystemTime {
    System.now().into()
}

/// A clock that stands so many days after the present. What was written a moment ago is that old by it.
pub fn days_later(days: i64) -> Manual {
    Manual::at(System.now() + SignedDuration::from_hours(24 * days))
}

/// A policy from its text.
pub fn policy(text: &str) -> Policy {
    Policy::parse(text, "policy.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The policy's limits, for a clock that stands elsewhere than the disk's.
pub fn limits(policy: Option<&Policy>) -> Limits {
    let limits = policy.map_or_else(Limits::default, Limits::of);
    Limits { clock_skew: SignedDuration::from_hours(24 * 2000), ..limits }
}

/// A job with these limits.
pub fn job(policy: Option<&Policy>, mode: Mode) -> Job<'_> {
    Job {
        policy,
        limits: limits(policy),
        mode,
        manifest_cache: None,
        purge_ban: None,
        database: regsweep::evidence::Database::default(),
        records: regsweep::plan::RecordMode::default(),
    }
}

/// The place of a store.
pub fn location(root: &Path) -> Location {
    Location::Directory(root.to_path_buf())
}

/// What a look at a store says would go.
pub fn look(root: &Path, job: &Job<'_>, clock: &Manual) -> (ReadStore, Survey, Plan) {
    let store = ReadStore::open(&location(root), &Access::DEFAULT).unwrap();
    let survey = wait(pipeline::survey(&store, &Distribution, job, Depth::Names, clock)).unwrap();
    let plan = survey.plan(&store, &Distribution, job);
    (store, survey, plan)
}

/// What a run on a store works with, beside no registry.
pub fn means<'m>(store: &'m WriteStore, clock: &'m Manual) -> Means<'m> {
    static CACHES: OnceLock<Caches> = OnceLock::new();
    Means { store, layout: &Distribution, caches: CACHES.get_or_init(Caches::default), clock }
}

/// What became of one cycle.
#[derive(Debug)]
pub struct Cycle {
    /// The run's name.
    pub run: String,
    /// What was planned, whether or not it was carried out.
    pub plan: Plan,
    /// What was done, or why nothing was.
    pub result: Result<Executed, Vec<Refusal>>,
}

impl Cycle {
    /// What was done.
    pub fn executed(&self) -> &Executed {
        self.result.as_ref().unwrap_or_else(|refusals| panic!("refused: {refusals:#?}"))
    }
}

/// Plans, checks and sweeps, as `run` does.
pub fn cycle(root: &Path, job: &Job<'_>, clock: &Manual) -> Cycle {
    cycle_on(&WriteStore::open(&location(root), &Access::DEFAULT).unwrap(), job, clock)
}

/// As [`cycle`], on a store that is open.
pub fn cycle_on(store: &WriteStore, job: &Job<'_>, clock: &Manual) -> Cycle {
    // Two runs of one process at one moment would share a name.
    clock.advance(std::time::Duration::from_millis(1));
    wait(async {
        let session = pipeline::begin(&means(store, clock), &job.limits).await.unwrap();
        let survey = pipeline::survey(store.read(), &Distribution, job, Depth::Names, clock).await.unwrap();
        let plan = survey.plan(store.read(), &Distribution, job);
        let result = match survey.check(plan.clone(), store.read(), job) {
            Err(refused) => Err(refused.refusals),
            Ok(checked) => Ok(pipeline::sweep(
                &session,
                &session.run,
                checked,
                &survey,
                &means(store, clock),
                job,
                || false,
            )
            .await
            .unwrap()),
        };
        let run = session.run.clone();
        session.lease.release().await.unwrap();
        Cycle { run, plan, result }
    })
}

/// Brings back everything that a run took.
pub fn undo(root: &Path, run: &str, clock: &Manual) -> Restored {
    restore(root, &Wanted::Run(run.to_owned()), clock)
}

/// Brings something back.
pub fn restore(root: &Path, wanted: &Wanted, clock: &Manual) -> Restored {
    restore_on(&WriteStore::open(&location(root), &Access::DEFAULT).unwrap(), wanted, clock)
}

/// As [`restore`], on a store that is open.
pub fn restore_on(store: &WriteStore, wanted: &Wanted, clock: &Manual) -> Restored {
    clock.advance(std::time::Duration::from_millis(1));
    wait(async {
        let session = pipeline::begin(&means(store, clock), &limits(None)).await.unwrap();
        let now: Timestamp = clock.now();
        let (_, restored) =
            restore::restore(&session.lease, store, &Distribution, wanted, &session.run, now).await.unwrap();
        session.lease.release().await.unwrap();
        restored
    })
}
