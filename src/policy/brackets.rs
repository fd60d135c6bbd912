//! Which bracket or quote of a YAML text was left open: a parser only notices far behind it.

use super::document::Place;

/// A bracket or quote without its counterpart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) place: Place,
    pub(super) mark: char,
}

impl Open {
    /// What to write instead.
    pub(super) fn advice(self) -> String {
        match self.mark {
            '[' => "this `[` is not closed: write `]` behind its last entry".to_owned(),
            '{' => "this `{` is not closed: write `}` behind its last entry".to_owned(),
            quote => format!("this quote is not closed: write {quote} at the end of the text that it begins"),
        }
    }
}

/// The first bracket or quote that is not closed, as far as can be told.
pub(super) fn left_open(text: &str) -> Option<Open> {
    let mut open: Vec<Open> = Vec::new();
    let mut quote: Option<Open> = None;
    for (line, number) in text.lines().zip(1_u64..) {
        let mut before = ' ';
        // Whether a value may begin here: in the middle of a plain text brackets and quotes are part of it.
        let mut fresh = true;
        let mut characters = line.chars().zip(1_u64..).peekable();
        while let Some((character, column)) = characters.next() {
            let here = Open { place: Place { line: number, column }, mark: character };
            match (quote, character) {
                (Some(Open { mark: '"', .. }), '\\') => drop(characters.next()),
                (Some(Open { mark: '\'', .. }), '\'')
                    if characters.peek().is_some_and(|(next, _)| *next == '\'') =>
                {
                    characters.next();
                }
                (Some(opened), _) if opened.mark == character => quote = None,
                (None, '#') if before.is_whitespace() => break,
                (None, '"' | '\'') if fresh => quote = Some(here),
                (None, '[' | '{') if fresh || !open.is_empty() => open.push(here),
                (None, ']' | '}') => {
                    let Some(opened) = open.pop() else { continue };
                    if (opened.mark, character) != ('[', ']') && (opened.mark, character) != ('{', '}') {
                        return Some(opened);
                    }
                }
                _ => {}
            }
            let separates = match character {
                ':' | '-' => characters.peek().is_none_or(|(next, _)| next.is_whitespace()),
                ',' | '[' | '{' => true,
                _ => false,
            };
            fresh = separates || (fresh && character.is_whitespace());
            before = character;
        }
    }
    quote.or_else(|| open.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_found_where_it_stands() {
        for (text, found) in [
            ("a: [x, y]\nb: { c: 'd' }\n", None),
            ("a: [x,\n  y]\n", None),
            ("a: [x, y\nb: []\n", Some((1, 4, '['))),
            ("a: { b: [x, y }\n", Some((1, 9, '['))),
            ("a:\n  - { b: [x], c: { d: e }\n  - { b: [] }\n", Some((2, 5, '{'))),
            ("a: 'x\nb: y\n", Some((1, 4, '\''))),
            ("a: \"x\\\"\nb: y\n", Some((1, 4, '"'))),
            ("a: 'it''s'\n", None),
            ("a: it's 5\" wide\n", None),
            ("a: v[0-9\nb: x{\n", None),
            ("a: x # [not this\nb: [y]\n", None),
            ("a: ['#[', \"{\"]\n", None),
            ("a: x]\n", None),
            ("- [x\n", Some((1, 3, '['))),
            ("", None),
        ] {
            let open = left_open(text).map(|open| (open.place.line, open.place.column, open.mark));
            assert_eq!(open, found, "{text}");
        }
    }
}
