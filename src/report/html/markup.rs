//! Text as HTML takes it. Names in a store are whatever somebody pushed.

use std::fmt::{self, Display, Write};

/// Shows something as text inside of an element or of a quoted attribute.
///
/// What HTML would take for markup becomes a reference. Characters that have no shape, or that turn the direction of what
/// follows, become U+FFFD: a name must look like what it is.
pub struct Escaped<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(formatter), "{}", self.0)
    }
}

struct Escaping<'e, 'f>(&'e mut fmt::Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.write_str("&amp;")?,
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                '"' => self.0.write_str("&quot;")?,
                '\'' => self.0.write_str("&#39;")?,
                other if is_invisible(other) => self.0.write_char(char::REPLACEMENT_CHARACTER)?,
                other => self.0.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Controls, and the marks of Unicode that change the direction of text or have no width.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
        || matches!(character, '\u{fdd0}'..='\u{fdef}' | '\u{fffe}' | '\u{ffff}')
}

/// At most so many characters, the end cut off.
pub fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_invisible_characters_do_not_pass() {
        let hostile = "<script>alert('1')</script>&\"\u{202e}gpj\u{0}\n";
        let text = Escaped(hostile).to_string();
        assert_eq!(
            text,
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;&quot;\u{fffd}gpj\u{fffd}\u{fffd}"
        );
        assert_eq!(Escaped("größe/日本").to_string(), "größe/日本");
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
    }
}
