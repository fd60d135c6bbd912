//! The ways stores are found damaged.

use std::io;
use std::path::{Path, PathBuf};

use super::builder::{Builder, parts};
use super::ledger::Manifest;

/// One link file of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link<'a> {
    /// `_manifests/revisions/<algorithm>/<hex>/link`
    Revision {
        /// The repository's name.
        repository: &'a str,
        /// The manifest's digest.
        digest: &'a str,
    },
    /// `_layers/<algorithm>/<hex>/link`
    Layer {
        /// The repository's name.
        repository: &'a str,
        /// The blob's digest, of any algorithm.
        digest: &'a str,
    },
    /// `_manifests/tags/<tag>/current/link`
    Current {
        /// The repository's name.
        repository: &'a str,
        /// The tag's name.
        tag: &'a str,
    },
    /// `_manifests/tags/<tag>/index/<algorithm>/<hex>/link`
    History {
        /// The repository's name.
        repository: &'a str,
        /// The tag's name.
        tag: &'a str,
        /// A digest that the tag has or had.
        digest: &'a str,
    },
}

impl Link<'_> {
    fn path(self, builder: &Builder) -> PathBuf {
        match self {
            Link::Revision { repository, digest } => {
                let (algorithm, hex) = parts(digest);
                builder
                    .repository_path(repository)
                    .join(format!("_manifests/revisions/{algorithm}/{hex}/link"))
            }
            Link::Layer { repository, digest } => {
                let (algorithm, hex) = parts(digest);
                builder.repository_path(repository).join(format!("_layers/{algorithm}/{hex}/link"))
            }
            Link::Current { repository, tag } => {
                builder.repository_path(repository).join(format!("_manifests/tags/{tag}/current/link"))
            }
            Link::History { repository, tag, digest } => {
                let (algorithm, hex) = parts(digest);
                let path = format!("_manifests/tags/{tag}/index/{algorithm}/{hex}/link");
                builder.repository_path(repository).join(path)
            }
        }
    }
}

/// The truth of a damaged store takes digests from paths, as a careful reader must: an emptied or wrong link file changes
/// nothing in it.
impl Builder {
    /// The absolute path of a link file.
    pub fn link_path(&self, link: Link<'_>) -> PathBuf {
        link.path(self)
    }

    /// Empties a link file, as a crash of registry 2.x or 3.0 leaves it. Its modification time becomes the builder's.
    pub fn empty_link(&mut self, link: Link<'_>) -> io::Result<()> {
        let path = link.path(self);
        let empty = path.metadata().is_ok_and(|metadata| metadata.len() == 0);
        self.ledger.empty_links += u64::from(!empty);
        self.write(&path, b"")
    }

    /// Gives a link file any other content: another digest, a short one, garbage.
    pub fn wrong_link(&mut self, link: Link<'_>, content: &[u8]) -> io::Result<()> {
        self.write(&link.path(self), content)
    }

    /// Takes a blob's data away; links to it stay. A manifest without data leads nowhere from here on.
    ///
    /// # Errors
    /// When the blob has no data.
    pub fn remove_blob_data(&mut self, digest: &str) -> io::Result<()> {
        let path = self.blob_path(digest);
        let length = path.metadata()?.len();
        #[expect(clippy::disallowed_methods, reason = "damages a store that this builder wrote")]
        std::fs::remove_file(path)?;
        self.ledger.files -= 1;
        self.ledger.file_bytes -= length;
        self.ledger.blobs.remove(digest);
        self.ledger.manifests.remove(digest);
        Ok(())
    }

    /// Overwrites a blob's data, so that it no longer matches its digest. A manifest damaged so is unreadable, and holds
    /// whatever its repositories link.
    pub fn corrupt_blob(&mut self, digest: &str, bytes: &[u8]) -> io::Result<()> {
        self.write(&self.blob_path(digest), bytes)?;
        self.ledger.blobs.insert(digest.to_owned(), bytes.len() as u64);
        if let Some(manifest) = self.ledger.manifests.get_mut(digest) {
            *manifest = Manifest { unreadable: true, ..Manifest::default() };
        }
        Ok(())
    }

    /// A tag whose digest has no revision link, as a broken API delete on S3 leaves it. The truth keeps what the digest
    /// leads to, if it has data.
    ///
    /// # Errors
    /// When the repository has a revision of that digest: then the tag would not dangle.
    pub fn dangling_tag(&mut self, repository: &str, tag: &str, digest: &str) -> io::Result<()> {
        if self.ledger.repository(repository).revisions.contains(digest) {
            return Err(io::Error::other(format!(
                "{repository} has a revision {digest}; name another digest"
            )));
        }
        self.tag(repository, tag, digest)
    }

    /// A layer link to a blob that never had data, as collections of 2.8 leave it. Answers the digest, made of `seed`.
    pub fn dangling_layer_link(&mut self, repository: &str, seed: &str) -> io::Result<String> {
        let digest = super::sha256_digest(format!("no data: {seed}").as_bytes());
        self.layer_link(repository, &digest)?;
        Ok(digest)
    }

    /// `link.<uuid>.tmp` beside a link, as a crash of 3.1 or later leaves it. Answers its path.
    pub fn temporary_leftover(&mut self, link: Link<'_>, content: &[u8]) -> io::Result<PathBuf> {
        let name = self.identifier(7, Some(self.modified()));
        let path = link.path(self).with_file_name(format!("link.{name}.tmp"));
        self.write(&path, content)?;
        Ok(path)
    }

    /// Any other file, by its path relative to the root. Answers its absolute path.
    pub fn foreign_file(&mut self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<PathBuf> {
        let path = self.root().join(path);
        self.write(&path, bytes)?;
        Ok(path)
    }

    /// A symbolic link at a path relative to the root, to any target. Answers its absolute path.
    pub fn symlink(&mut self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> io::Result<PathBuf> {
        let path = self.root().join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::os::unix::fs::symlink(target, &path)?;
        Ok(path)
    }

    /// A signature of a schema 1 manifest, as registry 2.4 and older kept them: a blob, linked below the revision. Answers
    /// the blob's digest. The truth lets it live as long as the manifest.
    pub fn signatures(&mut self, repository: &str, manifest: &str, bytes: &[u8]) -> io::Result<String> {
        let signature = self.blob(bytes)?;
        let (algorithm, hex) = parts(&signature);
        let revision = Link::Revision { repository, digest: manifest }.path(self);
        let path = revision.with_file_name("signatures").join(format!("{algorithm}/{hex}/link"));
        self.write(&path, signature.as_bytes())?;
        self.ledger.repository(repository).signatures.push((manifest.to_owned(), signature.clone()));
        Ok(signature)
    }
}
