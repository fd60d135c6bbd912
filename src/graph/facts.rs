//! What a policy asks of tags and manifests: their times.

use super::Marker;
use crate::inventory::Target;
use crate::policy::{TagFacts, UntaggedFacts};

impl Marker<'_> {
    /// What is known of the tag with this number.
    pub(super) fn tag_facts(&self, index: usize) -> TagFacts<'_> {
        let tag = &self.repository.tags[index];
        let pushed = match &tag.target {
            Target::Manifest(id) => {
                self.linked.get(id).and_then(|&revision| self.repository.revisions[revision].pushed)
            }
            Target::Missing | Target::Corrupt(_) => None,
        };
        TagFacts {
            name: tag.name.as_str(),
            tagged: tag.tagged,
            pushed: pushed.or(tag.tagged),
            ..TagFacts::default()
        }
    }

    /// What is known of the manifest with this number, which no tag names.
    pub(super) fn untagged_facts(&self, index: usize) -> UntaggedFacts {
        UntaggedFacts { pushed: self.repository.revisions[index].pushed, ..UntaggedFacts::default() }
    }
}
