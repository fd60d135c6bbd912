//! Real servers. Each is started once in a test process, when a test first asks for it, and ends with the process.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::HttpRequestBody;
use serde_json::json;
use ureq::http::Request;

use super::bucket::{AZURE_ACCOUNT, AZURE_KEY, Bucket};
use super::http;
use super::process::Process;

const ACCESS_KEY: &str = "AKIATEST";
const SECRET_KEY: &str = "testsecret";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// S3. Lists directory by directory; `start-after` leaves out what is below its name.
    SeaweedFs,
    /// S3.
    Moto,
    /// Azure Blob Storage.
    Azurite,
    /// Google Cloud Storage: `get`, `head`, `list` and `delete` of `object_store`. Objects are put by [`Bucket::put_all`].
    FakeGcs,
}

/// All of them.
pub const ALL: [Kind; 4] = [Kind::SeaweedFs, Kind::Moto, Kind::Azurite, Kind::FakeGcs];

impl Kind {
    fn command(self) -> &'static str {
        match self {
            Self::SeaweedFs => "weed",
            Self::Moto => "moto_server",
            Self::Azurite => "azurite-blob",
            Self::FakeGcs => "fake-gcs-server",
        }
    }

    /// What answers as soon as the server can be used.
    fn ready(self, endpoint: &str) -> bool {
        match self {
            Self::SeaweedFs => http::status(&format!("{endpoint}/healthz")) == Some(200),
            Self::Moto => http::status(&format!("{endpoint}/moto-api/")) == Some(200),
            // There is nothing without a signature but a refusal.
            Self::Azurite => http::status(endpoint).is_some(),
            Self::FakeGcs => http::status(&format!("{endpoint}/storage/v1/b?project=test")) == Some(200),
        }
    }

    /// The command line on these ports, with its files in `directory`.
    fn start(self, program: &Path, directory: &Path, ports: &[u16; 8]) -> Command {
        let mut command = Command::new(program);
        let port = ports[0];
        match self {
            Self::SeaweedFs => {
                let identity = json!({ "identities": [{
                    "name": "test",
                    "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }],
                    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
                }]});
                let identities = directory.join("identities.json");
                fs::write(&identities, identity.to_string()).expect("the identities");
                command.args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
                command.args(["-volume.max=1000", "-master.volumeSizeLimitMB=64"]);
                command.args(["-s3.port.iceberg=0", "-s3.port.lance=0"]);
                command.arg(format!("-dir={}", directory.display()));
                command.arg(format!("-s3.config={}", identities.display()));
                let names = [
                    "s3.port",
                    "s3.port.grpc",
                    "master.port",
                    "master.port.grpc",
                    "volume.port",
                    "volume.port.grpc",
                    "filer.port",
                    "filer.port.grpc",
                ];
                command.args(names.iter().zip(ports).map(|(name, port)| format!("-{name}={port}")));
                // Each bucket has its own volumes: one is enough for it, and a hundred buckets fit.
                command.env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
            }
            Self::Moto => {
                command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            }
            Self::Azurite => {
                command.args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
                command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--location"]);
                command.arg(directory);
            }
            Self::FakeGcs => {
                let address = format!("127.0.0.1:{port}");
                command.args(["-scheme", "http", "-host", "127.0.0.1", "-backend", "memory"]);
                command.args(["-port", &port.to_string(), "-public-host", &address]);
                command.args(["-external-url", &format!("http://{address}")]);
                let account = json!({
                    "gcs_base_url": format!("http://{address}"),
                    "disable_oauth": true,
                    "client_email": "",
                    "private_key": "",
                    "private_key_id": "",
                });
                fs::write(directory.join("account.json"), account.to_string()).expect("the account");
            }
        }
        command
    }
    /// The sockets that it leaves behind, wherever its files are.
    fn sockets(self, ports: &[u16; 8]) -> Vec<String> {
        if self != Self::SeaweedFs {
            return Vec::new();
        }
        let services =
            ["s3", "s3-grpc", "master", "master-grpc", "volume", "volume-grpc", "filer", "filer-grpc"];
        let named = services.iter().zip(ports);
        named.map(|(service, port)| format!("/tmp/seaweedfs-{service}-{port}.sock")).collect()
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    endpoint: String,
    process: Process,
}

/// The server of this test process, started when it was not.
///
/// # Panics
/// When it is not installed or does not start: a suite that skips silently shows nothing.
pub fn server(kind: Kind) -> &'static Server {
    static SERVERS: [OnceLock<Result<Server, String>>; 4] = [const { OnceLock::new() }; 4];
    let server = SERVERS[kind as usize].get_or_init(|| Server::start(kind));
    server.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// A new bucket on the server of this kind.
pub fn bucket(kind: Kind) -> Bucket {
    server(kind).bucket()
}

impl Server {
    fn start(kind: Kind) -> Result<Self, String> {
        let program = find(kind.command())?;
        let mut said = String::new();
        for _ in 0..3 {
            match Self::try_start(kind, &program) {
                Ok(server) => return Ok(server),
                // Another process may have taken a port between finding and binding it.
                Err(log) => said = log,
            }
        }
        Err(format!("{kind:?} does not start:\n{said}"))
    }

    fn try_start(kind: Kind, program: &Path) -> Result<Self, String> {
        let directory = tempfile::Builder::new().prefix("regsweep-server-").tempdir().expect("a directory");
        let directory = directory.keep();
        let ports = free_ports();
        let endpoint = format!("http://127.0.0.1:{}", ports[0]);
        let command = kind.start(program, &directory, &ports);
        let process = Process::start(&command, directory, &kind.sockets(&ports));
        let server = Self { kind, endpoint, process };
        for _ in 0..1200 {
            if !server.process.runs() {
                return Err(server.process.log());
            }
            if kind.ready(&server.endpoint) {
                return Ok(server);
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(format!("no answer in 60 s\n{}", server.process.log()))
    }

    /// Makes a new bucket.
    pub fn bucket(&self) -> Bucket {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}", MADE.fetch_add(1, Ordering::Relaxed));
        match self.kind {
            Kind::SeaweedFs | Kind::Moto => self.s3_bucket(&name),
            Kind::Azurite => self.container(&name),
            Kind::FakeGcs => self.gcs_bucket(&name),
        }
    }

    fn s3_bucket(&self, name: &str) -> Bucket {
        let bucket = Bucket::s3(name, &self.endpoint, ACCESS_KEY, SECRET_KEY);
        let (status, text) = bucket.ask_s3("PUT", "");
        assert_eq!(status, 200, "{text}");
        bucket
    }

    fn container(&self, name: &str) -> Bucket {
        let key = AzureAccessKey::try_new(AZURE_KEY).expect("a key");
        let credential = AzureCredential::AccessKey(key);
        let url = format!("{}/{AZURE_ACCOUNT}/{name}?restype=container", self.endpoint);
        let request = Request::put(url).header("content-length", "0");
        let mut request = request.body(HttpRequestBody::empty()).expect("a request");
        AzureAuthorizer::new(&credential, AZURE_ACCOUNT).try_authorize(&mut request).expect("a signature");
        http::send(request.map(|_| Vec::new()), 201);
        Bucket::azure(name, &self.endpoint)
    }

    fn gcs_bucket(&self, name: &str) -> Bucket {
        let request = Request::post(format!("{}/storage/v1/b?project=test", self.endpoint));
        let body = json!({ "name": name }).to_string().into_bytes();
        http::send(request.header("content-type", "application/json").body(body).expect("a request"), 200);
        let account = self.process.directory().join("account.json");
        Bucket::gcs(name, &self.endpoint, account.to_str().expect("a path"))
    }
}

/// Where `tests/install` puts the servers, or else wherever the PATH has them.
pub fn find(command: &str) -> Result<PathBuf, String> {
    let cache = || {
        let of_user = std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
        let cache = of_user.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        Some(cache.join("regsweep-tests"))
    };
    let installed = std::env::var_os("REGSWEEP_TEST_SERVERS").map(PathBuf::from).or_else(cache);
    let installed = installed.map(|directory| directory.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories = installed.into_iter().chain(std::env::split_paths(&path));
    directories
        .find_map(|directory| Some(directory.join(command)).filter(|file| file.is_file()))
        .ok_or_else(|| format!("there is no {command} here: tests/install installs it, or tests/run does"))
}

/// Ports that were free a moment ago, all different.
fn free_ports() -> [u16; 8] {
    let listeners = [(); 8].map(|()| TcpListener::bind(("127.0.0.1", 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}
