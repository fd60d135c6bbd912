//! Rules of the policy document that other tests do not have a row for.

use super::*;
use crate::policy::rules::CalendarUnit;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn now() -> Timestamp {
    "2026-03-15T12:00:00Z".parse().unwrap()
}

fn days_ago(days: i64) -> Option<Timestamp> {
    now().checked_sub(SignedDuration::from_secs(days * DAY)).ok()
}

fn parse(text: &str) -> Policy {
    Policy::parse(&format!("version: 1\n{text}"), "policy.yaml")
        .unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A policy over every repository.
fn governed(rules: &str) -> Policy {
    parse(&format!("policies: [{{ name: p, repositories: '**', {rules} }}]"))
}

fn said(policy: &Policy, tags: &[TagFacts<'_>]) -> Vec<String> {
    policy.decide_tags("app", tags, now()).iter().map(ToString::to_string).collect()
}

#[test]
fn ages_can_count_from_the_last_pull() {
    let tags = governed("clock: pulled, tags: { other: { keep: { within: 30d } } }");
    let untagged = governed("clock: pulled, untagged: { keep: { within: 30d } }");
    // How many days ago: pushed, last pulled, and until when nobody looked.
    for (pushed, last, unrecorded, says) in [
        (Some(90), Some(3), None, "3d old, keep within 30d"),
        (Some(90), Some(40), None, "40d old, keep within 30d missed by 10d"),
        (Some(90), None, None, "90d old, keep within 30d missed by 60d"),
        (Some(5), None, None, "5d old, keep within 30d"),
        (Some(5), Some(40), None, "5d old, keep within 30d"),
        (Some(90), None, Some(10), "10d old, keep within 30d"),
        (Some(90), Some(50), Some(10), "10d old, keep within 30d"),
        (Some(90), Some(35), Some(60), "35d old, keep within 30d missed by 5d"),
        (None, Some(40), None, "its time is unknown, kept"),
        (Some(90), Some(-2), None, "its time lies 2d in the future, kept"),
    ] {
        let ago = |days: Option<i64>| days.and_then(days_ago);
        let pulled = Pulled { last: ago(last), unrecorded: ago(unrecorded) };
        let what = format!("{pushed:?} {last:?} {unrecorded:?}");
        let tag =
            TagFacts { name: "a", tagged: days_ago(90), pushed: ago(pushed), pulled, ..TagFacts::default() };
        assert_eq!(said(&tags, &[tag]), [format!("policy p, class other: {says}")], "{what}");
        let manifest = UntaggedFacts { pushed: ago(pushed), pulled, ..UntaggedFacts::default() };
        let decision = untagged.decide_untagged("app", &[manifest], now()).remove(0);
        assert_eq!(decision.to_string(), format!("policy p, untagged: {says}"), "{what}");
    }
}

#[test]
fn pulls_order_a_class_by_its_clock() {
    let policy = governed("clock: pulled, tags: { other: { keep: { last: 1 } } }");
    let tag = |name, pushed, pulled| TagFacts {
        name,
        tagged: days_ago(pushed),
        pushed: days_ago(pushed),
        pulled: Pulled { last: days_ago(pulled), unrecorded: None },
        ..TagFacts::default()
    };
    let tags = [tag("young-and-idle", 5, 200), tag("old-and-used", 200, 2)];
    let gone: Vec<bool> = policy.decide_tags("app", &tags, now()).iter().map(Decision::is_expired).collect();
    assert_eq!(gone, [true, false]);
}

#[test]
fn without_a_tag_a_push_stands_in_for_the_time_of_the_tag() {
    let policy = governed("untagged: { keep: { within: 7d } }");
    let facts = |days| UntaggedFacts { pushed: days_ago(days), ..UntaggedFacts::default() };
    let decisions = policy.decide_untagged("app", &[facts(6), facts(9)], now());
    let gone: Vec<bool> = decisions.iter().map(Decision::is_expired).collect();
    assert_eq!(gone, [false, true]);
}

#[test]
fn each_unit_of_the_calendar_keeps_the_newest_of_its_spans() {
    // Two of each span, the newer first.
    for (unit, times, kept) in [
        (
            CalendarUnit::Daily,
            ["2026-03-13T20:00", "2026-03-13T08:00", "2026-03-11T09:00", "2026-03-10T09:00"],
            [true, false, true, false],
        ),
        (
            // The first two are of the week that begins on 2 March, and nothing is of the one before.
            CalendarUnit::Weekly,
            ["2026-03-08T20:00", "2026-03-02T00:00", "2026-02-22T09:00", "2026-02-15T09:00"],
            [true, false, true, false],
        ),
        (
            CalendarUnit::Monthly,
            ["2026-02-28T20:00", "2026-02-01T00:00", "2025-12-31T23:00", "2025-11-30T09:00"],
            [true, false, true, false],
        ),
        (
            CalendarUnit::Yearly,
            ["2026-01-31T20:00", "2026-01-01T00:00", "2024-12-31T23:00", "2023-06-30T09:00"],
            [true, false, true, false],
        ),
    ] {
        let policy = governed(&format!("tags: {{ other: {{ keep: {{ {}: 2 }} }} }}", unit.key()));
        let tags: Vec<TagFacts<'_>> = times
            .iter()
            .map(|time| TagFacts {
                name: time,
                tagged: Some(format!("{time}:00Z").parse().unwrap()),
                ..TagFacts::default()
            })
            .collect();
        let decisions = policy.decide_tags("app", &tags, now());
        let stays: Vec<bool> = decisions.iter().map(|decision| !decision.is_expired()).collect();
        assert_eq!(stays, kept, "{unit:?}: {decisions:#?}");
    }
}

#[test]
fn null_and_a_missing_key_mean_that_there_is_no_rule() {
    let policy = |part: &str| format!("policies: [{{ name: p, repositories: '**', {part} }}]");
    let keep = |part: &str| policy(&format!("tags: {{ other: {{ keep: {{ last: 3, {part} }} }} }}"));
    let class = |part: &str| {
        format!("classes: {{ v: {{ match: 'v*', {part} }} }}\n{}", policy("tags: { v: { keep: all } }"))
    };
    let mut pairs = Vec::new();
    for key in [
        "protect",
        "classes",
        "policies",
        "referrers",
        "uploads",
        "repositories",
        "grace",
        "trash",
        "limits",
        "pulls",
    ] {
        pairs.push((format!("{key}: null"), String::new()));
    }
    for key in ["clock", "preset", "tags", "untagged", "limits", "protect", "trash"] {
        pairs.push((policy(&format!("{key}: null")), policy("")));
    }
    for key in ["within", "daily", "weekly", "monthly", "yearly", "all"] {
        pairs.push((keep(&format!("{key}: null")), keep("")));
    }
    pairs.push((class("order_by: null"), class("")));
    pairs.push((policy("limits: { min_keep: null, max_delete: null }"), policy("")));
    pairs.push(("limits: { tags: null, bytes: null, repository_may_empty: null }".into(), String::new()));
    pairs.push((
        "protect: { tags: null, repositories: null, digests_from: null, in_use: null }".into(),
        String::new(),
    ));
    for (with_null, without) in pairs {
        assert_eq!(parse(&with_null).describe(), parse(&without).describe(), "{with_null}");
    }
}

#[test]
fn protections_of_the_document_the_policy_and_the_preset_each_win() {
    let policy = parse(
        "protect: { tags: ['stable-*', '!stable-0'] }\n\
         policies:\n\
         - { name: a, repositories: app, preset: rubin, protect: { tags: ['demo'] }, tags: { unknown: { keep: none } } }\n\
         - { name: b, repositories: '**', tags: { other: { keep: none } } }",
    );
    let tag = |name| TagFacts { name, tagged: days_ago(900), pushed: days_ago(900), ..TagFacts::default() };
    for (repository, name, says) in [
        ("app", "stable-1", "policy a: protected by `stable-*`"),
        ("app", "stable-0", "policy a, class unknown: keep none"),
        ("app", "demo", "policy a: protected by `demo`"),
        ("app", "latest_weekly", "policy a: protected by `latest*`"),
        ("web", "stable-1", "policy b: protected by `stable-*`"),
        ("web", "demo", "policy b, class other: keep none"),
        ("web", "latest_weekly", "policy b, class other: keep none"),
    ] {
        let decision = policy.decide_tags(repository, &[tag(name)], now()).remove(0);
        assert_eq!(decision.to_string(), says, "{repository}:{name}");
    }
}

#[test]
fn limits_do_not_touch_what_a_keep_holds() {
    let policy = governed("tags: { other: { keep: { last: 2 } } }, limits: { min_keep: 1, max_delete: 1 }");
    let tag = |name, days| TagFacts { name, tagged: days_ago(days), ..TagFacts::default() };
    assert_eq!(
        said(&policy, &[tag("a", 2), tag("b", 3), tag("c", 4), tag("d", 5)]),
        [
            "policy p, class other: rank 1, keep last 2",
            "policy p, class other: rank 2, keep last 2",
            "policy p, class other: expired, waits for a later run after 1 older ones (max_delete)",
            "policy p, class other: rank 4, keep last 2 missed by 2",
        ]
    );
}
