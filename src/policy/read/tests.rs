//! Documents that are read, and what is said of those that are not.

use crate::config::values::Period;
use crate::policy::{EmptyRepositories, Policy, presets};

/// The documents of `testdata/policies`.
const EXAMPLES: [(&str, &str); 4] = [
    ("full.yaml", include_str!("../../../testdata/policies/full.yaml")),
    ("minimal.yaml", include_str!("../../../testdata/policies/minimal.yaml")),
    ("untagged-only.yaml", include_str!("../../../testdata/policies/untagged-only.yaml")),
    ("pull-requests.yaml", include_str!("../../../testdata/policies/pull-requests.yaml")),
];

fn refused(text: &str) -> String {
    Policy::parse(text, "policy.yaml").expect_err("the document is refused").to_string()
}

#[test]
fn the_examples_are_read_without_warnings() {
    for (name, text) in EXAMPLES {
        let policy = Policy::parse(text, name).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(policy.source(), text);
        assert_eq!(policy.findings(), [], "{name}");
    }
}

#[test]
fn the_presets_are_documents_of_their_own() {
    for name in presets::names() {
        let text = presets::text(name).unwrap();
        Policy::parse(text, name).unwrap_or_else(|error| panic!("{error}"));
        assert!(!presets::named(name).unwrap().classes.is_empty(), "{name}");
    }
    assert_eq!(presets::text("cobol"), None);
}

#[test]
fn every_key_arrives_where_it_belongs() {
    let policy = Policy::parse(EXAMPLES[0].1, "full.yaml").unwrap();
    assert_eq!(policy.for_repository("ci/app").map(|it| &*it.name), Some("ci"));
    assert_eq!(policy.for_repository("ci/base").map(|it| &*it.name), Some("everything-else"));
    assert_eq!(policy.trash_keep(), Period::from_days(14), "the longest that is written");
    assert_eq!(policy.empty_repositories(), EmptyRepositories::Remove);
    assert_eq!(policy.grace(), Period::from_hours(24));
    let lab = policy.for_repository("lsst-sqre/sciplat-lab").unwrap();
    let classes: Vec<&str> = lab.classes.iter().map(|rule| &*rule.class.name).collect();
    assert_eq!(classes, ["release-candidate", "release", "weekly", "daily", "experimental", "unknown"]);
}

#[test]
fn an_empty_document_has_the_defaults() {
    let policy = Policy::parse("version: 1\ngrace: null\n", "policy.yaml").unwrap();
    assert_eq!(policy.grace(), Period::from_hours(24));
    assert_eq!(policy.trash_keep(), Period::from_days(7));
    assert_eq!(policy.referrers_orphaned_after(), Period::from_days(7));
    assert_eq!(policy.uploads_abandoned_after(), Period::from_days(7));
    assert_eq!(policy.empty_repositories(), EmptyRepositories::Keep);
    assert_eq!(policy.limits().tags.percent(), 25);
    assert_eq!(policy.limits().bytes.percent(), 50);
    assert!(!policy.limits().repository_may_empty);
    let zero = Policy::parse("version: 1\ngrace: 0\ntrash: { keep: 0 }\n", "policy.yaml").unwrap();
    assert!(zero.grace().is_zero() && zero.trash_keep().is_zero());
}

#[test]
fn the_hash_is_that_of_the_bytes() {
    let policy = Policy::parse("version: 1\n", "policy.yaml").unwrap();
    assert_eq!(policy.hash(), "09bfcc6a14b83e2192b8673677725c84883ee9cd0c70e45c9ec09daa8f2b2847");
}

#[test]
fn a_description_reads_as_sentences() {
    insta::assert_snapshot!(Policy::parse(EXAMPLES[0].1, "full.yaml").unwrap().describe(), @r#"
    Nothing goes in the repositories golden/**.
    The tags latest, stable, re:prod-.* never go.
    Policy ci: repositories ci/**, !ci/base; a tag's age counts from when its manifest was pushed.
      The tags demo-* never go.
      Class pr (pr-*, mr-*): a tag stays that is no older than 14d.
      Class commit (re:[0-9a-f]{7,40}): a tag stays that is among the newest 20 or no older than 30d.
      Any other tag: all stay.
      Untagged manifests: a manifest stays that is no older than 2d.
      At least 10 tags stay in each repository.
      At most 500 tags go from each repository in one run.
    Policy science-lab: repositories lsst-sqre/sciplat-lab that no policy above matches; a tag's age counts from when its tag was last written.
      Classes come from the preset rubin.
      The tags recommended, re:recommended_c[0-9]+, latest* never go.
      Class release-candidate: a tag stays that is among the newest 5.
      Class release: a tag stays that is no older than 1096d.
      Class weekly: a tag stays that is among the newest 78.
      Class daily: a tag stays that is among the newest 25.
      Class experimental: a tag stays that is no older than 30d.
      Class unknown: a tag stays that is no older than 7d.
      Any other tag: all stay, as there is no rule.
      Untagged manifests: a manifest stays that is among the newest 4.
    Policy everything-else: repositories ** that no policy above matches; a tag's age counts from when its tag was last written.
      Class release (v*, ordered by version): a tag stays that is among the newest 1 patches of the newest 2 minors of the newest 3 majors.
      Class nightly (nightly-*): a tag stays that is among the newest 7 or the newest of its week in the latest 8 weeks that have one or the newest of its month in the latest 12 months that have one.
      Any other tag: a tag stays that is among the newest 100 or among the newest 500 and also no older than 90d.
      Untagged manifests: all stay, as there is no rule.
    Referrers go 7d after their subject.
    Uploads go when they have stood still for 7d.
    Empty repositories go.
    Nothing younger than 1d goes.
    The trash keeps what went for 14d, the longest that is written.
    A plan is refused that takes more than 25% of the tags or 50% of the bytes, or the last tag of a repository.
    "#);
}

#[test]
fn misspelt_keys_are_named_all_at_once() {
    let text = r#"
version: 1
policys: []
policies:
  - name: a
    repositorys: ["**"]
    tags:
      other: { keep: { latest: 3 } }
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @r#"
    policy.yaml:2:1: unknown key "policys" (did you mean "policies"?)
    policy.yaml:4:5: the policy has no `repositories`: list the patterns of those it governs
    policy.yaml:5:5: unknown key "repositorys" (did you mean "repositories"?)
    policy.yaml:7:24: unknown key "latest" (did you mean "last"?)
    "#);
}

#[test]
fn durations_and_sizes_say_their_units() {
    let text = "
version: 1
grace: 1m
trash: { keep: 30 }
uploads: { abandoned_after: -1d }
limits: { tags: 25, bytes: 120% }
";
    insta::assert_snapshot!(refused(text.trim_start()), @"
    policy.yaml:2:8: `grace`: `1m` could mean two things: write 1min (minutes) or 1mo (months)
    policy.yaml:3:16: `trash.keep`: `30` has no unit: write 30s, 30min, 30h or 30d
    policy.yaml:4:29: `uploads.abandoned_after`: `-1d` is negative; a duration counts from zero up
    policy.yaml:5:17: `tags`: `25` has no unit: write 25%
    policy.yaml:5:28: `bytes`: `120%` is too large: the most is 100%
    ");
}

#[test]
fn a_bracket_left_open_has_its_place() {
    let text = r#"
version: 1
protect:
  tags: ["latest", "stable"
policies: []
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @"policy.yaml:3:9: this `[` is not closed: write `]` behind its last entry");
}

#[test]
fn a_brace_a_quote_and_an_indentation_have_their_places_too() {
    for (text, says) in [
        (
            "version: 1\nclasses: { pr: { match: [\"pr-*\"] }\npolicies: []\n",
            "policy.yaml:2:10: this `{` is not closed: write `}` behind its last entry",
        ),
        (
            "version: 1\nclasses: { pr: { match: [\"pr-*\" } }\npolicies: []\n",
            "policy.yaml:2:25: this `[` is not closed: write `]` behind its last entry",
        ),
        (
            "version: 1\nprotect: { tags: [\"latest, stable] }\npolicies: []\n",
            "policy.yaml:2:19: this quote is not closed: write \" at the end of the text that it begins",
        ),
    ] {
        assert_eq!(refused(text), says, "{text}");
    }
    let text = "version: 1\npolicies:\n  - name: a\n   repositories: app\n";
    insta::assert_snapshot!(refused(text), @"policy.yaml:4:4: while parsing a block collection, did not find expected '-' indicator (is the indentation off?)");
}

#[test]
fn a_glob_bracket_left_open_has_its_place() {
    let text = r#"
version: 1
protect:
  tags: ["latest", "v[0-9", "re:(", "ci**", 1.10, "!"]
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @"
    policy.yaml:3:20: `v[0-9` is not a glob: a `[` has no `]`
    policy.yaml:3:29: `re:(` is not a regular expression: unclosed group
    policy.yaml:3:37: `ci**`: `**` stands alone between slashes, as in `ci/**` or `**/base`; within a name write `*`
    policy.yaml:3:45: a pattern is a text, and YAML reads this as a number: put it in quotes
    policy.yaml:3:51: an empty pattern matches nothing: remove it
    ");
}

#[test]
fn a_class_needs_a_keep() {
    let text = r#"
version: 1
classes: { pr: { match: "pr-*" }, mr: { match: "mr-*" } }
policies:
  - name: a
    repositories: ["**"]
    tags:
      pr: {}
      mr:
      other: { keep: null }
    untagged: { keep: {} }
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @"
    policy.yaml:7:11: class pr has no `keep`: write what stays, or `keep: none` if nothing does
    policy.yaml:8:9: class mr has no `keep`: write what stays, or `keep: none` if nothing does
    policy.yaml:9:14: class other has no `keep`: write what stays, or `keep: none` if nothing does
    policy.yaml:10:23: `keep` is empty: write what stays, or `keep: none` if nothing does
    ");
}

#[test]
fn keeps_that_keep_nothing_are_refused() {
    let text = r#"
version: 1
policies:
  - { name: a, repositories: "**", tags: { other: { keep: { last: 0 } } } }
  - { name: b, repositories: "**", tags: { other: { keep: { within: 0 } } } }
  - { name: c, repositories: "**", tags: { other: { keep: { last: null } } } }
  - { name: d, repositories: "**", tags: { other: { keep: nothing } } }
  - { name: e, repositories: "**", tags: { other: { keep: [] } } }
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @r#"
    policy.yaml:3:67: `last: 0` keeps nothing: write `keep: none` if that is meant
    policy.yaml:4:69: `within: 0` keeps nothing: write `keep: none` if that is meant
    policy.yaml:5:59: `keep` is empty: write what stays, or `keep: none` if nothing does
    policy.yaml:6:59: `keep`: "nothing" is none of `all`, `none` or rules such as `{ last: 10, within: 30d }`
    policy.yaml:7:59: `keep` is `all`, `none` or rules such as `{ last: 10, within: 30d }`, not a list
    "#);
}

#[test]
fn negative_values_are_refused() {
    let text = r#"
version: 1
policies:
  - name: a
    repositories: "**"
    tags: { other: { keep: { last: -3, within: -3d } } }
    limits: { min_keep: -1, max_delete: 1.5 }
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @"
    policy.yaml:5:36: `last`: -3 is negative; it counts from zero up
    policy.yaml:5:48: `within`: `-3d` is negative; a duration counts from zero up
    policy.yaml:6:25: `min_keep`: -1 is negative; it counts from zero up
    policy.yaml:6:41: `max_delete`: 1.5 is not a whole number
    ");
}

#[test]
fn unknown_classes_list_the_known_ones() {
    let text = r#"
version: 1
classes: { pr: { match: "pr-*" } }
policies:
  - { name: a, repositories: "**", tags: { prs: { keep: all } } }
  - { name: b, repositories: "**", preset: semver, tags: { weekly: { keep: all } } }
  - { name: c, repositories: "**", preset: rubyn }
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @r#"
    policy.yaml:4:44: unknown class "prs" (did you mean "pr"?); the classes are: pr, other
    policy.yaml:5:60: unknown class "weekly"; the classes are: release, prerelease, series, pr, other
    policy.yaml:6:44: unknown preset "rubyn" (did you mean "rubin"?); the presets are: semver, calver, git-sha, rubin
    "#);
}

#[test]
fn sources_say_what_they_are_and_how_fresh() {
    let text = r#"
version: 1
protect:
  digests_from: [pins.txt, { file: more.txt, max_age: 30d, may_be_empty: true }, {}, 7, { command: x }]
  in_use:
    - { file: in-use.txt }
    - { file: in-use.txt, max_age: 0, timeout: 1min }
    - { command: "kubectl get pods -A -o 'jsonpath={..image}'", max_age: 1h }
    - { command: "a 'b" }
    - { command: "cat a | grep b", timeout: 2d }
    - { command: " " }
    - { file: a, command: b }
    - {}
pulls:
  max_gap: 1min
  ignore: { user_agents: "*", users: [7, ""], addresses: [10.0.0.0/40, 0.0.0.0/0], hosts: [a] }
policies:
  - { name: a, repositories: "**", clock: pulled, protect: { digests_from: own.txt } }
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @r#"
    policy.yaml:3:82: the entry of `digests_from` has no `file`: write the path of one
    policy.yaml:3:86: a path in `digests_from` is a text, and YAML reads this as a number: put it in quotes
    policy.yaml:3:89: the entry of `digests_from` has no `file`: write the path of one
    policy.yaml:3:91: unknown key "command"
    policy.yaml:5:7: the file has no `max_age`: say how old it may be, such as `max_age: 2h`, since what runs changes all the time
    policy.yaml:6:36: `max_age: 0` makes every file too old: leave it out, or write a time
    policy.yaml:6:48: `timeout` is for commands; a file has a `max_age`
    policy.yaml:7:74: `max_age` is for files; a command is run each time
    policy.yaml:8:18: `command`: a quote is not closed
    policy.yaml:9:18: `command` is run without a shell, so `|` would be a word like others: write a script, or sh -c '…'
    policy.yaml:9:45: `timeout` is more than 0 and at most 1h
    policy.yaml:10:18: `command` names no program
    policy.yaml:11:7: an entry of `in_use` has either a `file` or a `command`
    policy.yaml:12:7: an entry of `in_use` has either a `file` or a `command`
    policy.yaml:14:12: `max_gap` is at least 1h: a registry that nobody asks has nothing to tell
    policy.yaml:15:26: `user_agents`: `*` ignores everybody, so nothing would ever count as pulled: name who does not count
    policy.yaml:15:39: an entry of `users` is a text, and YAML reads this as a number: put it in quotes
    policy.yaml:15:42: an entry of `users` is empty
    policy.yaml:15:59: `addresses`: `10.0.0.0/40` is neither an address nor a range such as 10.0.0.0/8 or fd00::/8
    policy.yaml:15:72: `addresses`: `0.0.0.0/0` ignores everybody, so nothing would ever count as pulled: name who does not count
    policy.yaml:15:84: unknown key "hosts"
    policy.yaml:17:76: `digests_from` is written as a list, not as text
    "#);
}

#[test]
fn sources_are_read() {
    let text = "version: 1
protect:
  digests_from: [pins.txt, { file: more.txt, max_age: 30d, may_be_empty: true }]
  in_use:
    - { file: /run/in-use.txt, max_age: 2h }
    - { command: \"kubectl get pods -A -o 'jsonpath={..image}'\", timeout: 2min }
pulls: { max_gap: 7d, ignore: { user_agents: [\"Trivy*\"], users: mirror, addresses: 10.0.0.0/8 } }
policies:
  - { name: a, repositories: \"**\", clock: pulled, protect: { digests_from: [own.txt] } }
";
    let policy = Policy::parse(text, "policy.yaml").unwrap_or_else(|error| panic!("{error}"));
    assert!(policy.goes_by_pulls());
    assert_eq!(policy.pulls().max_gap, Period::from_days(7));
    let puller = crate::policy::Puller { user: Some("mirror"), ..crate::policy::Puller::default() };
    assert!(policy.pulls().ignored.covers(&puller));
    let said: Vec<String> = policy.sources().iter().map(|source| format!("{source} {source:?}")).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
    the file pins.txt Source { what: File { path: "pins.txt", max_age: None }, may_be_empty: false }
    the file more.txt Source { what: File { path: "more.txt", max_age: Some(Period(2592000s)) }, may_be_empty: true }
    the file /run/in-use.txt Source { what: File { path: "/run/in-use.txt", max_age: Some(Period(7200s)) }, may_be_empty: false }
    the command `kubectl get pods -A -o 'jsonpath={..image}'` Source { what: Command { text: "kubectl get pods -A -o 'jsonpath={..image}'", words: ["kubectl", "get", "pods", "-A", "-o", "jsonpath={..image}"], timeout: Period(120s) }, may_be_empty: false }
    the file own.txt Source { what: File { path: "own.txt", max_age: None }, may_be_empty: false }
    "#);
    let described = policy.describe();
    for sentence in [
        "No image goes that the file more.txt names, and none at all when it cannot be read or is older than 30d.",
        "No image goes that the file pins.txt names, and none at all when it cannot be read, or when it names none.",
        "jsonpath={..image}'` names, and none at all when it fails or takes longer than 2min, or when it names none.",
        "or before 7d of which no record tells, counts as pulled then.",
    ] {
        assert!(described.contains(sentence), "no {sentence:?} in:\n{described}");
    }
}

#[test]
fn counts_stand_where_they_can_be_counted() {
    let text = r#"
version: 1
classes: { v: { match: "v*", order_by: semver } }
policies:
  - name: a
    repositories: "**"
    tags:
      v: { keep: { last: { majors: 0, minor: 2 }, weekly: 0, hourly: 3 } }
      other: { keep: { last: { majors: 3 }, all: {} } }
    untagged: { keep: { last: {}, all: { all: { last: 3 }, monthly: -1 } } }
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @r#"
    policy.yaml:7:36: `majors: 0` keeps nothing: write `keep: none` if that is meant
    policy.yaml:7:39: unknown key "minor" (did you mean "minors"?)
    policy.yaml:7:59: `weekly: 0` keeps nothing: write `keep: none` if that is meant
    policy.yaml:7:62: unknown key "hourly"
    policy.yaml:8:30: `last` by majors, minors and patches needs a class with `order_by` semver, calver or captures; elsewhere write a number
    policy.yaml:8:50: `all` is empty: write what stays, or `keep: none` if nothing does
    policy.yaml:9:31: `last` by majors, minors and patches needs a class with `order_by` semver, calver or captures; elsewhere write a number
    policy.yaml:9:31: `last` is empty: write a number, or majors, minors and patches
    policy.yaml:9:42: unknown key "all"
    policy.yaml:9:69: `monthly`: -1 is negative; it counts from zero up
    "#);
}

#[test]
fn names_and_keys_stand_once() {
    let text = r#"
version: 1
grace: 1d
grace: 2d
policies:
  - { name: a, repositories: "**" }
  - { name: a, repositories: "x", name: b }
  - { name: a, repositories: ["!x"] }
  - { name: c, repositories: [] }
  - {}
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @r#"
    policy.yaml:3:1: duplicate key "grace": it stands in line 2 already
    policy.yaml:6:13: a policy named "a" stands above already
    policy.yaml:6:35: duplicate key "name": it stands in line 6 already
    policy.yaml:7:13: a policy named "a" stands above already
    policy.yaml:7:30: `repositories`: the list only says what does not match: add a pattern that does, such as "**", before the negated ones
    policy.yaml:8:30: `repositories`: the list of patterns is empty: name at least one, such as "**"
    policy.yaml:9:5: the policy has no `name`: decisions are reported under it
    policy.yaml:9:5: the policy has no `repositories`: list the patterns of those it governs
    "#);
}

#[test]
fn reserved_class_names_are_refused() {
    let text = r#"
version: 1
classes: { other: { match: "*" }, untagged: { match: "*" }, empty: {} }
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @r#"
    policy.yaml:2:12: a class cannot be named "other": the name is reserved
    policy.yaml:2:35: a class cannot be named "untagged": the name is reserved
    policy.yaml:2:61: class empty has no `match`: list the patterns of its tags
    "#);
}

#[test]
fn a_value_of_the_wrong_kind_says_so() {
    let text = r#"
version: "1"
protect: latest
policies: { name: a }
grace: [1d]
repositories: { empty: delete }
limits: { repository_may_empty: "yes" }
classes: []
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @r#"
    policy.yaml:1:10: `version`: "1" is not a whole number: write digits only, without quotes
    policy.yaml:2:10: `protect` is written as keys and values, not as text
    policy.yaml:3:11: `policies` is written as a list, not as keys and values
    policy.yaml:4:8: `grace` is a number with its unit, not a list
    policy.yaml:5:24: `empty`: "delete" is neither keep nor remove
    policy.yaml:6:33: `repository_may_empty` is true or false, not text
    policy.yaml:7:10: `classes` is written as keys and values, not as a list
    "#);
}

#[test]
fn another_version_is_refused() {
    let text = "
version: 2
";
    insta::assert_snapshot!(refused(text.trim_start()), @"policy.yaml:1:10: `version: 2` is unknown to this version of regsweep, which reads 1");
}

#[test]
fn a_document_begins_with_its_version() {
    let text = "
grace: 1d
";
    insta::assert_snapshot!(refused(text.trim_start()), @"policy.yaml:1:1: the document has no `version`: begin with `version: 1`");
}

#[test]
fn an_empty_document_is_no_policy() {
    let text = "
";
    insta::assert_snapshot!(refused(text.trim_start()), @"policy.yaml:1:1: the document is empty: begin with `version: 1`");
}

#[test]
fn an_unquoted_negation_is_refused() {
    let text = "
version: 1
policies:
  - { name: a, repositories: [ci/**, !ci/base] }
";
    insta::assert_snapshot!(refused(text.trim_start()), @"policy.yaml:3:46: unsupported tag `!ci/base`: put a pattern that begins with `!` in quotes");
}

#[test]
fn an_unquoted_star_is_refused() {
    let text = "
version: 1
protect:
  tags: [**]
";
    insta::assert_snapshot!(refused(text.trim_start()), @"policy.yaml:3:10: reference to unknown value: put a pattern that begins with `*` in quotes");
}

#[test]
fn two_documents_are_refused() {
    let text = "
version: 1
---
version: 1
";
    insta::assert_snapshot!(refused(text.trim_start()), @"policy.yaml:3:1: only single YAML document expected but multiple found");
}

#[test]
fn captures_are_groups_of_the_patterns_of_the_class() {
    let text = r#"
version: 1
classes:
  a: { match: "a*", order_by: [major] }
  b: { match: ["re:b([0-9]+)", "re:b-.*"], order_by: captures }
  c: { match: 're:c(?P<year>[0-9]+)', order_by: [yaer, 2, year, true, 0] }
  d: { match: 're:d(?P<year>[0-9]+)', order_by: [] }
  e: { match: 're:e([0-9]+)', order_by: capture }
  f: { match: ['re:f(?P<year>[0-9]+)-([0-9]+)', '!re:.*-1'], order_by: [2, year] }
policies:
  - name: p
    repositories: "**"
    tags: { f: { keep: { last: { majors: 1, patches: 3 } } } }
"#;
    insta::assert_snapshot!(refused(text.trim_start()), @r#"
    policy.yaml:3:31: `order_by` over captures: `a*` captures nothing; write it as a regular expression with parentheses, such as re:w_([0-9]+)_([0-9]+)
    policy.yaml:4:54: `order_by` over captures: `re:b-.*` captures nothing; write it as a regular expression with parentheses, such as re:w_([0-9]+)_([0-9]+)
    policy.yaml:5:50: no pattern of the class has the capture yaer: write a group for it, such as (?P<yaer>[0-9]+)
    policy.yaml:5:56: no pattern of the class has the capture 2: they are counted from 1
    policy.yaml:5:65: a capture is the name or the number of a group, not true or false
    policy.yaml:5:71: no pattern of the class has the capture 0: they are counted from 1
    policy.yaml:6:49: `order_by` is an empty list: name the captures that decide, the weightiest first
    policy.yaml:7:41: `order_by`: "capture" is none of clock, semver, calver, name and captures (did you mean "captures"?); a list such as [year, week] names captures
    policy.yaml:12:54: `patches` counts by the capture in place 3, and `order_by` of the class names only 2
    "#);
}

#[test]
fn the_schema_has_the_keys_that_are_read() {
    use super::{
        DOCUMENT, LIMITS, POLICY, POLICY_LIMITS, POLICY_PROTECT, PROTECT, REFERRERS, REPOSITORIES, TRASH,
        UPLOADS,
    };
    let schema = crate::policy::schema::schema();
    for (language, place) in [
        (&DOCUMENT, ""),
        (&PROTECT, "/$defs/protect"),
        (&POLICY, "/$defs/policy"),
        (&POLICY_PROTECT, "/$defs/policy/properties/protect/anyOf/0"),
        (&POLICY_LIMITS, "/$defs/policy/properties/limits/anyOf/0"),
        (&LIMITS, "/$defs/limits"),
        (&REFERRERS, "/properties/referrers/anyOf/0"),
        (&UPLOADS, "/properties/uploads/anyOf/0"),
        (&REPOSITORIES, "/properties/repositories/anyOf/0"),
        (&TRASH, "/properties/trash/anyOf/0"),
    ] {
        let keys = schema.pointer(&format!("{place}/properties")).and_then(serde_json::Value::as_object);
        let keys = keys.unwrap_or_else(|| panic!("the schema has nothing at {place}")).keys();
        let mut read: Vec<&str> = language.known.to_vec();
        read.sort_unstable();
        let mut written: Vec<&str> = keys.map(String::as_str).collect();
        written.sort_unstable();
        assert_eq!(written, read, "{}", language.of);
    }
}
