//! What a registry remembers of blobs that have gone behind its back, and how it is made to forget: the stale cache is
//! shown first, each time, so that a registry which never was wrong fails the test.

#![expect(clippy::disallowed_methods, reason = "takes away what a sweep would, behind the registry's back")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use regsweep::config::registry::RegistryConfig;
use regsweep::oci::{Digest, RepositoryName};
use regsweep::sweep::cache::{CacheError, Caches, Evicted, ReadOnly};
use tempfile::TempDir;

use super::client::Client;
use super::content::{self, Descriptor, Manifest, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use super::on_both_versions;
use super::server::{Options, REDIS_PASSWORD, Registry, Version, free_port};
use super::sweep::{files, registry_directory};

on_both_versions!(
    memory_answers_for_a_layer_that_has_gone_until_it_is_evicted,
    redis_answers_for_a_layer_that_has_gone_until_it_is_evicted,
    redis_acknowledges_a_manifest_and_does_not_store_it_until_the_digest_is_evicted,
    a_registry_leads_to_a_redis_that_is_not_reached,
    a_manifest_that_memory_remembers_is_no_child_of_an_index_once_it_is_evicted,
    every_replica_forgets_for_itself,
    a_registry_that_does_not_delete_cannot_be_made_to_forget,
    a_read_only_registry_cannot_be_made_to_forget,
    whether_a_registry_takes_writes_is_found_out_without_writing,
);

const REPOSITORY: &str = "team/app";

/// A Redis of its own, stopped when dropped.
struct Redis {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Redis {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(arguments: &[&str]) -> Self {
        for _ in 0..5 {
            let port = free_port();
            let directory = tempfile::tempdir().expect("a directory for Redis");
            let child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--requirepass", REDIS_PASSWORD])
                .args(["--save", "", "--appendonly", "no", "--logfile", "log"])
                .args(arguments)
                .current_dir(directory.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("redis-server starts: tests/install installs it");
            let mut server = Self { child, port, directory };
            if server.is_ready() {
                return server;
            }
        }
        panic!("no Redis started in five attempts, each on another port");
    }

    /// `false` when it ended: another process took the port.
    fn is_ready(&mut self) -> bool {
        for _ in 0..200 {
            if self.try_connect().is_ok() {
                return true;
            }
            if self.child.try_wait().expect("its state").is_some() {
                return false;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        panic!("Redis did not answer in 10 s:\n{log}");
    }

    fn url(&self) -> String {
        self.url_with(&format!(":{REDIS_PASSWORD}@"), 1)
    }

    fn url_with(&self, credentials: &str, database: u32) -> String {
        format!("redis://{credentials}127.0.0.1:{}/{database}", self.port)
    }

    fn try_connect(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(self.url())?.get_connection()
    }

    fn keys(&self) -> Vec<String> {
        let mut connection = self.try_connect().expect("a connection");
        redis::cmd("KEYS").arg("*").query(&mut connection).expect("keys")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An image of one layer.
struct Image {
    blobs: BTreeMap<String, Vec<u8>>,
    layer: String,
    manifest: Manifest,
}

impl Image {
    fn new(seed: &str) -> Self {
        let layer = content::bytes(seed, 10_000);
        let config = content::configuration(seed, 1);
        let describe =
            |media_type, bytes: &[u8]| Descriptor::new(media_type, &content::sha256(bytes), bytes.len());
        let (layer_descriptor, config_descriptor) =
            (describe(OCI_LAYER, &layer), describe(OCI_CONFIG, &config));
        let manifest =
            content::image(OCI_MANIFEST, &config_descriptor, std::slice::from_ref(&layer_descriptor), None);
        let blobs = [(config_descriptor.digest, config), (layer_descriptor.digest.clone(), layer)].into();
        Self { blobs, layer: layer_descriptor.digest, manifest }
    }

    /// Pushes as clients do: what the registry answers for is not uploaded. Answers what was.
    fn push(&self, client: &Client) -> Vec<String> {
        let mut uploaded = Vec::new();
        for (digest, bytes) in &self.blobs {
            if client.blob_status(REPOSITORY, digest) == 404 {
                client.push_blob(REPOSITORY, bytes);
                uploaded.push(digest.clone());
            }
        }
        client.put_manifest(REPOSITORY, "latest", self.manifest.media_type, &self.manifest.bytes).expect(201);
        uploaded
    }

    fn check(&self, client: &Client) {
        assert!(client.manifest(REPOSITORY, "latest").expect(200).body == self.manifest.bytes);
        for (digest, bytes) in &self.blobs {
            assert!(client.blob(REPOSITORY, digest).expect(200).body == *bytes, "{digest}");
        }
    }
}

fn of_repository(root: &Path, below: &str) -> PathBuf {
    registry_directory(root).join("repositories").join(REPOSITORY).join(below)
}

fn remove_layer_link(root: &Path, digest: &str) {
    let hex = content::hex_of(digest);
    fs::remove_dir_all(of_repository(root, &format!("_layers/sha256/{hex}"))).expect("a layer link");
}

fn remove_data(root: &Path, digest: &str) {
    let hex = content::hex_of(digest);
    let directory = registry_directory(root).join("blobs/sha256").join(&hex[..2]).join(hex);
    fs::remove_dir_all(directory).expect("data");
}

fn remove_manifest(root: &Path, digest: &str) {
    let hex = content::hex_of(digest);
    fs::remove_dir_all(of_repository(root, "_manifests/tags/latest")).expect("a tag");
    fs::remove_dir_all(of_repository(root, &format!("_manifests/revisions/sha256/{hex}"))).expect("a link");
    remove_data(root, digest);
}

fn has_data(root: &Path, digest: &str) -> bool {
    let hex = content::hex_of(digest);
    registry_directory(root).join("blobs/sha256").join(&hex[..2]).join(hex).join("data").exists()
}

fn configuration(registry: &Registry) -> RegistryConfig {
    let text = fs::read_to_string(registry.configuration()).expect("config.yml");
    RegistryConfig::read(&text, "config.yml", &BTreeMap::new()).expect("a configuration")
}

fn url(registry: &Registry) -> String {
    format!("http://{}", registry.address())
}

fn caches(registry: &Registry, urls: &[String]) -> Caches {
    Caches::of(Some(&configuration(registry)), None, urls, false).expect("caches")
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(future)
}

/// Evicts the link of `digest` in the one repository, and its data.
fn evict(caches: &Caches, digest: &str) -> Result<Evicted, CacheError> {
    let digest: Digest = digest.parse().expect("a digest");
    wait(caches.evict(&[(RepositoryName::found(REPOSITORY).expect("a name"), digest)], &[digest]))
}

/// A registry that has served an image, whose layer has then been taken away, and which still answers for it.
fn with_a_stale_layer(version: Version, root: &Path, options: Options) -> (Registry, Image) {
    let registry = Registry::start(version, root, options);
    let image = Image::new("image");
    image.push(&registry.client());
    image.check(&registry.client());
    remove_layer_link(root, &image.layer);
    remove_data(root, &image.layer);
    assert_eq!(registry.client().blob_status(REPOSITORY, &image.layer), 200, "the cache is not stale");
    assert!(image.push(&registry.client()).is_empty(), "the cache is not stale");
    (registry, image)
}

fn in_memory() -> Options {
    Options { cache_in_memory: true, ..Options::default() }
}

fn check_that_it_is_pushed_again(registry: &Registry, image: &Image) {
    assert_eq!(registry.client().blob_status(REPOSITORY, &image.layer), 404);
    assert_eq!(image.push(&registry.client()), std::slice::from_ref(&image.layer));
    image.check(&registry.client());
}

fn memory_answers_for_a_layer_that_has_gone_until_it_is_evicted(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let (registry, image) = with_a_stale_layer(version, root.path(), in_memory());
    assert!(!caches(&registry, &[]).purge_ban().unwrap().manifests_only);
    let caches = caches(&registry, &[url(&registry)]);
    assert!(caches.purge_ban().unwrap().manifests_only);

    assert_eq!(evict(&caches, &image.layer).unwrap(), Evicted { redis_entries: 0, registry_entries: 1 });
    // What is forgotten is not asked to be forgotten again.
    assert_eq!(evict(&caches, &image.layer).unwrap(), Evicted::default());

    check_that_it_is_pushed_again(&registry, &image);
}

fn redis_answers_for_a_layer_that_has_gone_until_it_is_evicted(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let redis = Redis::start();
    let options = Options { cache_in_redis: Some(redis.port), ..Options::default() };
    let (registry, image) = with_a_stale_layer(version, root.path(), options);
    // What Redis remembers outlives the registry.
    registry.stop();
    let registry = Registry::start(version, root.path(), options);
    assert_eq!(registry.client().blob_status(REPOSITORY, &image.layer), 200, "the cache is not stale");
    let caches = caches(&registry, &[]);
    assert_eq!(caches.purge_ban(), None);

    // The digest's hash, the repository's hash and the member of the repository's set.
    assert_eq!(evict(&caches, &image.layer).unwrap(), Evicted { redis_entries: 3, registry_entries: 0 });
    assert_eq!(evict(&caches, &image.layer).unwrap(), Evicted::default());
    assert!(!redis.keys().iter().any(|key| key.contains(&image.layer)), "{:?}", redis.keys());

    check_that_it_is_pushed_again(&registry, &image);
}

fn redis_acknowledges_a_manifest_and_does_not_store_it_until_the_digest_is_evicted(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let redis = Redis::start();
    let options = Options { cache_in_redis: Some(redis.port), ..Options::default() };
    let registry = Registry::start(version, root.path(), options);
    let image = Image::new("image");
    let digest = &image.manifest.digest;
    image.push(&registry.client());
    image.check(&registry.client());
    remove_manifest(root.path(), digest);
    image.push(&registry.client());
    assert!(!has_data(root.path(), digest), "the cache is not stale: the manifest was stored");

    evict(&caches(&registry, &[]), digest).unwrap();

    image.push(&registry.client());
    assert!(has_data(root.path(), digest));
    image.check(&registry.client());
}

/// As with sentinels: no address of Redis is of use, but the registry has one.
fn a_registry_leads_to_a_redis_that_is_not_reached(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let redis = Redis::start();
    let options = Options { cache_in_redis: Some(redis.port), ..Options::default() };
    let (registry, image) = with_a_stale_layer(version, root.path(), options);
    let text = fs::read_to_string(registry.configuration()).expect("config.yml");
    let text = text.replace("redis: { addr", "redis: { mastername: m, addr");
    let config = RegistryConfig::read(&text, "config.yml", &BTreeMap::new()).expect("a configuration");
    assert!(matches!(Caches::of(Some(&config), None, &[], true), Err(CacheError::RedisTopology { .. })));
    let caches = Caches::of(Some(&config), None, &[url(&registry)], false).unwrap();
    assert_eq!(evict(&caches, &image.layer).unwrap(), Evicted { redis_entries: 0, registry_entries: 1 });
    check_that_it_is_pushed_again(&registry, &image);
}

/// 3.x remembers manifests by repository too, and would take an index over one that has gone. 2.8 does not.
fn a_manifest_that_memory_remembers_is_no_child_of_an_index_once_it_is_evicted(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let registry = Registry::start(version, root.path(), in_memory());
    let image = Image::new("image");
    image.push(&registry.client());
    image.check(&registry.client());
    remove_manifest(root.path(), &image.manifest.digest);
    let index = content::index(OCI_INDEX, &[image.manifest.descriptor()]);
    let push = |tag| registry.client().put_manifest(REPOSITORY, tag, index.media_type, &index.bytes);
    push("before").expect(if version == Version::V2 { 400 } else { 201 });

    evict(&caches(&registry, &[url(&registry)]), &image.manifest.digest).unwrap();

    push("after").expect(400);
}

fn every_replica_forgets_for_itself(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let other = Registry::start(version, root.path(), in_memory());
    let registry = Registry::start(version, root.path(), in_memory());
    let image = Image::new("image");
    image.push(&registry.client());
    image.check(&other.client());
    remove_layer_link(root.path(), &image.layer);
    remove_data(root.path(), &image.layer);
    let answers = |registry: &Registry| registry.client().blob_status(REPOSITORY, &image.layer);
    assert_eq!((answers(&registry), answers(&other)), (200, 200), "the caches are not stale");

    evict(&caches(&registry, &[url(&registry)]), &image.layer).unwrap();
    assert_eq!((answers(&registry), answers(&other)), (404, 200));
    let both = caches(&registry, &[url(&registry), url(&other)]);
    assert_eq!(evict(&both, &image.layer).unwrap().registry_entries, 1);
    assert_eq!((answers(&registry), answers(&other)), (404, 404));

    // A replica that is not reached may answer for what has gone.
    other.stop();
    let error = evict(&both, &image.layer).unwrap_err();
    assert!(matches!(error, CacheError::Unreachable { .. }), "{error}");
}

fn a_registry_that_does_not_delete_cannot_be_made_to_forget(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let options = Options { delete_disabled: true, ..in_memory() };
    let (registry, image) = with_a_stale_layer(version, root.path(), options);
    let error = evict(&caches(&registry, &[url(&registry)]), &image.layer).unwrap_err();
    assert!(matches!(error, CacheError::DeleteDisabled { .. }), "{error}");
    assert!(error.to_string().contains("delete: { enabled: true }"), "{error}");
}

fn a_read_only_registry_cannot_be_made_to_forget(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let image = Image::new("image");
    image.push(&Registry::start(version, root.path(), Options::default()).client());
    let options = Options { read_only: true, ..in_memory() };
    let registry = Registry::start(version, root.path(), options);
    image.check(&registry.client());
    remove_layer_link(root.path(), &image.layer);
    assert_eq!(registry.client().blob_status(REPOSITORY, &image.layer), 200, "the cache is not stale");
    let error = evict(&caches(&registry, &[url(&registry)]), &image.layer).unwrap_err();
    assert!(matches!(error, CacheError::ReadOnlyRegistry { .. }), "{error}");
}

fn whether_a_registry_takes_writes_is_found_out_without_writing(version: Version) {
    let root = tempfile::tempdir().expect("a directory");
    let writing = Registry::start(version, root.path(), Options::default());
    Image::new("image").push(&writing.client());
    let reading = Registry::start(version, root.path(), Options { read_only: true, ..Options::default() });
    let stopped = Registry::start(version, root.path(), Options::default());
    let urls = [url(&writing), url(&reading), url(&stopped)];
    let caches = Caches::of(None, None, &urls, false).unwrap();
    stopped.stop();
    let before = files(root.path());

    let found = wait(caches.probe_read_only()).unwrap();

    let expected = urls.into_iter().zip([ReadOnly::TakesWrites, ReadOnly::ReadOnly, ReadOnly::Stopped]);
    assert_eq!(found, expected.collect::<Vec<_>>());
    assert!(before == files(root.path()), "the question left something in the store");
}

#[test]
fn more_links_than_fit_into_one_batch_leave_redis_empty() {
    let redis = Redis::start();
    let mut connection = redis.try_connect().expect("a connection");
    let mut pipeline = redis::Pipeline::new();
    let mut links = Vec::new();
    for number in 0..1_700 {
        let (repository, digest) =
            (format!("team/app-{}", number % 7), Digest::of(format!("{number}").as_bytes()));
        let set = format!("repository::{repository}::blobs");
        pipeline.cmd("SADD").arg(&set).arg(digest.to_string()).ignore();
        for key in [format!("{set}::{digest}"), format!("blobs::{digest}")] {
            pipeline.cmd("HSET").arg(key).arg("mediatype").arg("m").ignore();
        }
        links.push((RepositoryName::found(&repository).expect("a name"), digest));
    }
    pipeline.cmd("SET").arg("another's").arg("key").ignore();
    pipeline.query::<()>(&mut connection).expect("keys");
    let data: Vec<Digest> = links.iter().map(|(_, digest)| *digest).collect();
    let caches = Caches::of(None, Some(&redis.url()), &[], false).unwrap();

    assert_eq!(wait(caches.evict(&links, &data)).unwrap().redis_entries, 3 * 1_700);

    assert_eq!(redis.keys(), ["another's"]);
}

fn refused_by_redis(url: &str) -> CacheError {
    let caches = Caches::of(None, Some(url), &[], false).unwrap();
    assert!(!format!("{caches:?}{}", caches.describe()).contains("sesame"));
    let error = evict(&caches, &content::sha256(b"x")).expect_err("an error");
    let mut shown = format!("{error} {error:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        write!(shown, " {error} {error:?}").expect("a string takes all");
        source = error.source();
    }
    assert!(!shown.contains("sesame"), "{shown}");
    assert!(shown.contains("127.0.0.1:"), "{shown}");
    error
}

#[test]
fn a_redis_that_is_not_reached_is_an_error() {
    let error = refused_by_redis(&format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{}/1", free_port()));
    assert!(matches!(error, CacheError::RedisConnect { .. }), "{error}");
}

#[test]
fn a_redis_that_refuses_the_password_is_an_error_without_the_password() {
    let redis = Redis::start();
    for credentials in ["", ":close-sesame@", "somebody:close-sesame@"] {
        for database in [0, 1] {
            let error = refused_by_redis(&redis.url_with(credentials, database));
            assert!(matches!(error, CacheError::RedisRefused { .. }), "{credentials}{database}: {error}");
        }
    }
}

#[test]
fn a_replica_of_redis_is_an_error() {
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &free_port().to_string()]);
    let error = refused_by_redis(&replica.url());
    assert!(matches!(error, CacheError::RedisNotMaster { .. }), "{error}");
}

#[test]
fn a_redis_that_does_not_answer_is_not_waited_for() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let error = refused_by_redis(&format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{port}/1"));
    assert!(matches!(error, CacheError::RedisConnect { .. }), "{error}");
}

/// A certificate of an authority that only the registry's configuration names.
#[test]
fn redis_behind_tls_is_cleared_with_the_certificates_of_the_configuration() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-days", "2", "-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", &key, "-out", &certificate])
        .stderr(Stdio::null())
        .status()
        .expect("openssl: tests/install installs it");
    assert!(made.success());
    let port = free_port();
    let redis = Redis::start_with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &certificate,
    ]);
    let config = |tls: &str| {
        let text = format!(
            "version: 0.1\nstorage: {{ filesystem: {{}}, cache: {{ blobdescriptor: redis }} }}\nredis:\n  \
             addrs: [127.0.0.1:{port}]\n  password: {REDIS_PASSWORD}\n  db: 1\n  tls: {{ {tls} }}\n"
        );
        RegistryConfig::read(&text, "config.yml", &BTreeMap::new()).expect("a configuration")
    };
    let digest = content::sha256(b"x");
    let mut connection = redis.try_connect().expect("a connection");
    redis::cmd("HSET")
        .arg(format!("blobs::{digest}"))
        .arg("size")
        .arg(1)
        .query::<u64>(&mut connection)
        .expect("a key");
    let client = format!("certificate: {certificate}, key: {key}");

    let config_with = config(&format!("{client}, rootcas: [{certificate}]"));
    let with = Caches::of(Some(&config_with), None, &[], false).unwrap();
    assert_eq!(evict(&with, &digest).unwrap().redis_entries, 1);

    let config_without = config(&client);
    let without = Caches::of(Some(&config_without), None, &[], false).unwrap();
    let error = evict(&without, &digest).unwrap_err();
    assert!(matches!(error, CacheError::RedisConnect { .. }), "{error}");
}
