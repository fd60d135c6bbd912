//! What a person means, in a store: the thing itself, or what is nearest to it.

use super::Subject;
use crate::inventory::{Inventory, Link};
use crate::oci::{Digest, ImageReference};

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// A repository, or a tag or a manifest of one.
    Image(ImageReference),
    /// A digest, wherever it is.
    Digest(Digest),
}

/// Why there is nothing to explain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}{}", self.advice())]
pub struct NotFound {
    /// What is not there.
    pub what: String,
    /// What is there and near it.
    pub near: Vec<String>,
}

impl NotFound {
    fn advice(&self) -> String {
        match self.near.as_slice() {
            [] => String::new(),
            [only] => format!("; did you mean {only}?"),
            several => format!("; did you mean one of {}?", several.join(", ")),
        }
    }
}

/// Near names that are told.
const NEAR: usize = 3;

/// How alike two names must be for one to be near the other, from 0 to 1.
const ALIKE: f64 = 0.75;

/// Finds what is asked about.
///
/// # Errors
/// When it is not in the store, with what is near it.
pub fn find(inventory: &Inventory, asked: &Asked) -> Result<Subject, NotFound> {
    let image = match asked {
        Asked::Digest(digest) => return blob(inventory, digest),
        Asked::Image(image) => image,
    };
    let found = inventory.repositories.iter().position(|repository| repository.name == image.repository);
    let Some(index) = found else {
        let names = inventory.repositories.iter().map(|repository| repository.name.as_str());
        let what = format!("there is no repository {} in the store", image.repository);
        return Err(NotFound { what, near: nearest(image.repository.as_str(), names, ToOwned::to_owned) });
    };
    let repository = &inventory.repositories[index];
    let name = &repository.name;
    if let Some(digest) = image.digest {
        let id = inventory.blobs.find(&digest);
        let has = |index: usize| {
            let mut revisions = inventory.repositories[index].revisions.iter();
            revisions.any(|one| Some(one.digest) == id && one.link != Link::Missing)
        };
        if has(index) {
            return Ok(Subject::Manifest { repository: name.clone(), digest });
        }
        let others = (0..inventory.repositories.len()).filter(|at| has(*at)).take(NEAR);
        let near = others.map(|at| format!("{}@{digest}", inventory.repositories[at].name)).collect();
        return Err(NotFound { what: format!("{name} has no manifest {digest}"), near });
    }
    let Some(tag) = &image.tag else {
        return Ok(Subject::Repository { repository: name.clone() });
    };
    if repository.tags.iter().any(|one| one.name == *tag) {
        return Ok(Subject::Tag { repository: name.clone(), tag: tag.clone() });
    }
    let tags = repository.tags.iter().map(|tag| tag.name.as_str());
    let near = nearest(tag.as_str(), tags, |tag| format!("{name}:{tag}"));
    Err(NotFound { what: format!("{name} has no tag {tag}"), near })
}

fn blob(inventory: &Inventory, digest: &Digest) -> Result<Subject, NotFound> {
    if inventory.blobs.find(digest).is_some() {
        return Ok(Subject::Blob { digest: *digest });
    }
    let text = digest.to_string();
    // As many digits as tools print in short.
    let start = &text[..text.len().min("sha256:".len() + 12)];
    let like = inventory.blobs.present().map(|id| inventory.blobs.digest(id).to_string());
    let near = like.filter(|other| other.starts_with(start)).take(NEAR).collect();
    Err(NotFound {
        what: format!("nothing in the store has the digest {digest}, and nothing names it"),
        near,
    })
}

/// The names that are most like `wanted`, the nearest first.
fn nearest<'n>(
    wanted: &str,
    names: impl Iterator<Item = &'n str>,
    shown: impl Fn(&str) -> String,
) -> Vec<String> {
    let mut alike: Vec<(f64, &str)> = names
        .map(|name| {
            // Whoever leaves out the start of a path means the rest.
            let ends = name.len() > wanted.len() && name.ends_with(&format!("/{wanted}"));
            (if ends { 1.0 } else { strsim::jaro_winkler(wanted, name) }, name)
        })
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    alike.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(right.1)));
    alike.into_iter().take(NEAR).map(|(_, name)| shown(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        let names = ["library/app", "library/apt", "team/library/ap", "other"];
        let near = nearest("library/ap", names.into_iter(), ToOwned::to_owned);
        assert_eq!(near[0], "team/library/ap", "{near:?}");
        assert!(near.contains(&"library/app".to_owned()) && !near.contains(&"other".to_owned()), "{near:?}");
        assert_eq!(near.len(), 3);
    }

    #[test]
    fn what_is_not_found_is_said_with_what_is_near() {
        let said = |near: &[&str]| {
            let near = near.iter().map(ToString::to_string).collect();
            NotFound { what: "app has no tag v1".into(), near }.to_string()
        };
        assert_eq!(said(&[]), "app has no tag v1");
        assert_eq!(said(&["app:v1.0"]), "app has no tag v1; did you mean app:v1.0?");
        assert_eq!(said(&["app:v1.0", "app:v2"]), "app has no tag v1; did you mean one of app:v1.0, app:v2?");
    }
}
