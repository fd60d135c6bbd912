//! What went wrong in other tools, each a test that it does not go wrong here. The names say what broke.

use super::*;

const DAY: i64 = 24 * 3600;

fn now() -> Timestamp {
    "2026-01-31T12:00:00Z".parse().unwrap()
}

fn ago(days: i64) -> Option<Timestamp> {
    now().checked_sub(SignedDuration::from_secs(days * DAY)).ok()
}

fn tag(name: &str, days: i64) -> TagFacts<'_> {
    TagFacts { name, tagged: ago(days), pushed: ago(days), ..TagFacts::default() }
}

fn refused(text: &str) -> String {
    Policy::parse(&format!("version: 1\n{text}"), "policy.yaml").expect_err("it is refused").to_string()
}

/// A policy over every repository with these classes, rules and more.
fn policy(classes: &str, tags: &str, rest: &str) -> Policy {
    let text = format!(
        "version: 1\nclasses: {{ {classes} }}\npolicies: [{{ name: p, repositories: '**', tags: {{ {tags} }}, {rest} }}]\n"
    );
    Policy::parse(&text, "policy.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn gone<'t>(policy: &Policy, tags: &[TagFacts<'t>]) -> Vec<&'t str> {
    let decisions = policy.decide_tags("app", tags, now());
    tags.iter()
        .zip(&decisions)
        .filter(|(_, decision)| decision.is_expired())
        .map(|(tag, _)| tag.name)
        .collect()
}

// zot: the first keepTags entry turns "keep everything" into "delete what no entry matches".
#[test]
fn a_first_rule_does_not_take_what_it_does_not_match() {
    let policy = policy("release: { match: 'v*' }", "release: { keep: { last: 1 } }", "");
    assert_eq!(gone(&policy, &[tag("v1", 900), tag("v2", 800), tag("main", 900)]), ["v1"]);
}

// zot: an expression is not anchored, so `v2.*` takes rev2 as well.
#[test]
fn v2_does_not_match_rev2() {
    for pattern in ["v2*", "re:v2.*"] {
        let policy = policy(&format!("two: {{ match: '{pattern}' }}"), "two: { keep: none }", "");
        assert_eq!(gone(&policy, &[tag("v2.1", 9), tag("rev2", 9), tag("rev2.1", 9)]), ["v2.1"], "{pattern}");
    }
}

// zot: a count of 0 means "no such rule", which keeps everything; rsp-reaper: -1 is "never", 0 is "all".
#[test]
fn a_count_of_zero_is_no_hidden_word_for_something_else() {
    for count in ["0", "-1"] {
        let error = refused(&format!(
            "policies: [{{ name: p, repositories: '**', tags: {{ other: {{ keep: {{ last: {count} }} }} }} }}]"
        ));
        assert!(error.starts_with("policy.yaml:2:"), "{error}");
    }
}

// tiiuae/ghaf-infra #1021: a count was shared by all patterns of an entry.
#[test]
fn a_count_is_one_for_each_class() {
    let classes = "a: { match: 'a-*' }, b: { match: 'b-*' }";
    let policy = policy(classes, "a: { keep: { last: 1 } }, b: { keep: { last: 1 } }", "");
    assert_eq!(
        gone(&policy, &[tag("a-1", 9), tag("a-2", 2), tag("b-1", 90), tag("b-2", 80)]),
        ["a-1", "b-1"]
    );
}

// Harbor #16157: one kept tag of a digest keeps a thousand others.
#[test]
fn a_tag_that_stays_keeps_no_other_tag_of_its_image() {
    let policy =
        policy("release: { match: 'v*' }", "release: { keep: all }, other: { keep: { within: 7d } }", "");
    assert_eq!(
        gone(&policy, &[tag("v1", 90), tag("build-1", 90), tag("build-2", 90)]),
        ["build-1", "build-2"]
    );
}

// Harbor: an error in the matcher of an immutability rule makes the tag mutable.
#[test]
fn a_protection_that_does_not_compile_protects_nothing_silently_never() {
    assert!(refused("protect: { tags: ['re:(prod'] }").contains("is not a regular expression"));
    assert!(refused("protect: { tags: ['[prod'] }").contains("is not a glob"));
}

// Harbor #10295, #18479: a rule by pulls takes a fresh image that nobody has pulled yet.
#[test]
fn an_image_that_nobody_pulled_counts_from_its_push() {
    let counts = |pushed, last| {
        let age = by_clock(Clock::Pulled, pushed, Pulled { last, unrecorded: None }, Created::Unstated);
        age.map(|age| age.time)
    };
    assert_eq!(counts(ago(1), None), ago(1));
    assert_eq!(counts(ago(1), ago(40)), ago(1), "pushed anew after its last pull");
    assert_eq!(counts(ago(40), ago(1)), ago(1));
}

// Quay: policies by age run before those by number, whatever their order.
#[test]
fn the_order_of_keeps_means_nothing() {
    let tags = [tag("a", 1), tag("b", 20), tag("c", 40), tag("d", 60)];
    for keep in ["{ last: 2, within: 30d }", "{ within: 30d, last: 2 }"] {
        assert_eq!(gone(&policy("", &format!("other: {{ keep: {keep} }}"), ""), &tags), ["c", "d"], "{keep}");
    }
}

// aws-cdk #28885: ECR cannot join a count and an age.
#[test]
fn a_count_and_an_age_join_both_ways() {
    let tags = [tag("a", 1), tag("b", 40), tag("c", 50)];
    let or = policy("", "other: { keep: { last: 2, within: 45d } }", "");
    let and = policy("", "other: { keep: { all: { last: 2, within: 30d } } }", "");
    assert_eq!(gone(&or, &tags), ["c"]);
    assert_eq!(gone(&and, &tags), ["b", "c"]);
}

// aws/containers-roadmap #2746: giving an old image a new tag is no touch in ECR.
#[test]
fn moving_a_tag_on_to_an_old_image_is_a_touch() {
    let policy = policy("", "other: { keep: { within: 7d } }", "");
    let moved = TagFacts { name: "stable", tagged: ago(2), pushed: ago(400), ..TagFacts::default() };
    assert!(gone(&policy, &[moved]).is_empty());
}

// gcr-cleaner: images that are built reproducibly are all of 1980, so that age takes them all.
#[test]
fn reproducible_builds_of_1980_count_from_their_push() {
    let policy = policy("", "other: { keep: { within: 30d } }", "clock: created");
    let of_1980 = Created::At("1980-01-01T00:00:01Z".parse().unwrap());
    let image = |name, days| TagFacts { created: of_1980, ..tag(name, days) };
    assert_eq!(gone(&policy, &[image("new", 2), image("old", 40)]), ["old"]);
}

// gcr-cleaner #89, #138: the newest went instead of the oldest.
#[test]
fn the_oldest_go_and_the_newest_stays() {
    for keep in ["{ last: 1 }", "{ daily: 1 }", "{ yearly: 1 }", "{ all: { last: 3, weekly: 1 } }"] {
        let policy = policy("", &format!("other: {{ keep: {keep} }}"), "");
        let tags = [tag("oldest", 30), tag("newest", 2), tag("middle", 20)];
        assert!(!gone(&policy, &tags).contains(&"newest"), "{keep}");
    }
}

// gitlab #325429: a policy that was left empty wiped all images.
#[test]
fn a_policy_without_rules_takes_nothing() {
    let bare = policy("", "", "");
    assert!(gone(&bare, &[tag("a", 900), tag("b", 900)]).is_empty());
    let untagged = UntaggedFacts { pushed: ago(900), ..UntaggedFacts::default() };
    assert!(!bare.decide_untagged("app", &[untagged], now())[0].is_expired());
}

// restic refuses an empty policy for this reason: it would forget everything.
#[test]
fn an_empty_keep_is_refused() {
    let error = refused("policies: [{ name: p, repositories: '**', tags: { other: { keep: {} } } }]");
    assert!(error.contains("`keep` is empty"), "{error}");
}

// Quay means a month by `1m`, Go a minute.
#[test]
fn a_bare_m_is_asked_about() {
    let error = refused("grace: 1m");
    assert!(error.contains("write 1min (minutes) or 1mo (months)"), "{error}");
}

// rsp-reaper: the report of a plan that takes nothing crashes.
#[test]
fn nothing_to_decide_is_nothing_decided() {
    let policy = policy("", "other: { keep: { last: 1, weekly: 2 } }", "untagged: { keep: { last: 1 } }");
    assert!(policy.decide_tags("app", &[], now()).is_empty());
    assert!(policy.decide_untagged("app", &[], now()).is_empty());
}

// Kayron's promise, which a run by itself cannot keep: never below K, at most D at a time, and all of it in the end.
#[test]
fn at_most_so_many_go_at_a_time_never_below_the_least_until_it_is_done() {
    let policy = policy("", "other: { keep: { within: 7d } }", "limits: { min_keep: 10, max_delete: 5 }");
    let names: Vec<String> = (0..23).map(|number| format!("t{number:02}")).collect();
    let mut left: Vec<TagFacts<'_>> = names.iter().zip(10..).map(|(name, days)| tag(name, days)).collect();
    let mut runs = Vec::new();
    loop {
        let going = gone(&policy, &left);
        if going.is_empty() {
            break;
        }
        runs.push(going.len());
        left.retain(|tag| !going.contains(&tag.name));
    }
    assert_eq!(runs, [5, 5, 3]);
    let newest: Vec<&str> = names[..10].iter().map(String::as_str).collect();
    assert_eq!(left.iter().map(|tag| tag.name).collect::<Vec<_>>(), newest);
}

// A clock that runs ahead: what is from the future has no age, and takes nobody's place.
#[test]
fn what_is_from_the_future_stays_and_pushes_nothing_out() {
    let policy = policy("", "other: { keep: { last: 1 } }", "");
    assert_eq!(gone(&policy, &[tag("ahead", -3), tag("a", 5), tag("b", 9)]), ["b"]);
}
