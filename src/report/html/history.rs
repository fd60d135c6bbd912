//! What the last runs did, and what of that can be brought back.

use std::fmt::Write as _;

use super::markup::Escaped;
use super::{Page, RunLine, RunOutcome};
use crate::report::shell_word;
use crate::report::text::{bytes, counted, moment, number, step_counts};

/// Failed steps of a run that are named.
const FAILED: usize = 3;

/// What the last runs did.
pub(super) fn runs(html: &mut String, page: &Page) {
    let history = &page.history;
    html.push_str("<section aria-labelledby=\"runs\"><h2 id=\"runs\">What the last runs did</h2>\n");
    if history.runs.is_empty() {
        html.push_str("<p>There was no run yet.</p></section>\n");
        return;
    }
    html.push_str(
        "<table class=\"runs\"><thead><tr><th scope=\"col\">Began</th><th scope=\"col\">What</th>\
         <th scope=\"col\">Outcome</th><th scope=\"col\" class=\"n\">Freed</th></tr></thead><tbody>\n",
    );
    for run in &history.runs {
        let (outcome, freed) = outcome(run);
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\"><time datetime=\"{}\">{}</time></th><td data-label=\"What\">{}</td>\
             <td data-label=\"Outcome\">{outcome}</td><td class=\"n\" data-label=\"Freed\">{freed}</td></tr>",
            run.started,
            moment(run.started),
            Escaped(&run.kind),
        );
    }
    html.push_str("</tbody></table>\n");
    if history.older > 0 {
        let _ = writeln!(
            html,
            "<p class=\"note\">… and {}.</p>",
            counted(history.older, "older run", "older runs")
        );
    }
    html.push_str("</section>\n");
}

/// What became of a run, as markup, and what it freed.
fn outcome(run: &RunLine) -> (String, String) {
    let executed = match &run.outcome {
        RunOutcome::Unfinished => {
            return (
                "<strong class=\"bad\">no end</strong>: at work, or killed; the next run looks after it"
                    .into(),
                String::new(),
            );
        }
        RunOutcome::Restored => return ("brought back".into(), String::new()),
        RunOutcome::Ended(executed) => executed,
    };
    let mut said = step_counts(|name| executed.done.get(name).copied().unwrap_or(0));
    if said.is_empty() {
        said.push("nothing to do".into());
    }
    if executed.purged_bytes > 0 {
        said.push(format!("{} purged", bytes(executed.purged_bytes)));
    }
    if !executed.skipped.is_empty() {
        said.push(format!("{} left alone", number(executed.skipped.len() as u64)));
    }
    if executed.interrupted {
        said.push("stopped before its end".into());
    }
    let mut text = said.join(", ");
    if !executed.failed.is_empty() {
        let _ = write!(
            text,
            "<br><strong class=\"bad\">{} failed</strong>",
            number(executed.failed.len() as u64)
        );
        for left in executed.failed.iter().take(FAILED) {
            let _ = write!(text, "<br>{}: {}", Escaped(&left.step), Escaped(&left.why));
        }
    }
    (text, bytes(executed.freed_bytes))
}

/// What is in the trash, with a command to bring it back.
pub(super) fn trash(html: &mut String, page: &Page) {
    let history = &page.history;
    html.push_str(
        "<section aria-labelledby=\"trash\"><h2 id=\"trash\">Trash, and how to bring it back</h2>\n",
    );
    if history.trash.is_empty() && history.more_trash.objects == 0 {
        html.push_str("<p>The trash is empty.</p></section>\n");
        return;
    }
    html.push_str(
        "<table class=\"trash\"><thead><tr><th scope=\"col\">Run</th><th scope=\"col\" class=\"n\">Objects</th>\
         <th scope=\"col\" class=\"n\">Size</th><th scope=\"col\">Kept until</th><th scope=\"col\">To bring it back</th></tr>\
         </thead><tbody>\n",
    );
    let address: Vec<String> = page.address.iter().map(|word| shell_word(word)).collect();
    for line in &history.trash {
        let until = match (line.until, line.manifests_until) {
            (None, None) => "not known".to_owned(),
            (Some(until), None) => moment(until),
            (None, Some(manifests)) => format!("{}, all manifests", moment(manifests)),
            (Some(until), Some(manifests)) => format!("{}, manifests {}", moment(until), moment(manifests)),
        };
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"n\" data-label=\"Objects\">{}</td><td class=\"n\" data-label=\"Size\">{}</td>\
             <td data-label=\"Kept until\">{until}</td><td><code class=\"copy\">regsweep restore {} {}</code></td></tr>",
            Escaped(&line.run),
            number(line.amount.objects),
            bytes(line.amount.bytes),
            Escaped(address.join(" ")),
            Escaped(shell_word(&line.run)),
        );
    }
    html.push_str("</tbody></table>\n");
    if history.more_trash.objects > 0 {
        let _ = writeln!(
            html,
            "<p class=\"note\">… and {} in {} of older runs.</p>",
            bytes(history.more_trash.bytes),
            counted(history.more_trash.objects, "object", "objects")
        );
    }
    let _ = writeln!(
        html,
        "<p class=\"note\">A click selects a command. One image comes back with its name in the place of the run: \
         <code>regsweep restore {} REPOSITORY:TAG</code></p></section>",
        Escaped(address.join(" "))
    );
}
