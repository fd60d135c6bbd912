//! skopeo as a real client, and the OCI layouts it pushes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::command::Finished;
use super::content::{self, Manifest};

/// Runs skopeo, trusting every image and speaking plain HTTP. Its absence fails the test.
pub fn skopeo(arguments: &[&str]) -> Finished {
    let output = Command::new("skopeo")
        .args(["--insecure-policy", "--override-os", "linux", "--override-arch", "amd64"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("skopeo: {error}; tests/run installs it"));
    Finished::new(&output)
}

/// Pushes from a layout to `address/repository:tag`, all of a multi-architecture image, unchanged.
pub fn push(layout: &Layout, name: &str, to: &str) {
    let source = format!("oci:{}:{name}", layout.directory.display());
    let target = format!("docker://{to}");
    let options = ["copy", "--all", "--preserve-digests", "--dest-tls-verify=false"];
    skopeo(&[&options[..], &[&source, &target]].concat()).expect(0);
}

/// Pulls all of an image to a directory.
pub fn pull(from: &str, directory: &Path) -> Finished {
    let source = format!("docker://{from}");
    let target = format!("dir:{}", directory.display());
    skopeo(&["copy", "--all", "--preserve-digests", "--src-tls-verify=false", &source, &target])
}

/// An OCI image layout (image-spec 1.0) on disk.
pub struct Layout {
    directory: PathBuf,
    entries: Vec<Value>,
}

impl Layout {
    /// An empty layout in a directory that exists.
    pub fn new(directory: &Path) -> Self {
        fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("oci-layout");
        fs::create_dir_all(directory.join("blobs/sha256")).expect("blobs");
        Self { directory: directory.to_owned(), entries: Vec::new() }
    }

    /// Adds a blob.
    pub fn blob(&self, bytes: &[u8]) {
        let path = self.directory.join("blobs/sha256").join(content::hex_of(&content::sha256(bytes)));
        fs::write(path, bytes).expect("a blob");
    }

    /// Adds a manifest that another one refers to.
    pub fn manifest(&self, manifest: &Manifest) {
        self.blob(&manifest.bytes);
    }

    /// Adds a manifest under a name.
    pub fn named(&mut self, name: &str, manifest: &Manifest) {
        self.manifest(manifest);
        self.entries.push(json!({
            "mediaType": manifest.media_type,
            "digest": manifest.digest,
            "size": manifest.bytes.len(),
            "annotations": { "org.opencontainers.image.ref.name": name },
        }));
        let index = json!({ "schemaVersion": 2, "manifests": self.entries });
        fs::write(self.directory.join("index.json"), index.to_string()).expect("index.json");
    }
}
