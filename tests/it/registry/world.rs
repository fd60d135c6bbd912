//! What was pushed to a registry, byte for byte, and what is to become of it; checked through the registry's API.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::client::Client;
use super::content::{self, Descriptor, Manifest};

/// What a sweep is to make of a manifest or tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Kept,
    /// It goes.
    Removed,
    /// The registry's API deleted it before the sweep: only its remains are in the store.
    Deleted,
}

/// A manifest in one repository.
#[derive(Debug, Clone)]
pub struct Stored {
    pub repository: String,
    pub manifest: Manifest,
    pub fate: Fate,
}

/// A tag and the manifest it points to.
#[derive(Debug, Clone)]
pub struct Tag {
    pub repository: String,
    pub name: String,
    pub digest: String,
    pub fate: Fate,
}

/// Everything that was pushed, in that order.
#[derive(Debug, Default)]
pub struct World {
    pub stored: Vec<Stored>,
    pub tags: Vec<Tag>,
    /// The bytes of every blob, by the digest it was pushed with.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// The repositories that every blob was pushed or mounted to.
    pub links: BTreeSet<(String, String)>,
}

impl World {
    /// Pushes a blob and returns its descriptor.
    pub fn blob(
        &mut self,
        client: &Client,
        repository: &str,
        media_type: &'static str,
        bytes: Vec<u8>,
    ) -> Descriptor {
        let digest = content::sha256(&bytes);
        self.blob_as(client, repository, media_type, bytes, &digest)
    }

    /// Pushes a blob under a digest of the caller's choice.
    pub fn blob_as(
        &mut self,
        client: &Client,
        repository: &str,
        media_type: &'static str,
        bytes: Vec<u8>,
        digest: &str,
    ) -> Descriptor {
        client.push_blob_as(repository, &bytes, digest);
        let descriptor = Descriptor::new(media_type, digest, bytes.len());
        self.links.insert((repository.to_owned(), digest.to_owned()));
        self.blobs.insert(digest.to_owned(), bytes);
        descriptor
    }

    /// Pushes a manifest under a tag, or by its digest alone.
    pub fn manifest(
        &mut self,
        client: &Client,
        repository: &str,
        tag: Option<&str>,
        manifest: &Manifest,
        fate: Fate,
    ) -> Descriptor {
        let reference = tag.unwrap_or(&manifest.digest);
        client.put_manifest(repository, reference, manifest.media_type, &manifest.bytes).expect(201);
        self.record(repository, manifest, fate);
        if let Some(name) = tag {
            self.tag(repository, name, &manifest.digest, fate);
        }
        manifest.descriptor()
    }

    /// Records a tag that was pushed, over what it pointed to before.
    pub fn tag(&mut self, repository: &str, name: &str, digest: &str, fate: Fate) {
        self.tags.retain(|tag| tag.repository != repository || tag.name != name);
        self.tags.push(Tag {
            repository: repository.to_owned(),
            name: name.to_owned(),
            digest: digest.to_owned(),
            fate,
        });
    }

    /// Records a manifest that was pushed. One that has been recorded before stays where it is.
    pub fn record(&mut self, repository: &str, manifest: &Manifest, fate: Fate) {
        let known = self
            .stored
            .iter_mut()
            .find(|stored| stored.repository == repository && stored.manifest.digest == manifest.digest);
        match known {
            Some(stored) => stored.fate = fate,
            None => self.stored.push(Stored {
                repository: repository.to_owned(),
                manifest: manifest.clone(),
                fate,
            }),
        }
    }

    /// The digests of the blobs and manifests whose data no manifest with a fate in `fates` needs.
    pub fn unneeded(&self, fates: &[Fate]) -> BTreeSet<String> {
        let (needed, rest): (Vec<&Stored>, Vec<&Stored>) =
            self.stored.iter().partition(|stored| fates.contains(&stored.fate));
        let digests = |stored: &Stored| {
            stored.manifest.blobs.iter().chain([&stored.manifest.digest]).cloned().collect::<Vec<_>>()
        };
        let needed: BTreeSet<String> = needed.into_iter().flat_map(digests).collect();
        let all = rest.into_iter().flat_map(digests).chain(self.blobs.keys().cloned());
        all.filter(|digest| !needed.contains(digest)).collect()
    }

    /// Checks through the API that exactly the manifests and tags with these fates are served, whole, and that
    /// all others are clean 404s; and that tag lists and catalogue agree.
    pub fn check(&self, client: &Client, fates: &[Fate]) {
        self.check_content(client, fates);
        let served = self.stored.iter().filter(|stored| fates.contains(&stored.fate));
        let served: BTreeSet<String> = served.map(|stored| stored.repository.clone()).collect();
        assert_eq!(client.catalog(), served, "the catalogue");
    }

    /// The same without the catalogue.
    pub fn check_content(&self, client: &Client, fates: &[Fate]) {
        self.check_images(client, fates);
        self.check_tag_lists(client, fates);
    }

    /// The same without the lists of tags, which a registry makes of what its store says of directories.
    pub fn check_images(&self, client: &Client, fates: &[Fate]) {
        for stored in &self.stored {
            let answer = client.manifest(&stored.repository, &stored.manifest.digest);
            if fates.contains(&stored.fate) {
                self.check_served(client, stored);
            } else {
                let Stored { repository, manifest, fate } = stored;
                assert!(answer.is_clean_404(), "{repository}@{} ({fate:?}): {answer:?}", manifest.digest);
            }
        }
        for tag in &self.tags {
            let answer = client.manifest(&tag.repository, &tag.name);
            if fates.contains(&tag.fate) {
                assert_eq!(answer.status, 200, "{tag:?}: {answer:?}");
                assert_eq!(answer.header("docker-content-digest"), Some(tag.digest.as_str()), "{tag:?}");
            } else {
                assert!(answer.is_clean_404(), "{tag:?}: {answer:?}");
            }
        }
        self.check_unneeded_links(client, fates);
    }

    fn check_served(&self, client: &Client, stored: &Stored) {
        let Stored { repository, manifest, fate } = stored;
        let name = format!("{repository}@{} ({fate:?})", manifest.digest);
        let answer = client.manifest(repository, &manifest.digest);
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some(manifest.media_type), "{name}");
        assert!(answer.body == manifest.bytes, "{name}: other bytes than were pushed");
        for digest in &manifest.blobs {
            let answer = client.blob(repository, digest);
            assert_eq!(answer.status, 200, "{name}: {digest}: {answer:?}");
            assert!(answer.body == self.blobs[digest], "{name}: {digest}: other bytes than were pushed");
        }
    }

    /// A blob that no served manifest of its repository refers to is not served there.
    fn check_unneeded_links(&self, client: &Client, fates: &[Fate]) {
        if fates.contains(&Fate::Removed) {
            // Nothing was swept: a blob that no manifest needs is still there.
            return;
        }
        for (repository, digest) in &self.links {
            let needed = self.stored.iter().any(|stored| {
                stored.repository == *repository
                    && fates.contains(&stored.fate)
                    && stored.manifest.blobs.contains(digest)
            });
            if !needed {
                let answer = client.blob(repository, digest);
                assert!(answer.is_clean_404(), "{repository}@{digest} {}", answer.status);
            }
        }
    }

    fn check_tag_lists(&self, client: &Client, fates: &[Fate]) {
        let repositories: BTreeSet<&String> = self.stored.iter().map(|stored| &stored.repository).collect();
        for repository in repositories {
            let tags = self.tags.iter().filter(|tag| tag.repository == *repository);
            let tags: BTreeSet<String> =
                tags.filter(|tag| fates.contains(&tag.fate)).map(|tag| tag.name.clone()).collect();
            assert_eq!(client.tags(repository), tags, "tags of {repository}");
        }
    }

    /// Checks that the data of what nothing needs has left the place where the registry looks for it, and that
    /// the data of all else is there.
    pub fn check_data(&self, root: &Path, fates: &[Fate]) {
        let unneeded = self.unneeded(fates);
        for (digest, path) in self.data(root) {
            assert_eq!(path.exists(), !unneeded.contains(digest), "{}", path.display());
        }
    }

    /// Checks that the data of everything that was ever pushed is there.
    pub fn check_all_data(&self, root: &Path) {
        for (digest, path) in self.data(root) {
            assert!(path.exists(), "{digest}");
        }
    }

    /// Each blob's and manifest's digest, and where its data belongs.
    fn data(&self, root: &Path) -> impl Iterator<Item = (&String, PathBuf)> {
        let manifests = self.stored.iter().map(|stored| (&stored.manifest.digest, &stored.manifest.bytes));
        let all = self.blobs.iter().chain(manifests);
        all.map(move |(digest, bytes)| (digest, data_path(root, &content::sha256(bytes))))
    }

    /// Pushes everything that was removed again, and pulls it back.
    pub fn push_removed_again(&self, client: &Client) {
        let mut pushed = 0;
        for stored in self.stored.iter().filter(|stored| stored.fate != Fate::Kept) {
            let Stored { repository, manifest, .. } = stored;
            for digest in &manifest.blobs {
                client.push_blob_as(repository, &self.blobs[digest], digest);
            }
            let tag = self.tags.iter().find(|tag| {
                tag.repository == *repository && tag.digest == manifest.digest && tag.fate == Fate::Removed
            });
            let reference = tag.map_or(&manifest.digest, |tag| &tag.name);
            client.put_manifest(repository, reference, manifest.media_type, &manifest.bytes).expect(201);
            self.check_served(client, stored);
            pushed += 1;
        }
        assert!(pushed > 0, "something was removed");
    }
}

/// Where the registry keeps a blob's data (2.8 and 3.x).
fn data_path(root: &Path, digest: &str) -> PathBuf {
    let hex = content::hex_of(digest);
    root.join(format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
}
