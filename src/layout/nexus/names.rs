//! What the names of Docker assets mean, in both eras: Nexus on a SQL database begins them with a slash, earlier ones on
//! `OrientDB` do not, and a store that was migrated holds both.

use crate::oci::Digest;

/// What an asset of a Docker repository is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DockerName<'n> {
    /// A layer or a config. It belongs to the whole repository of the repository manager, not to one image.
    Blob {
        /// Its digest.
        digest: Digest,
    },
    /// A manifest as a tag names it.
    Tag {
        /// The image.
        image: &'n str,
        /// The tag.
        tag: &'n str,
    },
    /// A manifest as its digest names it.
    Manifest {
        /// The image.
        image: &'n str,
        /// Its digest.
        digest: Digest,
    },
}

/// Reads an asset's name. `None` for what no Docker repository holds, and for what is not understood.
pub fn docker_name(name: &str) -> Option<DockerName<'_>> {
    let path = name.strip_prefix('/').unwrap_or(name).strip_prefix("v2/")?;
    if let Some((image, reference)) = path.rsplit_once("/manifests/")
        && !reference.contains('/')
    {
        if !is_plain(image) || !is_plain(reference) {
            return None;
        }
        return if reference.contains(':') {
            reference.parse().ok().map(|digest| DockerName::Manifest { image, digest })
        } else {
            Some(DockerName::Tag { image, tag: reference })
        };
    }
    let (image, digest) = match path.rsplit_once("/blobs/") {
        Some((image, digest)) => (Some(image), digest),
        None => (None, path.strip_prefix("blobs/")?),
    };
    if image.is_some_and(|image| !is_plain(image)) {
        return None;
    }
    digest.parse().ok().map(|digest| DockerName::Blob { digest })
}

/// Whether a name that is no Docker asset looks like a manifest of one: what it needs is not known.
pub fn hides_a_manifest(name: &str) -> bool {
    let path = name.trim_start_matches('/');
    path.starts_with("v2/") && path.contains("/manifests/") && docker_name(name).is_none()
}

fn is_plain(path: &str) -> bool {
    path.split('/').all(|component| !matches!(component, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_eras_are_read() {
        let digest = Digest::of(b"x");
        let (sha512, upper) = ("ab".repeat(64), digest.to_string().to_uppercase());
        for slash in ["", "/"] {
            let name = |rest: &str| format!("{slash}v2/{rest}");
            for blob in ["-/blobs/", "blobs/", "team/app/blobs/", "a/blobs/b/-/blobs/"] {
                let name = name(&format!("{blob}{digest}"));
                assert_eq!(docker_name(&name), Some(DockerName::Blob { digest }), "{name}");
            }
            let of_tag = name("team/app/manifests/1.0");
            assert_eq!(docker_name(&of_tag), Some(DockerName::Tag { image: "team/app", tag: "1.0" }));
            let of_digest = name(&format!("team/app/manifests/{digest}"));
            assert_eq!(docker_name(&of_digest), Some(DockerName::Manifest { image: "team/app", digest }));
            let last = name("a/manifests/b/manifests/1");
            assert_eq!(docker_name(&last), Some(DockerName::Tag { image: "a/manifests/b", tag: "1" }));
            let signature = name(&format!("app/manifests/sha256-{}.sig", digest.hex()));
            assert!(matches!(docker_name(&signature), Some(DockerName::Tag { image: "app", .. })));
            assert!(matches!(
                docker_name(&name(&format!("app/manifests/sha512:{sha512}"))),
                Some(DockerName::Manifest { .. })
            ));
        }
        for other in [
            "/com/acme/a.jar",
            "/v2/app/manifests/",
            "/v2/../manifests/1",
            "/v2//manifests/1",
            "/v2/app//x/manifests/1",
            "/v2/app/tags/list",
            "//v2/app/manifests/1",
            &format!("/v2/app/manifests/{upper}"),
            "/v2/-/blobs/sha256:abc",
            "/v2/-/blobs/uploads",
            "",
        ] {
            assert_eq!(docker_name(other), None, "{other}");
        }
    }

    #[test]
    fn a_manifest_of_an_unknown_algorithm_is_not_overlooked() {
        assert!(hides_a_manifest("/v2/app/manifests/md5:0123"));
        assert!(hides_a_manifest("v2/app/../b/manifests/1"));
        assert!(!hides_a_manifest("/v2/app/manifests/1.0"));
        assert!(!hides_a_manifest("/com/manifests/1.0"));
    }
}
