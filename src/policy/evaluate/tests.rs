//! The semantics of the policy, a rule at a time.

use super::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn now() -> Timestamp {
    "2024-08-20T12:00:00Z".parse().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "facts hold optional times")]
fn ago(seconds: i64) -> Option<Timestamp> {
    Some(now() - SignedDuration::from_secs(seconds))
}

/// A tag that was pushed and tagged so many days ago.
fn tag(name: &str, days: i64) -> TagFacts<'_> {
    TagFacts { name, tagged: ago(days * DAY), pushed: ago(days * DAY), ..TagFacts::default() }
}

fn policy(text: &str) -> Policy {
    Policy::parse(&format!("version: 1\n{text}"), "policy.yaml").unwrap_or_else(|error| panic!("{error}"))
}

/// A policy over every repository whose class `all` holds every tag.
fn one_class(keep: &str, rest: &str) -> Policy {
    policy(&format!(
        "classes: {{ all: {{ match: '*' }} }}\n\
         policies: [{{ name: p, repositories: '**', tags: {{ all: {{ keep: {keep} }} }}, {rest} }}]"
    ))
}

fn decide(policy: &Policy, tags: &[TagFacts<'_>]) -> Vec<String> {
    let decisions = policy.decide_tags("app", tags, now());
    assert_eq!(decisions.len(), tags.len());
    decisions.iter().map(ToString::to_string).collect()
}

/// The names of the tags that expire, in the order given.
fn expired<'a>(policy: &Policy, tags: &[TagFacts<'a>]) -> Vec<&'a str> {
    let decisions = policy.decide_tags("app", tags, now());
    tags.iter().zip(&decisions).filter(|(_, it)| it.is_expired()).map(|(tag, _)| tag.name).collect()
}

#[test]
fn nothing_goes_without_a_policy_and_a_class_and_a_miss() {
    let elsewhere = policy("policies: [{ name: p, repositories: other, tags: { other: { keep: none } } }]");
    assert_eq!(decide(&elsewhere, &[tag("v1", 900)]), ["no policy matches the repository, kept"]);

    let no_other = policy(
        "classes: { pr: { match: 'pr-*' } }\n\
         policies: [{ name: p, repositories: '**', tags: { pr: { keep: none } } }]",
    );
    assert_eq!(
        decide(&no_other, &[tag("v1", 900), tag("pr-1", 900)]),
        ["policy p: no class matches, kept", "policy p, class pr: keep none"]
    );

    let preset = policy(
        "policies: [{ name: p, repositories: '**', preset: rubin, tags: { unknown: { keep: none } } }]",
    );
    assert_eq!(
        decide(&preset, &[tag("w_2019_03", 900), tag("mine", 900)]),
        [
            "policy p, class weekly: the policy has no rule for this class, kept",
            "policy p, class unknown: keep none"
        ]
    );
    let untagged = preset.decide_untagged(
        "app",
        &[UntaggedFacts { pushed: ago(900 * DAY), ..UntaggedFacts::default() }],
        now(),
    );
    assert_eq!(
        untagged[0].to_string(),
        "policy p, untagged: the policy has no rule for untagged manifests, kept"
    );
}

#[test]
fn the_first_policy_and_the_first_class_decide() {
    let policy = policy(
        "classes: { any: { match: '*' }, pr: { match: 'pr-*' } }\n\
         policies:\n\
         - { name: first, repositories: ['app', '!app'], tags: { other: { keep: none } } }\n\
         - { name: second, repositories: 'a*', tags: { pr: { keep: none }, any: { keep: all } } }\n\
         - { name: third, repositories: '**', tags: { any: { keep: all }, pr: { keep: none } } }\n",
    );
    assert_eq!(
        decide(&policy, &[tag("pr-1", 9), tag("v1", 9)]),
        ["policy second, class pr: keep none", "policy second, class any: keep all"]
    );
    let elsewhere = policy.decide_tags("zoo", &[tag("pr-1", 9)], now());
    assert_eq!(elsewhere[0].to_string(), "policy third, class any: keep all");
}

#[test]
fn one_keep_that_holds_is_enough() {
    let policy = one_class("{ last: 2, within: 10d }", "");
    assert_eq!(
        decide(&policy, &[tag("a", 30), tag("b", 12), tag("c", 4), tag("d", 3), tag("e", 2)]),
        [
            "policy p, class all: rank 5, keep last 2 missed by 3; 30d old, keep within 10d missed by 20d",
            "policy p, class all: rank 4, keep last 2 missed by 2; 12d old, keep within 10d missed by 2d",
            "policy p, class all: 4d old, keep within 10d",
            "policy p, class all: rank 2, keep last 2",
            "policy p, class all: rank 1, keep last 2",
        ]
    );
}

#[test]
fn an_age_up_to_the_limit_is_within_it() {
    let policy = one_class("{ within: 14d }", "");
    let at = |seconds| [TagFacts { name: "a", tagged: ago(seconds), pushed: None, ..TagFacts::default() }];
    assert_eq!(decide(&policy, &at(14 * DAY)), ["policy p, class all: 14d old, keep within 14d"]);
    assert_eq!(
        decide(&policy, &at(14 * DAY + 3 * HOUR)),
        ["policy p, class all: 14d old, keep within 14d missed by 3h"]
    );
    let barely = now() - SignedDuration::from_secs(14 * DAY) - SignedDuration::from_nanos(1);
    assert_eq!(
        expired(
            &policy,
            &[TagFacts { name: "a", tagged: Some(barely), pushed: None, ..TagFacts::default() }]
        ),
        ["a"],
        "a fraction of a second counts"
    );
}

#[test]
fn protected_tags_stay_and_use_up_no_count() {
    let policy = policy(
        "protect: { tags: ['stable'] }\n\
         policies:\n\
         - { name: p, repositories: '**', protect: { tags: ['re:prod-.*'] }, tags: { other: { keep: { last: 1 } } } }",
    );
    assert_eq!(
        decide(&policy, &[tag("stable", 2), tag("prod-1", 3), tag("b", 4), tag("a", 5)]),
        [
            "policy p: protected by `stable`",
            "policy p: protected by `re:prod-.*`",
            "policy p, class other: rank 1, keep last 1",
            "policy p, class other: rank 2, keep last 1 missed by 1",
        ]
    );
}

#[test]
fn a_protected_repository_keeps_everything() {
    let policy = policy(
        "protect: { repositories: ['golden/**'] }\n\
         policies: [{ name: p, repositories: '**', tags: { other: { keep: none } }, untagged: { keep: none } }]",
    );
    let facts = [UntaggedFacts { pushed: ago(900 * DAY), ..UntaggedFacts::default() }];
    let said = "policy p: protected by `golden/**`";
    assert_eq!(policy.decide_tags("golden/a", &[tag("v1", 900)], now())[0].to_string(), said);
    assert_eq!(policy.decide_untagged("golden/a", &facts, now())[0].to_string(), said);
    assert_eq!(policy.decide_orphaned_referrer("golden/a", ago(900 * DAY), now()).to_string(), said);
    assert!(policy.decide_untagged("silver/a", &facts, now())[0].is_expired());
}

#[test]
fn the_clock_chooses_the_time() {
    let facts = [
        TagFacts { name: "moved", tagged: ago(2 * DAY), pushed: ago(90 * DAY), ..TagFacts::default() },
        TagFacts { name: "pushed-again", tagged: ago(90 * DAY), pushed: ago(2 * DAY), ..TagFacts::default() },
    ];
    assert_eq!(expired(&one_class("{ within: 30d }", ""), &facts), ["pushed-again"]);
    assert_eq!(expired(&one_class("{ within: 30d }", "clock: pushed"), &facts), ["moved"]);
}

#[test]
fn an_unknown_or_future_time_keeps_outside_the_count() {
    let policy = one_class("{ last: 1 }", "");
    let ahead =
        TagFacts { name: "ahead", tagged: ago(-3 * DAY), pushed: ago(9 * DAY), ..TagFacts::default() };
    let unknown = TagFacts { name: "unknown", tagged: None, pushed: ago(DAY), ..TagFacts::default() };
    assert_eq!(
        decide(&policy, &[ahead, unknown, tag("b", 4), tag("a", 5)]),
        [
            "policy p, class all: its time lies 3d in the future, kept",
            "policy p, class all: its time is unknown, kept",
            "policy p, class all: rank 1, keep last 1",
            "policy p, class all: rank 2, keep last 1 missed by 1",
        ]
    );
    let none = one_class("none", "");
    assert_eq!(expired(&none, &[ahead, unknown]), Vec::<&str>::new(), "keep: none needs the times too");
}

#[test]
fn a_tag_that_may_be_young_is_kept_whatever_its_clock() {
    let policy = one_class("none", "clock: pushed");
    let unknown = TagFacts { name: "a", tagged: None, pushed: ago(90 * DAY), ..TagFacts::default() };
    let moved = TagFacts { name: "b", tagged: ago(HOUR), pushed: ago(90 * DAY), ..TagFacts::default() };
    let ahead = TagFacts { name: "c", tagged: ago(-HOUR), pushed: ago(90 * DAY), ..TagFacts::default() };
    assert_eq!(
        decide(&policy, &[unknown, moved, ahead, tag("d", 90)]),
        [
            "policy p, class all: its time is unknown, kept",
            "policy p, class all: 1h old, nothing younger than 1d goes (grace)",
            "policy p, class all: its time lies 1h in the future, kept",
            "policy p, class all: keep none",
        ]
    );
}

#[test]
fn the_grace_is_the_documents() {
    let keep = "policies: [{ name: p, repositories: '**', tags: { other: { keep: none } } }]";
    let young = [TagFacts { name: "a", tagged: ago(2 * HOUR), pushed: ago(2 * HOUR), ..TagFacts::default() }];
    assert!(expired(&policy(keep), &young).is_empty());
    assert_eq!(expired(&policy(&format!("grace: 2h\n{keep}")), &young), ["a"], "as old is not younger");
    let just_now = [TagFacts { name: "a", tagged: ago(0), pushed: None, ..TagFacts::default() }];
    assert_eq!(expired(&policy(&format!("grace: 0\n{keep}")), &just_now), ["a"]);
}

#[test]
fn versions_and_names_can_order_a_class() {
    let policy = policy(
        "classes: { v: { match: 'v*', order_by: semver }, w: { match: 'w_*', order_by: name } }\n\
         policies:\n\
         - { name: p, repositories: '**', tags: { v: { keep: { last: 1 } }, w: { keep: { last: 1 } } } }",
    );
    assert_eq!(
        decide(
            &policy,
            &[tag("v9.0.0", 5), tag("v10.0.0", 9), tag("vnext", 9), tag("w_2024_10", 9), tag("w_2024_09", 5)]
        ),
        [
            "policy p, class v: rank 2, keep last 1 missed by 1",
            "policy p, class v: rank 1, keep last 1",
            "policy p, class v: no version by the order of its class, so it has no rank, kept",
            "policy p, class w: rank 1, keep last 1",
            "policy p, class w: rank 2, keep last 1 missed by 1",
        ]
    );
}

#[test]
fn a_tag_without_rank_can_still_be_within() {
    let policy = policy(
        "classes: { v: { match: 'v*', order_by: semver } }\n\
         policies: [{ name: p, repositories: '**', tags: { v: { keep: { within: 7d } } } }]",
    );
    assert_eq!(expired(&policy, &[tag("vnext", 9), tag("vthen", 5)]), ["vnext"]);
}

#[test]
fn equal_times_are_ranked_by_name() {
    let policy = one_class("{ last: 1 }", "");
    assert_eq!(expired(&policy, &[tag("b", 5), tag("a", 5), tag("c", 5)]), ["b", "a"]);
}

#[test]
fn referrers_tags_follow_and_use_up_no_count() {
    let policy = policy(
        "protect: { tags: ['*.sbom'] }\n\
         policies: [{ name: p, repositories: 'app', tags: { other: { keep: { last: 1 } } } }]",
    );
    let hex = "ab".repeat(32);
    let (bare, signature, bill) =
        (format!("sha256-{hex}"), format!("sha256-{hex}.sig"), format!("sha256-{hex}.sbom"));
    assert_eq!(
        decide(&policy, &[tag(&bare, 2), tag(&signature, 2), tag(&bill, 2), tag("a", 9)]),
        [
            "policy p: a referrer's tag, lives as its subject lives",
            "policy p: a referrer's tag, lives as its subject lives",
            "policy p: protected by `*.sbom`",
            "policy p, class other: rank 1, keep last 1",
        ]
    );
    let elsewhere = policy.decide_tags("elsewhere", &[tag(&bare, 2)], now());
    assert_eq!(elsewhere[0].verdict, Verdict::Keep(KeepReason::NoPolicy));
}

#[test]
fn orphaned_referrers_stay_for_their_time() {
    let policy = policy(
        "referrers: { orphaned_after: 3d }\n\
         policies: [{ name: p, repositories: 'app' }]",
    );
    for (repository, since, said) in [
        ("app", ago(2 * DAY), "policy p: a referrer without its subject for 2d, kept for 3d"),
        ("app", ago(5 * DAY), "policy p: a referrer without its subject for 5d, kept for 3d, missed by 2d"),
        ("app", None, "policy p: its time is unknown, kept"),
        ("app", ago(-DAY), "policy p: its time lies 1d in the future, kept"),
        ("zoo", ago(5 * DAY), "no policy matches the repository, kept"),
    ] {
        assert_eq!(policy.decide_orphaned_referrer(repository, since, now()).to_string(), said);
    }
}

#[test]
fn untagged_manifests_have_a_rule_of_their_own() {
    let policy = policy("policies: [{ name: p, repositories: '**', untagged: { keep: { last: 2 } } }]");
    let facts = |days: &[Option<i64>]| -> Vec<UntaggedFacts> {
        days.iter()
            .map(|days| UntaggedFacts {
                pushed: days.and_then(|days| ago(days * DAY)),
                ..UntaggedFacts::default()
            })
            .collect()
    };
    let decisions =
        policy.decide_untagged("app", &facts(&[Some(5), Some(2), None, Some(9), Some(-1)]), now());
    let said: Vec<String> = decisions.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "policy p, untagged: rank 2, keep last 2",
            "policy p, untagged: rank 1, keep last 2",
            "policy p, untagged: its time is unknown, kept",
            "policy p, untagged: rank 3, keep last 2 missed by 1",
            "policy p, untagged: its time lies 1d in the future, kept",
        ]
    );
    let twins = policy.decide_untagged("app", &facts(&[Some(2), Some(5), Some(5), Some(5)]), now());
    assert!(!twins.iter().any(Decision::is_expired), "equal times share the better rank");
}

#[test]
fn a_repository_never_falls_below_min_keep() {
    let policy = policy(
        "protect: { tags: [latest] }\n\
         policies:\n\
         - { name: p, repositories: '**', tags: { other: { keep: none } }, limits: { min_keep: 2 } }",
    );
    let tags = [tag("latest", 1), tag("c", 7), tag("a", 9), tag("b", 8)];
    assert_eq!(
        decide(&policy, &tags),
        [
            "policy p: protected by `latest`",
            "policy p, class other: expired, but the repository keeps at least 2 (min_keep)",
            "policy p, class other: keep none",
            "policy p, class other: expired, but the repository keeps at least 2 (min_keep)",
        ]
    );
}

#[test]
fn the_oldest_go_first_and_no_more_than_max_delete() {
    let policy = policy(
        "policies:\n\
         - name: p\n  \
           repositories: '**'\n  \
           tags: { other: { keep: none } }\n  \
           untagged: { keep: none }\n  \
           limits: { min_keep: 1, max_delete: 2 }",
    );
    let tags = [tag("d", 6), tag("c", 7), tag("a", 9), tag("b", 8)];
    assert_eq!(
        decide(&policy, &tags),
        [
            "policy p, class other: expired, but the repository keeps at least 1 (min_keep)",
            "policy p, class other: expired, waits for a later run after 2 older ones (max_delete)",
            "policy p, class other: keep none",
            "policy p, class other: keep none",
        ]
    );
    let facts: Vec<UntaggedFacts> = [5, 9, 7]
        .into_iter()
        .map(|days| UntaggedFacts { pushed: ago(days * DAY), ..UntaggedFacts::default() })
        .collect();
    let untagged = policy.decide_untagged("app", &facts, now());
    let gone: Vec<bool> = untagged.iter().map(Decision::is_expired).collect();
    assert_eq!(gone, [false, true, true]);
}

#[test]
fn decisions_survive_a_plan_file() {
    let policy = one_class("{ last: 1, within: 8d }", "limits: { max_delete: 1 }");
    let hex = format!("sha256-{}", "ab".repeat(32));
    let tags = [tag("a", 30), tag("b", 20), tag("c", 5), tag("d", 4), tag("e", 0), tag(&hex, 5)];
    for decision in policy.decide_tags("app", &tags, now()) {
        let text = serde_json::to_string(&decision).unwrap();
        assert_eq!(serde_json::from_str::<Decision>(&text).unwrap(), decision, "{text}");
    }
    let oldest = &policy.decide_tags("app", &tags, now())[0];
    insta::assert_snapshot!(serde_json::to_string(oldest).unwrap(), @r#"{"verdict":{"expire":{"missed":[{"last":{"rank":5,"last":1}},{"within":{"age":"30d","within":"8d","by":"22d"}}]}},"policy":"p","class":"all"}"#);
}

#[test]
fn the_rubin_classes_are_those_of_sqr_059() {
    let policy = policy(
        "policies:\n\
         - name: p\n  \
           repositories: '**'\n  \
           preset: rubin\n  \
           tags: { release: { keep: all }, release-candidate: { keep: all }, weekly: { keep: all },\n    \
                   daily: { keep: all }, experimental: { keep: all }, unknown: { keep: all } }",
    );
    for (name, class) in [
        ("r28_0_0", "release"),
        ("r28_0_0_c0042.001", "release"),
        ("r28_0_0_c0042.001_20240815", "release"),
        ("r28_0_0_rc1", "release-candidate"),
        ("r28_0_0_rc1_c0042.001", "release-candidate"),
        ("w_2024_34", "weekly"),
        ("w_2024_34_c0042.001_amd64", "weekly"),
        ("d_2024_12_25", "daily"),
        ("d_2024_12_25_c0042.001", "daily"),
        ("exp_w_2024_34_nosudo", "experimental"),
        ("w_2024", "unknown"),
        ("tickets-DM-1234", "unknown"),
        ("sw_2024_34", "unknown"),
    ] {
        let decision = &policy.decide_tags("app", &[tag(name, 900)], now())[0];
        assert_eq!(decision.class.as_deref(), Some(class), "{name}");
    }
    for alias in ["recommended", "latest", "latest_weekly"] {
        let decision = &policy.decide_tags("app", &[tag(alias, 900)], now())[0];
        assert!(matches!(decision.verdict, Verdict::Keep(KeepReason::Protected { .. })), "{alias}");
    }
}

#[test]
fn the_other_presets_sort_what_they_name() {
    let class = |preset: &str, name: &str| {
        let text = format!("policies: [{{ name: p, repositories: '**', preset: {preset} }}]");
        let decision = policy(&text).decide_tags("app", &[tag(name, 9)], now()).remove(0);
        decision.class.map(|class| class.to_string())
    };
    for (preset, name, expected) in [
        ("semver", "v1.2.3", Some("release")),
        ("semver", "1.2.3_4", Some("release")),
        ("semver", "v1.2.3-rc.1", Some("prerelease")),
        ("semver", "v1.2", Some("series")),
        ("semver", "rev1.2.3", None),
        ("calver", "2024.08", Some("release")),
        ("calver", "24.04.1", Some("release")),
        ("calver", "20240815", Some("release")),
        ("calver", "2024.08-rc1", Some("prerelease")),
        ("calver", "2024.13", None),
        ("git-sha", "0a1b2c3", Some("commit")),
        ("git-sha", "sha-0000000", Some("commit")),
        ("git-sha", "20240815", None),
        ("git-sha", "main", None),
    ] {
        assert_eq!(class(preset, name).as_deref(), expected, "{preset}: {name}");
    }
}

/// How old its image says that a tag is, in days, and when it was pushed.
fn image(name: &str, created: Created, pushed: i64) -> TagFacts<'_> {
    TagFacts { created, ..tag(name, pushed) }
}

fn created(days: i64) -> Created {
    ago(days * DAY).map_or(Created::Unstated, Created::At)
}

#[test]
fn ages_can_count_from_the_creation_of_the_image() {
    let policy = one_class("{ within: 30d }", "clock: created");
    let epoch = Created::At(Timestamp::UNIX_EPOCH);
    let year_2000 = Created::At("2000-01-01T00:00:00Z".parse().unwrap());
    let last_century = Created::At("1999-12-31T23:59:59Z".parse().unwrap());
    for (created, pushed, says) in [
        (created(40), 5, "policy p, class all: 40d old, keep within 30d missed by 10d"),
        (created(20), 40, "policy p, class all: 20d old, keep within 30d"),
        (Created::Unstated, 5, "policy p, class all: 5d old, keep within 30d"),
        (Created::Unstated, 40, "policy p, class all: 40d old, keep within 30d missed by 10d"),
        (epoch, 5, "policy p, class all: 5d old, keep within 30d"),
        (last_century, 5, "policy p, class all: 5d old, keep within 30d"),
        (year_2000, 5, "policy p, class all: 8998d old, keep within 30d missed by 8968d"),
        (created(-2), 90, "policy p, class all: its time lies 2d in the future, kept"),
        (Created::Unreadable, 90, "policy p, class all: its time is unknown, kept"),
        (created(40), 0, "policy p, class all: 0s old, nothing younger than 1d goes (grace)"),
    ] {
        assert_eq!(decide(&policy, &[image("a", created, pushed)]), [says], "{created:?} {pushed}");
    }
    let last = one_class("{ last: 1 }", "clock: created");
    let tags = [image("old-build", created(50), 2), image("new-build", created(3), 9)];
    assert_eq!(expired(&last, &tags), ["old-build"]);
    let tags =
        [image("who-knows", Created::Unreadable, 2), image("a", created(3), 9), image("b", created(5), 9)];
    assert_eq!(expired(&last, &tags), ["b"], "what could not be read takes no place");
}

#[test]
fn the_grace_of_an_untagged_manifest_counts_from_its_push() {
    let policy = one_class("all", "clock: created, untagged: { keep: none }");
    let old = created(400);
    for (pushed, says) in [
        (ago(HOUR), "policy p, untagged: 1h old, nothing younger than 1d goes (grace)"),
        (ago(25 * HOUR), "policy p, untagged: keep none"),
        (None, "policy p, untagged: its time is unknown, kept"),
        (ago(-HOUR), "policy p, untagged: its time lies 1h in the future, kept"),
    ] {
        let facts = UntaggedFacts { pushed, created: old, ..UntaggedFacts::default() };
        assert_eq!(policy.decide_untagged("app", &[facts], now())[0].to_string(), says, "{pushed:?}");
    }
}

#[test]
fn calendar_versions_can_order_a_class() {
    let policy = policy(
        "classes: { v: { match: '*', order_by: calver } }\n\
         policies: [{ name: p, repositories: '**', tags: { v: { keep: { last: 2 } } } }]",
    );
    let tags =
        [tag("2024.10", 9), tag("24.9.1", 1), tag("20240801", 2), tag("2024.10-rc1", 3), tag("nightly", 90)];
    assert_eq!(
        decide(&policy, &tags),
        [
            "policy p, class v: rank 1, keep last 2",
            "policy p, class v: rank 3, keep last 2 missed by 1",
            "policy p, class v: rank 4, keep last 2 missed by 2",
            "policy p, class v: rank 2, keep last 2",
            "policy p, class v: no version by the order of its class, so it has no rank, kept",
        ]
    );
}

#[test]
fn captures_can_order_a_class() {
    for (order, kept) in [
        ("captures", "2024-b10"),
        ("[build]", "2023-b11"),
        ("[branch, build]", "2022-c1"),
        ("[2, 1]", "2022-c1"),
        ("clock", "2021-a9"),
    ] {
        let policy = policy(&format!(
            "classes: {{ build: {{ match: 're:([0-9]+)-(?P<branch>[a-z])(?P<build>[0-9]+)', order_by: {order} }} }}\n\
             policies: [{{ name: p, repositories: '**', tags: {{ build: {{ keep: {{ last: 1 }} }} }} }}]"
        ));
        let tags =
            [tag("2024-b9", 5), tag("2024-b10", 6), tag("2023-b11", 7), tag("2022-c1", 8), tag("2021-a9", 4)];
        let all: Vec<&str> = tags.iter().map(|tag| tag.name).collect();
        let gone = expired(&policy, &tags);
        let left: Vec<&str> = all.into_iter().filter(|name| !gone.contains(name)).collect();
        assert_eq!(left, [kept], "{order}");
    }
}

#[test]
fn captures_and_calendar_versions_count_by_major_minor_and_patch() {
    for (pattern, order) in [("re:r([0-9]+)_([0-9]+)_([0-9]+)", "captures"), ("r*", "clock")] {
        let keep = if order == "captures" { "{ majors: 2, minors: 1 }" } else { "3" };
        let policy = policy(&format!(
            "classes: {{ r: {{ match: '{pattern}', order_by: {order} }} }}\n\
             policies: [{{ name: p, repositories: '**', tags: {{ r: {{ keep: {{ last: {keep} }} }} }} }}]"
        ));
        let tags =
            [tag("r28_0_1", 3), tag("r28_0_0", 4), tag("r27_1_0", 1), tag("r27_0_0", 2), tag("r9_0_0", 9)];
        let gone: &[&str] = if order == "captures" { &["r27_0_0", "r9_0_0"] } else { &["r28_0_0", "r9_0_0"] };
        assert_eq!(expired(&policy, &tags), gone, "{order}");
    }
    let years = policy(
        "classes: { v: { match: '*', order_by: calver } }\n\
         policies: [{ name: p, repositories: '**', tags: { v: { keep: { last: { majors: 1, minors: 2 } } } } }]",
    );
    let tags =
        [tag("2024.3.1", 1), tag("2024.2.1", 1), tag("2024.1.9", 1), tag("23.12.1", 1), tag("2024.3.0", 9)];
    assert_eq!(expired(&years, &tags), ["2024.1.9", "23.12.1"]);
}
