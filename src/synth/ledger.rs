//! The record of what a builder wrote, and what follows from it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::truth::Truth;

/// What one manifest leads to.
#[derive(Debug, Clone, Default)]
pub(super) struct Manifest {
    /// Config, layers, children: by the digests the manifest writes, whatever their algorithm.
    pub references: Vec<String>,
    /// The manifest this one refers to.
    pub subject: Option<String>,
    /// Nothing can be learned from its bytes, so that it holds everything its repositories link.
    pub unreadable: bool,
}

/// What one repository links.
#[derive(Debug, Clone, Default)]
pub(super) struct Repository {
    pub revisions: BTreeSet<String>,
    pub layers: BTreeSet<String>,
    pub tags: BTreeMap<String, String>,
    pub history: BTreeSet<(String, String)>,
    pub uploads: u64,
    /// Signature blobs of registry 2.4 and older: manifest, signature.
    pub signatures: Vec<(String, String)>,
}

/// Everything written so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    pub blobs: HashMap<String, u64>,
    pub manifests: HashMap<String, Manifest>,
    pub repositories: BTreeMap<String, Repository>,
    /// sha512 digest to the sha256 digest its data is stored under.
    pub aliases: HashMap<String, String>,
    pub files: u64,
    pub file_bytes: u64,
    pub empty_links: u64,
}

/// The digest that a tag of the referrers fallback scheme (`sha256-<hex>`) or of cosign (`sha256-<hex>.sig`, `.att`,
/// `.sbom`) speaks about.
fn subject_of_tag(tag: &str) -> Option<String> {
    let rest = tag.strip_prefix("sha256-")?;
    let hex = ["", ".sig", ".att", ".sbom"].iter().find_map(|suffix| {
        rest.strip_suffix(suffix).filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    })?;
    Some(format!("sha256:{hex}"))
}

impl Ledger {
    pub fn repository(&mut self, name: &str) -> &mut Repository {
        if !self.repositories.contains_key(name) {
            self.repositories.insert(name.to_owned(), Repository::default());
        }
        self.repositories.get_mut(name).expect("inserted above")
    }

    fn canonical<'a>(&'a self, digest: &'a str) -> &'a str {
        self.aliases.get(digest).map_or(digest, String::as_str)
    }

    /// Everything `roots` lead to, themselves included: canonical digests that have data.
    fn closure<'a>(&'a self, roots: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
        let mut seen: HashSet<&str> = HashSet::new();
        let mut pending: Vec<&str> = roots.map(|root| self.canonical(root)).collect();
        while let Some(digest) = pending.pop() {
            if !seen.insert(digest) {
                continue;
            }
            if let Some(manifest) = self.manifests.get(digest) {
                pending.extend(manifest.references.iter().map(|reference| self.canonical(reference)));
            }
        }
        seen.into_iter().filter(|digest| self.blobs.contains_key(*digest)).map(str::to_owned).collect()
    }

    fn is_unreadable(&self, repository: &Repository) -> bool {
        let unreadable =
            |digest| self.manifests.get(digest).is_some_and(|manifest: &Manifest| manifest.unreadable);
        repository.revisions.iter().chain(repository.tags.values()).any(unreadable)
    }

    /// The digests of `repository` that live because of its tags: what they name, the children of a living index, the
    /// referrers of a living subject and the tags that stand for one.
    fn living<'a>(&'a self, repository: &'a Repository) -> HashSet<&'a str> {
        let mut by_subject: HashMap<&str, Vec<&str>> = HashMap::new();
        for revision in &repository.revisions {
            let subject = self.manifests.get(revision).and_then(|manifest| manifest.subject.as_deref());
            if let Some(subject) = subject {
                by_subject.entry(subject).or_default().push(revision);
            }
        }
        let mut pending: Vec<&str> = Vec::new();
        let mut referring_tags: HashMap<String, Vec<&str>> = HashMap::new();
        for (tag, digest) in &repository.tags {
            match subject_of_tag(tag).filter(|subject| repository.revisions.contains(subject)) {
                Some(subject) => referring_tags.entry(subject).or_default().push(digest),
                None => pending.push(digest),
            }
        }
        let mut living = HashSet::new();
        while let Some(digest) = pending.pop() {
            if !living.insert(digest) {
                continue;
            }
            let manifest = self.manifests.get(digest);
            let children = manifest.into_iter().flat_map(|manifest| &manifest.references);
            pending
                .extend(children.map(String::as_str).filter(|child| repository.revisions.contains(*child)));
            pending.extend(by_subject.get(digest).into_iter().flatten());
            pending.extend(referring_tags.get(digest).into_iter().flatten());
        }
        living
    }

    /// What must survive when every tag is kept: blobs, and revision links by repository.
    fn keep_tagged(&self) -> (BTreeSet<String>, BTreeMap<String, BTreeSet<String>>) {
        let mut roots: Vec<&str> = Vec::new();
        let mut revisions = BTreeMap::new();
        for (name, repository) in &self.repositories {
            let living = if self.is_unreadable(repository) {
                roots.extend(repository.layers.iter().map(String::as_str));
                repository.revisions.iter().chain(repository.tags.values()).map(String::as_str).collect()
            } else {
                self.living(repository)
            };
            roots.extend(&living);
            let signatures =
                repository.signatures.iter().filter(|(manifest, _)| living.contains(manifest.as_str()));
            roots.extend(signatures.map(|(_, signature)| signature.as_str()));
            let kept = repository.revisions.iter().filter(|digest| living.contains(digest.as_str())).cloned();
            revisions.insert(name.clone(), kept.collect());
        }
        (self.closure(roots.into_iter()), revisions)
    }

    /// What must survive when policy removes nothing.
    fn keep_all(&self) -> BTreeSet<String> {
        let mut roots: Vec<&str> = Vec::new();
        for repository in self.repositories.values() {
            roots.extend(repository.revisions.iter().chain(repository.tags.values()).map(String::as_str));
            roots.extend(repository.signatures.iter().map(|(_, signature)| signature.as_str()));
            if self.is_unreadable(repository) {
                roots.extend(repository.layers.iter().map(String::as_str));
            }
        }
        self.closure(roots.into_iter())
    }

    /// Everything that follows from the record.
    pub fn truth(&self) -> Truth {
        let keep_all_manifests = self.keep_all();
        let (keep_tagged, revisions_keep_tagged) = self.keep_tagged();
        let repositories = || self.repositories.values();
        let count = |of: fn(&Repository) -> usize| {
            repositories().map(|repository| of(repository) as u64).sum::<u64>()
        };
        let linked: HashSet<&str> =
            repositories().flat_map(|r| &r.layers).map(|digest| self.canonical(digest)).collect();
        let revisions: HashSet<&String> = repositories().flat_map(|r| &r.revisions).collect();
        let links = || repositories().flat_map(|repository| &repository.layers);
        let orphaned = |with_link: bool| {
            let orphan = |digest: &&String| {
                !keep_all_manifests.contains(*digest) && linked.contains(digest.as_str()) == with_link
            };
            self.blobs.keys().filter(orphan).count() as u64
        };
        let dangling = |repository: &Repository| {
            repository.tags.values().filter(|digest| !repository.revisions.contains(*digest)).count() as u64
        };
        Truth {
            files: self.files,
            file_bytes: self.file_bytes,
            repositories: self.repositories.len() as u64,
            tags: count(|repository| repository.tags.len()),
            tag_history: count(|repository| repository.history.len()),
            revisions: count(|repository| repository.revisions.len()),
            manifests: revisions.iter().filter(|digest| self.blobs.contains_key(**digest)).count() as u64,
            blobs: self.blobs.len() as u64,
            blob_bytes: self.blobs.values().sum(),
            layer_links: count(|repository| repository.layers.len()),
            layer_aliases: links().filter(|digest| !digest.starts_with("sha256:")).count() as u64,
            orphans: orphaned(false),
            orphans_linked: orphaned(true),
            dead_links: links().filter(|digest| !self.blobs.contains_key(self.canonical(digest))).count()
                as u64,
            dangling_tags: repositories().map(dangling).sum(),
            uploads: repositories().map(|repository| repository.uploads).sum(),
            empty_links: self.empty_links,
            digests: self.blobs.iter().map(|(digest, size)| (digest.clone(), *size)).collect(),
            keep_all_manifests,
            keep_tagged,
            revisions_keep_tagged,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::subject_of_tag;

    #[test]
    fn only_whole_digests_name_a_subject() {
        let hex = "0123456789abcdef".repeat(4);
        let digest = Some(format!("sha256:{hex}"));
        assert_eq!(subject_of_tag(&format!("sha256-{hex}")), digest);
        assert_eq!(subject_of_tag(&format!("sha256-{hex}.sig")), digest);
        assert_eq!(subject_of_tag(&format!("sha256-{hex}.zip")), None);
        assert_eq!(subject_of_tag(&format!("sha256-{}", &hex[1..])), None);
        assert_eq!(subject_of_tag("latest"), None);
    }
}
