//! A registry on its store, with its cache, and the sweeper's command line for it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tempfile::TempDir;

use super::redis::Redis;
use super::{Cache, Combination, Storage, TRASH_LONG, TRASH_SHORT};
use crate::buckets::memory::{self, MemoryServer};
use crate::registry::command::{Finished, POLICY, regsweep_command};
use crate::registry::server::{self, Options, Registry};

/// Where in the bucket the registry begins.
const PREFIX: &str = "some/where";

/// Where the registry keeps its data.
enum Place {
    Directory(PathBuf),
    Bucket(MemoryServer),
}

/// Everything but the registry's process.
pub struct Scene {
    combination: Combination,
    place: Place,
    redis: Option<Redis>,
    directory: TempDir,
}

impl Scene {
    pub fn new(combination: Combination) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("policy.yml"), policy(combination)).expect("the policy");
        let place = match combination.storage {
            Storage::Directory => {
                let root = directory.path().join("store");
                std::fs::create_dir(&root).expect("a directory");
                Place::Directory(root)
            }
            Storage::Bucket => Place::Bucket(MemoryServer::start(memory::Options::default())),
        };
        let redis = (combination.cache == Cache::Redis).then(Redis::start);
        Self { combination, place, redis, directory }
    }

    /// Starts the registry; in memory it remembers nothing then.
    pub fn start_registry(&self) -> Registry {
        let root = format!("/{PREFIX}");
        let storage = match &self.place {
            Place::Directory(root) => server::Storage::Directory(root),
            Place::Bucket(server) => server::Storage::Bucket(server.bucket(), &root),
        };
        let options = Options {
            cache_in_memory: self.combination.cache == Cache::Memory,
            cache_in_redis: self.redis.as_ref().map(|redis| redis.port),
            ..Options::default()
        };
        Registry::start_on(self.combination.version, storage, options)
    }

    /// Empties the Redis, where there is one: what it remembered may have hidden what is missing.
    pub fn forget(&self) -> bool {
        self.redis.as_ref().map(Redis::forget).is_some()
    }

    /// `regsweep run` beside the registry, with the shortest times that are lawful.
    pub fn sweep(&self, registry: &Registry) -> Finished {
        let settle = format!("{}s", super::SETTLE.as_secs());
        let mut options = vec!["run".to_owned(), "--json".to_owned(), "--settle".to_owned(), settle];
        match (&self.redis, self.combination.cache) {
            (Some(redis), _) => options.extend([self.store(), "--redis".to_owned(), redis.url()]),
            (None, Cache::Memory) => {
                let url = format!("http://{}", registry.address());
                options.extend([self.store(), "--registry-url".to_owned(), url]);
            }
            // Nothing is purged unless it is known that nothing answers for it from memory.
            (None, _) => {
                let configuration = registry.configuration();
                let configuration = configuration.to_str().expect("UTF-8").to_owned();
                options.extend(["--registry-config".to_owned(), configuration]);
            }
        }
        self.regsweep(&options)
    }

    /// `regsweep audit`.
    pub fn audit(&self) -> Finished {
        self.regsweep(&["audit".to_owned(), "--json".to_owned(), self.store()])
    }

    fn store(&self) -> String {
        match &self.place {
            Place::Directory(root) => root.to_str().expect("UTF-8").to_owned(),
            Place::Bucket(server) => server.bucket().url(&format!("{PREFIX}/")),
        }
    }

    fn regsweep(&self, options: &[String]) -> Finished {
        let mut command = regsweep_command(options);
        if let Place::Bucket(server) = &self.place {
            server.forget_requests();
            server.bucket().lead(&mut command);
        }
        command.arg("-p").arg(self.directory.path().join("policy.yml"));
        command.env("XDG_CACHE_HOME", self.directory.path().join("cache"));
        Finished::new(&command.output().expect("regsweep runs"))
    }

    /// Every key of the store below its root with its content, regsweep's own too.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        match &self.place {
            Place::Directory(root) => {
                let mut found = Vec::new();
                let mut pending = vec![root.clone()];
                while let Some(directory) = pending.pop() {
                    for entry in std::fs::read_dir(&directory).expect("a directory") {
                        let path = entry.expect("an entry").path();
                        if path.is_dir() {
                            pending.push(path);
                        } else {
                            let key =
                                path.strip_prefix(root).expect("a path below").to_string_lossy().into_owned();
                            found.push((key, std::fs::read(&path).expect("a file")));
                        }
                    }
                }
                found
            }
            Place::Bucket(server) => {
                let objects = server.snapshot().into_iter();
                let below = |key: String| key.strip_prefix(&format!("{PREFIX}/")).map(str::to_owned);
                objects.filter_map(|(key, stored)| Some((below(key)?, stored.bytes.to_vec()))).collect()
            }
        }
    }

    /// The digests whose data is where the registry looks for it.
    pub fn data(&self) -> BTreeSet<String> {
        let keys = self.files().into_iter().map(|(key, _)| key);
        let digest = |key: String| {
            let rest = key.strip_prefix("docker/registry/v2/blobs/sha256/")?.strip_suffix("/data")?;
            Some(format!("sha256:{}", rest.split_once('/')?.1))
        };
        keys.filter_map(digest).collect()
    }

    /// Copies the store to where a person can look at it.
    pub fn keep(&self, name: &str) -> Option<PathBuf> {
        let target = PathBuf::from(std::env::var_os("REGSWEEP_SOAK_KEEP")?).join(name);
        for (key, bytes) in self.files() {
            let path = target.join("store").join(key);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            std::fs::write(path, bytes).expect("a file");
        }
        Some(target)
    }
}

fn policy(combination: Combination) -> String {
    let trash = match combination.cache {
        // What a registry remembers of manifests in memory goes with its process only, so that their trash must outlive
        // it, which no run of the test does.
        Cache::Memory => TRASH_LONG,
        Cache::None | Cache::Redis => TRASH_SHORT,
    };
    let text = POLICY
        .replace("grace: 0", &format!("grace: {}s", super::GRACE.as_secs()))
        .replace("trash: { keep: 7d }", &format!("trash: {{ keep: {trash} }}"))
        .replace("match: [\"kept-*\"]", "match: [\"keep-*\"]");
    format!("{text}referrers: {{ orphaned_after: 3s }}\nuploads: {{ abandoned_after: 5s }}\n")
}
