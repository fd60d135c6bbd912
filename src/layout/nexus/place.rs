//! Where a blob lies in its store.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// A blob's name in its store: a UUID as it is written, in lower case with hyphens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(u128);

impl Uuid {
    /// A UUID of these bits.
    pub fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// Reads a UUID; `None` for any other way to write it, since another name is another file.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut bits = 0_u128;
        if bytes.len() != 36 {
            return None;
        }
        for (position, byte) in bytes.iter().enumerate() {
            match (position, byte) {
                (8 | 13 | 18 | 23, b'-') => {}
                (8 | 13 | 18 | 23, _) => return None,
                (_, b'0'..=b'9') => bits = bits << 4 | u128::from(byte - b'0'),
                (_, b'a'..=b'f') => bits = bits << 4 | u128::from(byte - b'a' + 10),
                _ => return None,
            }
        }
        Some(Self(bits))
    }

    /// `String.hashCode()` of the UUID as Java computes it.
    fn java_hash(self) -> i32 {
        self.to_string().bytes().fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)))
    }

    /// Volume (1 to 43) and chapter (1 to 47) that the UUID belongs into.
    pub fn volume_chapter(self) -> (u8, u8) {
        let hash = self.java_hash();
        let part = |modulus: i32| u8::try_from((hash % modulus).unsigned_abs()).unwrap_or(0) + 1;
        (part(43), part(47))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |from: u32, digits: u32| (self.0 >> from) & ((1 << (4 * digits)) - 1);
        write!(f, "{:08x}-{:04x}-{:04x}-", part(96, 8), part(80, 4), part(64, 4))?;
        write!(f, "{:04x}-{:012x}", part(48, 4), part(0, 12))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A minute in UTC: the directory of a blob that was made in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Minute(DateTime);

impl Minute {
    /// The minute that a moment is in.
    pub fn of(at: Timestamp) -> Option<Self> {
        let time = at.to_zoned(TimeZone::UTC).datetime();
        Self::new(time.year(), time.month(), time.day(), time.hour(), time.minute())
    }

    fn new(year: i16, month: i8, day: i8, hour: i8, minute: i8) -> Option<Self> {
        DateTime::new(year, month, day, hour, minute, 0, 0).ok().filter(|time| time.year() >= 0).map(Self)
    }

    /// Reads `yyyy/MM/dd/HH/mm`; `None` for what is no minute of the calendar.
    fn from_path(path: &str) -> Option<Self> {
        let mut parts = path.split('/');
        let mut number = |digits: usize| {
            let part = parts.next()?;
            let right = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
            if right { part.parse::<i16>().ok() } else { None }
        };
        let (year, month, day) = (number(4)?, number(2)?, number(2)?);
        let (hour, minute) = (number(2)?, number(2)?);
        let small = |number: i16| i8::try_from(number).ok();
        if parts.next().is_some() {
            return None;
        }
        Self::new(year, small(month)?, small(day)?, small(hour)?, small(minute)?)
    }
}

/// `yyyy-MM-ddTHH:mm`, as records and the database write it.
impl FromStr for Minute {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != 16 {
            return Err(());
        }
        Self::from_path(&text.replacen(['-', 'T', ':'], "/", 4)).ok_or(())
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(at) = self;
        let (year, month, day) = (at.year(), at.month(), at.day());
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}", at.hour(), at.minute())
    }
}

/// Which of the two ways of placing a blob holds for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// `vol-NN/chap-NN`, by the hash of its UUID: every blob until 3.73, and those that are still there from then.
    VolumeChapter,
    /// `yyyy/MM/dd/HH/mm`, by the minute of its creation: new blobs since 3.83, earlier where it was switched on.
    Dated(Minute),
}

impl Place {
    /// The directory below `content` where a blob of this UUID lies.
    pub fn directory(self, id: Uuid) -> String {
        match self {
            Self::VolumeChapter => {
                let (volume, chapter) = id.volume_chapter();
                format!("vol-{volume:02}/chap-{chapter:02}")
            }
            Self::Dated(Minute(at)) => format!(
                "{:04}/{:02}/{:02}/{:02}/{:02}",
                at.year(),
                at.month(),
                at.day(),
                at.hour(),
                at.minute()
            ),
        }
    }

    /// What the directory below `content` says of a blob that lies in it. `Err` for a directory of the layout in which
    /// Nexus would not look for this blob.
    pub(super) fn read(directory: &str, id: Uuid) -> Result<Option<Self>, ()> {
        if directory.starts_with("vol-") {
            return if directory == Self::VolumeChapter.directory(id) {
                Ok(Some(Self::VolumeChapter))
            } else {
                Err(())
            };
        }
        Ok(Minute::from_path(directory).map(Self::Dated))
    }
}

/// Whether a directory below `content` may lead to blobs.
pub(super) fn leads_to_blobs(directory: &str) -> bool {
    let two = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = directory.split('/');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    if let Some(volume) = first.strip_prefix("vol-") {
        let chapter = |part: &&str| part.strip_prefix("chap-").is_some_and(two);
        return two(volume) && rest.len() <= 1 && rest.iter().all(chapter);
    }
    first.len() == 4
        && first.bytes().all(|byte| byte.is_ascii_digit())
        && rest.len() <= 4
        && rest.into_iter().all(two)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_uuid_belongs_where_java_puts_it() {
        for (id, directory) in [
            ("83e59741-f05d-4915-a1ba-7fc789be34b1", "vol-31/chap-32"),
            ("f062f002-88f0-4b53-aeca-7324e9609329", "vol-42/chap-31"),
            ("f3bd19c8-fa9d-4005-9ced-4104fe77f600", "vol-31/chap-31"),
            ("1355be77-8079-4e0f-9247-f8e1e53a957b", "vol-40/chap-04"),
            ("3ee28f98-6cbd-43c4-b278-e414d78621e5", "vol-21/chap-20"),
            ("3488648f-d5f8-45f8-8314-10681fcaf0ce", "vol-43/chap-29"),
            ("08080d79-06b0-4274-885e-ea78b8c463f5", "vol-08/chap-08"),
            ("6ec8438e-737d-4260-9a67-9ff93e28a6bf", "vol-43/chap-15"),
            ("f27aaee7-8dec-41a1-be66-8ac6e990d6f6", "vol-34/chap-16"),
            ("5eb62bc6-ff03-4b0e-aac6-1edb65c0cbe1", "vol-11/chap-38"),
            ("c13936a0-3df6-4802-b40a-efdf72836f11", "vol-35/chap-30"),
        ] {
            let id = Uuid::parse(id).unwrap();
            assert_eq!(Place::VolumeChapter.directory(id), directory);
            assert_eq!(Place::read(directory, id), Ok(Some(Place::VolumeChapter)));
            assert_eq!(Place::read("vol-01/chap-99", id), Err(()));
        }
    }

    #[test]
    fn a_minute_is_one_of_the_calendar() {
        let id = Uuid::from_bits(7);
        for bad in [
            "2025/13/40/00/00",
            "2025/02/30/00/00",
            "2025/02/03/24/00",
            "2025/02/03/23/60",
            "2025/2/3/23/59",
            "2025/02/03/23",
            "2025/02/03/23/59/01",
            "+025/02/03/23/59",
        ] {
            assert_eq!(Place::read(bad, id), Ok(None), "{bad}");
        }
        let minute: Minute = "2026-11-22T13:24".parse().unwrap();
        assert_eq!(Place::Dated(minute).directory(id), "2026/11/22/13/24");
        assert_eq!(minute.to_string(), "2026-11-22T13:24");
        assert_eq!(Minute::of("2026-11-22T13:24:35Z".parse().unwrap()), Some(minute));
        for bad in ["2026-11-22", "2026-11-22T13:6x", "2026-13-22T13:06"] {
            assert!(bad.parse::<Minute>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_uuid_reads_back(bits in any::<u128>()) {
            let id = Uuid::from_bits(bits);
            prop_assert_eq!(Uuid::parse(&id.to_string()), Some(id));
            let (volume, chapter) = id.volume_chapter();
            prop_assert!((1..=43).contains(&volume) && (1..=47).contains(&chapter));
        }
    }
}
