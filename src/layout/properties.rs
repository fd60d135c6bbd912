//! Java's `.properties` files, as `java.util.Properties` reads and writes them.
//!
//! A file is kept as the bytes that it has. What is changed is changed in its place, and everything else, whether it is
//! understood or not, comes out as it went in: comments, order, separators, escapes, line ends, duplicates.
//!
//! Java wrote these files in ISO-8859-1, with everything else as `\uXXXX`; programs around it write UTF-8. A file with
//! bytes above 127 that is UTF-8 as a whole is read as such, any other as ISO-8859-1. What is written here is ASCII.

use std::ops::Range;

/// Why a file is no properties file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    /// `\u` without four hexadecimal digits. Java refuses the whole file.
    #[error("the line that begins at byte {at} has a `\\u` without four hexadecimal digits")]
    Escape {
        /// Where the logical line begins.
        at: usize,
    },
}

/// A `.properties` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Properties {
    text: Vec<u8>,
    entries: Vec<Entry>,
    /// The last line is continued, and there is nothing to continue it with.
    open: bool,
}

/// One logical line that is an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    key: String,
    value: String,
    /// From the first byte of its first line to the last before its terminator.
    content: Range<usize>,
    /// With its terminator.
    whole: Range<usize>,
}

impl Properties {
    /// Reads a file.
    ///
    /// # Errors
    /// When Java would not read it either.
    pub fn read(text: &[u8]) -> Result<Self, PropertiesError> {
        let utf8 = !text.is_ascii() && std::str::from_utf8(text).is_ok();
        let mut properties = Self { text: text.to_vec(), entries: Vec::new(), open: false };
        let mut at = 0;
        while at < text.len() {
            let line = Line::read(text, at);
            properties.open = line.open;
            at = line.whole.end;
            if let Some(raw) = line.logical {
                let decoded: Vec<char> = if utf8 {
                    String::from_utf8_lossy(&raw).chars().collect()
                } else {
                    raw.iter().map(|byte| char::from(*byte)).collect()
                };
                let (key, value) =
                    split(&decoded).ok_or(PropertiesError::Escape { at: line.content.start })?;
                properties.entries.push(Entry { key, value, content: line.content, whole: line.whole });
            }
        }
        Ok(properties)
    }

    /// The value of `key`: of the last entry, when there are several.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    }

    /// Every entry in the order of the file, duplicates included.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str()))
    }

    /// The file as it is now.
    pub fn bytes(&self) -> &[u8] {
        &self.text
    }

    /// Sets `key`: in place where it is there, at the end otherwise.
    #[must_use]
    pub fn with(&self, key: &str, value: &str) -> Self {
        let line = [escape(key, true), escape(value, false)].join("=").into_bytes();
        let mut text = self.text.clone();
        if let Some(entry) = self.entries.iter().rev().find(|entry| entry.key == key) {
            text.splice(entry.content.clone(), line);
        } else {
            if !text.is_empty() && !matches!(text.last(), Some(b'\n' | b'\r')) {
                text.push(b'\n');
            }
            // A line that is still open would be continued by what comes next. After a carriage return the first line feed
            // ends the same line.
            if self.open {
                if text.last() == Some(&b'\r') {
                    text.push(b'\n');
                }
                text.push(b'\n');
            }
            text.extend(line);
            text.push(b'\n');
        }
        self.edited(&text)
    }

    /// Removes every entry of `key`.
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        let mut text = self.text.clone();
        for entry in self.entries.iter().rev().filter(|entry| entry.key == key) {
            text.drain(entry.whole.clone());
        }
        self.edited(&text)
    }

    /// An edit writes only what reads back.
    fn edited(&self, text: &[u8]) -> Self {
        Self::read(text).unwrap_or_else(|_| self.clone())
    }
}

/// One logical line.
struct Line {
    content: Range<usize>,
    whole: Range<usize>,
    /// What it says without its continuations; `None` for a comment or a blank line.
    logical: Option<Vec<u8>>,
    /// It is continued at the end of the file.
    open: bool,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\x0c')
}

/// Where the natural line that begins at `at` ends, and where the next begins.
fn natural(text: &[u8], at: usize) -> (usize, usize) {
    let end = text[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')).map_or(text.len(), |n| at + n);
    let next = match text.get(end) {
        Some(b'\r') if text.get(end + 1) == Some(&b'\n') => end + 2,
        Some(_) => end + 1,
        None => end,
    };
    (end, next)
}

impl Line {
    fn read(text: &[u8], start: usize) -> Self {
        let (mut end, mut next) = natural(text, start);
        let begin = (start..end).find(|at| !is_blank(text[*at])).unwrap_or(end);
        if begin == end || matches!(text[begin], b'#' | b'!') {
            return Self { content: start..end, whole: start..next, logical: None, open: false };
        }
        let mut logical = Vec::new();
        let mut at = begin;
        loop {
            let backslashes = text[at..end].iter().rev().take_while(|byte| **byte == b'\\').count();
            if backslashes % 2 == 0 {
                logical.extend_from_slice(&text[at..end]);
                break;
            }
            logical.extend_from_slice(&text[at..end - 1]);
            if next >= text.len() {
                let logical = (!logical.is_empty()).then_some(logical);
                return Self { content: start..text.len(), whole: start..text.len(), logical, open: true };
            }
            let from = next;
            (end, next) = natural(text, from);
            at = (from..end).find(|at| !is_blank(text[*at])).unwrap_or(end);
        }
        // What consists of continuations alone is a blank line.
        let logical = (!logical.is_empty()).then_some(logical);
        Self { content: start..end, whole: start..next, logical, open: false }
    }
}

/// Key and value of a logical line; `None` when an escape is malformed.
fn split(line: &[char]) -> Option<(String, String)> {
    let blank = |c: char| matches!(c, ' ' | '\t' | '\x0c');
    let mut end = 0;
    while end < line.len() && !blank(line[end]) && !matches!(line[end], '=' | ':') {
        end += if line[end] == '\\' { 2 } else { 1 };
    }
    let end = end.min(line.len());
    let mut value = end;
    while value < line.len() && blank(line[value]) {
        value += 1;
    }
    if value < line.len() && matches!(line[value], '=' | ':') {
        value += 1;
        while value < line.len() && blank(line[value]) {
            value += 1;
        }
    }
    Some((unescape(&line[..end])?, unescape(&line[value..])?))
}

fn unescape(text: &[char]) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    let mut buffer = [0; 2];
    while let Some(c) = rest.next() {
        let c = match c {
            '\\' => match rest.next() {
                Some('u') => {
                    let mut unit = 0;
                    for _ in 0..4 {
                        unit = unit * 16 + rest.next()?.to_digit(16)?;
                    }
                    units.push(u16::try_from(unit).ok()?);
                    continue;
                }
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\x0c',
                Some(other) => other,
                None => break,
            },
            plain => plain,
        };
        units.extend_from_slice(c.encode_utf16(&mut buffer));
    }
    Some(String::from_utf16_lossy(&units))
}

/// As `java.util.Properties` escapes.
fn escape(text: &str, key: bool) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for (index, unit) in text.encode_utf16().enumerate() {
        match u8::try_from(unit).map(char::from) {
            Ok(' ') if key || index == 0 => escaped.push_str("\\ "),
            Ok('\t') => escaped.push_str("\\t"),
            Ok('\n') => escaped.push_str("\\n"),
            Ok('\r') => escaped.push_str("\\r"),
            Ok('\x0c') => escaped.push_str("\\f"),
            Ok(c @ ('\\' | '=' | ':' | '#' | '!')) => {
                escaped.push('\\');
                escaped.push(c);
            }
            Ok(c) if (' '..='~').contains(&c) => escaped.push(c),
            _ => {
                use std::fmt::Write as _;
                let _ = write!(escaped, "\\u{unit:04X}");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Properties {
        Properties::read(text.as_bytes()).unwrap()
    }

    fn pairs(text: &[u8]) -> Vec<(String, String)> {
        let properties = Properties::read(text).unwrap();
        properties.entries().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn the_whole_grammar_is_read_as_java_reads_it() {
        for (text, key, value) in [
            ("a=b", "a", "b"),
            ("a:b", "a", "b"),
            ("a b", "a", "b"),
            ("a\tb", "a", "b"),
            ("  a  =  b  ", "a", "b  "),
            ("a = : b", "a", ": b"),
            ("a", "a", ""),
            ("a=", "a", ""),
            ("=b", "", "b"),
            (r"a\=b\:c\ d=e", "a=b:c d", "e"),
            ("a=b\\\n   c", "a", "bc"),
            ("a=b\\\r\n\tc\r\n", "a", "bc"),
            ("a=b\\\n#c", "a", "b#c"),
            ("a=b\\\\\nc=d", "a", "b\\"),
            ("a=b\\", "a", "b"),
            ("a=b\\\n", "a", "b"),
            ("a=b\rc=d", "a", "b"),
            (r"a=\u0041\u00e9\t\n\z", "a", "Aé\t\nz"),
            (r"a=\ud83d\ude00", "a", "😀"),
            ("# x\n! y\n\n \t\na=b", "a", "b"),
            ("a=1\na=2", "a", "2"),
            ("a=sha256\\:6a0a", "a", "sha256:6a0a"),
        ] {
            assert_eq!(read(text).get(key), Some(value), "{text:?}");
        }
        assert_eq!(pairs(b"# a=b\n\\\n\n"), []);
        assert_eq!(pairs(b""), []);
        for text in [r"a=\u12", r"a=\u12g4", r"\u=b"] {
            assert_eq!(Properties::read(text.as_bytes()), Err(PropertiesError::Escape { at: 0 }));
        }
    }

    #[test]
    fn bytes_above_127_are_of_either_era() {
        assert_eq!(pairs("a=é".as_bytes()), [("a".to_owned(), "é".to_owned())]);
        assert_eq!(pairs(b"a=\xe9"), [("a".to_owned(), "é".to_owned())]);
        assert_eq!(Properties::read(b"a=\xe9").unwrap().with("b", "é").bytes(), b"a=\xe9\nb=\\u00E9\n");
    }

    #[test]
    fn an_edit_changes_only_its_line() {
        let file =
            "#2026\r\n sha1 : ab \\\r\n  cd\r\ndeleted=true\r\n@x=\\u00e9 # no comment\r\ndeleted=false\n";
        let flagged = read(file);
        assert_eq!(flagged.get("deleted"), Some("false"));
        assert_eq!(
            flagged.without("deleted").bytes(),
            "#2026\r\n sha1 : ab \\\r\n  cd\r\n@x=\\u00e9 # no comment\r\n".as_bytes()
        );
        let changed = flagged.with("sha1", " x");
        assert!(changed.bytes().starts_with(b"#2026\r\nsha1=\\ x\r\ndeleted=true\r\n"));
        let plain = read("a=b");
        assert_eq!(plain.with("deleted", "true").without("deleted").bytes(), b"a=b\n");
    }

    fn file() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            prop::sample::select(vec![
                "\\", "\n", "\r", "\r\n", "=", ":", " ", "#", "!", "\\\n", "k", "deleted"
            ])
            .prop_map(|text| text.as_bytes().to_vec()),
            "[a-z]{1,4}=[a-z]{0,4}\n".prop_map(String::into_bytes),
            "\\PC{0,3}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..3),
        ];
        prop::collection::vec(part, 0..16).prop_map(|parts| parts.concat())
    }

    #[test]
    fn an_entry_was_read_as_the_rest_of_a_line_that_a_carriage_return_left_open() {
        for open in ["a=b\\", "a=b\\\n", "a=b\\\r", "a=b\\\r\n", "\\\r"] {
            let after = read(open).with("deleted", "");
            assert_eq!(after.get("deleted"), Some(""), "{open:?}");
            assert_eq!(after.get("a"), read(open).get("a"), "{open:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_as_it_was(text in file()) {
            if let Ok(properties) = Properties::read(&text) {
                prop_assert_eq!(properties.bytes(), &text[..]);
            }
        }

        #[test]
        fn an_entry_that_is_set_reads_back_and_the_others_stay(text in file(), key in "\\PC{1,5}", value in "\\PC{0,8}|[ \t\n=:#!\\\\é😀]{0,6}") {
            if let Ok(before) = Properties::read(&text) {
                let after = before.with(&key, &value);
                // Another encoding of the whole file would be another file.
                prop_assert_eq!(after.get(&key), Some(value.as_str()));
                let others = |properties: &Properties| -> Vec<(String, String)> {
                    properties.entries().filter(|(other, _)| *other != key)
                        .map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
                };
                if before.text.is_ascii() {
                    prop_assert_eq!(others(&after), others(&before));
                }
                let gone = after.without(&key);
                prop_assert_eq!(gone.get(&key), None);
                if before.text.is_ascii() {
                    prop_assert_eq!(others(&gone), others(&before));
                }
            }
        }
    }
}
