//! A small registry with a past: releases, nightly builds, pull requests, and what goes wrong over the months.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::synth::{Builder, ImageSpec, IndexSpec, Link, Platform, SplitMix64};

const HOUR: Duration = Duration::from_secs(3600);
const KIB: usize = 1024;

/// What every image says about when it was built, so that digests do not depend on the day of the demo.
const BUILT: Duration = Duration::from_secs(1_767_225_600);

/// The registry while it is made.
struct Scene {
    builder: Builder,
    random: SplitMix64,
    now: SystemTime,
    /// The base image's layer and the runtime's, for amd64 and arm64.
    amd64: Vec<String>,
    arm64: Vec<String>,
}

/// Writes the registry below `root`. Only times differ from one call to the next.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn make(root: &Path, now: SystemTime) -> io::Result<()> {
    let builder = Builder::new(root, now)?;
    let random = SplitMix64::new(1);
    let mut scene = Scene { builder, random, now, amd64: Vec::new(), arm64: Vec::new() };
    scene.base()?;
    scene.web()?;
    scene.api()?;
    scene.billing()?;
    scene.leftovers()
}

fn days(days: u32) -> Duration {
    // An hour on top, so that a week ago is more than a week ago.
    24 * HOUR * days + HOUR
}

impl Scene {
    fn ago(&mut self, age: u32) {
        self.builder.at(days(age));
    }

    fn layer(&mut self, kib: usize) -> io::Result<String> {
        let bytes = self.random.bytes(kib * KIB);
        self.builder.blob(&bytes)
    }

    /// An image of the base, the runtime and a layer of its own.
    fn image(&mut self, repository: &str, name: &str, architecture: &str, kib: usize) -> io::Result<String> {
        let mut layers = if architecture == "arm64" { self.arm64.clone() } else { self.amd64.clone() };
        layers.push(self.layer(kib)?);
        let mut spec = ImageSpec::new(format!("{repository} {name} {architecture}"), layers);
        spec.platform = Platform::linux(architecture);
        spec.created = Some(SystemTime::UNIX_EPOCH + BUILT);
        self.builder.image(repository, &spec)
    }

    fn tagged(&mut self, repository: &str, tag: &str, age: u32, kib: usize) -> io::Result<String> {
        self.ago(age);
        let digest = self.image(repository, tag, "amd64", kib)?;
        self.builder.tag(repository, tag, &digest)?;
        Ok(digest)
    }

    /// An index over an image for each of two architectures.
    fn multi_arch(&mut self, repository: &str, tag: &str, age: u32, kib: usize) -> io::Result<String> {
        self.ago(age);
        let children =
            [self.image(repository, tag, "amd64", kib)?, self.image(repository, tag, "arm64", kib)?];
        let digest = self.builder.index(repository, &children, &IndexSpec::default())?;
        self.builder.tag(repository, tag, &digest)?;
        Ok(digest)
    }

    /// The image that the others are built on: its layers are in every repository.
    fn base(&mut self) -> io::Result<()> {
        self.ago(400);
        self.amd64 = vec![self.layer(1200)?];
        self.arm64 = vec![self.layer(1100)?];
        let digest = self.multi_arch("base/debian", "13", 400, 20)?;
        self.builder.tag("base/debian", "latest", &digest)?;
        let (amd64, arm64) = (self.layer(500)?, self.layer(450)?);
        self.amd64.push(amd64);
        self.arm64.push(arm64);
        Ok(())
    }

    /// Multi-arch releases, each signed; nightly builds; pull requests.
    fn web(&mut self) -> io::Result<()> {
        let repository = "shop/web";
        for minor in 0..6 {
            let release = self.multi_arch(repository, &format!("v1.{minor}.0"), 180 - 30 * minor, 110)?;
            self.builder.cosign(repository, &release, "sig")?;
            if minor == 0 || minor == 5 {
                let sbom = self.random.bytes(40 * KIB);
                self.builder.referrer(repository, &release, "application/spdx+json", &sbom)?;
            }
            if minor == 5 {
                self.builder.tag(repository, "latest", &release)?;
            }
        }
        for (build, age) in (311..).zip([33, 26, 19, 12, 5, 4, 3, 2, 1]) {
            self.tagged(repository, &format!("nightly-{build}"), age, 70)?;
        }
        for (number, age) in [(118, 75), (121, 48), (127, 22), (131, 9), (134, 1)] {
            self.tagged(repository, &format!("pr-{number}"), age, 60)?;
        }
        Ok(())
    }

    /// Releases, one of them signed by a client that keeps its referrers under a fallback tag; a tag that moves.
    fn api(&mut self) -> io::Result<()> {
        let repository = "shop/api";
        for (version, age) in
            [("v0.9.0", 210), ("v1.0.0", 150), ("v1.1.0", 95), ("v1.1.1", 60), ("v1.2.0", 20)]
        {
            let release = self.tagged(repository, version, age, 130)?;
            if version == "v0.9.0" || version == "v1.2.0" {
                let statement = self.random.bytes(2 * KIB);
                let referrer = self.builder.referrer(
                    repository,
                    &release,
                    "application/vnd.in-toto+json",
                    &statement,
                )?;
                self.builder.fallback_index(repository, &release, &[referrer])?;
            }
        }
        // Each push takes the tag away from the manifest before.
        for (push, age) in [40, 25, 11, 3, 1].into_iter().enumerate() {
            self.ago(age);
            let digest = self.image(repository, &format!("main {push}"), "amd64", 90)?;
            self.builder.tag(repository, "main", &digest)?;
        }
        for (number, age) in [(64, 33), (71, 6)] {
            self.tagged(repository, &format!("pr-{number}"), age, 60)?;
        }
        Ok(())
    }

    /// What years and crashes leave: an image that has lost a layer, emptied links, a manifest that cannot be read.
    fn billing(&mut self) -> io::Result<()> {
        let repository = "legacy/billing";
        self.tagged(repository, "2021.1", 900, 80)?;
        self.ago(800);
        let lost = self.builder.dangling_layer_link(repository, "2021.2")?;
        let mut spec = ImageSpec::new("billing 2021.2", vec![lost]);
        spec.created = Some(SystemTime::UNIX_EPOCH + BUILT);
        let broken = self.builder.image(repository, &spec)?;
        self.builder.tag(repository, "2021.2", &broken)?;
        let emptied = self.tagged(repository, "2022.1", 700, 80)?;
        self.builder.empty_link(Link::Revision { repository, digest: &emptied })?;
        let unreadable = self.tagged(repository, "2022.2", 600, 80)?;
        self.builder
            .corrupt_blob(&unreadable, b"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.im")?;
        // Nothing is known to need this. Something unreadable might.
        let doubtful = self.layer(150)?;
        self.builder.layer_link(repository, &doubtful)
    }

    /// What nobody refers to.
    fn leftovers(&mut self) -> io::Result<()> {
        self.ago(120);
        for kib in [700, 500, 300] {
            self.layer(kib)?;
        }
        // Deleting a manifest through the API leaves the links to its layers.
        for kib in [250, 200] {
            let layer = self.layer(kib)?;
            self.builder.layer_link("scratch/test", &layer)?;
        }
        let layer = self.amd64[0].clone();
        self.ago(50);
        self.builder.temporary_leftover(Link::Layer { repository: "shop/web", digest: &layer }, b"")?;
        for (age, kib) in [(30, 400), (0, 100)] {
            self.ago(age);
            let (received, started) = (self.random.bytes(kib * KIB), self.now - days(age));
            self.builder.upload_v7("shop/api", started, &received)?;
        }
        self.ago(200);
        self.builder.foreign_file(
            "docker/registry/v2/moved-from-the-old-server.txt",
            b"Ask Kim before you delete this.\n",
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::{days, make};
    use crate::clock::{Clock as _, System};

    fn sizes(directory: &Path, found: &mut BTreeMap<PathBuf, u64>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let (path, metadata) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
            if metadata.is_dir() {
                sizes(&path, found);
            } else {
                found.insert(path, metadata.len());
            }
        }
    }

    #[test]
    fn the_registry_is_small_and_the_same_on_any_day() {
        let now = System.now().into();
        let [one, two] = [now, now - days(100)].map(|now| {
            let directory = tempfile::tempdir().unwrap();
            make(directory.path(), now).unwrap();
            let blobs = directory.path().join("docker/registry/v2/blobs");
            let mut found = BTreeMap::new();
            sizes(&blobs, &mut found);
            found
                .into_iter()
                .map(|(path, size)| (path.strip_prefix(&blobs).unwrap().to_owned(), size))
                .collect::<BTreeMap<_, _>>()
        });
        assert_eq!(one, two);
        let total: u64 = one.values().sum();
        assert!((4 << 20..20 << 20).contains(&total), "{total} bytes");
    }
}
