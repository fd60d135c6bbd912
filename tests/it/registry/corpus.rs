//! A registry's whole life in small: every kind of content that clients push, once to be kept under a tag
//! `kept-…` and once to be removed, and the remains of moved tags, deletions and uploads.

use super::client::Client;
use super::content::{self, Descriptor, Manifest};
use super::server::Version;
use super::world::{Fate, World};

/// The repository whose upload was never finished; it holds nothing else.
pub const ABANDONED_UPLOAD: &str = "uploads/abandoned";

/// Pushes everything.
pub fn populate(client: &Client, version: Version) -> World {
    let mut pusher = Pusher { client, world: World::default() };
    for (prefix, fate) in [("kept", Fate::Kept), ("dropped", Fate::Removed)] {
        pusher.docker_image(prefix, fate);
        pusher.manifest_list(prefix, fate);
        pusher.nested_index(prefix, fate);
        pusher.image_with_referrers(prefix, fate);
        pusher.foreign_layer(prefix, fate);
        pusher.sha512_layer(prefix, fate);
        pusher.buildkit_cache(prefix, fate, version);
    }
    pusher.moved_tag();
    pusher.two_tags_on_one_manifest();
    pusher.mounted_layers();
    pusher.repository_that_empties();
    pusher.deleted_through_the_api();
    pusher.referrer_without_its_subject();
    pusher.blob_without_a_manifest();
    pusher.abandoned_upload();
    pusher.world
}

/// One kept index over two images, which come first; and an image to remove.
pub fn one_index(client: &Client) -> World {
    let mut pusher = Pusher { client, world: World::default() };
    let repository = "only/index";
    let children: Vec<Descriptor> = (0..2)
        .map(|number| {
            let image = pusher.image(repository, &format!("only child {number}"));
            pusher.put(repository, None, &image, Fate::Kept)
        })
        .collect();
    let index = content::index(content::OCI_INDEX, &children);
    pusher.put(repository, Some("kept-index"), &index, Fate::Kept);
    pusher.something_to_remove(repository);
    pusher.world
}

/// One kept image, then an artifact that names it as its subject; and an image to remove.
pub fn one_referrer(client: &Client) -> World {
    let mut pusher = Pusher { client, world: World::default() };
    let repository = "only/image";
    let image = pusher.image(repository, "only subject");
    let subject = pusher.put(repository, Some("kept-image"), &image, Fate::Kept);
    let artifact = pusher.artifact(repository, "only sbom", &subject);
    pusher.put(repository, None, &artifact, Fate::Kept);
    pusher.something_to_remove(repository);
    pusher.world
}

struct Pusher<'a> {
    client: &'a Client,
    world: World,
}

impl Pusher<'_> {
    fn blob(&mut self, repository: &str, media_type: &'static str, bytes: Vec<u8>) -> Descriptor {
        self.world.blob(self.client, repository, media_type, bytes)
    }

    fn put(&mut self, repository: &str, tag: Option<&str>, manifest: &Manifest, fate: Fate) -> Descriptor {
        self.world.manifest(self.client, repository, tag, manifest, fate)
    }

    /// The blobs of an image: a base layer that all images share, and a layer and a configuration of its own.
    fn image(&mut self, repository: &str, seed: &str) -> Manifest {
        let layers = [
            self.blob(repository, content::OCI_LAYER, content::bytes("base layer", 50_000)),
            self.blob(repository, content::OCI_LAYER, content::bytes(seed, 10_000)),
        ];
        let config = self.blob(repository, content::OCI_CONFIG, content::configuration(seed, 2));
        content::image(content::OCI_MANIFEST, &config, &layers, None)
    }

    fn something_to_remove(&mut self, repository: &str) {
        let image = self.image(repository, "superfluous");
        self.put(repository, Some("dropped-image"), &image, Fate::Removed);
    }

    fn docker_image(&mut self, prefix: &str, fate: Fate) {
        let repository = "library/docker";
        let image = self.schema_2(repository, &format!("{prefix} docker"));
        self.put(repository, Some(&format!("{prefix}-docker")), &image, fate);
    }

    fn schema_2(&mut self, repository: &str, seed: &str) -> Manifest {
        let layer = self.blob(repository, content::DOCKER_LAYER, content::bytes(seed, 20_000));
        let config = self.blob(repository, content::DOCKER_CONFIG, content::configuration(seed, 1));
        content::image(content::DOCKER_MANIFEST, &config, &[layer], None)
    }

    /// Two children, one of them in the kept and in the removed list.
    fn manifest_list(&mut self, prefix: &str, fate: Fate) {
        let repository = "library/list";
        let own = self.schema_2(repository, &format!("{prefix} list child"));
        let shared = self.schema_2(repository, "child of both lists");
        let children =
            [self.put(repository, None, &own, fate), self.put(repository, None, &shared, Fate::Kept)];
        let list = content::index(content::DOCKER_LIST, &children);
        self.put(repository, Some(&format!("{prefix}-list")), &list, fate);
    }

    fn nested_index(&mut self, prefix: &str, fate: Fate) {
        let repository = "oci/index";
        let mut children = Vec::new();
        for number in 0..2 {
            let image = self.image(repository, &format!("{prefix} index child {number}"));
            children.push(self.put(repository, None, &image, fate));
        }
        let inner = content::index(content::OCI_INDEX, &children);
        let inner = self.put(repository, None, &inner, fate);
        let image = self.image(repository, &format!("{prefix} index outer child"));
        let image = self.put(repository, None, &image, fate);
        let outer = content::index(content::OCI_INDEX, &[inner, image]);
        self.put(repository, Some(&format!("{prefix}-index")), &outer, fate);
    }

    /// An image with an artifact that names it as subject, the tag that clients write for registries without a
    /// referrers API, and a cosign signature.
    fn image_with_referrers(&mut self, prefix: &str, fate: Fate) {
        let repository = "oci/image";
        let image = self.image(repository, &format!("{prefix} image"));
        let subject = self.put(repository, Some(&format!("{prefix}-image")), &image, fate);
        let artifact = self.artifact(repository, &format!("{prefix} sbom"), &subject);
        let artifact = self.put(repository, None, &artifact, fate);
        let hex = content::hex_of(&subject.digest).to_owned();

        let fallback = content::index(content::OCI_INDEX, &[artifact]);
        self.put(repository, Some(&format!("sha256-{hex}")), &fallback, fate);

        let payload = content::bytes(&format!("{prefix} signature"), 300);
        let payload = self.blob(repository, content::COSIGN_LAYER, payload);
        let config = content::configuration(&format!("{prefix} signature"), 1);
        let config = self.blob(repository, content::OCI_CONFIG, config);
        let signature = content::image(content::OCI_MANIFEST, &config, &[payload], None);
        self.put(repository, Some(&format!("sha256-{hex}.sig")), &signature, fate);
    }

    fn artifact(&mut self, repository: &str, seed: &str, subject: &Descriptor) -> Manifest {
        let config = self.blob(repository, content::OCI_EMPTY, b"{}".to_vec());
        let sbom = self.blob(repository, "application/spdx+json", content::bytes(seed, 5_000));
        content::image(content::OCI_MANIFEST, &config, &[sbom], Some(subject))
    }

    /// A layer that is fetched from elsewhere and was never pushed.
    fn foreign_layer(&mut self, prefix: &str, fate: Fate) {
        let repository = "windows/app";
        let seed = format!("{prefix} windows");
        let base = content::bytes("a layer at its vendor", 1_000);
        let mut foreign = Descriptor::new(content::DOCKER_FOREIGN_LAYER, &content::sha256(&base), base.len());
        foreign.urls = vec!["https://vendor.example/layer".to_owned()];
        let layer = self.blob(repository, content::DOCKER_LAYER, content::bytes(&seed, 5_000));
        let config = self.blob(repository, content::DOCKER_CONFIG, content::configuration(&seed, 2));
        let image = content::image(content::DOCKER_MANIFEST, &config, &[foreign, layer], None);
        self.put(repository, Some(&format!("{prefix}-app")), &image, fate);
    }

    fn sha512_layer(&mut self, prefix: &str, fate: Fate) {
        let repository = "oci/sha512";
        let seed = format!("{prefix} sha512");
        let bytes = content::bytes(&seed, 5_000);
        let digest = content::sha512(&bytes);
        let layer = self.world.blob_as(self.client, repository, content::OCI_LAYER, bytes, &digest);
        let config = self.blob(repository, content::OCI_CONFIG, content::configuration(&seed, 1));
        let image = content::image(content::OCI_MANIFEST, &config, &[layer], None);
        self.put(repository, Some(&format!("{prefix}-sha512")), &image, fate);
    }

    /// 3.x takes no index over blobs: what was pushed for it there is garbage. Unless its descriptor cache is on,
    /// which it asks for manifests too, and which knows the blobs.
    fn buildkit_cache(&mut self, prefix: &str, fate: Fate, version: Version) {
        let repository = "cache/build";
        let seed = format!("{prefix} cache");
        let layer = self.blob(repository, content::OCI_LAYER, content::bytes(&seed, 5_000));
        let config = self.blob(repository, content::BUILDKIT_CONFIG, content::configuration(&seed, 1));
        let cache = content::buildkit_cache(&config, &[layer]);
        let tag = format!("{prefix}-cache");
        let answer = self.client.put_manifest(repository, &tag, cache.media_type, &cache.bytes);
        if answer.status == 400 && version == Version::V3 {
            assert_eq!(answer.error_code().as_deref(), Some("MANIFEST_BLOB_UNKNOWN"));
            return;
        }
        answer.expect(201);
        self.world.record(repository, &cache, fate);
        self.world.tag(repository, &tag, &cache.digest, fate);
    }

    fn moved_tag(&mut self) {
        let repository = "history/moved";
        for (build, fate) in [(1, Fate::Removed), (2, Fate::Removed), (3, Fate::Kept)] {
            let image = self.image(repository, &format!("build {build}"));
            self.put(repository, Some("kept-latest"), &image, fate);
        }
    }

    fn two_tags_on_one_manifest(&mut self) {
        let repository = "history/same";
        let image = self.image(repository, "under two tags");
        self.put(repository, Some("kept-same"), &image, Fate::Kept);
        self.put(repository, Some("dropped-same"), &image, Fate::Kept);
        self.world.tag(repository, "dropped-same", &image.digest, Fate::Removed);
    }

    /// The image goes where it was built and stays where its layers were mounted.
    fn mounted_layers(&mut self) {
        let (source, target) = ("mount/source", "mount/target");
        let image = self.image(source, "promoted");
        self.put(source, Some("dropped-candidate"), &image, Fate::Removed);
        for digest in &image.blobs {
            self.client.mount(target, digest, source).expect(201);
            self.world.links.insert((target.to_owned(), digest.clone()));
        }
        self.put(target, Some("kept-release"), &image, Fate::Kept);
    }

    fn repository_that_empties(&mut self) {
        let image = self.image("gone/entirely", "the only image");
        self.put("gone/entirely", Some("dropped-only"), &image, Fate::Removed);
    }

    fn deleted_through_the_api(&mut self) {
        let repository = "history/deleted";
        let image = self.image(repository, "deleted");
        self.put(repository, Some("kept-deleted"), &image, Fate::Deleted);
        self.client.delete_manifest(repository, &image.digest).expect(202);
        let image = self.image(repository, "beside the deleted one");
        self.put(repository, Some("kept-other"), &image, Fate::Kept);
    }

    /// It may have been pushed before its subject: it stays for as long as the policy gives it.
    fn referrer_without_its_subject(&mut self) {
        let repository = "oci/orphaned";
        let absent = content::bytes("an image that is not here", 700);
        let subject = Descriptor::new(content::OCI_MANIFEST, &content::sha256(&absent), absent.len());
        let artifact = self.artifact(repository, "sbom of what is not here", &subject);
        self.put(repository, None, &artifact, Fate::Kept);
    }

    fn blob_without_a_manifest(&mut self) {
        self.blob("oci/image", content::OCI_LAYER, content::bytes("never used", 30_000));
    }

    fn abandoned_upload(&mut self) {
        let location = self.client.begin_upload(ABANDONED_UPLOAD);
        self.client.upload_part(&location, &content::bytes("half a layer", 8_000));
    }
}
