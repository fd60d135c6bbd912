//! One look: whether anything needs attention.

use std::fmt::Write as _;

use super::markup::Escaped;
use super::{Page, RunOutcome, Standing};
use crate::report::text::{counted, number};

/// How loud something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attention {
    /// Good to know.
    None,
    /// Worth a look when there is time.
    Look,
    /// Somebody should do something.
    Needed,
}

/// Something that the status says, and the section that says more of it.
struct Reason {
    attention: Attention,
    text: String,
    section: Option<&'static str>,
}

/// Everything that there is to say, the loudest first.
fn reasons(page: &Page) -> Vec<Reason> {
    let mut found = Vec::new();
    let mut say = |attention, section, text: String| found.push(Reason { attention, text, section });
    for notice in &page.notices {
        say(notice.attention, None, notice.text.clone());
    }
    if let Some(planned) = &page.planned {
        if planned.standing == Standing::Refused {
            let count = counted(planned.refusals.len() as u64, "reason", "reasons");
            say(Attention::Needed, Some("next"), format!("The plan was refused, for {count}; nothing went"));
        }
        if let Some(held) = &planned.held_back {
            let count = counted(held.objects, "object", "objects");
            say(Attention::Look, Some("trash"), format!("{count} of the trash could be purged and stay"));
        }
    }
    // What an older run left undone, a newer one has done.
    if let Some(last) = page.history.runs.first() {
        match &last.outcome {
            RunOutcome::Unfinished => {
                say(
                    Attention::Needed,
                    Some("runs"),
                    "The last run has no end: it is at work, or was killed".into(),
                );
            }
            RunOutcome::Ended(executed) if !executed.failed.is_empty() => {
                let count = counted(executed.failed.len() as u64, "step", "steps");
                say(Attention::Needed, Some("runs"), format!("In the last run {count} failed"));
            }
            RunOutcome::Ended(executed) if executed.interrupted => {
                say(Attention::Look, Some("runs"), "The last run stopped before its end".into());
            }
            RunOutcome::Ended(_) | RunOutcome::Restored => {}
        }
    }
    if let Some(contents) = &page.contents {
        let problems = &contents.problems;
        for (attention, count, one, many) in [
            (Attention::Needed, problems.gaps.len(), "thing cannot be read", "things cannot be read"),
            (
                Attention::Needed,
                problems.broken_images.len(),
                "image cannot be pulled whole",
                "images cannot be pulled whole",
            ),
            (Attention::Look, problems.dangling_tags.len(), "tag leads nowhere", "tags lead nowhere"),
            (Attention::Look, problems.corrupt_links.len(), "link is damaged", "links are damaged"),
            (
                Attention::Look,
                problems.opaque_manifests.len(),
                "manifest is of an unknown type",
                "manifests are of unknown types",
            ),
            (Attention::Look, problems.stray_trash.len(), "object of stray trash", "objects of stray trash"),
        ] {
            if count > 0 {
                say(attention, Some("problems"), counted(count as u64, one, many));
            }
        }
    }
    found.sort_by_key(|reason| std::cmp::Reverse(reason.attention));
    found
}

/// How loud the page is.
pub(super) fn attention(page: &Page) -> Attention {
    reasons(page).first().map_or(Attention::None, |reason| reason.attention)
}

/// The status: a sentence, and what it stands on.
pub(super) fn status(html: &mut String, page: &Page) {
    let reasons = reasons(page);
    let needed = reasons.iter().filter(|reason| reason.attention == Attention::Needed).count();
    let attention = reasons.first().map_or(Attention::None, |reason| reason.attention);
    let (class, sign, sentence) = match attention {
        Attention::Needed if needed == 1 => ("needed", "!", "One thing needs attention".to_owned()),
        Attention::Needed => ("needed", "!", format!("{} things need attention", number(needed as u64))),
        Attention::Look => ("look", "i", "Nothing urgent, and something to look at".to_owned()),
        Attention::None => ("well", "✓", "Nothing needs attention".to_owned()),
    };
    let _ = write!(
        html,
        "<section class=\"status {class}\" aria-labelledby=\"status\"><p class=\"sign\" aria-hidden=\"true\">{sign}</p>\
         <div><h2 id=\"status\">{sentence}</h2>"
    );
    if !reasons.is_empty() {
        html.push_str("<ul>");
        for reason in &reasons {
            let strong = if reason.attention == Attention::Needed { " class=\"strong\"" } else { "" };
            match reason.section {
                Some(section) => {
                    let _ =
                        write!(html, "<li{strong}><a href=\"#{section}\">{}</a></li>", Escaped(&reason.text));
                }
                None => {
                    let _ = write!(html, "<li{strong}>{}</li>", Escaped(&reason.text));
                }
            }
        }
        html.push_str("</ul>");
    }
    html.push_str("</div></section>\n");
}
