//! What a media type says about the content behind it.

use oci_spec::image::MediaType;

/// Docker's schema 1 image manifest, unsigned.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
/// Docker's schema 1 image manifest with its signatures.
pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Docker's schema 2 image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list, the forerunner of the OCI index.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Media types of blobs that OCI does not name: Docker's layers, configs and plugins, and the record that `BuildKit`
/// puts beside the layers into a cache index.
const BLOB_PREFIXES: [&str; 4] = [
    "application/vnd.docker.image.rootfs.",
    "application/vnd.docker.container.image.",
    "application/vnd.docker.plugin.",
    "application/vnd.buildkit.cacheconfig.",
];

/// Docker's layers that are not to be distributed, such as the base layers of Windows.
const DOCKER_FOREIGN_PREFIX: &str = "application/vnd.docker.image.rootfs.foreign.";

/// What kind of content a media type announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// No media type is given.
    Absent,
    /// An image manifest: Docker schema 2 or OCI.
    Image,
    /// A manifest list or an OCI index.
    Index,
    /// The OCI artifact manifest of the 1.1 release candidates.
    Artifact,
    /// A Docker schema 1 manifest.
    Schema1,
    /// A layer or a config: content that refers to nothing.
    Blob,
    /// A layer that need not be in this registry.
    ForeignBlob,
    /// Not known.
    Unknown,
}

impl Class {
    /// The class of `media_type`.
    pub fn of(media_type: &str) -> Self {
        match media_type {
            "" => return Self::Absent,
            DOCKER_MANIFEST => return Self::Image,
            DOCKER_MANIFEST_LIST => return Self::Index,
            DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED => return Self::Schema1,
            _ if media_type.starts_with(DOCKER_FOREIGN_PREFIX) => return Self::ForeignBlob,
            _ if BLOB_PREFIXES.iter().any(|prefix| media_type.starts_with(prefix)) => return Self::Blob,
            _ => {}
        }
        match MediaType::from(media_type) {
            MediaType::ImageManifest => Self::Image,
            MediaType::ImageIndex => Self::Index,
            MediaType::ArtifactManifest => Self::Artifact,
            MediaType::ImageLayer
            | MediaType::ImageLayerGzip
            | MediaType::ImageLayerZstd
            | MediaType::ImageConfig
            | MediaType::EmptyJSON => Self::Blob,
            MediaType::ImageLayerNonDistributable
            | MediaType::ImageLayerNonDistributableGzip
            | MediaType::ImageLayerNonDistributableZstd => Self::ForeignBlob,
            MediaType::Descriptor | MediaType::LayoutHeader | MediaType::Other(_) => Self::Unknown,
        }
    }

    /// Whether the content is a manifest of a kind that is understood.
    pub fn is_manifest(self) -> bool {
        matches!(self, Self::Image | Self::Index | Self::Artifact | Self::Schema1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary() {
        for (media_type, class) in [
            ("", Class::Absent),
            ("application/vnd.oci.image.manifest.v1+json", Class::Image),
            (DOCKER_MANIFEST, Class::Image),
            ("application/vnd.oci.image.index.v1+json", Class::Index),
            (DOCKER_MANIFEST_LIST, Class::Index),
            ("application/vnd.oci.artifact.manifest.v1+json", Class::Artifact),
            (DOCKER_SCHEMA1_SIGNED, Class::Schema1),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Class::Blob),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Class::ForeignBlob),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Class::ForeignBlob),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Class::Blob),
            ("application/vnd.buildkit.cacheconfig.v0", Class::Blob),
            ("application/vnd.cncf.helm.config.v1+json", Class::Unknown),
            ("application/json", Class::Unknown),
        ] {
            assert_eq!(Class::of(media_type), class, "{media_type}");
        }
    }
}
