//! What the clients push: a pool of images that share layers and come back all the time, and fresh ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use regsweep::synth::SplitMix64;

use super::locked;
use crate::registry::content::{self, Descriptor, Manifest};

/// Images of the pool. At any time clients mostly take those of one part of it, which moves on: what it left behind
/// becomes garbage, and comes back when that was condemned or swept.
const IMAGES: usize = 48;
/// Images that are wanted at a time.
const WANTED: usize = 12;
/// Seconds after which another image is wanted and one is not any more.
const SHIFT: f64 = 1.0;
const INDEXES: usize = 10;
const BASE_LAYERS: usize = 8;
/// Artifacts about an image, at most.
pub const REFERRERS: usize = 3;

/// A blob's bytes.
#[derive(Debug)]
pub struct Blob {
    pub digest: String,
    pub bytes: Vec<u8>,
    media_type: &'static str,
}

impl Blob {
    fn new(media_type: &'static str, bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { digest: content::sha256(&bytes), bytes, media_type })
    }

    fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type, &self.digest, self.bytes.len())
    }
}

/// A manifest with everything below it.
#[derive(Debug)]
pub struct Image {
    pub manifest: Manifest,
    pub blobs: Vec<Arc<Blob>>,
    /// What an index is over.
    pub children: Vec<Arc<Image>>,
}

impl Image {
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// The digests of everything that a pull fetches.
    pub fn everything(&self) -> Vec<&str> {
        let blobs = self.blobs.iter().map(|blob| blob.digest.as_str());
        let children = self.children.iter().flat_map(|child| child.everything());
        [self.digest()].into_iter().chain(blobs).chain(children).collect()
    }

    fn of(name: &str, base: &[Arc<Blob>], random: &mut SplitMix64) -> Arc<Self> {
        let own = content::bytes(name, 500 + random.below(20_000));
        let own = Blob::new(content::OCI_LAYER, own);
        let config = Blob::new(content::OCI_CONFIG, content::configuration(name, 2));
        let shared = random.pick(base).expect("a base layer").clone();
        let layers = [shared.descriptor(), own.descriptor()];
        let manifest = content::image(content::OCI_MANIFEST, &config.descriptor(), &layers, None);
        Arc::new(Self { manifest, blobs: vec![shared, own, config], children: Vec::new() })
    }

    fn index(children: Vec<Arc<Self>>) -> Arc<Self> {
        let entries: Vec<Descriptor> = children.iter().map(|child| child.manifest.descriptor()).collect();
        let manifest = content::index(content::OCI_INDEX, &entries);
        Arc::new(Self { manifest, blobs: Vec::new(), children })
    }
}

/// Everything that may be pushed.
pub struct Pool {
    base: Vec<Arc<Blob>>,
    images: Vec<Arc<Image>>,
    indexes: Vec<Arc<Image>>,
    /// Fresh ones too, by digest.
    known: Mutex<BTreeMap<String, Arc<Image>>>,
}

impl Pool {
    pub fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let base: Vec<Arc<Blob>> = (0..BASE_LAYERS)
            .map(|number| {
                let size = 20_000 + random.below(80_000);
                Blob::new(content::OCI_LAYER, content::bytes(&format!("{seed} base {number}"), size))
            })
            .collect();
        let images: Vec<Arc<Image>> = (0..IMAGES)
            .map(|number| Image::of(&format!("{seed} image {number}"), &base, &mut random))
            .collect();
        let indexes: Vec<Arc<Image>> = (0..INDEXES)
            .map(|number| {
                let own = Image::of(&format!("{seed} child {number}"), &base, &mut random);
                Image::index(vec![own, random.pick(&images).expect("an image").clone()])
            })
            .collect();
        let pool = Self { base, images, indexes, known: Mutex::default() };
        for image in pool.images.iter().chain(&pool.indexes) {
            pool.remember(image);
        }
        pool
    }

    fn remember(&self, image: &Arc<Image>) {
        for child in &image.children {
            self.remember(child);
        }
        locked(&self.known).insert(image.digest().to_owned(), image.clone());
    }

    /// The image of a digest that somebody pushed.
    pub fn find(&self, digest: &str) -> Option<Arc<Image>> {
        locked(&self.known).get(digest).cloned()
    }

    /// What a client pushes so many seconds after the start: mostly what is wanted now.
    pub fn choose(&self, random: &mut SplitMix64, seconds: f64) -> Arc<Image> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds of a test")]
        let shift = (seconds / SHIFT) as usize;
        let among = |all: &[Arc<Image>], wanted: usize, random: &mut SplitMix64| {
            let at = if random.chance(0.85) { shift + random.below(wanted) } else { random.below(all.len()) };
            all[at % all.len()].clone()
        };
        if random.chance(0.25) {
            among(&self.indexes, INDEXES / 4, random)
        } else {
            among(&self.images, WANTED, random)
        }
    }

    /// One that nobody has seen, but for a layer.
    pub fn fresh(&self, name: &str, random: &mut SplitMix64) -> Arc<Image> {
        let mut image = Image::of(name, &self.base, random);
        if random.chance(0.2) {
            let other = Image::of(&format!("{name} again"), &self.base, random);
            image = Image::index(vec![image, other]);
        }
        self.remember(&image);
        image
    }

    /// Everything that may have been pushed about an image.
    pub fn referrers(&self, subject: &Image) -> Vec<Arc<Image>> {
        (0..REFERRERS).map(|number| self.referrer(subject, number)).collect()
    }

    /// What says something about an image, with a number below [`REFERRERS`].
    pub fn referrer(&self, subject: &Image, number: usize) -> Arc<Image> {
        let name = format!("{} {number}", subject.digest());
        let config = Blob::new(content::OCI_EMPTY, b"{}".to_vec());
        let layer = Blob::new(content::OCI_LAYER, content::bytes(&name, 700));
        let about = subject.manifest.descriptor();
        let manifest =
            content::image(content::OCI_MANIFEST, &config.descriptor(), &[layer.descriptor()], Some(&about));
        let image = Arc::new(Image { manifest, blobs: vec![config, layer], children: Vec::new() });
        self.remember(&image);
        image
    }
}
