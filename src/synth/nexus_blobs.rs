//! Single blobs of a Nexus blob store, written as Nexus writes them, and the record of what was written.
//!
//! Where a blob lies and how its record is escaped is written down here once more: nothing of what reads stores is used.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::builder::sha256_digest;
use super::random::SplitMix64;

/// What a blob of a generated store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// The database has it, and an image needs it.
    Live,
    /// The database has it, and no image needs it.
    Unneeded,
    /// The database does not have it.
    Unknown,
    /// Content without a record, and the database does not have it.
    BytesOnly,
    /// Flagged as deleted and in the index of deleted blobs.
    Deleted,
    /// Flagged as deleted, and in no index.
    DeletedUnindexed,
    /// A record without content.
    LeakedGhost,
    /// An empty record.
    Damaged,
    /// A temporary blob.
    Temporary,
    /// Of another format, or of a repository that is no Docker repository.
    Other,
}

/// A blob that was written.
#[derive(Debug, Clone)]
pub struct NexusBlob {
    /// Its UUID.
    pub id: String,
    /// The blob store's directory; empty when there is only one.
    pub store: String,
    /// The minute that it lies under, as a reference writes it; `None` when it lies by its hash.
    pub minute: Option<String>,
    /// What it is.
    pub state: State,
    /// Its repository.
    pub repository: String,
    /// Its name, as its record has it.
    pub name: String,
    /// `sha256:<hex>` of its content.
    pub digest: String,
    /// Its files, below the root.
    pub files: Vec<String>,
    /// Bytes of them.
    pub bytes: u64,
}

/// What was written.
#[derive(Debug, Clone, Default)]
pub struct NexusTruth {
    /// Every blob.
    pub blobs: Vec<NexusBlob>,
    /// Files of no blob, by what they are, with their bytes.
    pub others: BTreeMap<&'static str, Vec<(String, u64)>>,
}

impl NexusTruth {
    /// What the database has, as the documented export writes it: each form of a blob reference in turn.
    pub fn export(&self) -> String {
        let mut text = "repo,path,kind,blob_ref,checksums\n".to_owned();
        for (index, blob) in self.known().enumerate() {
            let store = if blob.store.is_empty() { "default" } else { "group" };
            let reference = match (&blob.minute, index % 3) {
                (Some(minute), _) => format!("{store}@{}@{minute}", blob.id),
                (None, 0) => format!("{store}@{}", blob.id),
                (None, 1) => format!("{store}@5C8B-node:{}", blob.id),
                (None, _) => format!("{store}:{}@5C8B-node", blob.id),
            };
            let (hex, name) = (&blob.digest["sha256:".len()..], blob.name.trim_start_matches('/'));
            let _ = writeln!(
                text,
                "{},/{name},,{reference},\"{{\"\"sha256\"\": \"\"{hex}\"\"}}\"",
                blob.repository
            );
        }
        text
    }

    /// The same as assets of the REST interface, which need not name blobs.
    pub fn assets(&self, repository: &str, named: bool) -> Vec<serde_json::Value> {
        let of = self.known().filter(|blob| blob.repository == repository);
        of.map(|blob| {
            let mut asset = serde_json::json!({
                "id": blob.id, "path": blob.name, "repository": repository, "format": "docker",
                "checksum": { "sha256": &blob.digest["sha256:".len()..] },
            });
            if named {
                asset["blobRef"] = format!("default@{}", blob.id).into();
            }
            asset
        })
        .collect()
    }

    /// The index of deleted blobs.
    pub fn index(&self) -> String {
        let deleted = self.blobs.iter().filter(|blob| blob.state == State::Deleted);
        deleted.fold("record_id,blob_id\n".to_owned(), |text, blob| text + "1," + &blob.id + "\n")
    }

    /// Blobs of Docker repositories that the database has.
    pub fn known(&self) -> impl Iterator<Item = &NexusBlob> {
        self.blobs.iter().filter(|blob| matches!(blob.state, State::Live | State::Unneeded | State::Damaged))
    }

    /// Keys of every file, with the size of each.
    pub fn files(&self) -> usize {
        self.blobs.iter().map(|blob| blob.files.len()).sum::<usize>()
            + self.others.values().map(Vec::len).sum::<usize>()
    }
}

/// What is written of one blob.
pub(super) struct Wanted<'w> {
    pub(super) state: State,
    pub(super) repository: &'w str,
    /// Without a slash at its beginning.
    pub(super) name: &'w str,
    pub(super) content_type: &'w str,
    pub(super) body: &'w [u8],
    pub(super) created: SystemTime,
}

/// How names and places are made at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) slash: bool,
    pub(super) dated: bool,
}

/// Writes blobs.
pub(super) struct Writer {
    root: PathBuf,
    /// Blob stores that take turns; one with an empty name is the root itself.
    stores: Vec<String>,
    next: usize,
    pub(super) random: SplitMix64,
    pub(super) truth: NexusTruth,
}

impl Writer {
    pub(super) fn new(root: &Path, stores: Vec<String>, seed: u64) -> io::Result<Self> {
        let mut writer = Self {
            root: root.to_path_buf(),
            stores,
            next: 0,
            random: SplitMix64::new(seed),
            truth: NexusTruth::default(),
        };
        for store in writer.stores.clone() {
            let key = |name: &str| if store.is_empty() { name.to_owned() } else { format!("{store}/{name}") };
            let old = SystemTime::UNIX_EPOCH;
            writer.other("bookkeeping", &key("metadata.properties"), b"#x\ntype=file/1\n", old)?;
            writer.other("bookkeeping", &key("0FB7-metrics.properties"), b"totalSize=1\n", old)?;
            writer.other("bookkeeping", &key("reconciliation/2026-11-22"), b"x\n", old)?;
            writer.other("bookkeeping", &key("content/directpath/x.bytes"), b"own", old)?;
        }
        Ok(writer)
    }

    /// The directory of the blob store whose turn it is.
    pub(super) fn turn(&mut self) -> String {
        self.next += 1;
        self.stores[self.next % self.stores.len()].clone()
    }

    pub(super) fn uuid(&mut self) -> String {
        let (high, low) = (self.random.bits(), self.random.bits());
        let hex = format!("{high:016x}{low:016x}");
        format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
    }

    /// Writes a file and gives it a time.
    fn write(&self, key: &str, body: &[u8], at: SystemTime) -> io::Result<()> {
        let path = self.root.join(key);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = File::create(&path)?;
        file.write_all(body)?;
        file.set_modified(at)
    }

    /// Writes a file that is of no blob.
    pub(super) fn other(
        &mut self,
        class: &'static str,
        key: &str,
        body: &[u8],
        at: SystemTime,
    ) -> io::Result<()> {
        self.write(key, body, at)?;
        self.truth.others.entry(class).or_default().push((key.to_owned(), body.len() as u64));
        Ok(())
    }

    /// Writes a blob, and answers its number.
    pub(super) fn blob(&mut self, style: Style, wanted: &Wanted<'_>) -> io::Result<usize> {
        let (store, id) = (self.turn(), self.uuid());
        let time = Timestamp::try_from(wanted.created).unwrap_or_default().to_zoned(TimeZone::UTC);
        let directory =
            if style.dated { time.strftime("%Y/%m/%d/%H/%M").to_string() } else { volume_chapter(&id) };
        let slash = if store.is_empty() { "" } else { "/" };
        let base = format!("{store}{slash}content/{directory}/{id}");
        let name = if style.slash { format!("/{}", wanted.name) } else { wanted.name.to_owned() };
        let record = self.record(wanted, &name);
        let mut files = Vec::new();
        let mut bytes = 0;
        if wanted.state != State::LeakedGhost {
            files.push((format!("{base}.bytes"), wanted.body));
        }
        if wanted.state != State::BytesOnly {
            let record = if wanted.state == State::Damaged { &[][..] } else { record.as_bytes() };
            files.push((format!("{base}.properties"), record));
        }
        for (key, body) in &files {
            self.write(key, body, wanted.created)?;
            bytes += body.len() as u64;
        }
        let files = files.into_iter().map(|(key, _)| key).collect();
        self.truth.blobs.push(NexusBlob {
            id,
            store,
            minute: style.dated.then(|| time.strftime("%Y-%m-%dT%H:%M").to_string()),
            state: wanted.state,
            repository: wanted.repository.to_owned(),
            name,
            digest: sha256_digest(wanted.body),
            files,
            bytes,
        });
        Ok(self.truth.blobs.len() - 1)
    }

    /// A record as `java.util.Properties` writes it: two comments, keys in any order, colons escaped.
    fn record(&mut self, wanted: &Wanted<'_>, name: &str) -> String {
        let created = wanted.created.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
        let escaped = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:").replace('=', "\\=");
        let mut lines = vec![
            format!("@BlobStore.blob-name={}", escaped(name)),
            format!("@Bucket.repo-name={}", escaped(wanted.repository)),
            format!("@BlobStore.content-type={}", wanted.content_type),
            "@BlobStore.created-by=admin".to_owned(),
            "@BlobStore.created-by-ip=127.0.0.1".to_owned(),
            format!("size={}", wanted.body.len()),
            format!("creationTime={created}"),
            format!("sha1={:040x}", self.random.bits()),
        ];
        match wanted.state {
            State::Deleted | State::DeletedUnindexed => {
                lines.push("deleted=true".into());
                lines.push("deletedReason=Removing unused asset blob".into());
                lines.push(format!("deletedDateTime={}", created + 60_000));
            }
            State::Temporary => lines.push("@BlobStore.temporary-blob=true".into()),
            _ => {}
        }
        for last in (1..lines.len()).rev() {
            let other = self.random.below(last + 1);
            lines.swap(last, other);
        }
        format!("#2026-11-22 13:10:57,661+0000\n#Sun Nov 22 13:10:57 UTC 2026\n{}\n", lines.join("\n"))
    }

    /// Adds the second record that a soft delete leaves under the minute of the deletion, in one of its three forms.
    pub(super) fn copy_of_record(&mut self, blob: usize, form: usize, at: SystemTime) -> io::Result<()> {
        let NexusBlob { id, store, minute, files, .. } = self.truth.blobs[blob].clone();
        let Some(record) = files.iter().find(|key| key.ends_with(".properties")) else { return Ok(()) };
        let text = fs::read_to_string(self.root.join(record))?;
        let mut text: String = text
            .lines()
            .filter(|line| !line.starts_with("deleted"))
            .fold(String::new(), |all, line| all + line + "\n");
        match (form % 3, minute) {
            (0, _) => {}
            (_, Some(minute)) => {
                let _ = writeln!(text, "originalLocation={}", minute.replace(':', "\\:"));
            }
            (_, None) => text.push_str("originalLocation=\n"),
        }
        let time = Timestamp::try_from(at).unwrap_or_default().to_zoned(TimeZone::UTC);
        let slash = if store.is_empty() { "" } else { "/" };
        let key = format!("{store}{slash}content/{}/{id}.properties", time.strftime("%Y/%m/%d/%H/%M"));
        self.other("ghost", &key, text.as_bytes(), at)
    }
}

/// The directory that Nexus finds a blob in by the hash that Java has of its UUID.
pub(super) fn volume_chapter(id: &str) -> String {
    let mut hash = 0_i64;
    for byte in id.bytes() {
        hash = (31 * hash + i64::from(byte)) & 0xffff_ffff;
    }
    if hash >= 1 << 31 {
        hash -= 1 << 32;
    }
    // Truncating towards zero before the sign goes, as Java does.
    format!("vol-{:02}/chap-{:02}", (hash % 43).abs() + 1, (hash % 47).abs() + 1)
}
