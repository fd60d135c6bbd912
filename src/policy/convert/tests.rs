//! Documents of the products' own documentation: converted, they decide as it describes.

use jiff::{SignedDuration, Timestamp};

use super::{Source, convert};
use crate::oci::Created;
use crate::policy::{Policy, TagFacts, UntaggedFacts};

fn now() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

fn document(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/convert").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The policy that a document becomes, read, and its notes.
fn converted(source: Source, name: &str) -> (Policy, Vec<String>) {
    let made = convert(source, &document(name), &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
    for note in &made.notes {
        assert!(made.text.contains(&format!("# Note: {note}.")), "{name}: {note}");
    }
    let policy = Policy::parse(&made.text, name).unwrap_or_else(|error| panic!("{error}\n{}", made.text));
    (policy, made.notes)
}

/// Which of these tags go, each so many days old by every clock; no pull is known, so that the push counts.
fn gone<'t>(policy: &Policy, repository: &str, tags: &[(&'t str, i64)]) -> Vec<&'t str> {
    let at = |days: i64| now() - SignedDuration::from_hours(24 * days) - SignedDuration::from_mins(1);
    let facts: Vec<TagFacts<'_>> = tags
        .iter()
        .map(|(name, days)| TagFacts {
            name,
            tagged: Some(at(*days)),
            pushed: Some(at(*days)),
            created: Created::At(at(*days)),
            ..TagFacts::default()
        })
        .collect();
    let decisions = policy.decide_tags(repository, &facts, now());
    tags.iter().zip(decisions).filter(|(_, decision)| decision.is_expired()).map(|(tag, _)| tag.0).collect()
}

/// How many of the manifests without a tag go, each so many days old.
fn untagged_gone(policy: &Policy, repository: &str, days: &[i64]) -> usize {
    let facts: Vec<UntaggedFacts> = days
        .iter()
        .map(|days| {
            let at = now() - SignedDuration::from_hours(24 * days) - SignedDuration::from_mins(1);
            UntaggedFacts { pushed: Some(at), created: Created::At(at), ..UntaggedFacts::default() }
        })
        .collect();
    policy.decide_untagged(repository, &facts, now()).iter().filter(|decision| decision.is_expired()).count()
}

fn assert_notes(notes: &[String], expected: &[&str]) {
    for expected in expected {
        assert!(notes.iter().any(|note| note.contains(expected)), "no note says `{expected}`: {notes:#?}");
    }
}

#[test]
fn ecr_by_age_and_by_count() {
    let (policy, _) = converted(Source::Ecr, "ecr-age.json");
    assert_eq!(gone(&policy, "app", &[("prod-1", 15), ("prod-2", 13), ("beta-1", 90)]), ["prod-1"]);
    let (policy, _) = converted(Source::Ecr, "ecr-untagged-age.json");
    assert_eq!(untagged_gone(&policy, "app", &[13, 15, 20]), 2);
    assert!(gone(&policy, "app", &[("prod-1", 900)]).is_empty());
    let (policy, _) = converted(Source::Ecr, "ecr-untagged-count.json");
    assert_eq!(untagged_gone(&policy, "app", &[3, 4, 5]), 2);
}

/// Image A has the tags beta-1 and prod-1, B has beta-2 and prod-2, C has beta-3. An image goes with its last tag.
const IMAGES: [(&str, i64); 5] =
    [("beta-1", 10), ("prod-1", 10), ("beta-2", 9), ("prod-2", 9), ("beta-3", 8)];

#[test]
fn ecr_with_several_rules() {
    let (policy, notes) = converted(Source::Ecr, "ecr-rules-a.json");
    // A loses both tags and is expired; B keeps prod-2, C keeps beta-3: as the documentation says.
    assert_eq!(gone(&policy, "app", &IMAGES), ["beta-1", "prod-1", "beta-2"]);
    assert_notes(&notes, &["an image with several tags stays as long as one of them does"]);
    // With the priorities exchanged ECR expires B as well; here its other tag keeps it, which the note says.
    let (policy, notes) = converted(Source::Ecr, "ecr-rules-b.json");
    assert_eq!(gone(&policy, "app", &IMAGES), ["beta-1", "prod-1", "beta-2"]);
    assert_notes(&notes, &["an image with several tags stays as long as one of them does"]);
}

#[test]
fn ecr_rules_about_images_with_several_tags_take_nothing() {
    let (policy, notes) = converted(Source::Ecr, "ecr-and.json");
    let tags = [("alpha-1", 12), ("beta-1", 11), ("alpha-2", 10), ("beta-2", 10), ("alpha-3", 4)];
    assert!(gone(&policy, "app", &tags).is_empty());
    assert_notes(&notes, &["a tag for each of alpha*, beta*"]);
}

#[test]
fn artifact_registry_keeps_beat_deletes() {
    let (policy, notes) = converted(Source::ArtifactRegistry, "artifact-registry.json");
    let tags = [("alpha1", 40), ("alpha2", 20), ("v0.9", 31), ("v1.0", 400), ("release-1", 900), ("x", 900)];
    assert_eq!(gone(&policy, "other", &tags), ["alpha1", "v0.9"]);
    // Of webapp the five most recent versions stay as well.
    let many: Vec<(String, i64)> = (0..8).map(|n| (format!("alpha{n}"), 40 + n)).collect();
    let many: Vec<(&str, i64)> = many.iter().map(|(name, days)| (name.as_str(), *days)).collect();
    assert_eq!(gone(&policy, "webapp", &many), ["alpha5", "alpha6", "alpha7"]);
    assert_eq!(gone(&policy, "other", &many).len(), 8);
    assert!(gone(&policy, "webapp", &[("release-alpha", 900), ("release", 900)]).is_empty());
    assert_notes(&notes, &["counts all versions of a package together"]);
    let (policy, _) = converted(Source::ArtifactRegistry, "artifact-registry-stale.json");
    assert_eq!(gone(&policy, "app", &[("a", 0), ("b", 2), ("c", 3), ("d", 4)]), ["c", "d"]);
    assert_eq!(untagged_gone(&policy, "app", &[0, 2, 3, 4]), 2);
}

#[test]
fn harbor_retains_what_one_rule_retains() {
    let (policy, notes) = converted(Source::Harbor, "harbor.json");
    let mut tags = Vec::new();
    for (days, version) in [(40, "2.1"), (30, "2.2"), (20, "3.1"), (10, "4.4")] {
        for kind in ["prod", "rc", "release"] {
            tags.push((format!("{version}-your_repo-{kind}"), days));
        }
    }
    let tags: Vec<(&str, i64)> = tags.iter().map(|(name, days)| (name.as_str(), *days)).collect();
    let expected = ["3.1-your_repo-rc", "3.1-your_repo-release", "4.4-your_repo-rc", "4.4-your_repo-release"];
    assert_eq!(gone(&policy, "your_repo", &tags), expected);
    assert_notes(&notes, &["runs as often as you run regsweep, not at `0 0 0 * * *`", "is disabled"]);
}

#[test]
fn harbor_by_pull_counts_pulls() {
    let made = convert(Source::Harbor, &document("harbor-pulled.json"), &["library/**".to_owned()]).unwrap();
    assert!(made.text.contains("clock: pulled"), "{}", made.text);
    let (policy, _) = converted(Source::Harbor, "harbor-pulled.json");
    // Repository A has 12 tags that count as pulled in the last week, repository B 6 older ones.
    let a: Vec<(String, i64)> = (0..12).map(|n| (format!("t{n:02}"), 1)).collect();
    let a: Vec<(&str, i64)> = a.iter().map(|(name, days)| (name.as_str(), *days)).collect();
    assert!(gone(&policy, "a", &a).is_empty(), "within seven days");
    let b: Vec<(String, i64)> = (0..12).map(|n| (format!("t{n:02}"), 40 + n)).collect();
    let b: Vec<(&str, i64)> = b.iter().map(|(name, days)| (name.as_str(), *days)).collect();
    assert_eq!(gone(&policy, "b", &b[..6]), Vec::<&str>::new(), "fewer than ten");
    assert_eq!(gone(&policy, "b", &b), ["t10", "t11"]);
    assert_eq!(untagged_gone(&policy, "b", &[40]), 1, "untagged artifacts are not retained");
}

#[test]
fn zot_keeps_what_the_first_entry_says() {
    let (policy, notes) = converted(Source::Zot, "zot.json");
    let tags = [
        ("v2.1", 900),
        ("rev2x", 900),
        ("app-prod", 900),
        ("v3.0", 6),
        ("v3.1", 8),
        ("v4", 2),
        ("v3-prod", 900),
    ];
    assert_eq!(gone(&policy, "infra/app", &tags), ["v3.1", "v4"]);
    assert_eq!(untagged_gone(&policy, "infra/app", &[0, 2]), 1, "deleteUntagged is the default");
    assert_eq!(gone(&policy, "tmp/a/b", &[("v1.0", 6), ("v1.1", 8), ("v2", 2)]), ["v1.1", "v2"]);
    let many: Vec<(String, i64)> = (0..30).map(|n| (format!("t{n:02}"), 31 + n)).collect();
    let many: Vec<(&str, i64)> = many.iter().map(|(name, days)| (name.as_str(), *days)).collect();
    assert_eq!(gone(&policy, "else/where", &many), many[10..].iter().map(|tag| tag.0).collect::<Vec<_>>());
    assert!(gone(&policy, "else/where", &[("a", 29), ("b", 25)]).is_empty());
    let expected = [
        "storage.subPaths./a is a store of its own",
        "has one clock",
        "keeps referrers whose subject is gone",
    ];
    assert_notes(&notes, &expected);
}

#[test]
fn zot_without_entries_keeps_every_tag() {
    for keep_tags in ["", ", \"keepTags\": []"] {
        let text = format!(
            r#"{{"storage": {{"retention": {{"policies": [{{"repositories": ["**"]{keep_tags}}}]}}}}}}"#
        );
        let made = convert(Source::Zot, &text, &[]).unwrap();
        let policy = Policy::parse(&made.text, "zot").unwrap();
        assert!(gone(&policy, "app", &[("a", 900)]).is_empty(), "{keep_tags}");
    }
}

#[test]
fn gitlab_as_its_documentation_works_it_out() {
    let (policy, notes) = converted(Source::Gitlab, "gitlab.json");
    let tags = [
        ("latest", 900),
        ("production-v44", 3),
        ("production-v43", 6),
        ("production-v42", 11),
        ("dev-v44", 2),
        ("dev-v43", 5),
        ("dev-v42", 10),
        ("v44", 1),
        ("v43", 12),
        ("v42", 20),
    ];
    assert_eq!(gone(&policy, "group/project", &tags), ["dev-v42", "v43", "v42"]);
    assert_notes(&notes, &["not every 1month"]);
}

#[test]
fn quay_prunes_by_number_and_by_age() {
    let (policy, notes) = converted(Source::Quay, "quay.json");
    let many: Vec<(String, i64)> = (0..14).map(|n| (format!("t{n:02}"), 1 + n)).collect();
    let many: Vec<(&str, i64)> = many.iter().map(|(name, days)| (name.as_str(), *days)).collect();
    // The ten newest stay, unless they are older than a week.
    assert_eq!(gone(&policy, "app", &many), many[6..].iter().map(|tag| tag.0).collect::<Vec<_>>());
    assert_notes(&notes, &["time machine"]);
    let (policy, _) = converted(Source::Quay, "quay-pattern.json");
    assert_eq!(gone(&policy, "app", &[("v1", 5), ("v2", 3), ("main", 90)]), ["v1"]);
}

#[test]
fn what_is_none_of_these_documents_says_where() {
    for (source, text, message) in [
        (Source::Ecr, "{}", "the document has no rules"),
        (Source::Ecr, r#"{"rules": [{"rulePriority": 1}]}"#, "rules[0] has no selection"),
        (
            Source::Ecr,
            r#"{"rules": [{"rulePriority": "x", "selection": {}}]}"#,
            "rules[0].rulePriority is not a whole number from zero up",
        ),
        (Source::Ecr, "{", "no JSON: EOF while parsing an object at line 1 column 1"),
        (Source::ArtifactRegistry, "{}", "the document is not a list"),
        (
            Source::ArtifactRegistry,
            r#"[{"action": {"type": "Burn"}}]"#,
            "[0].action.type is `Burn`, and neither Delete nor Keep",
        ),
        (Source::Harbor, r#"{"rules": [{"template": "always"}]}"#, "rules[0] has no tag_selectors"),
        (Source::Zot, r#"{"storage": {}}"#, "storage has no retention, so zot keeps every tag"),
        (Source::Gitlab, "{}", "the document has no name_regex, so nothing is removed"),
        (
            Source::Gitlab,
            r#"{"name_regex": ".*", "older_than": "soon"}"#,
            "older_than is not a length of time such as 30d",
        ),
        (
            Source::Quay,
            r#"[{"method": "size", "value": 1}]"#,
            "[0].method is `size`, and neither number_of_tags nor creation_date",
        ),
    ] {
        assert_eq!(convert(source, text, &[]).unwrap_err().to_string(), message, "{source:?} {text}");
    }
}

#[test]
fn a_pattern_that_is_not_understood_keeps() {
    for (source, text) in [
        (Source::Gitlab, r#"{"name_regex": "(?=a).*", "keep_n": 1}"#),
        (Source::Gitlab, r#"{"name_regex": ".*", "name_regex_keep": "(?!a).*", "keep_n": 1}"#),
        (Source::Quay, r#"[{"method": "number_of_tags", "value": 1, "tagPattern": "(?=a)"}]"#),
        (
            Source::Zot,
            r#"{"retention": {"policies": [{"keepTags": [{"patterns": ["(?=a)"], "pushedWithin": "1h"}]}]}}"#,
        ),
        (
            Source::ArtifactRegistry,
            r#"[{"action": "Delete", "condition": {"versionNamePrefixes": ["sha256:a"]}}]"#,
        ),
    ] {
        let made = convert(source, text, &[]).unwrap();
        let policy =
            Policy::parse(&made.text, "made").unwrap_or_else(|error| panic!("{error}\n{}", made.text));
        assert!(gone(&policy, "app", &[("a", 900), ("b", 901)]).is_empty(), "{}", made.text);
        assert_notes(
            &made.notes,
            &[if source == Source::ArtifactRegistry { "digests" } else { "is not a regular expression" }],
        );
    }
}
