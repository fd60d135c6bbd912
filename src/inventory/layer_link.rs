//! A blob's membership in a repository, small: of nothing else are there so many.

use jiff::Timestamp;

use super::{BlobId, Link};

const UNKNOWN_TIME: u32 = u32::MAX;

/// A blob's membership in a repository. 12 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerLink {
    /// The blob.
    pub digest: BlobId,
    /// Seconds since 1970.
    changed: u32,
    /// Bytes of a damaged link, or one of the numbers below.
    link: u32,
}

const WHOLE: u32 = u32::MAX;
const MISSING: u32 = u32::MAX - 1;
const UNKNOWN: u32 = u32::MAX - 2;

impl LayerLink {
    /// A link as it was found.
    pub fn new(digest: BlobId, link: Link, changed: Option<Timestamp>) -> Self {
        let mut this = Self { digest, changed: UNKNOWN_TIME, link: UNKNOWN };
        this.look(link, changed);
        this
    }

    /// Notes what was found.
    pub fn look(&mut self, link: Link, changed: Option<Timestamp>) {
        self.link = match link {
            Link::Whole => WHOLE,
            Link::Missing => MISSING,
            Link::Unknown => UNKNOWN,
            Link::Damaged { size } => u32::try_from(size).unwrap_or(u32::MAX).min(UNKNOWN - 1),
        };
        // Rounded up: what was found is never older than it is, and never looks as if it had been written again since.
        self.changed = changed.map_or(UNKNOWN_TIME, |at| {
            let up = at.as_second().saturating_add(i64::from(at.subsec_nanosecond() > 0));
            u32::try_from(up.clamp(0, i64::from(UNKNOWN_TIME - 1))).unwrap_or(UNKNOWN_TIME)
        });
    }

    /// What its link looks like. A damaged one of 4 GiB or more is told as one of just below that.
    pub fn link(&self) -> Link {
        match self.link {
            WHOLE => Link::Whole,
            MISSING => Link::Missing,
            UNKNOWN => Link::Unknown,
            size => Link::Damaged { size: u64::from(size) },
        }
    }

    /// When the link last changed, in whole seconds, rounded up, where somebody asked. Times before 1970 and after 2105 are
    /// told as the first and the last moment between.
    pub fn changed(&self) -> Option<Timestamp> {
        (self.changed != UNKNOWN_TIME)
            .then(|| Timestamp::from_second(i64::from(self.changed)).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::BlobTable;
    use crate::oci::Digest;

    fn link(link: Link, changed: Option<Timestamp>) -> LayerLink {
        LayerLink::new(BlobTable::default().intern(&Digest::of(b"x")), link, changed)
    }

    #[test]
    fn it_tells_what_it_was_told() {
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        for one in
            [Link::Whole, Link::Missing, Link::Unknown, Link::Damaged { size: 0 }, Link::Damaged { size: 72 }]
        {
            assert_eq!((link(one, Some(at)).link(), link(one, Some(at)).changed()), (one, Some(at)));
            assert_eq!((link(one, None).link(), link(one, None).changed()), (one, None));
        }
        assert_eq!(size_of::<LayerLink>(), 12);
    }

    #[test]
    fn it_is_never_older_than_it_is() {
        let at = Timestamp::new(1_700_000_000, 1).unwrap();
        assert_eq!(link(Link::Whole, Some(at)).changed().unwrap().as_second(), 1_700_000_001);
        let late = link(Link::Whole, Some(Timestamp::MAX)).changed().unwrap();
        assert!(late > Timestamp::from_second(4_200_000_000).unwrap(), "{late}");
        let early = link(Link::Damaged { size: u64::MAX }, Some(Timestamp::MIN));
        assert_eq!(early.changed(), Some(Timestamp::UNIX_EPOCH));
        assert!(matches!(early.link(), Link::Damaged { size: 4_000_000_000.. }));
    }
}
