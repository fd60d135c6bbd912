//! The document around the sections.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::markup::Escaped;
use super::{Attention, Page, Standing, contents, history, planned, problems, status};
use crate::report::text::{bytes, counted, moment};

const STYLE: &str = include_str!("style.css");

/// What a browser may do with the page: show it, with this one style sheet. No scripts, no requests, no forms.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'"
    )
});

/// The `Content-Security-Policy` that the page carries, for a server that says it in a header as well.
pub fn content_security_policy() -> &'static str {
    &POLICY
}

/// The whole page, as HTML.
///
/// ```
/// # use regsweep::report::html::{History, Page, page};
/// # use regsweep::store::Identity;
/// let empty = Page {
///     written: "2026-01-02T03:04:05Z".parse().unwrap(),
///     store: Identity { url: "file:///var/lib/registry".into(), fingerprint: String::new() },
///     layout: "distribution".into(),
///     address: vec!["/var/lib/registry".into()],
///     policy: None,
///     notices: Vec::new(),
///     contents: None,
///     planned: None,
///     history: History::default(),
/// };
/// assert!(page(&empty).contains("Nobody has looked yet"));
/// ```
pub fn page(page: &Page) -> String {
    let mut html = String::with_capacity(64 * 1024);
    let sign = match status::attention(page) {
        Attention::Needed => "! ",
        Attention::Look | Attention::None => "",
    };
    let _ = write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{sign}{} · regsweep</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        Escaped(content_security_policy()),
        Escaped(&page.store.url)
    );
    header(&mut html, page);
    html.push_str("<main>\n");
    status::status(&mut html, page);
    figures(&mut html, page);
    contents::contents(&mut html, page);
    planned::planned(&mut html, page);
    history::runs(&mut html, page);
    problems::problems(&mut html, page);
    history::trash(&mut html, page);
    let _ = write!(
        html,
        "</main>\n<footer><p>Written by regsweep {} at {}. This page changes nothing and loads nothing.</p></footer>\n\
         </body>\n</html>\n",
        env!("CARGO_PKG_VERSION"),
        moment(page.written)
    );
    html
}

fn header(html: &mut String, page: &Page) {
    let _ = write!(
        html,
        "<header><p class=\"brand\">regsweep</p><h1>{}</h1><p class=\"facts\">{}",
        Escaped(&page.store.url),
        Escaped(&page.layout)
    );
    if let Some(contents) = &page.contents {
        let saw = &contents.saw;
        let _ = write!(
            html,
            " · {} · {} · {} · seen <time datetime=\"{}\">{}</time>",
            counted(saw.repositories, "repository", "repositories"),
            counted(saw.tags, "tag", "tags"),
            counted(saw.manifests, "manifest", "manifests"),
            contents.listed_at,
            moment(contents.listed_at)
        );
    }
    match &page.policy {
        Some(policy) => {
            let _ = write!(html, " · policy {}", Escaped(policy));
        }
        None => html.push_str(" · no policy"),
    }
    html.push_str("</p></header>\n");
}

/// The numbers to look at first.
fn figures(html: &mut String, page: &Page) {
    let mut figures: Vec<(&str, String, String)> = Vec::new();
    if let Some(contents) = &page.contents {
        let saw = &contents.saw;
        figures.push(("In the store", bytes(saw.bytes), counted(saw.blobs, "blob", "blobs")));
        let percent = (saw.live_bytes * 100).checked_div(saw.bytes).unwrap_or(100);
        figures.push(("Needed", bytes(saw.live_bytes), format!("{percent}% of it")));
    }
    if let Some(planned) = &page.planned {
        let name = match planned.standing {
            Standing::Made | Standing::Refused => "Goes next",
            Standing::CarriedOut => "Planned by this run",
        };
        let (freed, waiting) = (&planned.freed, &planned.condemned);
        let tags = counted(planned.tags_gone, "tag", "tags");
        figures.push((
            name,
            bytes(freed.bytes),
            format!("{}, {tags}", counted(freed.blobs, "blob", "blobs")),
        ));
        if waiting.blobs > 0 {
            figures.push((
                "Waits for the grace",
                bytes(waiting.bytes),
                counted(waiting.blobs, "blob", "blobs"),
            ));
        }
    }
    let trash = page.history.trash.iter().map(|line| line.amount).chain([page.history.more_trash]);
    let (objects, size) =
        trash.fold((0, 0), |(objects, size), amount| (objects + amount.objects, size + amount.bytes));
    figures.push(("In the trash", bytes(size), counted(objects, "object", "objects")));
    html.push_str("<dl class=\"figures\">");
    for (name, value, remark) in figures {
        let _ = write!(html, "<div><dt>{name}</dt><dd>{value}<span>{remark}</span></dd></div>");
    }
    html.push_str("</dl>\n");
}
