//! Manifests that speak about other manifests, and those that hold something else than an image.

use std::io;

use serde_json::json;

use super::builder::{Builder, parts};
use super::ledger::Manifest;
use super::manifests::{Body, Descriptor, Format, ImageSpec, IndexSpec};

/// OCI 1.1's config of an artifact that has none.
const EMPTY: (&[u8], &str) = (b"{}", "application/vnd.oci.empty.v1+json");
const ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";

impl Builder {
    /// Pushes an artifact that names `subject` (OCI 1.1), untagged. Answers its digest.
    pub fn referrer(
        &mut self,
        repository: &str,
        subject: &str,
        artifact_type: &str,
        payload: &[u8],
    ) -> io::Result<String> {
        let layer = self.blob(payload)?;
        let mut spec = ImageSpec::new("", vec![layer]);
        spec.config = Some((EMPTY.0.to_vec(), EMPTY.1.to_owned()));
        spec.layer_media_type = Some("application/vnd.example.payload".to_owned());
        spec.subject = Some(subject.to_owned());
        spec.artifact_type = Some(artifact_type.to_owned());
        self.image(repository, &spec)
    }

    /// Pushes what cosign attaches to `subject` and tags it `sha256-<hex>.<suffix>`; the suffix is `sig`, `att` or `sbom`.
    /// Answers the manifest's digest.
    pub fn cosign(&mut self, repository: &str, subject: &str, suffix: &str) -> io::Result<String> {
        let payload =
            json!({ "critical": { "image": { "docker-manifest-digest": subject } }, "kind": suffix });
        let layer = self.blob(&serde_json::to_vec(&payload)?)?;
        let mut spec = ImageSpec::new(format!("cosign {suffix} {subject}"), vec![layer]);
        // A signature's config says no time, so that the same signature is the same manifest.
        spec.created = Some(std::time::UNIX_EPOCH);
        spec.layer_media_type = Some("application/vnd.dev.cosign.simplesigning.v1+json".to_owned());
        let digest = self.image(repository, &spec)?;
        self.tag(repository, &format!("sha256-{}.{suffix}", parts(subject).1), &digest)?;
        Ok(digest)
    }

    /// Pushes the index of `referrers` that a client keeps where the registry has no referrers API, and tags it
    /// `sha256-<hex>`. Answers the index's digest.
    pub fn fallback_index(
        &mut self,
        repository: &str,
        subject: &str,
        referrers: &[String],
    ) -> io::Result<String> {
        let digest = self.index(repository, referrers, &IndexSpec::default())?;
        self.tag(repository, &format!("sha256-{}", parts(subject).1), &digest)?;
        Ok(digest)
    }

    /// Pushes and tags a cache that `BuildKit` exported in its older form: an index whose `manifests` are layers, with the
    /// cache's config among them. Registry 2.x takes it, 3.x refuses it. Answers the index's digest.
    pub fn buildkit_cache(&mut self, repository: &str, tag: &str, layers: &[String]) -> io::Result<String> {
        let config = self.blob(&serde_json::to_vec(&json!({ "layers": layers, "records": tag }))?)?;
        let mut manifests: Vec<Descriptor> =
            layers.iter().map(|digest| self.descriptor(Format::Oci.layer(), digest)).collect();
        manifests.push(self.descriptor("application/vnd.buildkit.cacheconfig.v0", &config));
        let body = Body {
            schema_version: 2,
            media_type: Format::Oci.index().to_owned(),
            manifests: Some(manifests),
            ..Body::default()
        };
        let mut references = layers.to_vec();
        references.push(config);
        for digest in &references {
            self.link_missing(repository, digest)?;
        }
        let entry = Manifest { references, ..Manifest::default() };
        let digest = self.manifest(repository, &serde_json::to_vec(&body)?, entry)?;
        self.tag(repository, tag, &digest)?;
        Ok(digest)
    }

    /// Writes an artifact manifest, which OCI 1.1 proposed and dropped: `blobs` instead of layers, no config. Distribution
    /// never took it; stores copied from other registries hold it. Answers its digest.
    pub fn artifact(
        &mut self,
        repository: &str,
        blobs: &[String],
        subject: Option<&str>,
    ) -> io::Result<String> {
        for blob in blobs {
            self.link_missing(repository, blob)?;
        }
        let describe = |digest: &String| self.descriptor("application/octet-stream", digest);
        let mut body = json!({
            "mediaType": ARTIFACT,
            "artifactType": "application/vnd.example.artifact",
            "blobs": blobs.iter().map(describe).collect::<Vec<_>>(),
        });
        if let Some(subject) = subject {
            body["subject"] = serde_json::to_value(self.descriptor(Format::Oci.manifest(), subject))?;
        }
        let subject = subject.map(str::to_owned);
        let entry = Manifest { references: blobs.to_vec(), subject, unreadable: false };
        self.manifest(repository, &serde_json::to_vec(&body)?, entry)
    }

    /// Writes a manifest of a media type nobody knows, which mentions `references` in fields nobody knows. Answers its
    /// digest. Whoever cannot tell what it needs must take every digest in it for needed.
    pub fn opaque(
        &mut self,
        repository: &str,
        media_type: &str,
        references: &[String],
    ) -> io::Result<String> {
        for reference in references {
            self.link_missing(repository, reference)?;
        }
        let parts: Vec<_> = references.iter().map(|digest| json!({ "at": digest })).collect();
        let body = json!({ "schemaVersion": 2, "mediaType": media_type, "parts": { "list": parts } });
        let entry = Manifest { references: references.to_vec(), ..Manifest::default() };
        self.manifest(repository, &serde_json::to_vec(&body)?, entry)
    }
}
