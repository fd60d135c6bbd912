//! How the database names a blob, in the four ways of its history.

use super::place::{Minute, Uuid};

/// A blob as the database names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRef {
    /// The blob store; for a group of blob stores it may be the group's name, so it does not tell where the blob lies.
    pub store: String,
    /// The blob.
    pub id: Uuid,
    /// The minute that it lies under; without one it lies by its hash.
    pub minute: Option<Minute>,
}

impl BlobRef {
    /// Reads `store@uuid`, `store@uuid@yyyy-MM-ddTHH:mm`, `store@node:uuid` (`OrientDB`) or `store:uuid@node` (SQL before
    /// 3.47). `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let new = |store: &str, id: &str, minute| {
            let id = Uuid::parse(id)?;
            (!store.is_empty()).then(|| Self { store: store.to_owned(), id, minute })
        };
        let (head, tail) = text.rsplit_once('@')?;
        if let Ok(minute) = tail.parse::<Minute>() {
            let (store, id) = head.rsplit_once('@')?;
            return new(store, id, Some(minute));
        }
        if let Some((_node, id)) = tail.rsplit_once(':') {
            return new(head, id, None);
        }
        new(head, tail, None).or_else(|| head.rsplit_once(':').and_then(|(store, id)| new(store, id, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_four_ways_are_read() {
        let id = "9c847d7a-0f0d-4a72-bb0e-49ad697384df";
        let node = "5C8B4C1E-4E5D0F9A-9C1B7E2D-0A1B2C3D-4E5F6071";
        for (text, dated) in [
            (format!("default@{id}"), false),
            (format!("default@{id}@2026-11-22T13:24"), true),
            (format!("default@{node}:{id}"), false),
            (format!("default:{id}@{node}"), false),
        ] {
            let read = BlobRef::parse(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((read.store.as_str(), read.id.to_string().as_str()), ("default", id));
            assert_eq!(read.minute.is_some(), dated);
        }
        for bad in ["", "default", "default@x", &format!("@{id}"), id, &format!("default@{id}@yesterday")] {
            assert_eq!(BlobRef::parse(bad), None, "{bad}");
        }
    }
}
