//! Patterns over tags and repository names: whole-string globs, anchored regular expressions, negation.

use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};
use regex::Regex;

/// Why a pattern was refused; the text says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Nothing after the optional `!` or `re:`.
    #[error("an empty pattern matches nothing: remove it")]
    Empty,
    /// A glob that does not compile.
    #[error("`{pattern}` is not a glob: {reason}")]
    Glob {
        /// The pattern as written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `**` beside other characters, where it would quietly mean `*`.
    #[error(
        "`{pattern}`: `**` stands alone between slashes, as in `ci/**` or `**/base`; within a name write `*`"
    )]
    DoubleStar {
        /// The pattern as written.
        pattern: String,
    },
    /// A regular expression that does not compile.
    #[error("`{pattern}` is not a regular expression: {reason}")]
    Regex {
        /// The pattern as written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A list in which every pattern is negated.
    #[error(
        "the list only says what does not match: add a pattern that does, such as \"**\", before the negated ones"
    )]
    OnlyNegatives,
    /// A list without patterns.
    #[error("the list of patterns is empty: name at least one, such as \"**\"")]
    NoPatterns,
}

#[derive(Debug, Clone)]
enum Matcher {
    Glob(GlobMatcher),
    Regex(Regex),
}

/// One pattern of a list, compiled.
///
/// A glob matches the whole name: `*` and `?` stay within a path component, `**` crosses them, `[..]` and `{a,b}`
/// are as in a shell. `re:` introduces a regular expression that must match the whole name, a leading `!` negates
/// either.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: Arc<str>,
    negated: bool,
    matcher: Matcher,
}

/// A group of a regular expression, as an order by captures names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Group {
    /// By its number, from 1.
    Number(usize),
    /// By its name, as in `(?P<year>[0-9]{4})`.
    Name(Arc<str>),
}

impl std::fmt::Display for Group {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => number.fmt(formatter),
            Self::Name(name) => name.fmt(formatter),
        }
    }
}

impl Pattern {
    /// Compiles one pattern.
    ///
    /// # Errors
    /// When it is empty, or no glob or regular expression.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let (negated, positive) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let matcher = match positive.strip_prefix("re:") {
            Some("") => return Err(PatternError::Empty),
            Some(expression) => Matcher::Regex(anchored(text, expression)?),
            None if positive.is_empty() => return Err(PatternError::Empty),
            None => Matcher::Glob(glob(text, positive)?),
        };
        Ok(Self { text: text.into(), negated, matcher })
    }

    /// The pattern as written.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether it says what does not match.
    pub fn is_negated(&self) -> bool {
        self.negated
    }

    /// How many groups its regular expression has, the whole left out; `None` for a glob.
    pub fn groups(&self) -> Option<usize> {
        self.regex().map(|regex| regex.captures_len() - 1)
    }

    /// Whether its regular expression has the group.
    pub fn has_group(&self, group: &Group) -> bool {
        self.regex().is_some_and(|regex| match group {
            Group::Number(number) => (1..regex.captures_len()).contains(number),
            Group::Name(name) => regex.capture_names().flatten().any(|own| own == &**name),
        })
    }

    fn regex(&self) -> Option<&Regex> {
        match &self.matcher {
            Matcher::Regex(regex) => Some(regex),
            Matcher::Glob(_) => None,
        }
    }

    /// Whether the pattern, apart from its negation, matches the whole name.
    fn covers(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::Glob(glob) => glob.is_match(name),
            Matcher::Regex(regex) => regex.is_match(name),
        }
    }
}

fn glob(text: &str, glob: &str) -> Result<GlobMatcher, PatternError> {
    // globset reads `ci**` as `ci*`, which would match less than its writer thinks.
    if glob.split('/').any(|component| component.contains("**") && component != "**") {
        return Err(PatternError::DoubleStar { pattern: text.to_owned() });
    }
    let built = GlobBuilder::new(glob).literal_separator(true).build();
    built.map(|glob| glob.compile_matcher()).map_err(|error| {
        let reason = match error.kind() {
            globset::ErrorKind::UnclosedClass => "a `[` has no `]`".to_owned(),
            globset::ErrorKind::UnopenedAlternates => "a `}` has no `{`".to_owned(),
            globset::ErrorKind::UnclosedAlternates => "a `{` has no `}`".to_owned(),
            kind => kind.to_string(),
        };
        PatternError::Glob { pattern: text.to_owned(), reason }
    })
}

fn anchored(text: &str, expression: &str) -> Result<Regex, PatternError> {
    let refuse = |error: regex::Error| {
        // The message draws the expression over several lines; the last line is the reason.
        let whole = error.to_string();
        let reason = whole.lines().next_back().unwrap_or_default().trim_start_matches("error: ").to_owned();
        PatternError::Regex { pattern: text.to_owned(), reason }
    };
    // Compiled alone first: `a)|(?:b` is only an expression between our parentheses, and would lose its anchors.
    Regex::new(expression).map_err(refuse)?;
    Regex::new(&format!(r"\A(?:{expression})\z")).map_err(refuse)
}

/// A list of patterns: a name matches when some positive pattern does and no negated one does.
#[derive(Debug, Clone, Default)]
pub struct PatternList(Vec<Pattern>);

impl PatternList {
    /// A list of compiled patterns.
    ///
    /// # Errors
    /// When it is empty or holds only negated patterns.
    pub fn new(patterns: Vec<Pattern>) -> Result<Self, PatternError> {
        if patterns.is_empty() {
            return Err(PatternError::NoPatterns);
        }
        if patterns.iter().all(|pattern| pattern.negated) {
            return Err(PatternError::OnlyNegatives);
        }
        Ok(Self(patterns))
    }

    /// The list that matches nothing.
    pub const fn nothing() -> Self {
        Self(Vec::new())
    }

    /// The first positive pattern that matches the name, unless a negated one does too.
    pub fn matching(&self, name: &str) -> Option<&Pattern> {
        let found = self.0.iter().find(|pattern| !pattern.negated && pattern.covers(name))?;
        let refused = self.0.iter().any(|pattern| pattern.negated && pattern.covers(name));
        (!refused).then_some(found)
    }

    /// Whether the name matches.
    pub fn matches(&self, name: &str) -> bool {
        self.matching(name).is_some()
    }

    /// What these groups hold in the first positive pattern that matches the name, `None` for each that takes no part;
    /// nothing when no pattern matches, or one without groups does.
    pub fn captured<'n>(&self, name: &'n str, groups: &[Group]) -> Option<Vec<Option<&'n str>>> {
        let captures = self.matching(name)?.regex()?.captures(name)?;
        let text = |group: &Group| match group {
            Group::Number(number) => captures.get(*number).map(|found| found.as_str()),
            Group::Name(own) => captures.name(own).map(|found| found.as_str()),
        };
        Some(groups.iter().map(text).collect())
    }

    /// The patterns in the order they were written.
    pub fn patterns(&self) -> &[Pattern] {
        &self.0
    }

    /// Whether every repository name matches, whatever it is; false when that is not evident.
    pub fn matches_everything(&self) -> bool {
        self.is_catch_all(&["**", "re:.*"])
    }

    /// Whether every tag matches, which unlike a repository has no `/`; false when that is not evident.
    pub fn matches_every_tag(&self) -> bool {
        self.is_catch_all(&["**", "*", "re:.*"])
    }

    fn is_catch_all(&self, catch_alls: &[&str]) -> bool {
        self.0.iter().all(|pattern| !pattern.negated)
            && self.0.iter().any(|pattern| catch_alls.contains(&&*pattern.text))
    }
}

impl std::fmt::Display for PatternList {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, pattern) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{}", pattern.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(patterns: &[&str]) -> PatternList {
        PatternList::new(patterns.iter().map(|text| Pattern::new(text).unwrap()).collect()).unwrap()
    }

    #[test]
    fn patterns_match_whole_names() {
        for (patterns, name, matches) in [
            (&["v2*"][..], "v2.1", true),
            (&["v2*"], "rev2", false),
            (&["v2"], "v2.1", false),
            (&["ci/*"], "ci/app", true),
            (&["ci/*"], "ci/app/web", false),
            (&["ci/**"], "ci/app/web", true),
            (&["ci/**"], "ci", false),
            (&["**/base"], "base", true),
            (&["**/base"], "ci/deep/base", true),
            (&["**"], "a/b/c", true),
            (&["?1"], "v1", true),
            (&["?1"], "1", false),
            (&["[a-c]*"], "beta", true),
            (&["{pr,mr}-*"], "mr-7", true),
            (&["re:[0-9a-f]{7,40}"], "0123abc", true),
            (&["re:[0-9a-f]{7,40}"], "x0123abc", false),
            (&["re:a|bc"], "ab", false),
            (&["re:prod-.*"], "prod-", true),
            (&["re:(?m)a$"], "a\nb", false),
            (&["ci/**", "!ci/base"], "ci/base", false),
            (&["ci/**", "!ci/base"], "ci/based", true),
            (&["!ci/base", "ci/**"], "ci/base", false),
            (&["**", "!re:.*-old"], "app-old", false),
        ] {
            assert_eq!(list(patterns).matches(name), matches, "{patterns:?} on {name}");
        }
    }

    #[test]
    fn refused_patterns_say_why() {
        for (text, message) in [
            ("v[0-9", "`v[0-9` is not a glob: a `[` has no `]`"),
            ("{a,b", "`{a,b` is not a glob: a `{` has no `}`"),
            (
                "ci**",
                "`ci**`: `**` stands alone between slashes, as in `ci/**` or `**/base`; within a name write `*`",
            ),
            ("!", "an empty pattern matches nothing: remove it"),
            ("re:", "an empty pattern matches nothing: remove it"),
            ("re:(a", "`re:(a` is not a regular expression: unclosed group"),
            ("re:a)|(?:b", "`re:a)|(?:b` is not a regular expression: unopened group"),
        ] {
            assert_eq!(Pattern::new(text).unwrap_err().to_string(), message, "{text}");
        }
    }

    #[test]
    fn a_list_needs_something_that_matches() {
        let negative = vec![Pattern::new("!a").unwrap()];
        assert_eq!(PatternList::new(negative).unwrap_err(), PatternError::OnlyNegatives);
        assert_eq!(PatternList::new(Vec::new()).unwrap_err(), PatternError::NoPatterns);
    }

    proptest! {
        #[test]
        fn no_pattern_panics(text in ".{0,16}", name in "[a-z0-9/._-]{0,16}") {
            if let Ok(pattern) = Pattern::new(&text) {
                let _ = pattern.covers(&name);
            }
        }

        #[test]
        fn a_name_matches_itself(name in "[a-z0-9][a-z0-9._-]{0,16}") {
            prop_assert!(Pattern::new(&name).unwrap().covers(&name));
        }
    }
}
