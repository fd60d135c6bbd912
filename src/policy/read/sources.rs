//! `digests_from` and `in_use`: what is asked before anything goes.

use std::sync::Arc;

use super::fields::{Fields, Language, Problems, boolean, list, quantity, text};
use crate::config::values::Period;
use crate::policy::document::{Node, Value};
use crate::policy::sources::{DEFAULT_TIMEOUT, LONGEST_TIMEOUT, Source, SourceKind};

const DIGESTS_FROM: Language =
    Language { of: "an entry of `digests_from`", known: &["file", "max_age", "may_be_empty"] };

const IN_USE: Language = Language {
    of: "an entry of `in_use`",
    known: &["file", "command", "max_age", "timeout", "may_be_empty"],
};

/// Reads `digests_from`: paths, or files with how old they may be.
pub(super) fn digests_from(node: &Node, problems: &mut Problems) -> Vec<Source> {
    let one = |node: &Node, problems: &mut Problems| {
        if !matches!(node.value, Value::Map(_)) {
            let path = text(node, "a path in `digests_from`", problems)?;
            return Some(file(path, None, false));
        }
        let fields = Fields::read(node, &DIGESTS_FROM, problems)?;
        let Some(path) = fields.get("file") else {
            problems.note(fields.place, "the entry of `digests_from` has no `file`: write the path of one");
            return None;
        };
        let path = text(path, "`file`", problems)?;
        Some(file(path, max_age(&fields, problems), may_be_empty(&fields, problems)))
    };
    each(node, "`digests_from`", problems, one)
}

/// Reads `in_use`: files, which must say how old they may be, and commands.
pub(super) fn in_use(node: &Node, problems: &mut Problems) -> Vec<Source> {
    each(node, "`in_use`", problems, |node, problems| {
        let fields = Fields::read(node, &IN_USE, problems)?;
        let may_be_empty = may_be_empty(&fields, problems);
        match (fields.get("file"), fields.get("command")) {
            (Some(path), None) => {
                if let Some(node) = fields.get("timeout") {
                    problems.note(node.place, "`timeout` is for commands; a file has a `max_age`");
                }
                if fields.get("max_age").is_none() {
                    let message = "the file has no `max_age`: say how old it may be, such as `max_age: 2h`, since what runs \
                                   changes all the time";
                    problems.note(fields.place, message);
                }
                let path = text(path, "`file`", problems)?;
                Some(file(path, max_age(&fields, problems), may_be_empty))
            }
            (None, Some(node)) => {
                if let Some(node) = fields.get("max_age") {
                    problems.note(node.place, "`max_age` is for files; a command is run each time");
                }
                let timeout = timeout(&fields, problems);
                let (text, words) = command(node, problems)?;
                Some(Source { what: SourceKind::Command { text, words, timeout }, may_be_empty })
            }
            _ => {
                let message = "an entry of `in_use` has either a `file` or a `command`";
                problems.note(fields.place, message);
                None
            }
        }
    })
}

fn each(
    node: &Node,
    of: &str,
    problems: &mut Problems,
    mut read: impl FnMut(&Node, &mut Problems) -> Option<Source>,
) -> Vec<Source> {
    list(node, of, problems).iter().filter_map(|node| read(node, problems)).collect()
}

fn file(path: &str, max_age: Option<Period>, may_be_empty: bool) -> Source {
    Source { what: SourceKind::File { path: Arc::from(path), max_age }, may_be_empty }
}

fn max_age(fields: &Fields<'_>, problems: &mut Problems) -> Option<Period> {
    let node = fields.get("max_age")?;
    let age = quantity::<Period>(node, "`max_age`", problems)?;
    if age.is_zero() {
        problems.note(node.place, "`max_age: 0` makes every file too old: leave it out, or write a time");
    }
    Some(age)
}

fn may_be_empty(fields: &Fields<'_>, problems: &mut Problems) -> bool {
    let node = fields.get("may_be_empty");
    node.and_then(|node| boolean(node, "`may_be_empty`", problems)).unwrap_or(false)
}

fn timeout(fields: &Fields<'_>, problems: &mut Problems) -> Period {
    let Some(node) = fields.get("timeout") else { return DEFAULT_TIMEOUT };
    let Some(timeout) = quantity::<Period>(node, "`timeout`", problems) else { return DEFAULT_TIMEOUT };
    if timeout.is_zero() || timeout > LONGEST_TIMEOUT {
        problems.note(node.place, format!("`timeout` is more than 0 and at most {LONGEST_TIMEOUT}"));
    }
    timeout
}

/// The words of a command, as a shell would split them; nothing else of a shell is known.
fn command(node: &Node, problems: &mut Problems) -> Option<(Arc<str>, Arc<[String]>)> {
    let text = text(node, "`command`", problems)?;
    let Some(words) = shlex::split(text) else {
        problems.note(node.place, "`command`: a quote is not closed");
        return None;
    };
    if words.first().is_none_or(String::is_empty) || text.contains('\0') {
        problems.note(node.place, "`command` names no program");
        return None;
    }
    if let Some(word) =
        words.iter().find(|word| ["|", "||", "&&", ";", ">", ">>", "<", "&"].contains(&word.as_str()))
    {
        problems.note(
            node.place,
            format!("`command` is run without a shell, so `{word}` would be a word like others: write a script, or sh -c '…'"),
        );
        return None;
    }
    Some((Arc::from(text), words.into()))
}
