//! What is not as it should be.

use std::fmt::Write as _;

use super::Page;
use super::markup::Escaped;
use crate::report::Problems;
use crate::report::text::number;

/// Problems of a kind that are named.
const NAMED: usize = 10;

/// The section.
pub(super) fn problems(html: &mut String, page: &Page) {
    let Some(contents) = &page.contents else { return };
    html.push_str("<section aria-labelledby=\"problems\"><h2 id=\"problems\">Problems</h2>\n");
    let problems = &contents.problems;
    if problems.is_empty() {
        html.push_str("<p>None.</p></section>\n");
        return;
    }
    broken(html, problems);
    list(
        html,
        "Not readable",
        "They may hide anything, so nothing goes that they may need. Look at the file, and mend or remove it.",
        &problems.gaps,
        |gap| {
            let pins = gap.repository.as_ref().map_or("every blob".to_owned(), ToString::to_string);
            (gap.key.clone(), format!("keeps {pins}: {}", gap.why))
        },
    );
    list(
        html,
        "Tags that lead nowhere",
        "Nobody can pull them. Push the image again, or remove the tag.",
        &problems.dangling_tags,
        |tag| {
            let target = tag.target.map_or("nothing".to_owned(), |digest| digest.to_string());
            (format!("{}:{}", tag.repository, tag.tag), format!("points to {target}"))
        },
    );
    list(
        html,
        "Damaged links",
        "A registry that died while writing leaves them. Push the image again.",
        &problems.corrupt_links,
        |link| (format!("{}: {}", link.repository, link.what), format!("has {} bytes", number(link.size))),
    );
    list(
        html,
        "Manifests of unknown types",
        "Whatever in them looks like a digest is kept.",
        &problems.opaque_manifests,
        |one| {
            let kind = one.media_type.clone().unwrap_or_else(|| "no media type".into());
            (format!("{}@{}", one.repository, one.manifest), kind)
        },
    );
    list(
        html,
        "Stray trash",
        "No run is known that put it there; it is never purged by itself.",
        &problems.stray_trash,
        |key| (key.clone(), String::new()),
    );
    html.push_str("</section>\n");
}

fn broken(html: &mut String, problems: &Problems) {
    list(
        html,
        "Images that cannot be pulled whole",
        "Push them again, or bring back what they miss from the trash or a backup.",
        &problems.broken_images,
        |image| {
            let tags: Vec<String> = image.tags.iter().take(3).map(ToString::to_string).collect();
            let tags = match image.tags.len() {
                0 => String::new(),
                count if count > 3 => format!(" ({}, …)", tags.join(", ")),
                _ => format!(" ({})", tags.join(", ")),
            };
            let mut lacks = Vec::new();
            if !image.missing.is_empty() {
                lacks.push(format!("misses {}", of_several(&image.missing)));
            }
            if !image.unlinked.is_empty() {
                lacks.push(format!("has no link to {}", of_several(&image.unlinked)));
            }
            (format!("{}@{}{tags}", image.repository, image.manifest), lacks.join("; "))
        },
    );
}

fn of_several(digests: &[crate::oci::Digest]) -> String {
    match digests {
        [] => String::new(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} and {} more", number(rest.len() as u64)),
    }
}

/// A heading, what to do, and the first of a kind: name and remark.
fn list<T>(html: &mut String, title: &str, advice: &str, found: &[T], said: impl Fn(&T) -> (String, String)) {
    if found.is_empty() {
        return;
    }
    let _ = writeln!(
        html,
        "<h3>{title} <span class=\"count\">{}</span></h3>\n<p class=\"note\">{advice}</p>\n<ul class=\"problems\">",
        number(found.len() as u64)
    );
    for one in found.iter().take(NAMED) {
        let (name, remark) = said(one);
        let _ = writeln!(
            html,
            "<li><span class=\"name\">{}</span> <span class=\"remark\">{}</span></li>",
            Escaped(name),
            Escaped(remark)
        );
    }
    html.push_str("</ul>\n");
    if let Some(more) = found.len().checked_sub(NAMED).filter(|more| *more > 0) {
        let _ = writeln!(
            html,
            "<p class=\"note\">… and {} more: <code>regsweep audit --problems</code> names them.</p>",
            number(more as u64)
        );
    }
}
