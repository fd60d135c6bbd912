//! A random store, from a recipe.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::builder::{Builder, sha256_digest, sha512_digest};
use super::damage::Link;
use super::manifests::{Foreign, Format, ImageSpec, IndexSpec, Platform};
use super::random::SplitMix64;
use super::recipe::{Recipe, TagNames};
use super::truth::Truth;

const ARCHITECTURES: [&str; 5] = ["amd64", "arm64", "ppc64le", "s390x", "riscv64"];

/// `count` times `fraction`, rounded down.
fn share(count: usize, fraction: f64) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "no store has 2^52 objects, and fractions are not negative"
    )]
    let part = (count as f64 * fraction) as usize;
    part
}

/// A store while it is drawn.
struct Draw<'a> {
    recipe: &'a Recipe,
    builder: Builder,
    random: SplitMix64,
    names: Vec<String>,
    /// Layers that any repository may share.
    pool: Vec<String>,
    /// Layers that the images of the repository at hand share.
    own: Vec<String>,
    serial: u64,
}

impl Recipe {
    /// Draws the store below `root`. `now` is the moment ages count from.
    ///
    /// # Errors
    /// When `root` holds a store already or a file cannot be written.
    pub fn generate(&self, root: &Path, now: SystemTime) -> io::Result<Truth> {
        let builder = Builder::new(root, now)?;
        let random = SplitMix64::new(self.seed);
        let (names, pool, own) = (self.names(), Vec::new(), Vec::new());
        let mut draw = Draw { recipe: self, builder, random, names, pool, own, serial: 0 };
        draw.everything()?;
        Ok(draw.builder.truth())
    }

    fn names(&self) -> Vec<String> {
        let name = |number: u32| {
            let mut components = Vec::new();
            if self.depth > 1 {
                components.push(format!("team{}", number % 17));
            }
            components.extend((2..self.depth).map(|level| format!("group{}", (number + level) % 5)));
            components.push(format!("app{number:05}"));
            components.join("/")
        };
        let mut names: Vec<String> = (0..self.repositories.max(1)).map(name).collect();
        let mut parents: Vec<String> = names
            .iter()
            .filter_map(|name| name.split_once('/'))
            .map(|(parent, _)| parent.to_owned())
            .take(self.parents as usize)
            .collect();
        parents.sort();
        parents.dedup();
        names.extend(parents);
        names
    }
}

impl Draw<'_> {
    fn everything(&mut self) -> io::Result<()> {
        let size = match self.recipe.pool {
            0 => self.recipe.repositories * 4,
            size => size,
        };
        self.pool = self.pool_of(size)?;
        for number in 0..self.names.len() {
            let name = self.names[number].clone();
            self.own = self.pool_of(self.recipe.repository_pool)?;
            for tag in 0..self.recipe.tags {
                self.tag(&name, number, tag)?;
            }
        }
        self.age(0, 1);
        self.extras()?;
        self.garbage()?;
        self.damage()
    }

    /// Sets the age of what is written next: step `step` of `steps` through the recipe's spread, oldest first.
    fn age(&mut self, step: u32, steps: u32) {
        let age = if self.random.chance(self.recipe.young) {
            Duration::ZERO
        } else {
            self.recipe.age + self.recipe.spread * (steps - step) / steps.max(1)
        };
        self.builder.at(age);
    }

    fn content(&mut self) -> Vec<u8> {
        let width = self.recipe.blob_max.saturating_sub(self.recipe.blob_min) + 1;
        let length = self.recipe.blob_min + self.random.below(width);
        self.random.bytes(length)
    }

    fn blob(&mut self) -> io::Result<String> {
        let bytes = self.content();
        self.builder.blob(&bytes)
    }

    fn pool_of(&mut self, size: u32) -> io::Result<Vec<String>> {
        let layer = |_| {
            self.age(0, 1);
            self.blob()
        };
        (0..size).map(layer).collect()
    }

    fn repository(&mut self) -> String {
        self.random.pick(&self.names).cloned().unwrap_or_default()
    }

    fn layers(&mut self) -> io::Result<Vec<String>> {
        let mut layers: Vec<String> = Vec::new();
        for _ in 0..self.recipe.layers {
            let pooled = if self.random.chance(self.recipe.shared) {
                let pool =
                    if self.random.chance(self.recipe.cross_repository) { &self.pool } else { &self.own };
                self.random.pick(pool).cloned()
            } else {
                None
            };
            let layer = match pooled {
                Some(layer) => layer,
                None => self.blob()?,
            };
            if !layers.contains(&layer) {
                layers.push(layer);
            }
        }
        Ok(layers)
    }

    fn spec(&mut self, repository: &str) -> io::Result<ImageSpec> {
        self.serial += 1;
        let mut spec = ImageSpec::new(format!("{repository}#{}", self.serial), self.layers()?);
        if self.random.chance(self.recipe.foreign) {
            let digest = sha256_digest(&self.serial.to_be_bytes());
            let urls = vec![format!("https://layers.example/{digest}")];
            spec.foreign.push(Foreign { digest, size: 1 << 20, urls });
        }
        Ok(spec)
    }

    fn children(&mut self, repository: &str, format: Format) -> io::Result<Vec<String>> {
        let mut children = Vec::new();
        for number in 0..self.recipe.platforms as usize {
            let mut spec = self.spec(repository)?;
            spec.format = format;
            spec.platform = Platform::linux(ARCHITECTURES[number % ARCHITECTURES.len()]);
            children.push(self.builder.image(repository, &spec)?);
        }
        Ok(children)
    }

    /// Pushes one image, or one index with its children.
    fn push(&mut self, repository: &str) -> io::Result<String> {
        let format = if self.random.chance(0.7) { Format::Oci } else { Format::Docker };
        if !self.random.chance(self.recipe.multiarch) {
            let mut spec = self.spec(repository)?;
            spec.format = format;
            return self.builder.image(repository, &spec);
        }
        let index = IndexSpec { format, ..IndexSpec::default() };
        let mut children = self.children(repository, format)?;
        if self.random.chance(self.recipe.nested) {
            let below = self.children(repository, format)?;
            children.push(self.builder.index(repository, &below, &index)?);
        }
        self.builder.index(repository, &children, &index)
    }

    fn tag_name(&mut self, number: u32) -> String {
        match (self.recipe.tag_names, number) {
            (_, 0) => "latest".to_owned(),
            (TagNames::Versions, _) => format!("v1.{number}.0"),
            (TagNames::Mixed, _) => match number % 4 {
                0 => format!("v{}.{}.{}", 1 + number / 20, number / 4 % 5, number % 3),
                1 => format!("nightly-2026-{:02}-{:02}", 1 + number / 28 % 12, 1 + number % 28),
                2 => format!("pr-{}", 100 + number),
                _ => format!("{:08x}", self.random.bits() >> 32),
            },
        }
    }

    /// Pushes and tags one tag's manifests, oldest first, with what refers to them.
    fn tag(&mut self, repository: &str, repository_number: usize, number: u32) -> io::Result<()> {
        // A tag that everybody moves is young whatever its place in the row.
        let step = if number == 0 { self.recipe.tags } else { number };
        let name = self.tag_name(number);
        let mut digest = String::new();
        for older in (0..=self.recipe.history).rev() {
            self.age(step.saturating_sub(older), self.recipe.tags);
            digest = self.push(repository)?;
            self.builder.tag(repository, &name, &digest)?;
            if older > 0 && self.random.chance(self.recipe.stale_referrers) {
                let payload = self.content();
                self.builder.referrer(repository, &digest, "application/vnd.example.scan", &payload)?;
            }
        }
        if self.random.chance(self.recipe.referrers) {
            let payload = self.content();
            let statement =
                self.builder.referrer(repository, &digest, "application/vnd.example.sbom", &payload)?;
            // A signature on the statement: the chain has two steps.
            let payload = self.content();
            self.builder.referrer(repository, &statement, "application/vnd.example.signature", &payload)?;
        }
        if self.random.chance(self.recipe.fallback) {
            let payload = self.content();
            let referrer =
                self.builder.referrer(repository, &digest, "application/vnd.example.vex", &payload)?;
            self.builder.fallback_index(repository, &digest, &[referrer])?;
        }
        if self.random.chance(self.recipe.cosign) {
            self.builder.cosign(repository, &digest, "sig")?;
        }
        if self.random.chance(self.recipe.promoted) {
            let target = self.names[(repository_number + 1) % self.names.len()].clone();
            self.builder.promote(&digest, &target)?;
            if number.is_multiple_of(2) {
                self.builder.tag(&target, &format!("promoted-{repository_number}-{number}"), &digest)?;
            }
        }
        Ok(())
    }

    /// The manifests that a recipe counts instead of weighing.
    fn extras(&mut self) -> io::Result<()> {
        for number in 0..self.recipe.sha512 {
            let repository = self.repository();
            let bytes = self.content();
            let canonical = self.builder.blob(&bytes)?;
            let alias = sha512_digest(&bytes);
            self.builder.layer_alias(&repository, &alias, &canonical)?;
            let mut spec = self.spec(&repository)?;
            spec.layers.push(alias);
            let digest = self.builder.image(&repository, &spec)?;
            self.builder.tag(&repository, &format!("sha512-{number}"), &digest)?;
        }
        for number in 0..self.recipe.schema1 {
            let (repository, layers) = (self.repository(), self.layers()?);
            self.builder.schema1(&repository, &format!("schema1-{number}"), &layers)?;
        }
        for number in 0..self.recipe.buildkit_caches {
            let (repository, layers) = (self.repository(), self.layers()?);
            self.builder.buildkit_cache(&repository, &format!("buildcache-{number}"), &layers)?;
        }
        for number in 0..self.recipe.artifacts {
            let (repository, layers) = (self.repository(), self.layers()?);
            let digest = self.builder.artifact(&repository, &layers, None)?;
            self.builder.tag(&repository, &format!("artifact-{number}"), &digest)?;
        }
        for number in 0..self.recipe.opaque {
            let (repository, layers) = (self.repository(), self.layers()?);
            let media_type = "application/vnd.example.unknown.v7+json";
            let digest = self.builder.opaque(&repository, media_type, &layers)?;
            if number.is_multiple_of(2) {
                self.builder.tag(&repository, &format!("opaque-{number}"), &digest)?;
            }
        }
        Ok(())
    }

    fn garbage(&mut self) -> io::Result<()> {
        let blobs = self.builder.ledger.blobs.len();
        for _ in 0..share(blobs, self.recipe.orphans) {
            self.blob()?;
        }
        for _ in 0..share(blobs, self.recipe.orphans_linked) {
            let (digest, repository) = (self.blob()?, self.repository());
            self.builder.layer_link(&repository, &digest)?;
        }
        let links: usize =
            self.builder.ledger.repositories.values().map(|repository| repository.layers.len()).sum();
        for number in 0..share(links, self.recipe.dead_links) {
            let repository = self.repository();
            self.builder.dangling_layer_link(&repository, &number.to_string())?;
        }
        for number in 0..self.recipe.uploads {
            let (repository, bytes) = (self.repository(), self.content());
            let started = self.builder.modified();
            match number % 3 {
                0 => self.builder.upload(&repository, started, &bytes)?,
                1 => self.builder.upload_v7(&repository, started, &bytes)?,
                _ => self.builder.upload_cancelled(&repository)?,
            };
        }
        Ok(())
    }

    fn damage(&mut self) -> io::Result<()> {
        for _ in 0..self.recipe.unreadable {
            let repository = self.repository();
            let spec = self.spec(&repository)?;
            let digest = self.builder.image(&repository, &spec)?;
            self.builder
                .corrupt_blob(&digest, b"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.im")?;
        }
        for number in 0..self.recipe.empty_links {
            let repository = &self.repository();
            let entry = self.builder.ledger.repository(repository);
            let links = if number.is_multiple_of(2) { &entry.revisions } else { &entry.layers };
            // Without its content an alias says nothing about where its data is: no truth could be told.
            let links: Vec<&String> = links.iter().filter(|digest| digest.starts_with("sha256:")).collect();
            let Some(digest) = self.random.pick(&links).map(|digest| (*digest).clone()) else {
                continue;
            };
            let digest = &digest;
            let link = if number.is_multiple_of(2) {
                Link::Revision { repository, digest }
            } else {
                Link::Layer { repository, digest }
            };
            self.builder.empty_link(link)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::{Recipe, share};

    #[test]
    fn shares_round_down() {
        assert_eq!(share(100, 0.1), 10);
        assert_eq!(share(99, 0.1), 9);
        assert_eq!(share(7, 0.0), 0);
    }

    #[test]
    fn the_same_recipe_draws_the_same_store() {
        let recipe = Recipe { repositories: 2, tags: 3, ..Recipe::default() };
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let now = SystemTime::UNIX_EPOCH;
        let truth = recipe.generate(one.path(), now).unwrap();
        assert_eq!(truth, recipe.generate(two.path(), now).unwrap());
        let other = Recipe { seed: 2, ..recipe };
        let three = tempfile::tempdir().unwrap();
        assert_ne!(truth, other.generate(three.path(), now).unwrap());
    }
}
