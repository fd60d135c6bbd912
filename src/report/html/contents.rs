//! What the store holds: a picture, and the same in numbers.

use std::fmt::Write as _;

use super::markup::{Escaped, shortened};
use super::treemap::{Rectangle, squarify};
use super::{Contents, Page, Standing, named};
use crate::plan::usage::Part;
use crate::report::audit::Class;
use crate::report::text::{bytes, counted, number};

/// Repositories that the page shows one by one.
pub const REPOSITORIES: usize = 40;

/// A rectangle of the picture.
struct Tile {
    name: String,
    kind: &'static str,
    part: Part,
}

/// The section.
pub(super) fn contents(html: &mut String, page: &Page) {
    html.push_str("<section aria-labelledby=\"contents\"><h2 id=\"contents\">What the store holds</h2>\n");
    let Some(contents) = &page.contents else {
        html.push_str("<p>Nobody has looked yet.</p></section>\n");
        return;
    };
    if page.planned.as_ref().is_some_and(|planned| planned.standing == Standing::CarriedOut) {
        html.push_str("<p class=\"note\">As it was before this run.</p>\n");
    }
    bar(html, contents);
    picture(html, contents);
    repositories(html, contents);
    if let Some(classes) = &contents.classes {
        html.push_str("<h3>Every object, by class</h3>\n<table><thead><tr><th scope=\"col\">Class</th>\
             <th scope=\"col\" class=\"n\">Objects</th><th scope=\"col\" class=\"n\">Size</th></tr></thead><tbody>\n");
        for class in Class::ALL {
            let amount = classes.get(&class).copied().unwrap_or_default();
            if amount.objects > 0 {
                let _ = writeln!(
                    html,
                    "<tr><th scope=\"row\">{}</th><td class=\"n\" data-label=\"Objects\">{}</td>\
                     <td class=\"n\" data-label=\"Size\">{}</td></tr>",
                    class.label(),
                    number(amount.objects),
                    bytes(amount.bytes)
                );
            }
        }
        html.push_str("</tbody></table>\n");
    }
    html.push_str("</section>\n");
}

/// Needed and not, as one line.
fn bar(html: &mut String, contents: &Contents) {
    let saw = &contents.saw;
    let unneeded = saw.bytes.saturating_sub(saw.live_bytes);
    let _ = write!(
        html,
        "<p>{} in {}: {} in {} is needed, and nothing that stays needs the other {}.</p>\n\
         <svg class=\"bar\" viewBox=\"0 0 1000 12\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{} needed, {} not \
         needed\">",
        bytes(saw.bytes),
        counted(saw.blobs, "blob", "blobs"),
        bytes(saw.live_bytes),
        counted(saw.live_blobs, "blob", "blobs"),
        bytes(unneeded),
        bytes(saw.live_bytes),
        bytes(unneeded),
    );
    let whole = Rectangle { x: 0.0, y: 0.0, width: 1000.0, height: 12.0 };
    let [live, rest] = whole.divided([saw.live_bytes, unneeded]);
    for (class, part) in [("alone", live), ("unneeded", rest)] {
        rectangle(html, class, &part);
    }
    html.push_str("</svg>\n");
}

fn rectangle(html: &mut String, class: &str, at: &Rectangle) {
    if at.width > 0.0 && at.height > 0.0 {
        let _ = write!(
            html,
            "<rect class=\"{class}\" x=\"{:.3}\" y=\"{:.3}\" width=\"{:.3}\" height=\"{:.3}\"/>",
            at.x, at.y, at.width, at.height
        );
    }
}

/// The treemap, once for a wide screen and once, with fewer tiles, for a narrow one.
fn picture(html: &mut String, contents: &Contents) {
    if tiles(contents, REPOSITORIES).is_empty() {
        html.push_str("<p>The store is empty.</p>\n");
        return;
    }
    html.push_str("<figure>");
    for (class, most, width, height) in [("wide", REPOSITORIES, 1080.0, 440.0), ("narrow", 12, 360.0, 480.0)]
    {
        treemap(html, class, &tiles(contents, most), Rectangle { x: 0.0, y: 0.0, width, height });
    }
    html.push_str(
        "<figcaption><span class=\"key alone\">needed, in one repository</span> <span class=\"key shared\">needed, shared \
         with others: divided evenly among them</span> <span class=\"key unneeded\">not needed</span></figcaption></figure>\n",
    );
}

/// The greatest repositories, the others as one, and what is in none; the greatest first.
fn tiles(contents: &Contents, most: usize) -> Vec<Tile> {
    let (shown, summed) = contents.repositories.split_at(contents.repositories.len().min(most));
    let named = shown.iter().map(|one| (one.repository.to_string(), "repository", one.part));
    let mut tiles: Vec<Tile> = named.map(|(name, kind, part)| Tile { name, kind, part }).collect();
    let mut part = contents.of_others;
    for one in summed {
        part.add(&one.part);
    }
    let others = contents.others + summed.len() as u64;
    let name = counted(others, "other repository", "other repositories");
    tiles.push(Tile { name, kind: "others", part });
    tiles.push(Tile { name: "in no repository".into(), kind: "unlinked", part: contents.unlinked });
    tiles.retain(|tile| tile.part.bytes() > 0);
    tiles.sort_by_key(|tile| std::cmp::Reverse(tile.part.bytes()));
    tiles
}

fn treemap(html: &mut String, class: &str, tiles: &[Tile], area: Rectangle) {
    let weights: Vec<u64> = tiles.iter().map(|tile| tile.part.bytes()).collect();
    let _ = writeln!(
        html,
        "<svg class=\"map {class}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"Treemap: areas are to each other as sizes. \
         The table below says the same.\">",
        area.width, area.height
    );
    for (tile, at) in tiles.iter().zip(squarify(&weights, area)) {
        let Part { alone, shared, unneeded } = tile.part;
        let _ = write!(
            html,
            "<g class=\"{}\" data-name=\"{}\" data-bytes=\"{}\"><title>{}: {} needed here alone, {} of what is shared, {} not \
             needed</title>",
            tile.kind,
            Escaped(&tile.name),
            tile.part.bytes(),
            Escaped(&tile.name),
            bytes(alone),
            bytes(shared),
            bytes(unneeded),
        );
        let parts = at.divided([alone, shared, unneeded]);
        for (class, part) in ["alone", "shared", "unneeded"].into_iter().zip(&parts) {
            rectangle(html, class, part);
        }
        let _ = write!(
            html,
            "<rect class=\"frame\" x=\"{:.3}\" y=\"{:.3}\" width=\"{:.3}\" height=\"{:.3}\"/>",
            at.x, at.y, at.width, at.height
        );
        label(html, tile, &at);
        html.push_str("</g>\n");
    }
    html.push_str("</svg>");
}

/// A letter of the label is about so wide at most, in units of the picture.
const LETTER: f64 = 8.0;

/// A tile's name in so many letters. The end of a repository's name tells it from its neighbours.
fn fitting(tile: &Tile, letters: usize) -> Option<String> {
    let length = |text: &str| text.chars().count();
    let last = tile.name.rsplit('/').next().unwrap_or_default();
    if length(&tile.name) <= letters {
        Some(tile.name.clone())
    } else if tile.kind != "repository" {
        (letters >= 9).then(|| shortened(&tile.name, letters))
    } else if length(last) <= letters {
        let skipped = length(&tile.name) - (letters - 1).max(length(last));
        let rest: String = tile.name.chars().skip(skipped).collect();
        Some(if length(&rest) < letters { format!("…{rest}") } else { last.to_owned() })
    } else {
        (letters >= 9).then(|| {
            let skipped = length(&tile.name) - (letters - 1);
            format!("…{}", tile.name.chars().skip(skipped).collect::<String>())
        })
    }
}

fn label(html: &mut String, tile: &Tile, at: &Rectangle) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a width is small and no less than 0"
    )]
    let letters = ((at.width - 14.0).max(0.0) / LETTER) as usize;
    if at.height < 24.0 || letters < 6 {
        return;
    }
    let Some(name) = fitting(tile, letters) else { return };
    // An SVG within cuts off what a wider font than expected would write across the edge.
    let _ = write!(
        html,
        "<svg x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{:.2}\"><text x=\"8\" y=\"18\">{}</text>",
        at.x,
        at.y,
        at.width - 2.0,
        at.height,
        Escaped(name)
    );
    let size = bytes(tile.part.bytes());
    if at.height >= 42.0 && size.len() <= letters {
        let _ = write!(html, "<text class=\"size\" x=\"8\" y=\"35\">{size}</text>");
    }
    html.push_str("</svg>");
}

fn repositories(html: &mut String, contents: &Contents) {
    let shown = contents.repositories.len() as u64;
    let summary = if contents.others > 0 {
        format!(
            "The {} largest of {} repositories as a table",
            number(shown),
            number(shown + contents.others)
        )
    } else {
        format!("{} as a table", counted(shown, "repository", "repositories"))
    };
    let _ = write!(
        html,
        "<details><summary>{summary}</summary>\n<table class=\"repositories\"><thead><tr><th scope=\"col\">Repository</th>\
         <th scope=\"col\" class=\"n\">Tags</th><th scope=\"col\" class=\"n\">Manifests</th>\
         <th scope=\"col\" class=\"n\">Alone</th><th scope=\"col\" class=\"n\">Shared</th>\
         <th scope=\"col\" class=\"n\">Not needed</th></tr></thead><tbody>\n"
    );
    let cell = |label: &str, text: &str| format!("<td class=\"n\" data-label=\"{label}\">{text}</td>");
    for one in &contents.repositories {
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\" class=\"name\">{}</th>{}{}{}{}{}</tr>",
            named(&one.repository),
            cell("Tags", &number(one.tags)),
            cell("Manifests", &number(one.manifests)),
            cell("Alone", &bytes(one.exclusive_bytes)),
            cell("Shared", &bytes(one.shared_bytes)),
            cell("Not needed", &bytes(one.part.unneeded)),
        );
    }
    for (name, part) in [
        (counted(contents.others, "other repository", "other repositories"), &contents.of_others),
        ("in no repository".to_owned(), &contents.unlinked),
    ] {
        if part.bytes() > 0 {
            let _ = writeln!(
                html,
                "<tr class=\"sum\"><th scope=\"row\">{}</th>{}{}{}{}{}</tr>",
                Escaped(shortened(&name, 80)),
                cell("Tags", ""),
                cell("Manifests", ""),
                cell("Alone", &bytes(part.alone)),
                cell("Shared", &bytes(part.shared)),
                cell("Not needed", &bytes(part.unneeded)),
            );
        }
    }
    html.push_str(
        "</tbody></table>\n<p class=\"note\">Alone: what no other repository links. Shared: what others link too, counted in \
         each of them. Not needed: its part of what nothing that stays needs.</p></details>\n",
    );
}
