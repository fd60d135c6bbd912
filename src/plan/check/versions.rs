//! Tags read as versions, by the text of Semantic Versioning 2.0.0.

/// A version; the newer is the greater. Build metadata says nothing about which is newer, and is left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version<'v> {
    /// Major, minor and patch.
    pub(super) numbers: [u64; 3],
    /// False of a pre-release, which comes before its release.
    released: bool,
    pre_release: Vec<Identifier<'v>>,
}

/// A part of a pre-release, between two points. Numbers come before words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier<'v> {
    /// How many digits, and the digits: without zeros in front, the longer number is the greater.
    Number(usize, &'v str),
    Word(&'v str),
}

impl<'v> Version<'v> {
    /// Reads a tag: `v` may lead, minor and patch may be missing, and `_` stands for the `+` that no tag can hold.
    pub(super) fn read(tag: &'v str) -> Option<Self> {
        let text = tag.strip_prefix('v').unwrap_or(tag);
        let (text, build) = match text.split_once(['_', '+']) {
            Some((text, build)) => (text, Some(build)),
            None => (text, None),
        };
        if build.is_some_and(|build| !build.split('.').all(is_identifier)) {
            return None;
        }
        let (core, pre_release) = match text.split_once('-') {
            Some((core, pre_release)) => (core, Some(pre_release)),
            None => (text, None),
        };
        let mut numbers = [0; 3];
        for (place, part) in core.split('.').enumerate() {
            *numbers.get_mut(place)? = is_number(part).then(|| part.parse().ok())??;
        }
        let identifiers = pre_release.into_iter().flat_map(|text| text.split('.')).map(identifier);
        Some(Self {
            numbers,
            released: pre_release.is_none(),
            pre_release: identifiers.collect::<Option<_>>()?,
        })
    }
}

fn identifier(text: &str) -> Option<Identifier<'_>> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text {
        _ if is_number(text) => Some(Identifier::Number(text.len(), text)),
        _ if is_identifier(text) && !digits => Some(Identifier::Word(text)),
        _ => None,
    }
}

/// Digits, without a zero in front.
fn is_number(text: &str) -> bool {
    text == "0"
        || (!text.is_empty() && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_identifier(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
