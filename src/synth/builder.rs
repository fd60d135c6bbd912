//! Blobs, links, tags and upload sessions, written one by one.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256, Sha512};

use super::ledger::Ledger;
use super::manifests::Platform;
use super::truth::Truth;

/// Where distribution puts everything, below the configured `rootdirectory`.
const PREFIX: &str = "docker/registry/v2";

/// The state of SHA-256 before the first byte (FIPS 180-4, 5.3.3).
const SHA256_START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `sha256:<hex>` of `bytes`.
pub fn sha256_digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hexadecimal(&Sha256::digest(bytes)))
}

/// `sha512:<hex>` of `bytes`.
pub fn sha512_digest(bytes: &[u8]) -> String {
    format!("sha512:{}", hexadecimal(&Sha512::digest(bytes)))
}

/// The algorithm and the hexadecimal of a digest. A digest without a colon counts as sha256's hexadecimal.
pub(super) fn parts(digest: &str) -> (&str, &str) {
    digest.split_once(':').unwrap_or(("sha256", digest))
}

/// The state of Go's `crypto/sha256` after `bytes`, as its `MarshalBinary` writes it and distribution stores it under
/// `hashstates`: a magic word, eight words of state, the block in progress, the length; 108 bytes.
fn hash_state(bytes: &[u8]) -> Vec<u8> {
    let mut state = SHA256_START;
    let (blocks, rest) = bytes.as_chunks::<64>();
    sha2::block_api::compress256(&mut state, blocks);
    let mut marshalled = b"sha\x03".to_vec();
    marshalled.extend(state.iter().flat_map(|word| word.to_be_bytes()));
    marshalled.extend_from_slice(rest);
    marshalled.resize(4 + 32 + 64, 0);
    marshalled.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    marshalled
}

/// Writes a store on a directory, object by object, and keeps the record of it.
///
/// Every write lands on the disk at once. What is written gets the modification time that [`Builder::at`] set; the
/// change time is always the present, since no program can set it.
#[derive(Debug)]
pub struct Builder {
    root: PathBuf,
    now: SystemTime,
    modified: SystemTime,
    serial: u64,
    pub(super) ledger: Ledger,
    pub(super) platforms: HashMap<String, Platform>,
}

impl Builder {
    /// A builder of the store below `root`, which is made when absent. `now` is the moment ages count from.
    ///
    /// # Errors
    /// When the directories cannot be made, or when `root` holds a store already.
    pub fn new(root: impl Into<PathBuf>, now: SystemTime) -> io::Result<Self> {
        let root = root.into();
        let base = root.join(PREFIX);
        if base.exists() {
            let message = format!("{} exists; name a directory without a store", base.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
        }
        fs::create_dir_all(base.join("blobs"))?;
        fs::create_dir_all(base.join("repositories"))?;
        let (ledger, platforms) = (Ledger::default(), HashMap::new());
        Ok(Self { root, now, modified: now, serial: 0, ledger, platforms })
    }

    /// Everything written from here on is `age` old.
    pub fn at(&mut self, age: Duration) -> &mut Self {
        self.modified = self.now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        self
    }

    /// The modification time that the next write gets.
    pub fn modified(&self) -> SystemTime {
        self.modified
    }

    /// The directory that a registry is configured with (`rootdirectory`).
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The absolute path of a blob's data.
    pub fn blob_path(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = parts(digest);
        let shard = hex.get(..2).unwrap_or(hex);
        self.absolute(&format!("blobs/{algorithm}/{shard}/{hex}/data"))
    }

    /// The absolute path of a repository's directory.
    pub fn repository_path(&self, repository: &str) -> PathBuf {
        self.absolute(&format!("repositories/{repository}"))
    }

    fn absolute(&self, key: &str) -> PathBuf {
        self.root.join(PREFIX).join(key)
    }

    /// What the store holds now, and what must survive in it.
    pub fn truth(&self) -> Truth {
        self.ledger.truth()
    }

    /// Writes one file by its absolute path, over an older one if there is one, with the builder's modification time.
    pub(super) fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = match create_new(path) {
            Ok(file) => {
                self.ledger.files += 1;
                file
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let file = OpenOptions::new().write(true).open(path)?;
                self.ledger.file_bytes -= file.metadata()?.len();
                file.set_len(0)?;
                file
            }
            Err(error) => return Err(error),
        };
        self.ledger.file_bytes += bytes.len() as u64;
        file.write_all(bytes)?;
        file.set_modified(self.modified)
    }

    /// Stores `bytes` as a blob and answers its digest. A blob that exists is left as it is, as a registry leaves it.
    pub fn blob(&mut self, bytes: &[u8]) -> io::Result<String> {
        let digest = sha256_digest(bytes);
        if !self.ledger.blobs.contains_key(&digest) {
            self.write(&self.blob_path(&digest), bytes)?;
            self.ledger.blobs.insert(digest.clone(), bytes.len() as u64);
        }
        Ok(digest)
    }

    /// The size of the data behind a digest, if there is any.
    pub(super) fn data(&self, digest: &str) -> Option<u64> {
        let canonical = self.ledger.aliases.get(digest).map_or(digest, String::as_str);
        self.ledger.blobs.get(canonical).copied()
    }

    /// The size of a blob or, through its alias, of a sha512 digest; 0 when it has no data.
    pub fn size(&self, digest: &str) -> u64 {
        self.data(digest).unwrap_or(0)
    }

    /// Links a layer or a config into a repository, or renews the link's time.
    pub fn layer_link(&mut self, repository: &str, digest: &str) -> io::Result<()> {
        let canonical = self.ledger.aliases.get(digest).map_or(digest, String::as_str).to_owned();
        let (algorithm, hex) = parts(digest);
        let path = self.repository_path(repository).join(format!("_layers/{algorithm}/{hex}/link"));
        self.write(&path, canonical.as_bytes())?;
        self.ledger.repository(repository).layers.insert(digest.to_owned());
        Ok(())
    }

    /// Links a blob by its sha512 digest: the link's path has the sha512, its content the sha256 that the data is stored
    /// under. Both links are written, as a registry does after `PUT ...?digest=sha512:...`.
    pub fn layer_alias(&mut self, repository: &str, sha512: &str, canonical: &str) -> io::Result<()> {
        self.ledger.aliases.insert(sha512.to_owned(), canonical.to_owned());
        self.layer_link(repository, canonical)?;
        self.layer_link(repository, sha512)
    }

    /// Links a manifest into a repository, or renews the link's time.
    pub fn revision_link(&mut self, repository: &str, digest: &str) -> io::Result<()> {
        let (algorithm, hex) = parts(digest);
        let path =
            self.repository_path(repository).join(format!("_manifests/revisions/{algorithm}/{hex}/link"));
        self.write(&path, digest.as_bytes())?;
        self.ledger.repository(repository).revisions.insert(digest.to_owned());
        Ok(())
    }

    /// Points a tag at a manifest. Where it pointed before stays in its history, as in every registry to date.
    pub fn tag(&mut self, repository: &str, tag: &str, digest: &str) -> io::Result<()> {
        let (algorithm, hex) = parts(digest);
        let directory = self.repository_path(repository).join("_manifests/tags").join(tag);
        self.write(&directory.join(format!("index/{algorithm}/{hex}/link")), digest.as_bytes())?;
        self.write(&directory.join("current/link"), digest.as_bytes())?;
        let entry = self.ledger.repository(repository);
        entry.history.insert((tag.to_owned(), digest.to_owned()));
        entry.tags.insert(tag.to_owned(), digest.to_owned());
        Ok(())
    }

    /// Leaves an upload session behind that received `bytes`, named as 2.x and 3.0 name it (a version 4 UUID). `started`
    /// goes into `startedat`, in whole seconds. Answers the session's name.
    pub fn upload(&mut self, repository: &str, started: SystemTime, bytes: &[u8]) -> io::Result<String> {
        let name = self.identifier(4, None);
        self.session(repository, &name, started, bytes)?;
        Ok(name)
    }

    /// As [`Builder::upload`], named as 3.1 and later name it: a version 7 UUID, which begins with the start time.
    pub fn upload_v7(&mut self, repository: &str, started: SystemTime, bytes: &[u8]) -> io::Result<String> {
        let name = self.identifier(7, Some(started));
        self.session(repository, &name, started, bytes)?;
        Ok(name)
    }

    /// What a cancelled upload leaves: the first hash state alone, without `startedat`. Answers the session's name.
    pub fn upload_cancelled(&mut self, repository: &str) -> io::Result<String> {
        let name = self.identifier(4, None);
        let directory = self.repository_path(repository).join("_uploads").join(&name);
        self.write(&directory.join("hashstates/sha256/0"), &hash_state(b""))?;
        self.ledger.repository(repository).uploads += 1;
        Ok(name)
    }

    fn session(&mut self, repository: &str, name: &str, started: SystemTime, bytes: &[u8]) -> io::Result<()> {
        let directory = self.repository_path(repository).join("_uploads").join(name);
        self.write(&directory.join("data"), bytes)?;
        self.write(&directory.join("startedat"), timestamp(started)?.as_bytes())?;
        self.write(&directory.join("hashstates/sha256/0"), &hash_state(b""))?;
        if !bytes.is_empty() {
            let path = directory.join(format!("hashstates/sha256/{}", bytes.len()));
            self.write(&path, &hash_state(bytes))?;
        }
        self.ledger.repository(repository).uploads += 1;
        Ok(())
    }

    /// A UUID that the builder has not given out before; with `time`, its first 48 bits are milliseconds since 1970.
    pub(super) fn identifier(&mut self, version: u8, time: Option<SystemTime>) -> String {
        self.serial += 1;
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(self.serial.to_be_bytes())[..16]);
        if let Some(since) = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()) {
            let milliseconds = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            bytes[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
        }
        bytes[6] = (bytes[6] & 0x0f) | (version << 4);
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex = hexadecimal(&bytes);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// RFC 3339 in UTC and whole seconds, as Go writes it.
pub(super) fn timestamp(time: SystemTime) -> io::Result<String> {
    let exact = jiff::Timestamp::try_from(time).map_err(io::Error::other)?;
    let seconds = jiff::Timestamp::from_second(exact.as_second()).map_err(io::Error::other)?;
    Ok(seconds.to_string())
}

/// Creates a file that does not exist. Nearly every file of a store lies in a directory of its own, so the directory is
/// made first and its parents only when that fails: no lookups for the usual case.
fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if let Some(directory) = path.parent() {
        match fs::create_dir(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir_all(directory)?,
            Err(error) => return Err(error),
        }
    }
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{hash_state, hexadecimal, sha256_digest, sha512_digest, timestamp};

    #[test]
    fn digests_of_the_empty_blob() {
        let sha256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256_digest(b""), sha256);
        assert!(sha512_digest(b"").starts_with("sha512:cf83e1357eefb8bd"));
    }

    #[test]
    fn a_hash_state_is_what_go_marshals() {
        let empty = hash_state(b"");
        assert_eq!(empty.len(), 108);
        assert_eq!(hexadecimal(&empty[..12]), "736861036a09e667bb67ae85");
        assert!(empty[36..].iter().all(|byte| *byte == 0));
        // After one whole block the state has moved and the block in progress is empty.
        let block = hash_state(&[b'a'; 65]);
        assert_eq!(block.len(), 108);
        assert_ne!(block[4..36], empty[4..36]);
        assert_eq!(block[36], b'a');
        assert_eq!(block[37], 0);
        assert_eq!(block[107], 65);
    }

    #[test]
    fn start_times_have_whole_seconds() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_352_755_900);
        assert_eq!(timestamp(time).unwrap(), "2026-11-22T13:05:55Z");
    }
}
