//! What a registry and its clients do to storage, one request to it at a time (distribution 2.8 and 3.x).

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use serde_json::json;

use super::store::Objects;

const ROOT: &str = "docker/registry/v2";

pub fn data_key(digest: &str) -> String {
    let hex = digest.split_once(':').unwrap().1;
    format!("{ROOT}/blobs/sha256/{}/{hex}/data", &hex[..2])
}

fn hex(digest: &str) -> &str {
    digest.split_once(':').unwrap().1
}

pub fn layer_key(repository: &str, digest: &str) -> String {
    format!("{ROOT}/repositories/{repository}/_layers/sha256/{}/link", hex(digest))
}

pub fn revision_key(repository: &str, digest: &str) -> String {
    format!("{ROOT}/repositories/{repository}/_manifests/revisions/sha256/{}/link", hex(digest))
}

pub fn current_key(repository: &str, tag: &str) -> String {
    format!("{ROOT}/repositories/{repository}/_manifests/tags/{tag}/current/link")
}

fn history_key(repository: &str, tag: &str, digest: &str) -> String {
    format!("{ROOT}/repositories/{repository}/_manifests/tags/{tag}/index/sha256/{}/link", hex(digest))
}

/// A manifest and everything below it.
#[derive(Debug, Clone)]
pub struct Image {
    pub digest: String,
    pub body: Vec<u8>,
    /// Layers and config, with their content.
    pub blobs: Vec<(String, Vec<u8>)>,
    /// Of an index.
    pub children: Vec<Image>,
}

fn digest(body: &[u8]) -> String {
    regsweep::oci::Digest::of(body).to_string()
}

impl Image {
    /// An image of these layers.
    pub fn of(layers: &[&str]) -> Self {
        Self::about(layers, None)
    }

    /// An image of these layers that is about another manifest.
    pub fn about(layers: &[&str], subject: Option<&Self>) -> Self {
        let blobs: Vec<(String, Vec<u8>)> =
            layers.iter().map(|layer| (digest(layer.as_bytes()), layer.as_bytes().to_vec())).collect();
        let descriptor = |(digest, body): &(String, Vec<u8>), kind: &str| json!({ "mediaType": kind, "digest": digest, "size": body.len() });
        let mut document = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor(&blobs[0], "application/vnd.oci.image.config.v1+json"),
            "layers": blobs[1..].iter()
                .map(|blob| descriptor(blob, "application/vnd.oci.image.layer.v1.tar"))
                .collect::<Vec<_>>(),
        });
        if let Some(subject) = subject {
            document["subject"] = json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": subject.digest, "size": subject.body.len(),
            });
        }
        let body = serde_json::to_vec(&document).unwrap();
        Self { digest: digest(&body), body, blobs, children: Vec::new() }
    }

    /// An index of these images.
    pub fn index(children: Vec<Self>) -> Self {
        let manifests: Vec<_> = children
            .iter()
            .map(|child| {
                json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": child.digest, "size": child.body.len(),
                })
            })
            .collect();
        let body = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        }))
        .unwrap();
        Self { digest: digest(&body), body, blobs: Vec::new(), children }
    }
}

/// Repositories and digests.
pub type Descriptors = BTreeSet<(String, String)>;

/// What clients were told.
#[derive(Debug, Clone, Default)]
pub struct Acknowledged {
    /// What a tag points to, and when that was acknowledged.
    pub tags: BTreeMap<(String, String), (Image, u64)>,
    /// What tags are about to point to, by a push whose manifest is linked already.
    pub pending: BTreeSet<(String, String, String)>,
    /// How often clients deleted a manifest, by repository and digest.
    pub deletions: BTreeMap<(String, String), usize>,
}

/// The registry: storage, what it remembers, and what it has told.
#[derive(Debug, Clone)]
pub struct Registry {
    pub objects: Arc<Mutex<Objects>>,
    pub told: Arc<Mutex<Acknowledged>>,
    /// Descriptors that the registry answers for without looking, by repository; under "" for all of them.
    pub cache: Option<Arc<Mutex<Descriptors>>>,
    /// Whether a request is between its look and its last write.
    pub busy: Arc<Mutex<bool>>,
}

/// Gives others a turn.
struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Registry {
    /// One request to storage. Time passes.
    async fn step<T>(&self, request: impl FnOnce(&mut Objects) -> T) -> T {
        Turn(false).await;
        let mut objects = self.objects.lock().unwrap();
        objects.now += 1;
        request(&mut objects)
    }

    fn busy(&self, busy: bool) {
        *self.busy.lock().unwrap() = busy;
    }

    fn remembers(&self, repository: &str, digest: &str) -> bool {
        let key = (repository.to_owned(), digest.to_owned());
        self.cache.as_ref().is_some_and(|cache| cache.lock().unwrap().contains(&key))
    }

    fn remember(&self, repository: &str, digest: &str) {
        if let Some(cache) = &self.cache {
            let mut cache = cache.lock().unwrap();
            cache.insert((repository.to_owned(), digest.to_owned()));
            cache.insert((String::new(), digest.to_owned()));
        }
    }

    /// Whether the repository has the blob: its link, then its data.
    async fn stat(&self, repository: &str, digest: &str) -> bool {
        if self.remembers(repository, digest) {
            return true;
        }
        let link = layer_key(repository, digest);
        if !self.step(|objects| objects.has(&link)).await {
            return false;
        }
        let there = self.remembers("", digest) || {
            let data = data_key(digest);
            self.step(|objects| objects.has(&data)).await
        };
        if there {
            self.remember(repository, digest);
        }
        there
    }

    /// An upload's last request: data unless it is there, then the link.
    async fn upload(&self, repository: &str, (digest, body): &(String, Vec<u8>)) {
        self.busy(true);
        let data = data_key(digest);
        if !self.step(|objects| objects.has(&data)).await {
            self.step(|objects| objects.put(&data, body.clone())).await;
        }
        let link = layer_key(repository, digest);
        self.step(|objects| objects.put(&link, digest.clone())).await;
        self.remember(repository, digest);
        self.busy(false);
    }

    /// A mount from another repository: `false` when that has not got it.
    async fn mount(&self, from: &str, to: &str, digest: &str) -> bool {
        self.busy(true);
        let there = self.stat(from, digest).await;
        if there {
            let link = layer_key(to, digest);
            self.step(|objects| objects.put(&link, digest.to_owned())).await;
            self.remember(to, digest);
        }
        self.busy(false);
        there
    }

    /// The request that makes an image. Every reference is looked for first; `false` when one is missing.
    async fn put_manifest(&self, repository: &str, image: &Image, tag: Option<&str>) -> bool {
        self.busy(true);
        let made = self.make_manifest(repository, image, tag).await;
        self.busy(false);
        made
    }

    async fn make_manifest(&self, repository: &str, image: &Image, tag: Option<&str>) -> bool {
        for (digest, _) in &image.blobs {
            if !self.stat(repository, digest).await {
                return false;
            }
        }
        for child in &image.children {
            let link = revision_key(repository, &child.digest);
            if !self.step(|objects| objects.has(&link)).await {
                return false;
            }
            let data = data_key(&child.digest);
            if !self.remembers("", &child.digest) && !self.step(|objects| objects.has(&data)).await {
                return false;
            }
        }
        let data = data_key(&image.digest);
        // Up to 3.1.1 a manifest that the cache knows is not written again.
        if !self.remembers("", &image.digest) && !self.step(|objects| objects.has(&data)).await {
            self.step(|objects| objects.put(&data, image.body.clone())).await;
        }
        self.remember("", &image.digest);
        let revision = revision_key(repository, &image.digest);
        self.step(|objects| objects.put(&revision, image.digest.clone())).await;
        let deletions = self.deletions(repository, image);
        if let Some(tag) = tag {
            let pending = (repository.to_owned(), tag.to_owned(), image.digest.clone());
            self.told.lock().unwrap().pending.insert(pending);
            let history = history_key(repository, tag, &image.digest);
            self.step(|objects| objects.put(&history, image.digest.clone())).await;
            let current = current_key(repository, tag);
            self.step(|objects| objects.put(&current, image.digest.clone())).await;
            let now = self.objects.lock().unwrap().now;
            // Whoever tags what another client deletes in the same moment has lost to that client, not to the sweeper.
            if self.deletions(repository, image) == deletions {
                let place = (repository.to_owned(), tag.to_owned());
                self.told.lock().unwrap().tags.insert(place, (image.clone(), now));
            }
        }
        true
    }

    fn deletions(&self, repository: &str, image: &Image) -> usize {
        let key = (repository.to_owned(), image.digest.clone());
        self.told.lock().unwrap().deletions.get(&key).copied().unwrap_or(0)
    }

    /// Pushes as a client does: asks for each blob, uploads or mounts what is not there, and then the manifest. A push that
    /// is refused is made once more from the start.
    pub async fn push(&self, repository: &str, image: &Image, tag: Option<&str>, mount_from: Option<&str>) {
        for _ in 0..2 {
            for part in image.children.iter().chain([image]) {
                for blob in &part.blobs {
                    if self.stat(repository, &blob.0).await {
                        continue;
                    }
                    let mounted = match mount_from {
                        Some(from) => self.mount(from, repository, &blob.0).await,
                        None => false,
                    };
                    if !mounted {
                        self.upload(repository, blob).await;
                    }
                }
                let is_child = part.digest != image.digest;
                if is_child {
                    // A client that is told that a child is there does not push it.
                    let link = revision_key(repository, &part.digest);
                    let there = self.step(|objects| objects.has(&link)).await;
                    if !there && !self.put_manifest(repository, part, None).await {
                        break;
                    }
                }
            }
            if self.put_manifest(repository, image, tag).await {
                return;
            }
        }
    }

    /// Gives an image that is there another tag: the manifest is read, and put again.
    pub async fn retag(&self, repository: &str, image: &Image, tag: &str) {
        let (link, data) = (revision_key(repository, &image.digest), data_key(&image.digest));
        if self.step(|objects| objects.has(&link)).await && self.step(|objects| objects.has(&data)).await {
            self.put_manifest(repository, image, Some(tag)).await;
        }
    }

    /// Deletes a manifest through the API, and with it the tags that point to it.
    pub async fn delete(&self, repository: &str, image: &Image) {
        self.busy(true);
        let revision = revision_key(repository, &image.digest);
        self.step(|objects| {
            objects.keys.remove(&revision);
            let mut told = self.told.lock().unwrap();
            told.tags.retain(|(name, _), (told, _)| name != repository || told.digest != image.digest);
            *told.deletions.entry((repository.to_owned(), image.digest.clone())).or_default() += 1;
        })
        .await;
        let prefix = format!("{ROOT}/repositories/{repository}/_manifests/tags/");
        let tags: Vec<String> = self
            .step(|objects| {
                let current = objects.below(&prefix).filter(|key| key.ends_with("/current/link"));
                let points =
                    |key: &&String| objects.get(key).is_some_and(|body| *body == image.digest.as_bytes());
                current
                    .filter(points)
                    .map(|key| key[prefix.len()..].split('/').next().unwrap().to_owned())
                    .collect()
            })
            .await;
        for tag in tags {
            let directory = format!("{prefix}{tag}/");
            let place = (repository.to_owned(), tag.clone());
            self.step(|objects| {
                let keys: Vec<String> = objects.below(&directory).cloned().collect();
                for key in keys {
                    objects.keys.remove(&key);
                }
                // Whoever tagged it meanwhile has lost to the one who deletes.
                self.told.lock().unwrap().tags.remove(&place);
            })
            .await;
        }
        self.busy(false);
    }
}

/// What keeps an image from being pulled from storage; nothing when all of it is there.
pub fn broken(objects: &Objects, repository: &str, image: &Image) -> Option<String> {
    let missing = |key: String| (!objects.has(&key)).then_some(key);
    let own = [revision_key(repository, &image.digest), data_key(&image.digest)];
    let blobs = image.blobs.iter().flat_map(|(digest, _)| [layer_key(repository, digest), data_key(digest)]);
    own.into_iter()
        .chain(blobs)
        .find_map(missing)
        .or_else(|| image.children.iter().find_map(|child| broken(objects, repository, child)))
}
