//! Tags that do not go yet.

use super::Marker;
use crate::inventory::{Tag, Target};
use crate::oci::TagName;

impl Marker<'_> {
    /// Whether a tag, or the manifest that it points to, was pushed within the grace. Each push writes the manifest's link
    /// before its tag: whoever wrote the one may be about to write the other.
    pub(super) fn tag_young(&self, tag: &Tag) -> bool {
        let just_pushed = matches!(&tag.target, Target::Manifest(id) if self.linked.get(id).is_some_and(|&revision| {
            self.rules.young(self.repository.revisions[revision].changed)
        }));
        just_pushed || self.rules.young(tag.changed)
    }

    pub(super) fn tag_pinned(&self, tag: &TagName) -> bool {
        self.rules
            .pinned()
            .any(|pins| pins.tags.iter().any(|(name, pinned)| *name == self.repository.name && pinned == tag))
    }
}
