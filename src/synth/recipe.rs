//! The numbers a random store is made from.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const HOUR: Duration = Duration::from_secs(3600);

/// How tags are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TagNames {
    /// `latest`, `v1.1.0`, `v1.2.0`, ...
    #[default]
    Versions,
    /// `latest`, then releases, nightly builds, pull requests and commits in turn.
    Mixed,
}

/// A random store, from numbers and a seed: the same recipe writes the same store. Fractions are between 0 and 1.
///
/// The default is a store of about 4,000 files that a registry could have written and that 2.8 can collect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Recipe {
    /// Determines every random choice.
    pub seed: u64,
    /// Repositories.
    pub repositories: u32,
    /// How many of them are also the path above another repository (`team1` beside `team1/app00001`).
    pub parents: u32,
    /// Components of a repository's name.
    pub depth: u32,
    /// Current tags of each repository.
    pub tags: u32,
    /// How they are named.
    pub tag_names: TagNames,
    /// Older manifests of each tag, untagged by now.
    pub history: u32,
    /// Layers of an image.
    pub layers: u32,
    /// Probability that a layer comes from a pool.
    pub shared: f64,
    /// Of the shared layers, the fraction from the pool of all repositories; the others are from the repository's own.
    pub cross_repository: f64,
    /// Layers in the pool of all repositories; 0 stands for four times the repositories.
    pub pool: u32,
    /// Layers in the pool of each repository.
    pub repository_pool: u32,
    /// Fraction of pushes that are an index.
    pub multiarch: f64,
    /// Images under an index.
    pub platforms: u32,
    /// Fraction of the indexes that have an index among their children.
    pub nested: f64,
    /// Fraction of tags whose image has an untagged referrer.
    pub referrers: f64,
    /// Fraction of overwritten images that have an untagged referrer, which goes with them.
    pub stale_referrers: f64,
    /// Fraction of tags with a referrer in an index under the fallback tag.
    pub fallback: f64,
    /// Fraction of tags with a cosign signature.
    pub cosign: f64,
    /// Fraction of images with a foreign layer.
    pub foreign: f64,
    /// Fraction of tags whose manifest is also in another repository, there tagged or untagged in turn.
    pub promoted: f64,
    /// Orphan blobs without a link, as a fraction of the blobs.
    pub orphans: f64,
    /// Orphan blobs with a layer link, as a fraction of the blobs.
    pub orphans_linked: f64,
    /// Layer links without data, as a fraction of the layer links.
    pub dead_links: f64,
    /// Abandoned upload sessions.
    pub uploads: u32,
    /// Emptied links, of revisions and of layers in turn.
    pub empty_links: u32,
    /// Tagged images with a layer by sha512.
    pub sha512: u32,
    /// Tagged schema 1 manifests.
    pub schema1: u32,
    /// `BuildKit` caches whose index lists layers.
    pub buildkit_caches: u32,
    /// Tagged artifact manifests.
    pub artifacts: u32,
    /// Manifests of an unknown media type, tagged and untagged in turn.
    pub opaque: u32,
    /// Truncated manifests, untagged; each holds all of its repository.
    pub unreadable: u32,
    /// Smallest blob, bytes.
    pub blob_min: usize,
    /// Largest blob, bytes.
    pub blob_max: usize,
    /// How old everything is.
    pub age: Duration,
    /// How much older than that the first tag of a repository is; the others lie evenly between.
    pub spread: Duration,
    /// Fraction of pushes and pool layers that are new, whatever `age` says.
    pub young: f64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            seed: 1,
            repositories: 8,
            parents: 0,
            depth: 2,
            tags: 12,
            tag_names: TagNames::Versions,
            history: 1,
            layers: 6,
            shared: 0.9,
            cross_repository: 0.3,
            pool: 0,
            repository_pool: 40,
            multiarch: 0.1,
            platforms: 3,
            nested: 0.0,
            referrers: 0.0,
            stale_referrers: 0.0,
            fallback: 0.0,
            cosign: 0.0,
            foreign: 0.0,
            promoted: 0.0,
            orphans: 0.1,
            orphans_linked: 0.05,
            dead_links: 0.0,
            uploads: 5,
            empty_links: 0,
            sha512: 0,
            schema1: 0,
            buildkit_caches: 0,
            artifacts: 0,
            opaque: 0,
            unreadable: 0,
            blob_min: 64,
            blob_max: 512,
            age: Duration::ZERO,
            spread: Duration::ZERO,
            young: 0.0,
        }
    }
}

impl Recipe {
    /// A store in the shape of a real registry with at least `files` files: 38 tags a repository, one older manifest of
    /// each, mostly shared layers, a tenth multi-arch, a tenth orphans.
    pub fn like_a_registry(files: u64) -> Self {
        /// Measured with this recipe, rounded down: a repository adds this many files.
        const FILES_A_REPOSITORY: u64 = 860;
        let repositories = u32::try_from(files.div_ceil(FILES_A_REPOSITORY)).unwrap_or(u32::MAX).max(1);
        Self { repositories, tags: 38, history: 1, layers: 8, uploads: 50, ..Self::default() }
    }

    /// A store of about 6,000 files with a little of everything a policy can decide about, spread over half a year.
    pub fn demo() -> Self {
        Self {
            repositories: 12,
            tags: 16,
            tag_names: TagNames::Mixed,
            history: 2,
            multiarch: 0.2,
            referrers: 0.1,
            cosign: 0.1,
            foreign: 0.02,
            dead_links: 0.02,
            blob_min: 1 << 10,
            blob_max: 16 << 10,
            age: 48 * HOUR,
            spread: 180 * 24 * HOUR,
            ..Self::default()
        }
    }
}
