//! Each kind of finding, with its place and what it advises.

use super::FindingKind;
use crate::policy::Policy;
use crate::policy::findings::Content;

fn policy(text: &str) -> Policy {
    Policy::parse(text, "policy.yaml").unwrap_or_else(|error| panic!("{error}"))
}

fn findings(text: &str) -> Vec<String> {
    policy(text).findings().iter().map(ToString::to_string).collect()
}

/// One finding: how it begins, which is place and kind, and something that it says.
fn assert_one(text: &str, begins: &str, says: &[&str]) {
    let found = findings(text);
    let [one] = &found[..] else { panic!("one finding, not {found:#?}, in\n{text}") };
    assert!(one.starts_with(begins), "`{one}` does not begin with `{begins}`");
    for says in says {
        assert!(one.contains(says), "`{one}` does not say `{says}`");
    }
}

#[test]
fn a_policy_behind_another_is_shadowed() {
    let text = "version: 1
policies:
  - { name: all, repositories: ['ci/**', 'library/*'], tags: { other: { keep: { last: 3 } } } }
  - name: team
    repositories: ['ci/team/*', 'ci/app']
";
    assert_one(text, "5:5: shadowed: policy team never applies", &["policy all above it", "put it above"]);
    let apart = text.replace("'ci/app'", "'web/app'");
    assert_eq!(findings(&apart), Vec::<String>::new(), "one of its repositories is its own");
}

#[test]
fn a_class_behind_another_is_shadowed() {
    let text = "version: 1
classes: { release: { match: 'v*' }, major: { match: ['v1', 'v2.*'] } }
policies:
  - name: a
    repositories: 'app'
    tags:
      release: { keep: { last: 3 } }
      major: { keep: { last: 1 } }
";
    let begins =
        "8:7: shadowed: policy a: class major never matches: class release before it takes all of its tags";
    assert_one(text, begins, &["put it before release, or remove it"]);
    let other_way =
        text.replace("      release: { keep: { last: 3 } }\n", "") + "      release: { keep: { last: 3 } }\n";
    assert_eq!(findings(&other_way), Vec::<String>::new());
}

#[test]
fn other_behind_a_class_of_every_tag_is_shadowed() {
    let text = "version: 1
policies:
  - name: a
    repositories: 'app'
    preset: rubin
    tags: { weekly: { keep: { last: 2 } }, other: { keep: { last: 3 } } }
";
    let begins =
        "6:44: shadowed: policy a: class other never matches: class unknown before it takes every tag";
    assert_one(text, begins, &["remove it"]);
}

#[test]
fn a_class_that_no_policy_names_never_matches() {
    let text = "version: 1
classes:
  release: { match: 'v*' }
  nightly: { match: 'nightly-*' }
policies:
  - { name: a, repositories: 'app', tags: { release: { keep: { last: 3 } } } }
";
    assert_one(text, "4:3: never matches: no policy has a rule for class nightly", &["name it under `tags`"]);
}

#[test]
fn what_is_protected_and_given_a_rule_contradicts_itself() {
    let text = "version: 1
protect:
  repositories: ['golden/**']
policies:
  - name: a
    repositories: ['golden/base', 'golden/team/*']
    tags: { other: { keep: { last: 3 } } }
";
    let says = ["protect.repositories holds every repository", "remove one of the two"];
    assert_one(text, "6:5: contradictory: policy a: nothing goes", &says);
    for protected in ["protect: { tags: 'v*' }\nuploads", "uploads"] {
        let own = if protected == "uploads" { "protect: { tags: ['x', 'v*'] }" } else { "clock: tagged" };
        let text = format!(
            "version: 1
{protected}: {{}}
classes: {{ release: {{ match: ['v1*', 'v2'] }} }}
policies:
  - name: a
    repositories: 'app'
    {own}
    tags: {{ release: {{ keep: {{ last: 3 }} }} }}
"
        );
        let line = text.lines().position(|line| line.contains("tags: { release")).unwrap() + 1;
        let begins = format!("{line}:13: contradictory: policy a: class release never goes, as ");
        assert_one(&text, &begins, &["v*", "is protected; remove the protection, or the rule"]);
        // Without a rule that takes something there is nothing to contradict.
        assert_eq!(findings(&text.replace("{ last: 3 }", "all")), Vec::<String>::new());
    }
}

#[test]
fn bounds_under_which_nothing_goes_contradict_the_rules() {
    let text = |limits: &str| {
        format!(
            "version: 1
classes: {{ release: {{ match: 'v*' }} }}
policies:
  - name: a
    repositories: 'app'
    tags: {{ release: {{ keep: {{ last: 3 }} }}, other: {{ keep: {{ last: 4 }} }} }}
    limits: {{ {limits} }}
"
        )
    };
    let begins = "7:15: contradictory: policy a: `max_delete: 0` lets nothing go";
    assert_one(&text("max_delete: 0"), begins, &["write how many may go in one run"]);
    let begins = "7:15: contradictory: policy a: its rules keep 7 tags at most, and `min_keep: 8` keeps more";
    assert_one(&text("min_keep: 8"), begins, &["lower it, or raise `last`"]);
    assert_eq!(findings(&text("min_keep: 7, max_delete: 1")), Vec::<String>::new());
    // How many tags are young is not to be said.
    let young = text("min_keep: 8").replace("{ last: 4 }", "{ within: 4d }");
    assert_eq!(findings(&young), Vec::<String>::new());
}

#[test]
fn an_age_below_the_grace_contradicts_it() {
    let text = "version: 1
grace: 2d
policies:
  - name: a
    repositories: 'app'
    tags:
      other: { keep: { last: 3, within: 1d } }
    untagged: { keep: { within: 2d } }
";
    let begins = "7:33: contradictory: policy a: `within: 1d` is shorter than the grace, and nothing younger than 2d goes";
    assert_one(text, begins, &["write a longer one, or lower `grace`"]);
    let untagged = text.replace("within: 1d", "within: 3d").replace("within: 2d", "within: 12h");
    assert_one(&untagged, "8:25: contradictory: policy a: `within: 12h`", &["lower `grace`"]);
}

#[test]
fn taking_what_nobody_thought_of_is_dangerous() {
    let text = "version: 1
classes: { release: { match: 'v*' }, any: { match: '*' } }
policies:
  - name: a
    repositories: '**'
    tags:
      release: { keep: all }
      any: { keep: none }
";
    let begins =
        "8:7: dangerous: policy a: `keep: none` for class any takes every tag that nobody thought of";
    assert_one(text, begins, &["keep some by `last` or `within`, or name the repositories"]);
    let other = text.replace(", any: { match: '*' }", "").replace("any:", "other:");
    assert_one(&other, "8:7: dangerous: policy a: `keep: none` for class other", &[]);
    assert_eq!(findings(&text.replace("'**'", "'ci/**'")), Vec::<String>::new());
}

#[test]
fn times_and_limits_that_take_safety_away_are_dangerous() {
    for (line, begins, says) in [
        ("grace: 59min", "2:1: dangerous: `grace: 59min`: a push that takes longer loses", "such as 24h"),
        ("trash: { keep: 0 }", "2:10: dangerous: `trash.keep: 0` deletes at once", "write 7d"),
        (
            "limits: { tags: 100% }",
            "2:11: dangerous: `limits.tags: 100%` lets one plan take everything",
            "--accept",
        ),
        ("limits: { bytes: 100% }", "2:11: dangerous: `limits.bytes: 100%`", "--accept"),
        (
            "limits: { repository_may_empty: true }",
            "2:11: dangerous: `limits.repository_may_empty: true`",
            "say --accept repository_may_empty for the run",
        ),
        (
            "policies: [{ name: a, repositories: 'app', trash: { keep: 0 } }]",
            "2:53: dangerous: policy a: `trash.keep: 0` deletes at once",
            "nothing brings it back",
        ),
    ] {
        assert_one(&format!("version: 1\n{line}\n"), begins, &[says]);
    }
    let wise = "version: 1\ngrace: 1h\ntrash: { keep: 1s }\nlimits: { tags: 99%, bytes: 99% }\n";
    assert_eq!(findings(wise), Vec::<String>::new());
}

#[test]
fn several_findings_come_in_the_order_of_the_document() {
    let text = "version: 1
policies:
- { name: a, repositories: '**', tags: { other: { keep: none } } }
- { name: b, repositories: 'ci/**' }
trash: { keep: 0 }
";
    let found: Vec<(u64, FindingKind)> =
        policy(text).findings().iter().map(|finding| (finding.line, finding.kind)).collect();
    assert_eq!(found, [(3, FindingKind::Dangerous), (4, FindingKind::Shadowed), (5, FindingKind::Dangerous)]);
}

const STORE_POLICY: &str = "version: 1
protect:
  tags: ['latest', 'stable']
  repositories: ['golden/**']
classes: { release: { match: 'v*' }, nightly: { match: 'nightly-*' } }
policies:
  - name: web
    repositories: ['web/**']
    protect: { tags: ['v1', 'v9'] }
    tags:
      release: { keep: { last: 3 } }
      nightly: { keep: { last: 3 } }
  - name: ci
    repositories: ['ci/**']
    tags: { other: { keep: { last: 3 } } }
  - { name: rest, repositories: '**' }
";

fn store() -> Vec<Content<'static>> {
    vec![
        ("web/app", vec!["v1", "v2", "main", "latest"]),
        ("web/site", vec!["v3"]),
        ("library/tool", vec!["nightly-1", "v1"]),
    ]
}

#[test]
fn what_matches_nothing_in_a_store_is_named_with_its_place() {
    let found = policy(STORE_POLICY).findings_on(&store());
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "3:3: never matches: `stable` of protect.tags matches no tag of this store",
            "4:3: never matches: `golden/**` of protect.repositories matches no repository of this store",
            "9:16: never matches: policy web: `v9` of protect.tags matches no tag",
            "12:7: never matches: policy web: no tag of the repositories that it governs falls into class nightly",
            "14:5: never matches: policy ci governs no repository of this store",
        ]
    );
}

#[test]
fn no_place_is_named_twice() {
    let text = "version: 1
protect: { tags: ['stable', 'golden', 'v1'] }
classes: { all: { match: ['*'] }, nightly: { match: 'nightly-*' }, lost: { match: 'x' } }
policies:
  - name: web
    repositories: ['web/**']
    tags:
      all: { keep: { last: 3 } }
      nightly: { keep: { last: 3 } }
  - name: again
    repositories: ['web/app']
    tags: { other: { keep: { last: 3 } } }
";
    let policy = policy(text);
    let mut found = policy.findings();
    let alone = found.len();
    found.extend(policy.findings_on(&store()));
    let places: Vec<(u64, u64)> = found.iter().map(|one| (one.line, one.column)).collect();
    let distinct: std::collections::BTreeSet<_> = places.iter().collect();
    assert_eq!(distinct.len(), places.len(), "{found:#?}");
    assert_eq!(alone, 3, "{found:#?}");
    let on_store: Vec<String> = found[alone..].iter().map(ToString::to_string).collect();
    assert_eq!(
        on_store,
        ["2:12: never matches: `stable`, `golden` of protect.tags match no tag of this store"]
    );
}

#[test]
fn coverage_sorts_each_tag_once_and_protected_ones_nowhere() {
    let covered = policy(STORE_POLICY).coverage(&store());
    let covered: Vec<String> = covered
        .iter()
        .map(|one| {
            let classes: Vec<String> =
                one.classes.iter().map(|(class, tags)| format!("{class} {tags}")).collect();
            format!("{} in {}: {}", one.policy, one.repositories, classes.join(", "))
        })
        .collect();
    assert_eq!(
        covered,
        ["web in 2: release 2, nightly 0, other 1", "ci in 0: other 0", "rest in 1: other 2"]
    );
}
