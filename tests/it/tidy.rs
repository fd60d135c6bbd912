//! The architecture, as far as reading the sources can check it. Each list of exceptions can only shrink: an entry that
//! is no longer needed fails as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The pipeline in the order in which data flows, and the vocabulary before it.
const ORDER: [&str; 13] = [
    "oci",
    "config::values",
    "store",
    "layout",
    "evidence",
    "inventory",
    "policy",
    "sources",
    "graph",
    "plan",
    "sweep",
    "report",
    "sidecar",
];

/// Modules that decide and never ask the world. They may use each other in the order of the pipeline.
const PURE: [&str; 7] = ["oci", "config::values", "layout", "policy", "graph", "plan", "report"];

/// What would be input, output, time or printing.
const WORLD: [&str; 14] = [
    "tokio",
    "object_store",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::os::",
    "rustix::",
    "SystemTime",
    "Instant",
    "crate::clock",
    "::now()",
    "println!",
    "dbg!",
];

/// What a module uses beyond that: its name, whose, which items, and why that does no harm.
const EXCEPTIONS: &[(&str, &str, &[&str], &str)] = &[
    (
        "graph",
        "inventory",
        &["BlobId", "BlobSet", "Body", "Inventory", "Link", "Repository", "Tag", "Target"],
        "what a scan found is data; what scans is not used",
    ),
    (
        "plan",
        "inventory",
        &[
            "Asset",
            "BlobId",
            "BlobSet",
            "Body",
            "Inventory",
            "LayerLink",
            "Link",
            "LooseFile",
            "Parts",
            "Piece",
            "Recorded",
            "Repository",
            "Serves",
            "Tag",
            "Target",
        ],
        "what a scan found is data; what scans is not used",
    ),
    ("evidence", "config::registry", &["Secret"], "what must not be shown is held in one way"),
    (
        "report",
        "inventory",
        &[
            "Assets",
            "Beside",
            "BlobId",
            "BlobSet",
            "Gap",
            "Inventory",
            "Link",
            "Repository",
            "Standing",
            "Tag",
            "Target",
        ],
        "what a scan found is data; what scans is not used",
    ),
    (
        "graph",
        "sources",
        &["PullRecord", "References", "Reference"],
        "what was read of pulls and of what is in use is data; what reads it is not used",
    ),
    (
        "plan",
        "sources",
        &["PullRecord", "References", "Reference"],
        "what was read of pulls and of what is in use is data; what reads it is not used",
    ),
    (
        "plan",
        "store",
        &["Identity", "MultipartUpload"],
        "a plan says which store it is for, and what goes there",
    ),
    ("plan", "evidence", &["managed"], "what a repository manager lists is data; what asks it is not used"),
    ("report", "store", &["Identity", "Requests"], "a report names the store and what it cost to read"),
    ("report", "sweep", &["Executed"], "what became of the steps: counts and texts"),
    (
        "sweep",
        "config::registry",
        &["DescriptorCache", "RedisCache", "RedisTls", "RegistryConfig", "Secret"],
        "what the registry's configuration says of its cache is data",
    ),
    ("sidecar", "config::registry", &["Secret"], "what is never shown is the same everywhere"),
    ("store", "layout", &["DISTRIBUTION_ROOT"], "the identity of a store is that of its root, if it has one"),
];

/// Files that lift a ban of `.clippy.toml`, how often outside of tests, and why.
const LIFTED: &[(&str, usize, &str)] = &[
    ("src/clock.rs", 2, "reads time"),
    ("src/store/metered.rs", 1, "passes on what sweep/trash.rs asks for"),
    ("src/sweep/replace.rs", 1, "puts a record in the place of the one that it was made from"),
    ("src/sweep/trash.rs", 7, "deletes and moves"),
    ("src/synth/damage.rs", 1, "damages a store that it has made"),
];

/// Lines of code without tests that one file may have.
const LONGEST: usize = 400;

/// Files that are longer than that, and how long they may be.
const LONG: &[(&str, usize)] = &[];

/// Refusals whose text has no long part that is always the same: what a test can look for.
const SAID: &[(&str, &str)] =
    &[("Mode", "0 is only for a registry that is stopped or read-only"), ("Unsafe", "would lose something")];

/// Refusals that no test brings about.
const UNTESTED: &[&str] = &[];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a directory of the package, by its path in the package.
fn files(directory: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending: Vec<PathBuf> = vec![root().join(directory)];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// One source file, its tests apart.
struct Source {
    path: String,
    /// The module it belongs to: the first component, or two of `config`.
    module: String,
    code: String,
    tests: String,
}

fn sources() -> Vec<Source> {
    files("src")
        .into_iter()
        .filter(|path| Path::new(path).extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let text = read(&path);
            let cut = if path.ends_with("/tests.rs")
                || (path.ends_with("/properties.rs") && path != "src/layout/properties.rs")
            {
                0
            } else {
                tests_at(&text)
            };
            let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
            let mut parts = inside.split('/').filter(|part| *part != "mod");
            let first = parts.next().unwrap().to_owned();
            let module = match parts.next() {
                Some(second) if first == "config" => format!("config::{second}"),
                _ => first,
            };
            Source { path, module, code: text[..cut].to_owned(), tests: text[cut..].to_owned() }
        })
        .collect()
}

/// Where the tests of a file begin: at the `#[cfg(test)]` before a module that has its body there.
fn tests_at(text: &str) -> usize {
    text.match_indices("#[cfg(test)]\n")
        .find(|(at, _)| {
            let module = text[*at..].lines().find(|line| line.starts_with("mod "));
            module.is_some_and(|line| line.ends_with('{'))
        })
        .map_or(text.len(), |(at, _)| at)
}

/// The code without the lines that are comments.
fn without_comments(code: &str) -> String {
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every path that begins with `crate::`, the groups of a `use` written out.
fn paths(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, word) in code.match_indices("crate::") {
        if !code[..at].ends_with('$') {
            tree(&code[at + word.len()..], "", &mut found);
        }
    }
    found
}

/// Reads one path or group and answers what is left of the text.
fn tree<'t>(text: &'t str, before: &str, found: &mut BTreeSet<String>) -> &'t str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            rest = tree(rest, before, found);
        }
    }
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    assert!(end > 0, "{before} is followed by {:?}", text.chars().next());
    let path = if before.is_empty() { name.to_owned() } else { format!("{before}::{name}") };
    match rest.strip_prefix("::") {
        Some(below) if !below.starts_with('<') => tree(below, &path, found),
        _ => {
            found.insert(path);
            match rest.strip_prefix(" as ") {
                Some(renamed) => {
                    renamed.trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_')
                }
                None => rest,
            }
        }
    }
}

#[test]
fn groups_of_a_use_are_written_out() {
    let code = "use crate::a::{self, B, c::{D, E as F}, };\nlet x: crate::g::H::<u8> = $crate::no;";
    let expected = ["a::B", "a::c::D", "a::c::E", "a::self", "g::H"];
    assert_eq!(paths(code).into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn modules_use_only_what_stands_before_them() {
    let place = |module: &str| ORDER.iter().position(|known| *known == module);
    let mut needed = BTreeSet::new();
    let mut wrong = Vec::new();
    for source in sources() {
        let Some(own) = place(&source.module) else { continue };
        let pure = PURE.contains(&source.module.as_str());
        for path in paths(&without_comments(&source.code)) {
            let module = if path.starts_with("config::") {
                path.splitn(3, "::").take(2).collect::<Vec<_>>().join("::")
            } else {
                path.split("::").next().unwrap().to_owned()
            };
            if module == source.module {
                continue;
            }
            let before = place(&module).is_some_and(|place| place < own);
            let harmless = if pure { PURE.contains(&module.as_str()) } else { true };
            if (before && harmless) || (!pure && module == "clock") {
                continue;
            }
            let item = path[module.len()..].trim_start_matches("::").split("::").next().unwrap();
            let exception = EXCEPTIONS
                .iter()
                .find(|(by, of, items, _)| *by == source.module && *of == module && items.contains(&item));
            match exception {
                Some((by, of, ..)) => {
                    needed.insert((*by, *of, item.to_owned()));
                }
                None => wrong.push(format!("{} uses crate::{path}", source.path)),
            }
        }
    }
    assert!(wrong.is_empty(), "against the flow of data:\n{}", wrong.join("\n"));
    for (by, of, items, _) in EXCEPTIONS {
        for item in *items {
            assert!(needed.contains(&(*by, *of, (*item).to_owned())), "{by} no longer uses {of}::{item}");
        }
    }
}

#[test]
fn what_decides_does_not_ask_the_world() {
    for source in sources().iter().filter(|source| PURE.contains(&source.module.as_str())) {
        let code = without_comments(&source.code);
        for word in WORLD {
            assert!(!code.contains(word), "{} mentions {word}", source.path);
        }
    }
}

#[test]
fn bans_are_lifted_only_where_they_are_owned() {
    let bans = read(".clippy.toml");
    for ban in ["std::fs::remove_file", "std::fs::rename", "rustix::fs::unlinkat", "jiff::Timestamp::now"] {
        assert!(bans.contains(ban), "{ban} is not banned any more");
    }
    let mut lifted = BTreeMap::new();
    for source in sources() {
        let count = source.code.matches("disallowed_methods").count();
        if count > 0 {
            lifted.insert(source.path, count);
        }
    }
    let allowed: BTreeMap<String, usize> =
        LIFTED.iter().map(|(path, count, _)| ((*path).to_owned(), *count)).collect();
    assert_eq!(lifted, allowed);
}

#[test]
fn only_the_command_line_prints() {
    for source in sources() {
        if source.module == "cli" || source.module == "main" {
            continue;
        }
        for word in ["println!", "print!", "io::stdout", "io::stderr", "print_std"] {
            assert!(!without_comments(&source.code).contains(word), "{} mentions {word}", source.path);
        }
    }
}

#[test]
fn files_are_short() {
    let allowed: BTreeMap<&str, usize> = LONG.iter().copied().collect();
    for source in sources() {
        let lines = source.code.lines().count();
        match allowed.get(source.path.as_str()) {
            None => assert!(lines <= LONGEST, "{} has {lines} lines: split it", source.path),
            Some(most) => {
                assert!(lines <= *most, "{} has grown to {lines} lines: split it", source.path);
                assert!(lines > LONGEST, "{} has {lines} lines: take it off the list", source.path);
            }
        }
    }
    for (path, _) in LONG {
        assert!(root().join(path).exists(), "{path} is gone: take it off the list");
    }
}

/// The variants of `Refusal` with their texts.
fn refusals() -> Vec<(String, String)> {
    let source = sources().into_iter().find(|source| source.code.contains("pub enum Refusal {")).unwrap();
    let body = source.code.split("pub enum Refusal {").nth(1).unwrap().split("\n}").next().unwrap();
    let mut found = Vec::new();
    let (mut text, mut attribute) = (String::new(), false);
    for line in body.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with("#[error(") {
            (text, attribute) = (String::new(), true);
        }
        if attribute {
            text.push_str(trimmed.trim_end_matches('\\'));
            attribute = !trimmed.ends_with(")]");
        } else if line.starts_with("    ")
            && line[4..].starts_with(|letter: char| letter.is_ascii_uppercase())
        {
            let name = trimmed.chars().take_while(char::is_ascii_alphanumeric).collect();
            found.push((name, std::mem::take(&mut text)));
        }
    }
    found
}

#[test]
fn every_refusal_is_brought_about_by_a_test() {
    let mut tests: String = sources().into_iter().map(|source| source.tests).collect();
    for path in files("tests").iter().chain(&files("testdata/cli")).filter(|path| *path != "tests/it/tidy.rs")
    {
        tests.push_str(&read(path));
    }
    let refusals = refusals();
    assert!(refusals.len() >= 10, "{refusals:?}");
    for (name, text) in refusals {
        // The longest part of the message that is the same whatever is refused.
        let literal = text.split(['{', '}', '"']).max_by_key(|part| part.len()).unwrap_or_default();
        let said = SAID.iter().find(|(of, _)| *of == name).map_or(literal, |(_, phrase)| phrase);
        assert!(said.len() >= 12, "{name} says nothing to look for");
        let tested = tests.contains(said) || tests.contains(&format!("Refusal::{name}"));
        let listed = UNTESTED.contains(&name.as_str());
        assert!(tested || listed, "no test brings about Refusal::{name} ({said:?})");
        assert!(!(tested && listed), "Refusal::{name} is tested: take it off the list");
    }
}

#[test]
fn schemas_and_exit_codes_are_in_the_readme() {
    let readme = read("README.md");
    let mut schemas = BTreeSet::new();
    for source in sources() {
        for (at, _) in source.code.match_indices("\"regsweep/") {
            let schema = source.code[at + 1..].split('"').next().unwrap();
            if schema.rsplit('/').next().unwrap().parse::<u32>().is_ok() {
                schemas.insert(schema.to_owned());
            }
        }
    }
    assert!(schemas.len() >= 8, "{schemas:?}");
    for schema in schemas {
        assert!(readme.contains(&format!("`{schema}`")), "the README does not say what {schema} is");
    }
    assert!(readme.contains(regsweep::exit::TABLE), "the README has another table of exit codes");
}

#[test]
fn what_the_readme_names_exists() {
    let readme = read("README.md");
    let manifests = format!("{}{}", read("Cargo.toml"), read("fuzz/Cargo.toml"));
    let words: Vec<&str> =
        readme.split([' ', '\n', '`', '(', ')', ',', '|']).filter(|word| !word.is_empty()).collect();
    for pair in words.windows(2) {
        if ["--bench", "--test", "--bin", "--example"].contains(&pair[0]) {
            assert!(manifests.contains(&format!("name = \"{}\"", pair[1])), "there is no {}", pair[1]);
        }
    }
    for triple in words.windows(3).filter(|triple| triple[0] == "fuzz" && triple[1] == "run") {
        assert!(manifests.contains(&format!("name = \"{}\"", triple[2])), "there is no target {}", triple[2]);
    }
    for word in words {
        let here = ["src/", "tests/", "testdata/", "benches/", "fuzz/", "deploy/", ".ci/"];
        if here.iter().any(|directory| word.starts_with(directory)) {
            assert!(root().join(word.trim_end_matches([':', '.', ';'])).exists(), "there is no {word}");
        }
    }
}

#[test]
fn mutants_of_the_protocol_find_their_lines() {
    let output = std::process::Command::new(root().join("tests/mutants")).arg("--check").output();
    let output = output.expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn nothing_names_a_workplace_or_is_left_to_do() {
    let mut paths: Vec<String> =
        ["src", "tests", "testdata", "benches", "deploy", "fuzz/fuzz_targets", ".ci"]
            .iter()
            .flat_map(|directory| files(directory))
            .collect();
    paths.extend(
        ["README.md", "CHANGELOG.md", "Cargo.toml", "fuzz/Cargo.toml", "deny.toml"].map(str::to_owned),
    );
    for path in paths {
        let Ok(text) = String::from_utf8(std::fs::read(root().join(&path)).unwrap()) else { continue };
        for word in [concat!("/wo", "rk/"), concat!("TO", "DO"), concat!("FIX", "ME")] {
            assert!(!text.contains(word), "{path} mentions {word}");
        }
    }
}
