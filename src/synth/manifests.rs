//! Images, indexes and the other manifests a registry takes.

use std::collections::BTreeMap;
use std::io;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::json;

use super::builder::{Builder, timestamp};
use super::ledger::Manifest;

/// Which specification's media types a manifest uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// OCI image specification 1.0 and 1.1; compact JSON, as `BuildKit` writes it.
    #[default]
    Oci,
    /// Docker image manifest version 2, schema 2; three spaces of indentation, as Docker writes it.
    Docker,
}

impl Format {
    /// The media type of an image manifest.
    pub fn manifest(self) -> &'static str {
        match self {
            Format::Oci => "application/vnd.oci.image.manifest.v1+json",
            Format::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    /// The media type of an index or manifest list.
    pub fn index(self) -> &'static str {
        match self {
            Format::Oci => "application/vnd.oci.image.index.v1+json",
            Format::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    pub(super) fn config(self) -> &'static str {
        match self {
            Format::Oci => "application/vnd.oci.image.config.v1+json",
            Format::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    pub(super) fn layer(self) -> &'static str {
        match self {
            Format::Oci => "application/vnd.oci.image.layer.v1.tar+gzip",
            Format::Docker => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
    }

    fn foreign(self) -> &'static str {
        match self {
            Format::Oci => "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            Format::Docker => "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        }
    }
}

/// What a machine must be to run an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Platform {
    /// `amd64`, `arm64`, ... as Go names them.
    pub architecture: String,
    /// `linux`, `windows`, ...
    pub os: String,
}

impl Platform {
    /// A platform of `linux`.
    pub fn linux(architecture: &str) -> Self {
        Self { architecture: architecture.to_owned(), os: "linux".to_owned() }
    }
}

/// A layer that is fetched from elsewhere and never stored here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Its digest.
    pub digest: String,
    /// Its size in bytes.
    pub size: u64,
    /// Where to fetch it.
    pub urls: Vec<String>,
}

/// An image to write.
#[derive(Debug, Clone)]
pub struct ImageSpec {
    /// The media types.
    pub format: Format,
    /// Goes into the generated config, so that two names make two images.
    pub name: String,
    /// The config's bytes and media type, instead of a generated one.
    pub config: Option<(Vec<u8>, String)>,
    /// When the config says the image was built; default: the builder's modification time.
    pub created: Option<SystemTime>,
    /// The layers' digests, lowest first: blobs of this builder, by sha256 or by sha512 after
    /// [`Builder::layer_alias`]. They get layer links where they have none.
    pub layers: Vec<String>,
    /// The layers' media type instead of the format's own.
    pub layer_media_type: Option<String>,
    /// Layers from elsewhere, below the others.
    pub foreign: Vec<Foreign>,
    /// The manifest this one refers to (OCI 1.1).
    pub subject: Option<String>,
    /// What the artifact is (OCI 1.1).
    pub artifact_type: Option<String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Goes into the config and into indexes that list the image.
    pub platform: Platform,
}

impl ImageSpec {
    /// An OCI image for linux/amd64 with these layers.
    pub fn new(name: impl Into<String>, layers: Vec<String>) -> Self {
        Self {
            format: Format::Oci,
            name: name.into(),
            config: None,
            created: None,
            layers,
            layer_media_type: None,
            foreign: Vec::new(),
            subject: None,
            artifact_type: None,
            annotations: BTreeMap::new(),
            platform: Platform::linux("amd64"),
        }
    }
}

/// What an index says beside its children.
#[derive(Debug, Clone, Default)]
pub struct IndexSpec {
    /// The media types.
    pub format: Format,
    /// The manifest this one refers to (OCI 1.1).
    pub subject: Option<String>,
    /// What the artifact is (OCI 1.1).
    pub artifact_type: Option<String>,
    /// Annotations of the index.
    pub annotations: BTreeMap<String, String>,
}

/// A descriptor, its fields in the order the specification lists them.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// The body of an image manifest or an index: each writes the fields it has.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body {
    pub schema_version: u8,
    pub media_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<Vec<Descriptor>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifests: Option<Vec<Descriptor>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

fn indented(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))?;
    Ok(bytes)
}

impl Builder {
    pub(super) fn descriptor(&self, media_type: &str, digest: &str) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: digest.to_owned(),
            size: self.size(digest),
            ..Descriptor::default()
        }
    }

    pub(super) fn link_missing(&mut self, repository: &str, digest: &str) -> io::Result<()> {
        if self.ledger.repository(repository).layers.contains(digest) {
            return Ok(());
        }
        self.layer_link(repository, digest)
    }

    /// Stores a manifest's bytes, links the revision, and remembers what it leads to.
    pub(super) fn manifest(&mut self, repository: &str, bytes: &[u8], entry: Manifest) -> io::Result<String> {
        let digest = self.blob(bytes)?;
        self.ledger.manifests.insert(digest.clone(), entry);
        self.revision_link(repository, &digest)?;
        Ok(digest)
    }

    fn config(&mut self, spec: &ImageSpec) -> io::Result<(String, String)> {
        if let Some((bytes, media_type)) = &spec.config {
            return Ok((self.blob(bytes)?, media_type.clone()));
        }
        let created = timestamp(spec.created.unwrap_or_else(|| self.modified()))?;
        let config = json!({
            "architecture": spec.platform.architecture,
            "os": spec.platform.os,
            "created": created,
            "config": { "Labels": { "name": spec.name } },
            "rootfs": { "type": "layers", "diff_ids": spec.layers },
        });
        Ok((self.blob(&serde_json::to_vec(&config)?)?, spec.format.config().to_owned()))
    }

    /// Pushes an image by digest: config, layer links, manifest, revision link. Answers the manifest's digest.
    pub fn image(&mut self, repository: &str, spec: &ImageSpec) -> io::Result<String> {
        let (config, config_media_type) = self.config(spec)?;
        let layer_media_type = spec.layer_media_type.as_deref().unwrap_or(spec.format.layer());
        let foreign = spec.foreign.iter().map(|layer| Descriptor {
            media_type: spec.format.foreign().to_owned(),
            digest: layer.digest.clone(),
            size: layer.size,
            urls: layer.urls.clone(),
            ..Descriptor::default()
        });
        let stored = spec.layers.iter().map(|digest| self.descriptor(layer_media_type, digest));
        let body = Body {
            schema_version: 2,
            media_type: spec.format.manifest().to_owned(),
            artifact_type: spec.artifact_type.clone(),
            config: Some(self.descriptor(&config_media_type, &config)),
            layers: Some(foreign.chain(stored).collect()),
            subject: spec.subject.as_ref().map(|digest| self.descriptor(Format::Oci.manifest(), digest)),
            annotations: spec.annotations.clone(),
            ..Body::default()
        };
        let bytes = match spec.format {
            Format::Oci => serde_json::to_vec(&body)?,
            Format::Docker => indented(&body)?,
        };
        for layer in &spec.layers {
            self.link_missing(repository, layer)?;
        }
        self.link_missing(repository, &config)?;
        let mut references = spec.layers.clone();
        references.extend(spec.foreign.iter().map(|layer| layer.digest.clone()));
        references.push(config);
        let entry = Manifest { references, subject: spec.subject.clone(), unreadable: false };
        let digest = self.manifest(repository, &bytes, entry)?;
        self.platforms.insert(digest.clone(), spec.platform.clone());
        Ok(digest)
    }

    /// Pushes an index (or Docker's manifest list) over `children`, which may be indexes. They are not linked by this:
    /// an index over another repository's manifests is a sparse one. Answers the index's digest.
    pub fn index(&mut self, repository: &str, children: &[String], spec: &IndexSpec) -> io::Result<String> {
        let describe = |child: &String| {
            let platform = self.platforms.get(child).cloned();
            let media_type = if platform.is_some() { spec.format.manifest() } else { spec.format.index() };
            Descriptor { platform, ..self.descriptor(media_type, child) }
        };
        let body = Body {
            schema_version: 2,
            media_type: spec.format.index().to_owned(),
            artifact_type: spec.artifact_type.clone(),
            manifests: Some(children.iter().map(describe).collect()),
            subject: spec.subject.as_ref().map(|digest| self.descriptor(Format::Oci.manifest(), digest)),
            annotations: spec.annotations.clone(),
            ..Body::default()
        };
        let bytes = match spec.format {
            Format::Oci => serde_json::to_vec(&body)?,
            Format::Docker => indented(&body)?,
        };
        let entry =
            Manifest { references: children.to_vec(), subject: spec.subject.clone(), unreadable: false };
        self.manifest(repository, &bytes, entry)
    }

    /// Pushes a schema 1 manifest and tags it. What is stored is the payload without its signatures, as registry 2.5 and
    /// later keep it. Answers the manifest's digest.
    pub fn schema1(&mut self, repository: &str, tag: &str, layers: &[String]) -> io::Result<String> {
        for layer in layers {
            self.link_missing(repository, layer)?;
        }
        let layer = |digest: &String| json!({ "blobSum": digest });
        let history = |digest: &String| json!({ "v1Compatibility": format!("{{\"id\":\"{digest}\"}}") });
        let bytes = indented(&json!({
            "schemaVersion": 1,
            "name": repository,
            "tag": tag,
            "architecture": "amd64",
            "fsLayers": layers.iter().map(layer).collect::<Vec<_>>(),
            "history": layers.iter().map(history).collect::<Vec<_>>(),
        }))?;
        let entry = Manifest { references: layers.to_vec(), ..Manifest::default() };
        let digest = self.manifest(repository, &bytes, entry)?;
        self.tag(repository, tag, &digest)?;
        Ok(digest)
    }

    /// Puts the same manifest into another repository, as a promotion does: layer links, children, revision link, no tag.
    ///
    /// # Errors
    /// When this builder did not write the manifest.
    pub fn promote(&mut self, digest: &str, repository: &str) -> io::Result<()> {
        let Some(manifest) = self.ledger.manifests.get(digest) else {
            return Err(io::Error::other(format!("{digest} is no manifest of this builder")));
        };
        for reference in manifest.references.clone() {
            if self.ledger.manifests.contains_key(&reference) {
                self.promote(&reference, repository)?;
            } else if self.data(&reference).is_some() {
                self.link_missing(repository, &reference)?;
            }
        }
        self.revision_link(repository, digest)
    }
}
