//! How a client brings what a manifest needs, and the manifest.

use regsweep::clock::{Clock as _, System};

use super::SETTLE;
use super::content::{Blob, Image};
use super::model::Repository;
use super::pusher::{Pusher, since};
use crate::registry::client::Answer;

/// Why a push was not acknowledged.
#[derive(Debug)]
pub enum Setback {
    /// The registry misses something.
    Refused,
    /// It took longer than the protocol allows: `grace` exceeds the longest push, and `settle` the time between a
    /// registry's look at what it needs and its writing of the link. Acknowledged it may be, but nothing is promised.
    Late,
    /// An answer that nobody asked for.
    Trouble,
}

/// How a client pushes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Looks for each blob, and always writes the manifest.
    Skopeo,
    /// Looks for manifests too, and writes none that is there.
    Containerd,
}

impl Pusher<'_> {
    pub fn put_manifest(
        &self,
        repository: &Repository,
        reference: &str,
        image: &Image,
    ) -> Result<(), Setback> {
        let begun = System.now();
        let (rest, media_type) = (format!("manifests/{reference}"), image.manifest.media_type);
        let answer = self.ask("PUT", repository, &rest, Some(media_type), Some(&image.manifest.bytes))?;
        let name = repository.name;
        self.note(|| format!("PUT {name}:{reference} {} {}", image.digest(), told(&answer)));
        match (answer.status, answer.error_code().as_deref()) {
            (201, _) if since(begun) > SETTLE => Err(Setback::Late),
            (201, _) => Ok(()),
            (400, Some("MANIFEST_BLOB_UNKNOWN" | "MANIFEST_UNKNOWN")) | (404, _) => Err(Setback::Refused),
            _ => Err(self.trouble("PUT", repository, &rest, &answer)),
        }
    }

    /// Brings everything that a manifest needs.
    pub fn bring(
        &mut self,
        repository: &Repository,
        image: &Image,
        habit: Habit,
        anew: bool,
    ) -> Result<(), Setback> {
        for child in &image.children {
            let rest = format!("manifests/{}", child.digest());
            if habit == Habit::Containerd && self.ask("HEAD", repository, &rest, None, None)?.status == 200 {
                self.note(|| format!("HEAD {}@{} 200", repository.name, child.digest()));
                continue;
            }
            self.bring(repository, child, habit, anew)?;
            self.put_manifest(repository, child.digest(), child)?;
        }
        for blob in &image.blobs {
            self.bring_blob(repository, blob, anew)?;
        }
        Ok(())
    }

    fn bring_blob(&mut self, repository: &Repository, blob: &Blob, anew: bool) -> Result<(), Setback> {
        let begun = System.now();
        let (name, digest) = (repository.name, &blob.digest);
        let mut start = "blobs/uploads/".to_owned();
        if !anew {
            let rest = format!("blobs/{digest}");
            match self.ask("HEAD", repository, &rest, None, None)? {
                Answer { status: 200, .. } => {
                    self.note(|| format!("HEAD {name}@{digest} 200"));
                    return Ok(());
                }
                Answer { status: 404, .. } => {}
                answer => return Err(self.trouble("HEAD", repository, &rest, &answer)),
            }
            if self.random.chance(0.4) {
                let from = self.random.pick(&self.model.repositories).expect("a repository").name;
                start = format!("blobs/uploads/?mount={digest}&from={from}");
            }
        }
        let answer = self.ask("POST", repository, &start, None, Some(&[]))?;
        match answer.status {
            201 => {
                self.model.count("mounts");
                self.note(|| format!("mount {name}@{digest}"));
            }
            202 => {
                let location = answer.header("location").expect("an upload's location").to_owned();
                self.upload(repository, blob, location)?;
                self.model.count("uploads");
                self.note(|| format!("upload {name}@{digest}"));
            }
            _ => return Err(self.trouble("POST", repository, &start, &answer)),
        }
        if since(begun) > SETTLE { Err(Setback::Late) } else { Ok(()) }
    }

    fn upload(&mut self, repository: &Repository, blob: &Blob, location: String) -> Result<(), Setback> {
        let mut location = location;
        let mut body: &[u8] = &blob.bytes;
        if self.random.chance(0.5) {
            let answer = self.send("PATCH", &location, Some(body))?;
            if answer.status != 202 {
                return Err(self.trouble("PATCH", repository, "an upload", &answer));
            }
            answer.header("location").expect("an upload's location").clone_into(&mut location);
            body = &[];
        }
        let separator = if location.contains('?') { '&' } else { '?' };
        let answer = self.send("PUT", &format!("{location}{separator}digest={}", blob.digest), Some(body))?;
        if answer.status != 201 {
            return Err(self.trouble("PUT", repository, "an upload", &answer));
        }
        Ok(())
    }

    pub fn send(&self, method: &str, url: &str, body: Option<&[u8]>) -> Result<Answer, Setback> {
        self.send_as(method, url, body.map(|_| "application/octet-stream"), body)
    }

    fn send_as(
        &self,
        method: &str,
        url: &str,
        media_type: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<Answer, Setback> {
        self.client.ask(method, url, media_type, body).map_err(|error| {
            self.model.fault(format!("{method} {url}: {error}"));
            Setback::Trouble
        })
    }

    pub fn ask(
        &self,
        method: &str,
        repository: &Repository,
        rest: &str,
        media_type: Option<&str>,
        body: Option<&[u8]>,
    ) -> Result<Answer, Setback> {
        let url = self.client.url(repository.name, rest);
        self.send_as(method, &url, media_type, body)
    }

    pub fn trouble(&self, method: &str, repository: &Repository, rest: &str, answer: &Answer) -> Setback {
        let text = format!("{method} {}/{rest}: {answer:?}", repository.name);
        self.model.trouble(format!("[{}] {text}", self.number));
        Setback::Trouble
    }
}

/// An answer in a word or two.
pub fn told(answer: &Answer) -> String {
    match answer.error_code() {
        Some(code) => format!("{} {code}", answer.status),
        None => answer.status.to_string(),
    }
}
