//! Blobs and manifests: bytes that are the same in every run, and documents of every kind that registries hold.

use std::fmt::Write as _;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
pub const DOCKER_FOREIGN_LAYER: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
pub const BUILDKIT_CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";
pub const COSIGN_LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// `sha256:<hex>` of some bytes.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// `sha512:<hex>` of some bytes.
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(bytes)))
}

/// The hexadecimal part of a digest.
pub fn hex_of(digest: &str) -> &str {
    digest.split_once(':').expect("algorithm:hex").1
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

/// `size` bytes that look random and follow from `seed`.
pub fn bytes(seed: &str, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 32);
    let mut counter = 0_u32;
    while bytes.len() < size {
        bytes.extend_from_slice(&Sha256::digest(format!("{seed}/{counter}")));
        counter += 1;
    }
    bytes.truncate(size);
    bytes
}

/// An image configuration that names itself, for `layers` layers.
pub fn configuration(seed: &str, layers: usize) -> Vec<u8> {
    let history: Vec<Value> =
        (0..layers).map(|layer| json!({ "created_by": format!("layer {layer}") })).collect();
    let diff_ids: Vec<String> =
        (0..layers).map(|layer| sha256(&bytes(&format!("{seed}/diff{layer}"), 32))).collect();
    let document = json!({
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": { "Labels": { "seed": seed } },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": history,
    });
    serde_json::to_vec(&document).expect("JSON")
}

/// A reference to a blob or manifest.
#[derive(Debug, Clone)]
pub struct Descriptor {
    pub media_type: &'static str,
    pub digest: String,
    pub size: usize,
    pub urls: Vec<String>,
}

impl Descriptor {
    pub fn new(media_type: &'static str, digest: &str, size: usize) -> Self {
        Self { media_type, digest: digest.to_owned(), size, urls: Vec::new() }
    }

    fn json(&self) -> Value {
        let mut value = json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.size });
        if !self.urls.is_empty() {
            value["urls"] = json!(self.urls);
        }
        value
    }
}

/// A manifest's bytes with what the registry needs to know of them.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub media_type: &'static str,
    pub digest: String,
    pub bytes: Vec<u8>,
    /// The blobs that a pull of this manifest fetches from the registry.
    pub blobs: Vec<String>,
}

impl Manifest {
    fn new(media_type: &'static str, document: &Value, blobs: Vec<String>) -> Self {
        let bytes = serde_json::to_vec_pretty(document).expect("JSON");
        Self { media_type, digest: sha256(&bytes), bytes, blobs }
    }

    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type, &self.digest, self.bytes.len())
    }
}

/// An image: config and layers; with a subject, a referrer.
pub fn image(
    media_type: &'static str,
    config: &Descriptor,
    layers: &[Descriptor],
    subject: Option<&Descriptor>,
) -> Manifest {
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.json(),
        "layers": layers.iter().map(Descriptor::json).collect::<Vec<_>>(),
    });
    if let Some(subject) = subject {
        document["artifactType"] = json!("application/vnd.example.sbom");
        document["subject"] = subject.json();
    }
    let stored = layers.iter().filter(|layer| layer.urls.is_empty());
    let blobs = std::iter::once(config).chain(stored).map(|blob| blob.digest.clone()).collect();
    Manifest::new(media_type, &document, blobs)
}

/// An index or manifest list over `entries`, each for another architecture.
pub fn index(media_type: &'static str, entries: &[Descriptor]) -> Manifest {
    let entries: Vec<Value> = entries
        .iter()
        .enumerate()
        .map(|(number, entry)| {
            let mut value = entry.json();
            value["platform"] = json!({ "architecture": format!("arch{number}"), "os": "linux" });
            value
        })
        .collect();
    let document = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": entries });
    Manifest::new(media_type, &document, Vec::new())
}

/// BuildKit's registry cache as it was written by default until its image-manifest form: an index whose `manifests`
/// are layers and a cache configuration, all of them blobs.
pub fn buildkit_cache(config: &Descriptor, layers: &[Descriptor]) -> Manifest {
    let entries: Vec<Value> = layers.iter().chain([config]).map(Descriptor::json).collect();
    let document = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries });
    let blobs = layers.iter().chain([config]).map(|blob| blob.digest.clone()).collect();
    Manifest::new(OCI_INDEX, &document, blobs)
}
