//! Whether what was acknowledged is there, and nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use super::content::{Image, Pool};
use super::locked;
use super::model::Model;
use crate::registry::client::Client;

/// An image that a sweep crossed is whole again after so long: the sweep's `settle`, and time to look.
pub const HEALED_WITHIN: Duration = Duration::from_secs(45);

/// Pulls an image, byte for byte.
///
/// # Errors
/// What is missing or different.
pub fn pull(client: &Client, repository: &str, reference: &str, image: &Image) -> Result<(), String> {
    fetch(client, repository, &format!("manifests/{reference}"), &image.manifest.bytes)?;
    for blob in &image.blobs {
        fetch(client, repository, &format!("blobs/{}", blob.digest), &blob.bytes)?;
    }
    for child in &image.children {
        pull(client, repository, child.digest(), child)?;
    }
    Ok(())
}

fn fetch(client: &Client, repository: &str, rest: &str, expected: &[u8]) -> Result<(), String> {
    let url = client.url(repository, rest);
    match client.ask("GET", &url, None, None) {
        Ok(answer) if answer.status != 200 => Err(format!("{repository}/{rest}: {answer:?}")),
        Ok(answer) if answer.body != expected => {
            Err(format!("{repository}/{rest}: other bytes than were pushed ({})", answer.body.len()))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{repository}/{rest}: {error}")),
    }
}

/// Pulls everything that was acknowledged and is kept, looks that all else is a clean 404, and compares the lists of tags.
/// Answers what is wrong.
pub fn everything(client: &Client, model: &Model) -> Vec<String> {
    let mut wrong = Vec::new();
    for repository in &model.repositories {
        let mut tags = BTreeSet::new();
        for tag in &repository.tags {
            let state = locked(&tag.state);
            assert!(state.is_certain(), "{}:{} is in doubt at the end", repository.name, tag.name);
            let kept = state.image().filter(|_| tag.kept);
            let Some(image) = kept else {
                let answer = client.manifest(repository.name, &tag.name);
                if !answer.is_clean_404() {
                    wrong.push(format!("{}:{} is gone, but {answer:?}", repository.name, tag.name));
                }
                continue;
            };
            tags.insert(tag.name.clone());
            let about = state.referrers.iter().map(|referrer| (referrer.digest(), referrer));
            for (reference, image) in [(tag.name.as_str(), image)].into_iter().chain(about) {
                if let Err(why) = pull(client, repository.name, reference, image) {
                    wrong.push(format!("{}:{} ({}): {why}", repository.name, tag.name, image.digest()));
                }
            }
        }
        let listed = client.tags(repository.name);
        if listed != tags {
            wrong.push(format!("{} lists {listed:?} instead of {tags:?}", repository.name));
        }
    }
    wrong
}

/// The digests that something kept needs, or may: what is about an image stays with it, whoever pushed it when.
pub fn needed(model: &Model, pool: &Pool) -> BTreeSet<String> {
    let mut needed = BTreeSet::new();
    for tag in model.repositories.iter().flat_map(|repository| &repository.tags).filter(|tag| tag.kept) {
        let state = locked(&tag.state);
        for image in state.image().into_iter().flat_map(|image| image.children.iter().chain([image])) {
            let about = pool.referrers(image);
            let all = about.iter().chain([image]);
            needed.extend(all.flat_map(|image| image.everything()).map(str::to_owned));
        }
    }
    needed
}
