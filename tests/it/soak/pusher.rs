//! A client: it does what skopeo, docker, containerd and buildx do, in any order, and remembers what it was told.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use regsweep::clock::{Clock as _, System};
use regsweep::synth::SplitMix64;

use super::check;
use super::content::{Image, Pool, REFERRERS};
use super::model::{Model, Repository, State, Tag};
use super::transfer::{Habit, Setback, told};
use super::{GRACE, locked};
use crate::registry::client::Client;

/// How often a push is tried before the client gives up.
const ATTEMPTS: usize = 6;

/// A push that has taken so long is begun anew, because it would not end within the grace.
const PATIENCE: Duration = Duration::from_secs(2);

/// One client.
pub struct Pusher<'s> {
    pub model: &'s Model,
    pub pool: &'s Pool,
    pub client: Client,
    pub random: SplitMix64,
    pub number: usize,
    pub began: Timestamp,
    pub pushed: usize,
}

/// Seconds since a moment.
pub fn since(moment: Timestamp) -> Duration {
    Duration::try_from(System.now().duration_since(moment)).unwrap_or_default()
}

impl Pusher<'_> {
    /// Does one thing.
    pub fn act(&mut self) {
        let model = self.model;
        let repository = self.random.pick(&model.repositories).expect("a repository");
        let tag = self.random.pick(&repository.tags).expect("a tag");
        match self.random.below(100) {
            0..52 if !tag.settled => {
                let image = self.some_image();
                let habit = if self.random.chance(0.4) { Habit::Containerd } else { Habit::Skopeo };
                self.push(repository, tag, &image, habit);
            }
            52..62 if !tag.settled => self.retag(repository, tag),
            62..68 => self.push_untagged(repository),
            68..80 => self.delete(repository),
            80..88 => self.refer(repository, tag),
            88..91 => self.abandon(repository),
            91..100 => self.pull(repository, tag),
            _ => {}
        }
        self.pause(200);
    }

    fn pause(&mut self, milliseconds: usize) {
        thread::sleep(Duration::from_millis(self.random.below(milliseconds) as u64));
    }

    fn some_image(&mut self) -> Arc<Image> {
        if self.random.chance(0.12) {
            self.pushed += 1;
            let name = format!("fresh {} {}", self.number, self.pushed);
            self.pool.fresh(&name, &mut self.random)
        } else {
            self.pool.choose(&mut self.random, since(self.began).as_secs_f64())
        }
    }

    /// Pushes by tag until it is acknowledged.
    pub fn push_settled(&mut self, repository: &Repository, tag: &Tag, image: &Arc<Image>) {
        self.push(repository, tag, image, Habit::Skopeo);
    }

    fn push(&mut self, repository: &Repository, tag: &Tag, image: &Arc<Image>, habit: Habit) {
        let mut habit = habit;
        for attempt in 0..ATTEMPTS {
            let begun = System.now();
            let anew = attempt > 0;
            if anew {
                habit = Habit::Skopeo;
            }
            let mut result = self.bring(repository, image, habit, anew);
            if result.is_ok() {
                self.pause(300);
                let _open = repository.gate.read().unwrap_or_else(PoisonError::into_inner);
                let mut state = locked(&tag.state);
                result = self.name(repository, tag, image, habit, begun, &mut state);
            }
            match result {
                Ok(()) => return,
                Err(setback) => self.take(&setback, repository, &tag.name, image),
            }
        }
        self.model.count("pushes given up");
    }

    fn take(&self, setback: &Setback, repository: &Repository, reference: &str, image: &Image) {
        let name = repository.name;
        match setback {
            Setback::Refused => self.model.count("pushes rejected"),
            Setback::Late => self.model.count("pushes too slow"),
            Setback::Trouble => self.model.count("pushes troubled"),
        }
        self.note(|| format!("push {name}:{reference} {} failed: {setback:?}", image.digest()));
    }

    pub fn note(&self, line: impl FnOnce() -> String) {
        self.model.note(|| format!("[{}] {}", self.number, line()));
    }

    /// Points the tag to the manifest, whose lock the caller holds.
    fn name(
        &mut self,
        repository: &Repository,
        tag: &Tag,
        image: &Arc<Image>,
        habit: Habit,
        begun: Timestamp,
        state: &mut State,
    ) -> Result<(), Setback> {
        if since(begun) > PATIENCE {
            return Err(Setback::Late);
        }
        if habit == Habit::Containerd {
            let there = self.ask("HEAD", repository, &format!("manifests/{}", tag.name), None, None)?;
            let digest = there.header("docker-content-digest");
            if there.status == 200 && digest == Some(image.digest()) {
                self.model.count("pushes skipped");
                self.note(|| {
                    format!("push {}:{} {} is there already", repository.name, tag.name, image.digest())
                });
                state.acknowledge(image);
                return Ok(());
            }
        }
        match self.put_manifest(repository, &tag.name, image) {
            Ok(()) if since(begun) > GRACE => {
                state.doubt(Some(image));
                Err(Setback::Late)
            }
            Ok(()) => {
                self.model.count("pushes");
                state.acknowledge(image);
                Ok(())
            }
            Err(Setback::Refused) => Err(Setback::Refused),
            Err(setback) => {
                state.doubt(Some(image));
                Err(setback)
            }
        }
    }

    /// Gives the manifest of one tag another name.
    fn retag(&mut self, repository: &Repository, to: &Tag) {
        let from = self.random.pick(&repository.tags).expect("a tag");
        let begun = System.now();
        let Ok(answer) = self.ask("GET", repository, &format!("manifests/{}", from.name), None, None) else {
            return;
        };
        let digest = answer.header("docker-content-digest").unwrap_or_default();
        let Some(image) = self.pool.find(digest).filter(|_| answer.status == 200) else { return };
        self.pause(150);
        let result = {
            let _open = repository.gate.read().unwrap_or_else(PoisonError::into_inner);
            let mut state = locked(&to.state);
            self.name(repository, to, &image, Habit::Skopeo, begun, &mut state)
        };
        match result {
            Ok(()) => self.model.count("retags"),
            Err(setback) => {
                self.take(&setback, repository, &to.name, &image);
                self.push(repository, to, &image, Habit::Skopeo);
            }
        }
    }

    fn push_untagged(&mut self, repository: &Repository) {
        let image = self.some_image();
        let brought = self.bring(repository, &image, Habit::Skopeo, false);
        self.pause(300);
        match brought.and_then(|()| self.put_manifest(repository, image.digest(), &image)) {
            Ok(()) => self.model.count("untagged pushes"),
            Err(setback) => self.take(&setback, repository, "", &image),
        }
    }

    /// Deletes a manifest and with it all of its tags, unless what was acknowledged needs it.
    fn delete(&mut self, repository: &Repository) {
        let _alone = repository.gate.write().unwrap_or_else(PoisonError::into_inner);
        let mut states: Vec<_> = repository.tags.iter().map(|tag| (tag, locked(&tag.state))).collect();
        let chosen = self.random.below(states.len());
        let (tag, state) = &states[chosen];
        // Most deletions are of what no tag that is kept points to, or there would soon be none.
        let of_tag = state.image().filter(|_| !tag.kept || self.random.chance(0.3)).cloned();
        let image =
            of_tag.unwrap_or_else(|| self.pool.choose(&mut self.random, since(self.began).as_secs_f64()));
        let digest = image.digest();
        if states.iter().any(|(tag, state)| state.needs(digest) || (tag.settled && state.may_be(digest))) {
            return;
        }
        let is_kept = |(tag, state): &(&Tag, MutexGuard<'_, State>)| {
            tag.kept && state.image().is_some_and(|image| image.digest() == digest)
        };
        let kept = states.iter().find(|state| is_kept(state)).map(|(tag, _)| *tag);
        let begun = System.now();
        let answer = loop {
            let asked = self.ask("DELETE", repository, &format!("manifests/{digest}"), None, None);
            let Ok(answer) = asked else { return };
            self.note(|| format!("DELETE {}@{digest} {}", repository.name, told(&answer)));
            let Some(tag) = kept.filter(|_| answer.status == 404) else { break answer };
            // A sweep that crossed the push gives back what it took; to pull the image would have to wait as well.
            let waited = since(begun);
            if waited > check::HEALED_WITHIN {
                self.model.fault(format!(
                    "{}:{} was {digest}, and for {waited:.1?} a deletion finds no such manifest",
                    repository.name, tag.name
                ));
                break answer;
            }
            self.model.count("deletions that had to wait");
            thread::sleep(Duration::from_millis(200));
        };
        for (_, state) in states.iter_mut().filter(|(_, state)| state.may_be(digest)) {
            match answer.status {
                202 => state.delete(),
                404 => {}
                _ => state.doubt(None),
            }
        }
        match answer.status {
            202 => self.model.count("deletions"),
            404 => self.model.count("deletions of nothing"),
            _ => {
                self.model.count("deletions troubled");
                let _ = self.trouble("DELETE", repository, digest, &answer);
            }
        }
    }

    /// Pushes an artifact about the image of a tag that is kept.
    fn refer(&mut self, repository: &Repository, tag: &Tag) {
        let _open = repository.gate.read().unwrap_or_else(PoisonError::into_inner);
        let mut state = locked(&tag.state);
        let Some(subject) = state.image().filter(|_| tag.kept).cloned() else { return };
        let referrer = self.pool.referrer(&subject, self.random.below(REFERRERS));
        let begun = System.now();
        let anew = self.random.chance(0.3);
        let brought = self.bring(repository, &referrer, Habit::Skopeo, anew);
        match brought.and_then(|()| self.put_manifest(repository, referrer.digest(), &referrer)) {
            Ok(()) if since(begun) <= GRACE => {
                self.model.count("referrers");
                if !state.referrers.iter().any(|known| known.digest() == referrer.digest()) {
                    state.referrers.push(referrer);
                }
            }
            Ok(()) => self.take(&Setback::Late, repository, "", &referrer),
            Err(setback) => self.take(&setback, repository, "", &referrer),
        }
    }

    /// Begins an upload and goes away.
    fn abandon(&mut self, repository: &Repository) {
        let Ok(answer) = self.ask("POST", repository, "blobs/uploads/", None, Some(&[])) else { return };
        if let (202, Some(location)) = (answer.status, answer.header("location")) {
            let bytes = self.random.bytes(300);
            let _ = self.send("PATCH", location, Some(&bytes));
            self.model.count("uploads abandoned");
        }
    }

    /// Pulls what a tag points to. An image that a sweep crossed may have to wait until it is whole again; in the end it
    /// must be.
    fn pull(&mut self, repository: &Repository, tag: &Tag) {
        let _open = repository.gate.read().unwrap_or_else(PoisonError::into_inner);
        let state = locked(&tag.state);
        let Some(image) = state.image() else { return };
        self.model.count("pulls");
        let begun = System.now();
        let mut tries = 0;
        while let Err(why) = check::pull(&self.client, repository.name, &tag.name, image) {
            let reference = format!("manifests/{}", tag.name);
            if !tag.kept
                && self
                    .ask("GET", repository, &reference, None, None)
                    .is_ok_and(|answer| answer.is_clean_404())
            {
                return;
            }
            let waited = since(begun);
            self.note(|| format!("pull {}:{} {}: {why}", repository.name, tag.name, image.digest()));
            if waited > check::HEALED_WITHIN {
                self.model.fault(format!(
                    "{}:{} {} does not pull for {waited:.1?}: {why}",
                    repository.name,
                    tag.name,
                    image.digest()
                ));
                return;
            }
            tries += 1;
            thread::sleep(Duration::from_millis(200));
        }
        if tries > 0 {
            let waited = since(begun);
            self.model.count("pulls that had to wait");
            self.note(|| format!("pull {}:{} waited {waited:.1?}", repository.name, tag.name));
        }
    }
}
