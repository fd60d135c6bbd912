//! A registry process on a loopback port, stopped by its process id when dropped.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::client::Client;
use crate::buckets::bucket::{Bucket, Provider, REGION};

/// The header by which a test knows that its own registry answers, not another one that took the port first.
pub const INSTANCE_HEADER: &str = "x-registry-instance";

/// What every Redis of the tests asks for.
pub const REDIS_PASSWORD: &str = "open-sesame";

static INSTANCES: AtomicU32 = AtomicU32::new(0);

/// Which distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 2.8, from Debian's package `docker-registry`, or from `REGSWEEP_REGISTRY_2`.
    V2,
    /// 3.x, from `REGSWEEP_REGISTRY_3`.
    V3,
}

impl Version {
    /// The registry's binary. Its absence fails the test: a suite that skips silently shows nothing.
    pub fn binary(self) -> PathBuf {
        let (variable, packaged) = match self {
            Version::V2 => ("REGSWEEP_REGISTRY_2", Some("/usr/bin/docker-registry")),
            Version::V3 => ("REGSWEEP_REGISTRY_3", None),
        };
        let path = std::env::var_os(variable).map(PathBuf::from).or(packaged.map(PathBuf::from));
        match path {
            Some(path) if path.is_file() => path,
            Some(path) => {
                panic!("no registry at {}: tests/run installs it, or set {variable}", path.display())
            }
            None => panic!("set {variable} to the path of a distribution 3.x registry (see tests/run)"),
        }
    }

    /// A command of the registry's binary, free of the environment that configures or breaks it.
    pub fn command(self) -> Command {
        let mut command = Command::new(self.binary());
        for (name, _) in std::env::vars_os() {
            // With AWS_CA_BUNDLE set, Debian's build panics at start as soon as a bucket is configured.
            if name.to_string_lossy().starts_with("REGISTRY_") || name == "AWS_CA_BUNDLE" {
                command.env_remove(name);
            }
        }
        command.env("OTEL_TRACES_EXPORTER", "none").stdin(Stdio::null());
        command
    }
}

/// Where a registry keeps what it is given.
#[derive(Debug, Clone, Copy)]
pub enum Storage<'a> {
    /// In a directory.
    Directory(&'a Path),
    /// In a bucket of an S3 server, below a root directory that begins with a slash and does not end with one, or is
    /// empty.
    Bucket(&'a Bucket, &'a str),
}

impl Storage<'_> {
    /// The driver and its parameters, as YAML.
    fn driver(self) -> String {
        match self {
            Self::Directory(root) => format!("filesystem: {{ rootdirectory: \"{}\" }}", root.display()),
            Self::Bucket(bucket, root) => {
                assert_eq!(bucket.provider(), Provider::S3, "a registry of the tests has no other driver");
                format!(
                    "s3: {{ region: {REGION}, regionendpoint: \"{}\", bucket: \"{}\", accesskey: \"{}\", \
                     secretkey: \"{}\", rootdirectory: \"{root}\", secure: false, forcepathstyle: true }}
  redirect: {{ disable: true }}",
                    bucket.endpoint(),
                    bucket.name(),
                    bucket.variable("AWS_ACCESS_KEY_ID"),
                    bucket.variable("AWS_SECRET_ACCESS_KEY"),
                )
            }
        }
    }
}

/// Whether each request is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLog {
    #[default]
    Off,
    On,
}

/// How the registry is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// `storage.maintenance.readonly`.
    pub read_only: bool,
    /// `storage.cache.blobdescriptor: inmemory`; no cache otherwise.
    pub cache_in_memory: bool,
    /// `storage.cache.blobdescriptor: redis`, on this loopback port, with [`REDIS_PASSWORD`].
    pub cache_in_redis: Option<u16>,
    /// `storage.delete.enabled: false`.
    pub delete_disabled: bool,
    /// `log.accesslog.disabled`.
    pub access_log: AccessLog,
    /// Posts its events here.
    pub notify: Option<Notify>,
}

/// A notification endpoint on a loopback port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notify {
    /// The port; the path is `/events`.
    pub port: u16,
    /// Sent as `Authorization: Bearer`.
    pub token: &'static str,
}

/// A running registry.
pub struct Registry {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Registry {
    /// Starts a registry of `version` on the store at `root`, and waits until it answers.
    pub fn start(version: Version, root: &Path, options: Options) -> Self {
        Self::start_on(version, Storage::Directory(root), options)
    }

    /// Starts a registry of `version` on any storage, and waits until it answers.
    pub fn start_on(version: Version, storage: Storage<'_>, options: Options) -> Self {
        for _ in 0..5 {
            if let Some(registry) = Self::try_start(version, storage, options) {
                return registry;
            }
        }
        panic!("no registry started in five attempts, each on another port");
    }

    /// A client of this registry.
    pub fn client(&self) -> Client {
        Client::new(self.port)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The configuration file it runs with.
    pub fn configuration(&self) -> PathBuf {
        self.directory.path().join("config.yml")
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).expect("the registry's log")
    }

    /// Stops it and gives its port back.
    pub fn stop(self) {
        drop(self);
    }

    /// `None` when another process took the port between finding it and binding it.
    fn try_start(version: Version, storage: Storage<'_>, options: Options) -> Option<Self> {
        let instance = format!("{}-{}", std::process::id(), INSTANCES.fetch_add(1, Ordering::Relaxed));
        let port = free_port();
        let directory = tempfile::tempdir().expect("a directory for the registry");
        let configuration = directory.path().join("config.yml");
        fs::write(&configuration, configuration_text(version, storage, port, &instance, options))
            .expect("config.yml");
        let log = File::create(directory.path().join("log")).expect("a log file");
        let child = version
            .command()
            .arg("serve")
            .arg(&configuration)
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the registry starts");
        let mut registry = Self { child, port, directory };
        registry.wait_until_ready(&instance).then_some(registry)
    }

    fn wait_until_ready(&mut self, instance: &str) -> bool {
        let client = self.client();
        for _ in 0..600 {
            let answer = client.ping();
            if answer.as_ref().and_then(|answer| answer.header(INSTANCE_HEADER)) == Some(instance) {
                return true;
            }
            if let Some(status) = self.child.try_wait().expect("the registry's state") {
                let log = self.log();
                assert!(log.contains("address already in use"), "the registry ended with {status}:\n{log}");
                return false;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("the registry did not answer in 30 s:\n{}", self.log());
    }
}

impl Drop for Registry {
    #[expect(clippy::print_stderr, reason = "the test harness shows what a failed test printed")]
    fn drop(&mut self) {
        // Every link and blob is synced before it is acknowledged: a kill loses nothing that a client was told.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            // What the registry says of a request it refused is often the reason of a failed test.
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            for line in &lines[lines.len().saturating_sub(5)..] {
                eprintln!("registry: {}", line.chars().take(300).collect::<String>());
            }
        }
    }
}

/// A loopback port that nobody listens on, for now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn configuration_text(
    version: Version,
    storage: Storage<'_>,
    port: u16,
    instance: &str,
    options: Options,
) -> String {
    let (cache, redis) = match (options.cache_in_redis, options.cache_in_memory) {
        (Some(port), _) => {
            let addr = match version {
                Version::V2 => format!("addr: \"127.0.0.1:{port}\""),
                Version::V3 => format!("addrs: [\"127.0.0.1:{port}\"]"),
            };
            let redis = format!("redis: {{ {addr}, password: {REDIS_PASSWORD}, db: 1 }}\n");
            ("\n  cache: { blobdescriptor: redis }", redis)
        }
        (None, true) => ("\n  cache: { blobdescriptor: inmemory }", String::new()),
        (None, false) => ("", String::new()),
    };
    let notifications = options.notify.map_or_else(String::new, |Notify { port, token }| {
        format!(
            "notifications:
  endpoints:
    - name: regsweep
      url: http://127.0.0.1:{port}/events
      headers: {{ Authorization: [\"Bearer {token}\"] }}
      timeout: 5s
      threshold: 3
      backoff: 1s
"
        )
    });
    format!(
        "version: 0.1
log: {{ level: warn, accesslog: {{ disabled: {no_access_log} }} }}
storage:
  {driver}
  delete: {{ enabled: {delete_enabled} }}
  maintenance:
    uploadpurging: {{ enabled: false }}
    readonly: {{ enabled: {read_only} }}{cache}
http:
  addr: 127.0.0.1:{port}
  secret: not-a-secret
  headers: {{ X-Registry-Instance: [\"{instance}\"] }}
compatibility: {{ schema1: {{ enabled: true }} }}
validation: {{ manifests: {{ urls: {{ allow: [\"^https://vendor.example/\"] }} }} }}
{redis}{notifications}",
        driver = storage.driver(),
        read_only = options.read_only,
        delete_enabled = !options.delete_disabled,
        no_access_log = options.access_log == AccessLog::Off,
    )
}
