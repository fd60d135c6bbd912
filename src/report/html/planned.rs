//! What goes next, or went, and why.

use std::fmt::Write as _;

use super::markup::Escaped;
use super::{Page, Planned, Standing, named};
use crate::plan::Mode;
use crate::report::text::{bytes, counted, moment, number, step_counts};

/// Rows of the table of what is freed.
const ROWS: usize = 10;

/// The section; nothing where nothing was planned.
pub(super) fn planned(html: &mut String, page: &Page) {
    let Some(planned) = &page.planned else { return };
    let title = match planned.standing {
        Standing::Made => "What goes next, and why",
        Standing::CarriedOut => "What this run set out to do, and why",
        Standing::Refused => "What would go, and was refused",
    };
    let _ = writeln!(html, "<section aria-labelledby=\"next\"><h2 id=\"next\">{title}</h2>");
    if !planned.refusals.is_empty() {
        html.push_str("<ul class=\"refusals\">");
        for refusal in &planned.refusals {
            let _ = write!(html, "<li>{}</li>", Escaped(refusal));
        }
        html.push_str("</ul>\n");
    }
    let terms = match planned.mode {
        Mode::Offline => "Offline: the registry is stopped or read-only",
        Mode::Online => "Online: links go at once; data goes when nothing has named it for the grace",
    };
    let _ = writeln!(
        html,
        "<p class=\"note\">{terms}. Grace {}, trash kept {}.</p>",
        planned.grace, planned.trash_keep
    );
    if planned.steps.is_empty() {
        html.push_str("<p>Nothing goes.</p>\n");
    } else {
        html.push_str("<ul class=\"counts\">");
        for said in step_counts(|name| planned.steps.get(name).copied().unwrap_or(0)) {
            let _ = write!(html, "<li>{said}</li>");
        }
        html.push_str("</ul>\n");
    }
    let freed = &planned.freed;
    if freed.blobs > 0 {
        let before = match freed.unreferenced_bytes {
            0 => String::new(),
            before => format!(" Nothing referred to {} of it before any rule.", bytes(before)),
        };
        let _ = writeln!(
            html,
            "<p>This frees <strong>{}</strong> in {}, what is shared counted once.{before}</p>",
            bytes(freed.bytes),
            counted(freed.blobs, "blob", "blobs"),
        );
    }
    waiting(html, planned);
    reasons(html, "Tags that go", "Image", &planned.tags, planned.tags_gone);
    reasons(html, "Manifests without a tag that go", "Manifest", &planned.manifests, planned.manifests_gone);
    freed_table(html, planned);
    html.push_str("</section>\n");
}

fn waiting(html: &mut String, planned: &Planned) {
    let waiting = &planned.condemned;
    if let Some((first, last)) = waiting.between {
        let _ = writeln!(
            html,
            "<p><strong>{}</strong> in {} wait for the grace. A run from {} on deletes the first, one from {} on the last, if \
             nothing names them until then.</p>",
            bytes(waiting.bytes),
            counted(waiting.blobs, "blob", "blobs"),
            moment(first),
            moment(last),
        );
    }
    if let Some(held) = &planned.held_back {
        let _ = writeln!(
            html,
            "<p>{} of the trash ({}) could be purged and stay: {}</p>",
            counted(held.objects, "object", "objects"),
            bytes(held.bytes),
            Escaped(&held.why)
        );
    }
}

fn reasons(html: &mut String, title: &str, what: &str, rows: &[(String, String)], all: u64) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(
        html,
        "<h3>{title}</h3>\n<table class=\"reasons\"><thead><tr><th scope=\"col\">{what}</th><th scope=\"col\">Why</th></tr>\
         </thead><tbody>"
    );
    for (name, why) in rows {
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\" class=\"name\">{}</th><td>{}</td></tr>",
            Escaped(name),
            Escaped(why)
        );
    }
    html.push_str("</tbody></table>\n");
    let more = all.saturating_sub(rows.len() as u64);
    if more > 0 {
        let _ = writeln!(
            html,
            "<p class=\"note\">… and {} more: <code>regsweep plan --all</code> names them.</p>",
            number(more)
        );
    }
}

fn freed_table(html: &mut String, planned: &Planned) {
    let rows = &planned.freed.repositories;
    if rows.is_empty() {
        return;
    }
    html.push_str(
        "<h3>By repository</h3>\n<table class=\"freed\"><thead><tr><th scope=\"col\">Repository</th>\
         <th scope=\"col\" class=\"n\">Tags</th><th scope=\"col\" class=\"n\">Manifests</th>\
         <th scope=\"col\" class=\"n\">Freed alone</th><th scope=\"col\" class=\"n\">Freed, shared</th></tr></thead><tbody>\n",
    );
    for row in rows.iter().take(ROWS) {
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\" class=\"name\">{}</th><td class=\"n\" data-label=\"Tags\">{} of {}</td>\
             <td class=\"n\" data-label=\"Manifests\">{}</td><td class=\"n\" data-label=\"Freed alone\">{}</td>\
             <td class=\"n\" data-label=\"Freed, shared\">{}</td></tr>",
            named(&row.repository),
            number(row.tags_gone),
            number(row.tags),
            number(row.manifests_gone),
            bytes(row.exclusive_bytes),
            bytes(row.shared_bytes),
        );
    }
    html.push_str("</tbody></table>\n");
    if let Some(rest) = rows.get(ROWS..).filter(|rest| !rest.is_empty()) {
        let _ = writeln!(
            html,
            "<p class=\"note\">… and {}, with {} alone.</p>",
            counted(rest.len() as u64, "more repository", "more repositories"),
            bytes(rest.iter().map(|row| row.exclusive_bytes).sum())
        );
    }
}
