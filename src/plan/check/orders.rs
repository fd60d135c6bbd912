//! Tags read as their class orders them: by semantic version, by calendar version, or by captures.

use super::versions::Version;
use crate::policy::OrderBy;

/// A tag as its class orders it; the newer is the greater.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order<'t> {
    Semantic(Version<'t>),
    Calendar(Calendar),
    Captures(Vec<Capture<'t>>),
}

impl<'t> Order<'t> {
    /// `None` for a tag that the order cannot read, and for an order that reads none.
    pub(super) fn read(order: &OrderBy, tag: &'t str) -> Option<Self> {
        match order {
            OrderBy::Clock | OrderBy::Name => None,
            OrderBy::Semver => Version::read(tag).map(Self::Semantic),
            OrderBy::Calver => Calendar::read(tag).map(Self::Calendar),
            OrderBy::Captures(captures) => {
                let texts = captures.of(tag)?;
                Some(Self::Captures(texts.into_iter().map(Capture::of).collect()))
            }
        }
    }

    /// What majors, minors and patches are counted by; `None` when one of the three is no number.
    pub(super) fn numbers(&self) -> Option<[u64; 3]> {
        match self {
            Self::Semantic(version) => Some(version.numbers),
            Self::Calendar(calendar) => Some([calendar.parts[0], calendar.parts[1], calendar.parts[2]]),
            Self::Captures(captures) => {
                let at = |place: usize| captures.get(place).map_or(Some(0), Capture::count);
                Some([at(0)?, at(1)?, at(2)?])
            }
        }
    }
}

/// A group of a regular expression: whether it takes part, whether it is text, its significant digits by their number,
/// and what it holds.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Capture<'t> {
    present: bool,
    text: bool,
    digits: usize,
    held: &'t str,
}

impl<'t> Capture<'t> {
    fn of(held: Option<&'t str>) -> Self {
        let Some(held) = held else { return Self { present: false, text: false, digits: 0, held: "" } };
        let text = held.is_empty() || held.contains(|one: char| !one.is_ascii_digit());
        if text {
            return Self { present: true, text, digits: 0, held };
        }
        let significant = held.find(|one| one != '0').map_or("", |first| &held[first..]);
        Self { present: true, text, digits: significant.len(), held: significant }
    }

    fn count(&self) -> Option<u64> {
        match (self.text, self.digits) {
            (true, _) => None,
            (false, 0) => Some(0),
            (false, _) => self.held.parse().ok(),
        }
    }
}

/// A calendar version: a year, numbers, and how far from a release it is.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Calendar {
    parts: [u64; 4],
    stage: u8,
    of_stage: u64,
}

/// What may stand before a release, the earliest first. Longer words stand before those that they begin with.
const STAGES: [(&str, u8); 8] =
    [("dev", 0), ("alpha", 1), ("beta", 2), ("pre", 3), ("rc", 3), ("a", 1), ("b", 2), ("c", 3)];

const RELEASED: u8 = 4;

impl Calendar {
    fn read(tag: &str) -> Option<Self> {
        let text = tag.strip_prefix('v').unwrap_or(tag);
        let (year, mut rest) = digits(text)?;
        let mut parts = [0; 4];
        let mut filled = match year.len() {
            // Twenty-four for 2024.
            2 => {
                parts[0] = 2000 + number(year)?;
                1
            }
            4 => {
                parts[0] = number(year)?;
                1
            }
            8 => {
                (parts[0], parts[1], parts[2]) =
                    (number(&year[..4])?, number(&year[4..6])?, number(&year[6..])?);
                let dated = (1..=12).contains(&parts[1]) && (1..=31).contains(&parts[2]);
                if !dated {
                    return None;
                }
                3
            }
            _ => return None,
        };
        let least = filled.max(2);
        while let Some((part, after)) = rest.strip_prefix(['.', '-', '_']).and_then(digits) {
            *parts.get_mut(filled)? = number(part)?;
            (filled, rest) = (filled + 1, after);
        }
        if filled < least {
            return None;
        }
        let (stage, of_stage) = Self::stage(rest)?;
        Some(Self { parts, stage, of_stage })
    }

    fn stage(rest: &str) -> Option<(u8, u64)> {
        if rest.is_empty() {
            return Some((RELEASED, 0));
        }
        let word = rest.strip_prefix(['.', '-', '_']).unwrap_or(rest);
        let (name, stage) = STAGES.into_iter().find(|(name, _)| word.starts_with(name))?;
        match &word[name.len()..] {
            "" => Some((stage, 0)),
            count => match digits(count.strip_prefix(['.', '-', '_']).unwrap_or(count))? {
                (count, "") => Some((stage, number(count)?)),
                _ => None,
            },
        }
    }
}

/// The digits that a text begins with, at least one, and what follows.
fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|one: char| !one.is_ascii_digit()).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Up to nine digits as a number.
fn number(digits: &str) -> Option<u64> {
    (digits.len() <= 9).then(|| digits.parse().ok())?
}
