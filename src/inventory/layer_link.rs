//! A blob's membership in a repository, small: of nothing else are there so many.

use jiff::Timestamp;

use super::{BlobId, Link};

const UNKNOWN_TIME: i64 = i64::MIN;

/// A blob's membership in a repository. 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerLink {
    /// The blob.
    pub digest: BlobId,
    /// Nanoseconds since 1970.
    changed: i64,
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
        self.changed = changed.map_or(UNKNOWN_TIME, |at| {
            let nanosecond = at.as_nanosecond().clamp(i128::from(i64::MIN + 1), i128::from(i64::MAX));
            i64::try_from(nanosecond).unwrap_or(i64::MAX)
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

    /// When the link last changed, where somebody asked. Times before 1678 and after 2261 are told as the first and the last
    /// moment between.
    pub fn changed(&self) -> Option<Timestamp> {
        (self.changed != UNKNOWN_TIME)
            .then(|| Timestamp::from_nanosecond(i128::from(self.changed)).unwrap_or(Timestamp::MAX))
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
        let at = Timestamp::new(1_700_000_000, 123_456_789).unwrap();
        for one in
            [Link::Whole, Link::Missing, Link::Unknown, Link::Damaged { size: 0 }, Link::Damaged { size: 72 }]
        {
            assert_eq!((link(one, Some(at)).link(), link(one, Some(at)).changed()), (one, Some(at)));
            assert_eq!((link(one, None).link(), link(one, None).changed()), (one, None));
        }
        assert_eq!(size_of::<LayerLink>(), 16);
    }

    #[test]
    fn what_it_cannot_hold_it_holds_as_nearly_as_it_can() {
        let late = link(Link::Whole, Some(Timestamp::MAX)).changed().unwrap();
        assert!(late > Timestamp::from_second(9_000_000_000).unwrap(), "{late}");
        let early = link(Link::Damaged { size: u64::MAX }, Some(Timestamp::MIN));
        assert!(early.changed().unwrap() < Timestamp::from_second(-9_000_000_000).unwrap());
        assert!(matches!(early.link(), Link::Damaged { size: 4_000_000_000.. }));
    }
}
