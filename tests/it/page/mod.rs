//! The page in a real browser: what it shows is what the documents say, and it keeps to itself.
//!
//! `REGSWEEP_PICTURES=DIR` leaves pictures of it there, as base64 of PNG, at the widths of a desktop and a phone, light and dark.

mod browser;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use regsweep::report::text::{bytes, number};
use regsweep::synth::Recipe;
use serde_json::Value;

use crate::registry::command::regsweep;
use crate::support::present;
use crate::synth::scratch;
use browser::Browser;

/// A repository whose name is markup, and whose script would show that it ran.
const HOSTILE: &str = "\"'><img src=x onerror=window.ran=1>";

const POLICY: &str = "version: 1
grace: 0
limits: { tags: 60%, bytes: 100% }
policies:
  - name: all
    repositories: [\"**\"]
    tags: { other: { keep: { last: 2 } } }
    untagged: { keep: none }
";

/// A store with more repositories than the page names, one of them hostile, on which a run has been.
fn store(root: &Path) {
    let recipe = Recipe {
        repositories: 45,
        tags: 4,
        history: 1,
        layers: 3,
        shared: 0.5,
        orphans: 0.1,
        dead_links: 0.02,
        uploads: 0,
        blob_max: 4000,
        age: Duration::from_secs(40 * 24 * 3600),
        ..Recipe::default()
    };
    recipe.generate(root, present()).unwrap();
    let repositories = root.join("docker/registry/v2/repositories");
    let copied = Command::new("cp")
        .arg("-a")
        .arg(repositories.join("team0/app00000"))
        .arg(repositories.join(HOSTILE))
        .status()
        .unwrap();
    assert!(copied.success());
    // A tag that leads nowhere, by a hostile name too.
    let tag = repositories.join(HOSTILE).join("_manifests/tags").join("<b onclick=alert(1)>").join("current");
    std::fs::create_dir_all(&tag).unwrap();
    std::fs::write(tag.join("link"), format!("sha256:{}", "0".repeat(64))).unwrap();
}

/// Runs the program with `--json` and `--html`, and answers the document.
fn written(arguments: &[&str], page: &Path, status: i32) -> Value {
    let html = ["--json", "--html", page.to_str().unwrap()];
    let output = regsweep(arguments.iter().chain(&html)).expect(status);
    output.json()
}

/// The page has no scroll bar below, at any width that a phone has.
const FITS: &str = "document.querySelectorAll('details').forEach(one => one.open = true);
    const wide = [...document.querySelectorAll('body *')].filter(one => !one.closest('svg') && one.getClientRects().length
        && one.getBoundingClientRect().right > innerWidth + 0.5).map(one => one.outerHTML.slice(0, 200));
    return [document.documentElement.scrollWidth <= innerWidth, innerWidth, wide]";

/// Every text has a contrast of 4.5 and more to what is behind it (WCAG 2, level AA): the texts that have less.
const FAINT: &str = r"
    const parts = text => text.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
        .reduce((sum, c, at) => sum + c * [.2126, .7152, .0722][at], 0);
    const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
    const behind = one => {
        for (; one; one = one.parentElement) {
            const found = parts(getComputedStyle(one).backgroundColor);
            if (found.length < 4 || found[3] > 0) return found;
        }
        return [255, 255, 255];
    };
    const faint = [];
    for (const one of document.querySelectorAll('body *')) {
        if (!one.getClientRects().length) continue;
        if (![...one.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
        if (one.closest('svg') && one.tagName !== 'text') continue;
        const svg = one.tagName === 'text';
        const own = parts(getComputedStyle(one)[svg ? 'fill' : 'color']);
        const grounds = svg ? ['alone', 'shared', 'unneeded'].map(kind => document.querySelector('rect.' + kind))
            .filter(rect => rect).map(rect => parts(getComputedStyle(rect).fill)) : [behind(one)];
        for (const ground of grounds)
            if (contrast(own, ground) < 4.5) faint.push([one.outerHTML.slice(0, 120), own, ground]);
    }
    return faint";

/// What assistive technology goes by: the faults found.
const FAULTS: &str = "
    const faults = [];
    const say = (fault, one) => faults.push([fault, one.outerHTML.slice(0, 120)]);
    if (!document.documentElement.lang || !document.title) say('no language or title', document.head);
    if (document.querySelectorAll('h1').length !== 1) say('not one h1', document.body);
    document.querySelectorAll('section').forEach(one => {
        const by = document.getElementById(one.getAttribute('aria-labelledby'));
        if (!by || by.tagName !== 'H2') say('a section without its heading', one);
    });
    document.querySelectorAll('th').forEach(one => { if (!one.scope) say('a header of nothing', one); });
    document.querySelectorAll('table').forEach(one => { if (!one.tHead) say('a table without headers', one); });
    document.querySelectorAll('svg[role=img]').forEach(one => { if (!one.getAttribute('aria-label')) say('a picture without words', one); });
    document.querySelectorAll('a').forEach(one => { if (!document.querySelector(one.getAttribute('href'))) say('a link to nothing', one); });
    const ids = [...document.querySelectorAll('[id]')].map(one => one.id);
    if (new Set(ids).size !== ids.length) say('an id twice', document.body);
    return faults";

/// Name, bytes, and the areas of the whole and of its parts, of each tile that is shown.
const TILES: &str = "
    const map = [...document.querySelectorAll('svg.map')].find(one => one.getClientRects().length);
    const area = one => { const at = one.getBoundingClientRect(); return at.width * at.height; };
    const part = (one, kind) => { const found = one.querySelector('rect.' + kind); return found ? area(found) : 0; };
    return [area(map), [...map.querySelectorAll('g')].map(one => ({ name: one.dataset.name, bytes: +one.dataset.bytes,
        area: part(one, 'frame'), parts: ['alone', 'shared', 'unneeded'].map(kind => part(one, kind)) }))]";

/// The cells of a table's rows, by the table's class.
fn rows(browser: &Browser, table: &str) -> Vec<Vec<String>> {
    let script = format!(
        "return [...document.querySelectorAll('table.{table} tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"
    );
    serde_json::from_value(browser.run(&script)).unwrap()
}

/// The areas of the treemap are as the bytes, which are all that the store holds.
fn treemap_is_right(browser: &Browser, saw: &Value) {
    let found = browser.run(TILES);
    let (whole, tiles) = (found[0].as_f64().unwrap(), found[1].as_array().unwrap());
    let total: u64 = tiles.iter().map(|tile| tile["bytes"].as_u64().unwrap()).sum();
    assert_eq!(total, saw["bytes"].as_u64().unwrap());
    let (mut unneeded, mut all) = (0.0, 0.0);
    #[expect(clippy::cast_precision_loss, reason = "sizes of a small store")]
    for tile in tiles {
        let (area, bytes) = (tile["area"].as_f64().unwrap(), tile["bytes"].as_u64().unwrap() as f64);
        let wanted = bytes / total as f64 * whole;
        assert!((area - wanted).abs() < 0.02 * wanted + 1.0, "{tile}: {area} for {wanted}");
        let parts: Vec<f64> =
            tile["parts"].as_array().unwrap().iter().map(|part| part.as_f64().unwrap()).collect();
        assert!((parts.iter().sum::<f64>() - area).abs() < 0.02 * area + 1.0, "{tile}");
        unneeded += parts[2];
        all += area;
    }
    #[expect(clippy::cast_precision_loss, reason = "sizes of a small store")]
    let wanted = 1.0 - saw["live_bytes"].as_u64().unwrap() as f64 / total as f64;
    assert!((unneeded / all - wanted).abs() < 0.01, "{} of it is not needed, not {wanted}", unneeded / all);
}

/// The tables say what the plan's document says.
fn tables_are_right(browser: &Browser, plan: &Value) {
    let freed = plan["plan"]["freed"]["repositories"].as_array().unwrap();
    let amount = |row: &Value, key: &str| row[key].as_u64().unwrap();
    let mut wanted: Vec<&Value> = freed.iter().collect();
    wanted.sort_by_key(|row| {
        let bytes = amount(row, "exclusive_bytes") + amount(row, "shared_bytes");
        (std::cmp::Reverse(bytes), row["repository"].as_str().unwrap())
    });
    let wanted: Vec<Vec<String>> = wanted
        .into_iter()
        .take(10)
        .map(|row| {
            vec![
                row["repository"].as_str().unwrap().to_owned(),
                format!("{} of {}", number(amount(row, "tags_gone")), number(amount(row, "tags"))),
                number(amount(row, "manifests_gone")),
                bytes(amount(row, "exclusive_bytes")),
                bytes(amount(row, "shared_bytes")),
            ]
        })
        .collect();
    assert_eq!(rows(browser, "freed"), wanted);
    let steps = plan["plan"]["steps"].as_array().unwrap();
    let gone: Vec<String> = steps
        .iter()
        .filter(|step| step["action"] == "untag")
        .map(|step| format!("{}:{}", step["repository"].as_str().unwrap(), step["tag"].as_str().unwrap()))
        .collect();
    let shown: Vec<String> = rows(browser, "reasons").into_iter().map(|row| row[0].clone()).collect();
    assert!(gone.len() > 12, "{gone:?}");
    assert_eq!(shown[..12], gone[..12]);
    let repositories = rows(browser, "repositories");
    assert_eq!(repositories.iter().filter(|row| !row[1].is_empty()).count(), 40);
    assert!(repositories.iter().any(|row| row[0] == "6 other repositories"), "{repositories:?}");
}

fn keeps_to_itself(browser: &Browser, url: &str) {
    assert_eq!(browser.run("return window.ran ?? null"), Value::Null);
    assert_eq!(browser.run("return document.scripts.length + document.images.length"), 0);
    assert_eq!(browser.run("return [...document.querySelectorAll('b, [onclick], [onerror]')].length"), 0);
    let console = browser.console();
    assert!(console.is_empty(), "{console:?}");
    let elsewhere: Vec<String> = browser
        .requests()
        .into_iter()
        // The tab that a browser begins with is its own, and data is in the page.
        .filter(|asked| asked != url && !asked.starts_with("data:") && !asked.starts_with("chrome://"))
        .collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[test]
fn a_browser_shows_what_the_documents_say() {
    let scene = scratch();
    let (root, policy) = (scene.path().join("registry"), scene.path().join("policy.yaml"));
    std::fs::create_dir(&root).unwrap();
    store(&root);
    let (root, policy_name) = (root.to_str().unwrap(), policy.to_str().unwrap());
    std::fs::write(&policy, POLICY).unwrap();
    let pages = ["plan", "run", "audit"].map(|name| scene.path().join(format!("{name}.html")));
    let plan = written(&["plan", root, "-p", policy_name, "--offline"], &pages[0], 0);
    let run = written(&["run", root, "-p", policy_name, "--offline"], &pages[1], 0);
    let audit = written(&["audit", root], &pages[2], 0);

    let browser = Browser::start(scene.path());
    browser.resize(1280, false);
    for (page, saw) in
        pages.iter().zip([&plan["plan"]["header"]["saw"], &run["header"]["saw"], &audit["saw"]])
    {
        let url = format!("file://{}", page.display());
        let name = page.file_stem().unwrap().to_str().unwrap();
        browser.resize(1280, false);
        browser.open(&url);
        treemap_is_right(&browser, saw);
        match name {
            "plan" => tables_are_right(&browser, &plan),
            "run" => {
                let command = browser.run("return document.querySelector('code.copy').textContent");
                let wanted = format!("regsweep restore file://{root} {}", run["run"].as_str().unwrap());
                assert_eq!(command, wanted);
            }
            _ => assert!(
                browser
                    .run("return document.body.textContent")
                    .as_str()
                    .unwrap()
                    .contains("points to sha256:0000")
            ),
        }
        assert_eq!(browser.run(FAULTS), Value::Array(vec![]), "{name}");
        let mut grounds = Vec::new();
        for scheme in ["light", "dark"] {
            browser.scheme(scheme);
            for (width, phone) in [(1280, false), (360, true)] {
                browser.resize(width, phone);
                let fits = browser.run(FITS);
                assert_eq!(
                    (&fits[0], &fits[1], &fits[2]),
                    (&true.into(), &width.into(), &Value::Array(vec![])),
                    "{name}"
                );
                assert_eq!(browser.run(FAINT), Value::Array(vec![]), "{name}, {scheme}, {width}");
                if let Some(directory) = std::env::var_os("REGSWEEP_PICTURES") {
                    let picture = Path::new(&directory).join(format!("{name}-{width}-{scheme}.png.base64"));
                    std::fs::write(picture, browser.picture()).unwrap();
                }
            }
            treemap_is_right(&browser, saw);
            grounds.push(browser.run("return getComputedStyle(document.body).backgroundColor"));
        }
        assert_ne!(grounds[0], grounds[1]);
        keeps_to_itself(&browser, &url);
    }
}

#[test]
fn a_place_that_cannot_be_written_to_is_an_error_before_the_work() {
    let scene = scratch();
    let page = scene.path().join("missing/page.html");
    for command in ["audit", "plan", "run"] {
        // There is no store either, which would be the next error.
        let finished = regsweep([command, "nowhere", "--html", page.to_str().unwrap()]).expect(2);
        assert!(
            finished.stderr.contains("cannot write the page")
                && finished.stderr.contains("missing/page.html"),
            "{finished:?}"
        );
        let directory = regsweep([command, "nowhere", "--html", scene.path().to_str().unwrap()]).expect(2);
        assert!(directory.stderr.contains("something else than a file is there"), "{directory:?}");
    }
    assert_eq!(std::fs::read_dir(scene.path()).unwrap().count(), 0, "nothing is left behind");
}
