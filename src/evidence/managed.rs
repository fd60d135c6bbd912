//! What a repository manager's REST interface lists for those who delete through it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::row::sha256;
use crate::layout::nexus::{DockerName, docker_name};
use crate::oci::Digest;

/// The type of the task that removes manifests that no tag leads to, and layers that no manifest needs.
pub const COLLECT: &str = "repository.docker.gc";

/// The type of the task that deletes what is flagged as deleted.
pub const COMPACT: &str = "blobstore.compact";

/// One asset as it was listed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedAsset {
    /// Its id.
    pub id: String,
    /// Its path.
    pub path: String,
    /// The digest of its content.
    pub digest: Digest,
}

/// What was listed of a tag, or of a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The id of the component that goes as a whole; without one the assets go one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Its assets. A manifest that only a tag names has none of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assets: Vec<ListedAsset>,
}

impl Listed {
    /// The path of one thing that goes below the REST interface, such as `components/ID`.
    pub fn resources(&self) -> Vec<String> {
        match &self.component {
            Some(id) => vec![format!("components/{}", encoded(id))],
            None => self.assets.iter().map(|asset| format!("assets/{}", encoded(&asset.id))).collect(),
        }
    }

    /// Whether it is one manifest of this digest.
    pub fn is_of(&self, digest: &Digest) -> bool {
        matches!(self.assets.as_slice(), [only] if only.digest == *digest)
    }

    /// Whether a component or an asset, as the interface answers it now, is still what was listed.
    pub fn is_same(&self, answer: &Value) -> bool {
        let assets = |items: &[Value]| {
            let mut found: Vec<ListedAsset> = items.iter().map(asset).collect::<Option<_>>()?;
            found.sort();
            Some(found)
        };
        match &self.component {
            Some(_) => {
                answer.get("assets").and_then(Value::as_array).and_then(|items| assets(items))
                    == Some(self.assets.clone())
            }
            None => asset(answer).is_some_and(|found| self.assets.contains(&found)),
        }
    }
}

/// A task that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// Its name, as somebody called it.
    pub name: String,
    /// Its type: [`COLLECT`] or [`COMPACT`].
    pub kind: String,
}

/// Everything that deleting through the interface goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Managed {
    /// The address.
    pub url: String,
    /// By image (`<repository>/<image>`), the tags, and what is listed of each.
    pub tags: BTreeMap<String, BTreeMap<String, Listed>>,
    /// By image, the manifests that are listed by their digest.
    pub manifests: BTreeMap<String, BTreeMap<Digest, Listed>>,
    /// Tasks that let go of what nothing needs any more, those that come first before the others.
    pub tasks: Vec<Task>,
}

impl Managed {
    /// Takes an asset of a listing. Only manifests by digest are of interest: a tag is a component's.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn add_asset(&mut self, repository: &str, item: &Value) -> Result<(), String> {
        let path = item.get("path").and_then(Value::as_str).unwrap_or_default();
        let Some(DockerName::Manifest { image, digest }) = docker_name(path) else { return Ok(()) };
        let asset = asset(item).ok_or_else(|| format!("the asset {path} has no id or no sha256"))?;
        let of_image = self.manifests.entry(format!("{repository}/{image}")).or_default();
        of_image.entry(digest).or_default().assets.push(asset);
        Ok(())
    }

    /// Takes a component of a listing.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn add_component(&mut self, repository: &str, item: &Value) -> Result<(), String> {
        let id = text(item, "id").ok_or("a component has no id")?;
        let items = item.get("assets").and_then(Value::as_array);
        let items = items.ok_or_else(|| format!("the component {id} has no assets"))?;
        let assets: Option<Vec<ListedAsset>> = items.iter().map(asset).collect();
        let mut assets =
            assets.ok_or_else(|| format!("an asset of the component {id} has no id, path or sha256"))?;
        assets.sort();
        let tags: Vec<(String, String)> = assets
            .iter()
            .filter_map(|asset| match docker_name(&asset.path) {
                Some(DockerName::Tag { image, tag }) => Some((image.to_owned(), tag.to_owned())),
                _ => None,
            })
            .collect();
        for (image, tag) in tags {
            let of_image = self.tags.entry(format!("{repository}/{image}")).or_default();
            let listed = of_image.entry(tag).or_default();
            // Two components of one tag are one that is not understood: it has more assets than a tag has.
            listed.component = Some(id.clone());
            listed.assets.extend(assets.iter().cloned());
        }
        Ok(())
    }

    /// Takes a task of a listing, if it is one of those that are started.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn add_task(&mut self, item: &Value) -> Result<(), String> {
        let kind = text(item, "type").ok_or("a task has no type")?;
        if kind == COLLECT || kind == COMPACT {
            let id = text(item, "id").ok_or("a task has no id")?;
            let name = text(item, "name").unwrap_or_else(|| id.clone());
            self.tasks.push(Task { id, name, kind });
            self.tasks.sort_by(|one, other| {
                let order = |task: &Task| (task.kind == COMPACT, task.name.clone(), task.id.clone());
                order(one).cmp(&order(other))
            });
        }
        Ok(())
    }

    /// The tags of an image.
    pub fn tags_of(&self, image: &str) -> impl Iterator<Item = (&str, &Listed)> {
        self.tags.get(image).into_iter().flatten().map(|(tag, listed)| (tag.as_str(), listed))
    }

    /// What is listed of a tag, when that is its manifest and nothing else.
    pub fn tag(&self, image: &str, tag: &str) -> Option<&Listed> {
        self.tags.get(image)?.get(tag).filter(|listed| listed.assets.len() == 1)
    }

    /// What is listed of a manifest by its digest.
    pub fn manifest(&self, image: &str, digest: &Digest) -> Option<&Listed> {
        self.manifests.get(image)?.get(digest)
    }
}

fn text(item: &Value, name: &str) -> Option<String> {
    item.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(ToOwned::to_owned)
}

fn asset(item: &Value) -> Option<ListedAsset> {
    let digest = item.get("checksum")?.get("sha256")?.as_str()?;
    Some(ListedAsset { id: text(item, "id")?, path: text(item, "path")?, digest: sha256(digest).ok()? })
}

/// An id as a part of a path: base64 of older versions may have a slash in it.
fn encoded(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    id.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    fn asset_of(id: &str, path: &str, body: &str) -> Value {
        json!({ "id": id, "path": path, "repository": "d", "checksum": { "sha256": Digest::of(body.as_bytes()).hex() } })
    }

    #[test]
    fn a_tag_is_a_component_with_its_manifest() {
        let mut managed = Managed::default();
        let component = |id: &str, assets: Vec<Value>| json!({ "id": id, "assets": assets });
        let of_tag = asset_of("a1", "/v2/team/app/manifests/1.0", "x");
        managed.add_component("d", &component("c1", vec![of_tag.clone()])).unwrap();
        let listed = managed.tag("d/team/app", "1.0").unwrap().clone();
        assert_eq!(listed.resources(), ["components/c1"]);
        assert!(listed.is_same(&component("c1", vec![of_tag.clone()])));
        assert!(!listed.is_same(&component("c1", vec![asset_of("a1", "/v2/team/app/manifests/1.0", "y")])));
        assert!(!listed.is_same(&component("c1", vec![of_tag.clone(), asset_of("a2", "/v2/x", "z")])));
        assert!(!listed.is_same(&json!({})));
        // A second component of the same tag, and one that has more, are not understood.
        managed.add_component("d", &component("c2", vec![of_tag])).unwrap();
        assert_eq!(managed.tag("d/team/app", "1.0"), None);
        for bad in [json!({}), json!({ "id": "c" }), component("c", vec![json!({ "id": "a" })])] {
            assert!(managed.add_component("d", &bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_manifest_is_an_asset() {
        let mut managed = Managed::default();
        let digest = Digest::of(b"x");
        let item = asset_of("a/1+=", &format!("v2/app/manifests/{digest}"), "x");
        managed.add_asset("d", &item).unwrap();
        managed.add_asset("d", &asset_of("a2", "v2/app/manifests/1", "x")).unwrap();
        managed.add_asset("d", &json!({ "path": format!("v2/-/blobs/{digest}") })).unwrap();
        let listed = managed.manifest("d/app", &digest).unwrap();
        assert_eq!(listed.resources(), ["assets/a%2F1%2B%3D"]);
        assert!(listed.is_same(&item) && !listed.is_same(&asset_of("a/1+=", "v2/other", "x")));
        assert!(managed.add_asset("d", &json!({ "path": format!("v2/app/manifests/{digest}") })).is_err());
    }

    #[test]
    fn tasks_of_other_kinds_are_left_alone() {
        let mut managed = Managed::default();
        for (id, kind) in [("1", COMPACT), ("2", "repository.purge-unused"), ("3", COLLECT)] {
            managed.add_task(&json!({ "id": id, "name": "n", "type": kind })).unwrap();
        }
        let ids: Vec<&str> = managed.tasks.iter().map(|task| task.id.as_str()).collect();
        assert_eq!(ids, ["3", "1"]);
        assert!(managed.add_task(&json!({ "type": COMPACT })).is_err());
    }
}
