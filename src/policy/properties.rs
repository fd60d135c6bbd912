//! What holds for every policy and every set of tags.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::policy::{Decision, KeepReason, Policy, TagFacts, UntaggedFacts, Verdict};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A tag's name and how many hours ago it was tagged and pushed.
type Tag = (String, Option<i64>, Option<i64>);

fn at(hours: Option<i64>) -> Option<Timestamp> {
    hours.map(|hours| NOW - SignedDuration::from_hours(hours))
}

fn facts(tags: &[Tag]) -> Vec<TagFacts<'_>> {
    tags.iter()
        .map(|(name, tagged, pushed)| TagFacts {
            name,
            tagged: at(*tagged),
            pushed: at(*pushed),
            ..TagFacts::default()
        })
        .collect()
}

fn hours() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![1 => Just(None), 20 => (-20_i64..2000).prop_map(Some)]
}

fn tags() -> impl Strategy<Value = Vec<Tag>> {
    let name = prop_oneof!["v[0-2]\\.[0-3]\\.[0-9]", "pr-[0-9]{1,2}", "[a-z]{1,4}", "v[a-z]"];
    let tags = proptest::collection::btree_map(name, (hours(), hours()), 0..25);
    tags.prop_map(|tags| tags.into_iter().map(|(name, (tagged, pushed))| (name, tagged, pushed)).collect())
}

/// `last`, `within` in days, `weekly`, and `last` and `monthly` under `all`.
type Numbers = (Option<u64>, Option<u64>, Option<u64>, Option<(u64, u64)>);

#[derive(Debug, Clone)]
struct Rules {
    clock: &'static str,
    order_by: &'static str,
    keeps: [Option<Numbers>; 3],
    limits: (Option<u64>, Option<u64>),
    protect: Vec<&'static str>,
}

fn rules() -> impl Strategy<Value = Rules> {
    let keep = proptest::option::of((
        proptest::option::of(1_u64..6),
        proptest::option::of(1_u64..60),
        proptest::option::of(1_u64..6),
        proptest::option::of((1_u64..9, 1_u64..4)),
    ));
    (
        prop_oneof![Just("tagged"), Just("pushed")],
        prop_oneof![Just("clock"), Just("semver"), Just("name")],
        [keep.clone(), keep.clone(), keep],
        (proptest::option::of(0_u64..10), proptest::option::of(0_u64..10)),
        proptest::sample::subsequence(vec!["v1.*", "pr-?", "re:[a-m]+"], 0..3),
    )
        .prop_map(|(clock, order_by, keeps, limits, protect)| Rules {
            clock,
            order_by,
            keeps,
            limits,
            protect,
        })
}

impl Rules {
    fn policy(&self) -> Policy {
        let number = |number: Option<u64>| number.map_or("null".to_owned(), |number| number.to_string());
        let keep = |keep: Option<Numbers>| match keep {
            None | Some((None, None, None, None)) => "none".to_owned(),
            Some((last, within, weekly, all)) => {
                let [last, weekly] = [last, weekly].map(number);
                let all = all.map_or("null".to_owned(), |(last, monthly)| {
                    format!("{{ last: {last}, monthly: {monthly} }}")
                });
                let within = within.map_or("null".to_owned(), |days| format!("{days}d"));
                format!("{{ last: {last}, within: {within}, weekly: {weekly}, all: {all} }}")
            }
        };
        let [release, pr, other] = self.keeps.map(keep);
        let text = format!(
            "version: 1\n\
             protect: {{ tags: {:?} }}\n\
             classes: {{ release: {{ match: 'v*', order_by: {} }}, pr: {{ match: 'pr-*' }} }}\n\
             policies:\n\
             - name: p\n  \
               repositories: '**'\n  \
               clock: {}\n  \
               tags: {{ release: {{ keep: {release} }}, pr: {{ keep: {pr} }}, other: {{ keep: {other} }} }}\n  \
               untagged: {{ keep: {other} }}\n  \
               limits: {{ min_keep: {}, max_delete: {} }}\n",
            self.protect,
            self.order_by,
            self.clock,
            number(self.limits.0),
            number(self.limits.1),
        );
        Policy::parse(&text, "policy.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn without_limits(&self) -> Self {
        Self { limits: (None, None), ..self.clone() }
    }
}

fn expired(rules: &Rules, tags: &[Tag]) -> BTreeSet<String> {
    let decisions = rules.policy().decide_tags("app", &facts(tags), NOW);
    let gone = tags.iter().zip(&decisions).filter(|(_, decision)| decision.is_expired());
    gone.map(|((name, ..), _)| name.clone()).collect()
}

proptest! {
    #[test]
    fn a_keep_more_never_expires_more(
        rules in rules(),
        tags in tags(),
        class in 0_usize..3,
        last in proptest::option::of(1_u64..9),
        within in 1_u64..90,
        weekly in proptest::option::of(1_u64..9),
    ) {
        let mut more = rules.clone();
        let (old_last, old_within, old_weekly, all) = more.keeps[class].unwrap_or_default();
        more.keeps[class] = Some((old_last.max(last), old_within.max(Some(within)), old_weekly.max(weekly), all));
        let before = expired(&rules.without_limits(), &tags);
        let after = expired(&more.without_limits(), &tags);
        prop_assert!(after.is_subset(&before), "{after:?} in {before:?}");
        // max_delete takes the oldest of what is left, so another tag may go instead, but never one more.
        prop_assert!(expired(&more, &tags).len() <= expired(&rules, &tags).len());
        prop_assert!(expired(&more, &tags).is_subset(&before));
    }

    #[test]
    fn a_protection_more_never_expires_more(rules in rules(), tags in tags()) {
        let rules = rules.without_limits();
        let mut more = rules.clone();
        more.protect.push("v*");
        // The unprotected tags of a class move up, so that more of them stay.
        prop_assert!(expired(&more, &tags).is_subset(&expired(&rules, &tags)));
    }

    #[test]
    fn protection_always_wins(rules in rules(), tags in tags()) {
        let mut rules = rules;
        rules.protect.push("pr-*");
        for ((name, ..), decision) in tags.iter().zip(rules.policy().decide_tags("app", &facts(&tags), NOW)) {
            if name.starts_with("pr-") {
                let protected = matches!(decision.verdict, Verdict::Keep(KeepReason::Protected { .. }));
                prop_assert!(protected, "{name}: {decision}");
            }
        }
    }

    #[test]
    fn the_order_of_the_tags_does_not_matter(
        rules in rules(),
        (tags, shuffled) in tags().prop_flat_map(|tags| (Just(tags.clone()), Just(tags).prop_shuffle())),
    ) {
        let policy = rules.policy();
        let decide = |tags: &[Tag]| -> Vec<(String, Decision)> {
            let names = tags.iter().map(|(name, ..)| name.clone());
            let mut decided: Vec<_> = names.zip(policy.decide_tags("app", &facts(tags), NOW)).collect();
            decided.sort_by(|left, right| left.0.cmp(&right.0));
            decided
        };
        prop_assert_eq!(decide(&tags), decide(&shuffled));
    }

    #[test]
    fn limits_hold(rules in rules(), tags in tags()) {
        let gone = expired(&rules, &tags).len() as u64;
        let unlimited = expired(&rules.without_limits(), &tags).len() as u64;
        let (min_keep, max_delete) = rules.limits;
        prop_assert!(gone <= unlimited);
        if let Some(max_delete) = max_delete {
            prop_assert!(gone <= max_delete);
        }
        if let Some(min_keep) = min_keep {
            prop_assert!(gone == 0 || tags.len() as u64 - gone >= min_keep);
        }
        if (min_keep, max_delete) == (None, None) {
            prop_assert_eq!(gone, unlimited);
        }
    }

    #[test]
    fn nothing_young_unknown_or_ahead_expires(rules in rules(), tags in tags()) {
        let decisions = rules.policy().decide_tags("app", &facts(&tags), NOW);
        for ((name, tagged, pushed), decision) in tags.iter().zip(decisions) {
            if decision.is_expired() {
                prop_assert!(tagged.is_some_and(|hours| hours >= 24), "{name}");
                prop_assert!(pushed.is_none_or(|hours| hours >= 24), "{name}");
            }
        }
    }

    #[test]
    fn untagged_manifests_are_judged_alike_in_any_order(rules in rules(), times in proptest::collection::vec(hours(), 0..20)) {
        let manifests: Vec<_> = times.iter().map(|hours| UntaggedFacts { pushed: at(*hours), ..UntaggedFacts::default() }).collect();
        let decisions = rules.without_limits().policy().decide_untagged("app", &manifests, NOW);
        prop_assert_eq!(decisions.len(), manifests.len());
        for (hours, decision) in times.iter().zip(&decisions) {
            if decision.is_expired() {
                prop_assert!(hours.is_some_and(|hours| hours >= 24), "{hours:?}: {decision}");
            }
        }
        let shuffled: Vec<_> = manifests.iter().rev().copied().collect();
        let mut again = rules.without_limits().policy().decide_untagged("app", &shuffled, NOW);
        again.reverse();
        prop_assert_eq!(decisions, again);
    }

    #[test]
    fn no_text_panics(text in "(version: 1\n)?([a-z_]{1,12}: ?[\\[{]?[a-z0-9*!'\":,\\]} -]{0,12}\n ?){0,4}") {
        let _ = Policy::parse(&text, "policy.yaml");
    }
}
