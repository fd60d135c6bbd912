//! A random Nexus blob store of each era, and what is true of it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::builder::sha256_digest;
use super::nexus_blobs::{NexusTruth, State, Style, Wanted, Writer};

const DAY: Duration = Duration::from_secs(86_400);

/// When a store was filled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Era {
    /// Up to 3.70 on `OrientDB`: names without a slash, blobs by their hash.
    Orient,
    /// On a SQL database: names with a slash, blobs by their hash.
    Sql,
    /// From 3.83 on: blobs by their minute.
    Dated,
    /// One after the other, as in every store that is old enough.
    #[default]
    Mixed,
}

/// A random store, from numbers and a seed: the same recipe writes the same store.
#[derive(Debug, Clone, PartialEq)]
pub struct NexusRecipe {
    /// Determines every random choice.
    pub seed: u64,
    /// When it was filled.
    pub era: Era,
    /// Docker repositories.
    pub repositories: usize,
    /// Images of each.
    pub images: usize,
    /// Tags of each image.
    pub tags: usize,
    /// Layers of each image: half of them shared by all of its repository.
    pub layers: usize,
    /// Blob stores that share the blobs; with one the root itself is it.
    pub stores: usize,
    /// Whether there is something of everything else that is found in stores.
    pub junk: bool,
    /// How old the youngest blob is.
    pub age: Duration,
}

impl Default for NexusRecipe {
    fn default() -> Self {
        Self {
            seed: 1,
            era: Era::Mixed,
            repositories: 2,
            images: 3,
            tags: 4,
            layers: 4,
            stores: 1,
            junk: true,
            age: 2 * DAY,
        }
    }
}

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

impl NexusRecipe {
    /// Writes the store below `root`, as it is at `now`, and answers what is true of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn generate(&self, root: &Path, now: SystemTime) -> io::Result<NexusTruth> {
        let names = match self.stores {
            0 | 1 => vec![String::new()],
            several => (0..several).map(|number| format!("member-{number}")).collect(),
        };
        let writer = Writer::new(root, names, self.seed)?;
        let mut pusher = Pusher { recipe: self, writer, now, step: 0, blobs: HashMap::new() };
        for repository in 0..self.repositories {
            for image in 0..self.images {
                pusher.image(&format!("docker-{repository}"), &format!("team/app{image}"))?;
            }
            if self.junk {
                pusher.junk(&format!("docker-{repository}"))?;
            }
        }
        Ok(pusher.writer.truth)
    }
}

/// Pushes images one after the other.
struct Pusher<'p> {
    recipe: &'p NexusRecipe,
    writer: Writer,
    now: SystemTime,
    /// Pushes so far.
    step: usize,
    /// Layers and configs of each repository, by digest, that the database has.
    blobs: HashMap<(String, String), usize>,
}

impl Pusher<'_> {
    /// The moment of the present push: half of a mixed store is from before the change.
    fn created(&self) -> SystemTime {
        let all = (self.recipe.repositories * self.recipe.images * (self.recipe.tags + 4)).max(1);
        let left = all.saturating_sub(self.step);
        let minutes = 60 * u32::try_from(left).unwrap_or(u32::MAX);
        self.now - self.recipe.age - Duration::from_secs(60) * minutes.min(500_000)
    }

    fn style(&self) -> Style {
        match self.recipe.era {
            Era::Orient => Style { slash: false, dated: false },
            Era::Sql => Style { slash: true, dated: false },
            Era::Dated => Style { slash: true, dated: true },
            Era::Mixed => {
                let late = self.step % 3;
                Style { slash: late > 0, dated: late > 1 }
            }
        }
    }

    fn blob(
        &mut self,
        state: State,
        repository: &str,
        name: &str,
        kind: &str,
        body: &[u8],
    ) -> io::Result<usize> {
        let (style, created) = (self.style(), self.created());
        let wanted = Wanted { state, repository, name, content_type: kind, body, created };
        self.writer.blob(style, &wanted)
    }

    /// Uploads a layer or config, unless the repository has it, and answers its descriptor.
    fn upload(
        &mut self,
        state: State,
        repository: &str,
        kind: &str,
        body: &[u8],
    ) -> io::Result<serde_json::Value> {
        let digest = sha256_digest(body);
        let place = (repository.to_owned(), digest.clone());
        if state != State::Live || !self.blobs.contains_key(&place) {
            let blob = self.blob(state, repository, &format!("v2/-/blobs/{digest}"), kind, body)?;
            if state == State::Live {
                self.blobs.insert(place, blob);
            }
        }
        Ok(json!({ "mediaType": kind, "digest": digest, "size": body.len() }))
    }

    /// A manifest by its digest, and by a tag: two blobs of the same bytes.
    fn manifest(
        &mut self,
        state: State,
        repository: &str,
        image: &str,
        tag: Option<&str>,
        manifest: &serde_json::Value,
    ) -> io::Result<(String, usize)> {
        let body = manifest.to_string().into_bytes();
        let digest = sha256_digest(&body);
        let kind = manifest["mediaType"].as_str().unwrap_or(IMAGE).to_owned();
        self.blob(state, repository, &format!("v2/{image}/manifests/{digest}"), &kind, &body)?;
        if let Some(tag) = tag {
            self.blob(state, repository, &format!("v2/{image}/manifests/{tag}"), &kind, &body)?;
        }
        Ok((digest, body.len()))
    }

    fn push(
        &mut self,
        state: State,
        repository: &str,
        image: &str,
        tag: Option<&str>,
    ) -> io::Result<(String, usize)> {
        self.step += 1;
        let mut layers = Vec::new();
        for layer in 0..self.recipe.layers {
            // Half of the layers are the repository's base.
            let base = layer * 2 < self.recipe.layers;
            let body = if base {
                format!("base layer {layer} of {repository}").into_bytes()
            } else {
                self.writer.random.bytes(96)
            };
            let own = if base { State::Live } else { state };
            layers.push(self.upload(own, repository, LAYER, &body)?);
        }
        let config = format!("{{\"architecture\":\"amd64\",\"created-as\":{}}}", self.writer.random.bits());
        let config = self.upload(state, repository, CONFIG, config.as_bytes())?;
        let manifest = json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers });
        self.manifest(state, repository, image, tag, &manifest)
    }

    /// Tags, an index with children, a referrer, and what the database forgot.
    fn image(&mut self, repository: &str, image: &str) -> io::Result<()> {
        for tag in 0..self.recipe.tags {
            self.push(State::Live, repository, image, Some(&format!("1.{tag}")))?;
        }
        let mut children = Vec::new();
        for _ in 0..2 {
            let (digest, size) = self.push(State::Live, repository, image, None)?;
            children.push(json!({ "mediaType": IMAGE, "digest": digest, "size": size }));
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children });
        let (subject, size) = self.manifest(State::Live, repository, image, Some("multi"), &index)?;
        let config = self.upload(State::Live, repository, "application/vnd.oci.empty.v1+json", b"{}")?;
        let referrer = json!({ "schemaVersion": 2, "mediaType": IMAGE, "artifactType": "application/x", "config": config,
            "layers": [config], "subject": { "mediaType": INDEX, "digest": subject, "size": size } });
        self.manifest(State::Live, repository, image, None, &referrer)?;
        let signature = format!("{}.sig", subject.replace(':', "-"));
        self.push(State::Live, repository, image, Some(&signature))?;
        if self.recipe.junk {
            self.push(State::Unknown, repository, image, Some("1.0"))?;
        }
        Ok(())
    }

    /// Something of everything that is found in stores, but for images.
    fn junk(&mut self, repository: &str) -> io::Result<()> {
        let created = self.created();
        for (number, state) in [
            State::Unneeded,
            State::BytesOnly,
            State::Deleted,
            State::Deleted,
            State::Deleted,
            State::DeletedUnindexed,
            State::LeakedGhost,
            State::Damaged,
            State::Temporary,
        ]
        .into_iter()
        .enumerate()
        {
            self.step += 1;
            let body = self.writer.random.bytes(64);
            let name = format!("v2/-/blobs/{}", sha256_digest(&body));
            let blob = self.blob(state, repository, &name, LAYER, &body)?;
            if state == State::Deleted && self.recipe.era != Era::Orient {
                self.writer.copy_of_record(blob, number, created + DAY)?;
            }
        }
        for (repository, name) in
            [("maven-releases", "com/acme/a/1.0/a-1.0.jar"), ("raw-hosted", "v2/x/manifests/1"), ("", "x")]
        {
            self.blob(State::Other, repository, name, "text/plain", b"other")?;
        }
        let (store, id) = (self.writer.turn(), self.writer.uuid());
        let slash = if store.is_empty() { "" } else { "/" };
        let content = format!("{store}{slash}content");
        let staged =
            [format!("tmp/tmp${id}.{id}.bytes"), format!("vol-01/chap-01/{id}.properties-{id}-1.tmp")];
        for key in staged {
            self.writer.other("temporary", &format!("{content}/{key}"), b"half", created)?;
        }
        let right = super::nexus_blobs::volume_chapter(&id);
        let wrong = if right == "vol-01/chap-01" { "vol-02/chap-02" } else { "vol-01/chap-01" };
        for key in
            [format!("{wrong}/{id}.bytes"), format!("2025/13/40/00/00/{id}.bytes"), format!("{id}.readme")]
        {
            self.writer.other("foreign", &format!("{content}/{key}"), b"foreign", created)?;
        }
        Ok(())
    }
}
