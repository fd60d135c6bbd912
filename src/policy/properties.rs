//! What holds for every policy and every set of tags.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::oci::Created;
use crate::policy::{Decision, KeepReason, Policy, Pulled, TagFacts, UntaggedFacts, Verdict};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// A tag, its times in hours ago.
#[derive(Debug, Clone)]
struct Tag {
    name: String,
    tagged: Option<i64>,
    pushed: Option<i64>,
    pulled: Option<i64>,
    unrecorded: Option<i64>,
    created: Image,
}

/// What an image says of its creation.
#[derive(Debug, Clone, Copy)]
enum Image {
    HoursAgo(i64),
    Silent,
    Unreadable,
}

fn at(hours: Option<i64>) -> Option<Timestamp> {
    hours.map(|hours| NOW - SignedDuration::from_hours(hours))
}

impl Tag {
    fn pulls(&self) -> Pulled {
        Pulled { last: at(self.pulled), unrecorded: at(self.unrecorded) }
    }

    fn creation(&self) -> Created {
        match self.created {
            Image::HoursAgo(hours) => at(Some(hours)).map_or(Created::Unstated, Created::At),
            Image::Silent => Created::Unstated,
            Image::Unreadable => Created::Unreadable,
        }
    }

    fn untagged(&self) -> UntaggedFacts {
        UntaggedFacts { pushed: at(self.pushed), pulled: self.pulls(), created: self.creation() }
    }
}

fn facts(tags: &[Tag]) -> Vec<TagFacts<'_>> {
    tags.iter()
        .map(|tag| TagFacts {
            name: &tag.name,
            tagged: at(tag.tagged),
            pushed: at(tag.pushed),
            pulled: tag.pulls(),
            created: tag.creation(),
        })
        .collect()
}

/// Often the same, so that equals are met.
fn hours() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        1 => Just(None),
        10 => (-20_i64..2000).prop_map(Some),
        5 => (0_i64..20).prop_map(|step| Some(step * 100)),
        5 => (0_i64..20_000).prop_map(Some),
    ]
}

fn tag() -> impl Strategy<Value = Tag> {
    let name = prop_oneof![
        "v[0-2]\\.[0-3]\\.[0-9]",
        "v2[0-2]\\.[1-3]\\.[0-9]",
        "v[0-2]\\.[0-3]\\.0-rc[12]",
        "pr-[0-9]{1,2}",
        "[a-z]{1,4}",
        "v[a-z]"
    ];
    let created = prop_oneof![
        5 => (-20_i64..20_000).prop_map(Image::HoursAgo),
        1 => Just(Image::Silent),
        1 => Just(Image::Unreadable),
    ];
    let maybe = || proptest::option::of(-20_i64..2000);
    (name, hours(), hours(), maybe(), maybe(), created).prop_map(
        |(name, tagged, pushed, pulled, unrecorded, created)| Tag {
            name,
            tagged,
            pushed,
            pulled,
            unrecorded,
            created,
        },
    )
}

fn tags() -> impl Strategy<Value = Vec<Tag>> {
    proptest::collection::vec(tag(), 0..25).prop_map(|mut tags| {
        let mut names = BTreeSet::new();
        tags.retain(|tag| names.insert(tag.name.clone()));
        tags
    })
}

/// What a class keeps: every rule of the language, each of them or not.
#[derive(Debug, Clone, Default)]
struct Keeps {
    last: Option<u64>,
    /// By majors, minors and patches, instead of `last`, where the class is ordered by version.
    versions: Option<[Option<u64>; 3]>,
    /// Days.
    within: Option<u64>,
    /// Daily, weekly, monthly and yearly.
    calendar: [Option<u64>; 4],
    /// `last`, `within` in days and `monthly` under `all`.
    all: Option<(u64, u64, u64)>,
}

const UNITS: [&str; 4] = ["daily", "weekly", "monthly", "yearly"];

impl Keeps {
    fn text(&self, by_version: bool) -> String {
        let mut rules = Vec::new();
        let versions = self.versions.filter(|counts| by_version && counts.iter().any(Option::is_some));
        if let Some(counts) = versions {
            let levels = ["majors", "minors", "patches"].iter().zip(counts);
            let levels: Vec<String> =
                levels.filter_map(|(level, count)| Some(format!("{level}: {}", count?))).collect();
            rules.push(format!("last: {{ {} }}", levels.join(", ")));
        } else if let Some(last) = self.last {
            rules.push(format!("last: {last}"));
        }
        rules.extend(self.within.map(|days| format!("within: {days}d")));
        let units = UNITS.iter().zip(self.calendar);
        rules.extend(units.filter_map(|(unit, count)| Some(format!("{unit}: {}", count?))));
        rules.extend(self.all.map(|(last, within, monthly)| {
            format!("all: {{ last: {last}, within: {within}d, monthly: {monthly} }}")
        }));
        if rules.is_empty() { "none".to_owned() } else { format!("{{ {} }}", rules.join(", ")) }
    }

    /// These, and each rule of the others, or the more generous of both where both have it.
    fn and(&self, others: &Self) -> Self {
        let mut calendar = self.calendar;
        for (own, other) in calendar.iter_mut().zip(others.calendar) {
            *own = (*own).max(other);
        }
        // A bound that is absent is none, and more generous than any.
        let generous = |(own, other): (Option<u64>, Option<u64>)| Some(own?.max(other.unwrap_or(0)));
        let versions = self.versions.map(|own| {
            let others = others.versions.unwrap_or_default();
            [0, 1, 2].map(|level| generous((own[level], others[level])))
        });
        Self {
            last: self.last.max(others.last),
            versions: if self.last.is_none() && self.versions.is_none() { others.versions } else { versions },
            within: self.within.max(others.within),
            calendar,
            all: self.all.or(others.all),
        }
    }
}

fn keeps() -> impl Strategy<Value = Keeps> {
    let count = || proptest::option::of(1_u64..6);
    (
        count(),
        proptest::option::of([count(), count(), count()]),
        proptest::option::of(1_u64..60),
        [count(), count(), count(), count()],
        proptest::option::of((1_u64..9, 1_u64..90, 1_u64..4)),
    )
        .prop_map(|(last, versions, within, calendar, all)| Keeps {
            last,
            versions,
            within,
            calendar,
            all,
        })
}

/// Few rules at once, or else nothing ever goes.
fn few_keeps() -> impl Strategy<Value = Keeps> {
    (keeps(), 0_usize..7).prop_map(|(keeps, which)| {
        let mut few = Keeps::default();
        match which {
            0 => {}
            1 => few.last = keeps.last,
            2 => few.versions = keeps.versions,
            3 => few.within = keeps.within,
            4 => few.calendar = keeps.calendar,
            5 => few.all = keeps.all,
            _ => few = keeps,
        }
        few
    })
}

#[derive(Debug, Clone)]
struct Rules {
    clock: &'static str,
    order_by: &'static str,
    keeps: [Keeps; 3],
    limits: (Option<u64>, Option<u64>),
    protect: Vec<&'static str>,
}

fn rules() -> impl Strategy<Value = Rules> {
    (
        proptest::sample::select(vec!["tagged", "pushed", "pulled", "created"]),
        proptest::sample::select(vec!["clock", "semver", "calver", "name", "captures", "[2, 1]"]),
        [few_keeps(), few_keeps(), few_keeps()],
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
        // Two captures count majors and minors, and no patches.
        let by_version = ["semver", "calver", "captures"].contains(&self.order_by);
        let [release, pr, other] = &self.keeps;
        let (release, pr, other) = (release.text(by_version), pr.text(false), other.text(false));
        let text = format!(
            "version: 1\n\
             protect: {{ tags: {:?} }}\n\
             classes:\n  \
               release: {{ match: 're:v([0-9a-z]+)(?:\\.([0-9]+))?(?:\\.([0-9]+))?(?:-rc[0-9])?', order_by: {} }}\n  \
               pr: {{ match: 'pr-*' }}\n\
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
    gone.map(|(tag, _)| tag.name.clone()).collect()
}

/// Which of the manifests without a tag go, by their places.
fn untagged_expired(rules: &Rules, manifests: &[UntaggedFacts]) -> BTreeSet<usize> {
    let decisions = rules.policy().decide_untagged("app", manifests, NOW);
    (0..manifests.len()).filter(|&place| decisions[place].is_expired()).collect()
}

proptest! {
    #[test]
    fn a_keep_more_never_expires_more(
        rules in rules(),
        tags in tags(),
        class in 0_usize..3,
        added in keeps(),
    ) {
        let mut more = rules.clone();
        more.keeps[class] = rules.keeps[class].and(&added);
        let before = expired(&rules.without_limits(), &tags);
        let after = expired(&more.without_limits(), &tags);
        prop_assert!(after.is_subset(&before), "{after:?} in {before:?}");
        // max_delete takes the oldest of what is left, so another tag may go instead, but never one more.
        prop_assert!(expired(&more, &tags).len() <= expired(&rules, &tags).len());
        prop_assert!(expired(&more, &tags).is_subset(&before));
        let untagged: Vec<_> = tags.iter().map(Tag::untagged).collect();
        let before = untagged_expired(&rules.without_limits(), &untagged);
        let after = untagged_expired(&more.without_limits(), &untagged);
        prop_assert!(after.is_subset(&before), "untagged: {after:?} in {before:?}");
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
        for (Tag { name, .. }, decision) in tags.iter().zip(rules.policy().decide_tags("app", &facts(&tags), NOW)) {
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
            let names = tags.iter().map(|tag| tag.name.clone());
            let mut decided: Vec<_> = names.zip(policy.decide_tags("app", &facts(tags), NOW)).collect();
            decided.sort_by(|left, right| left.0.cmp(&right.0));
            decided
        };
        prop_assert_eq!(decide(&tags), decide(&shuffled));
    }

    #[test]
    fn decisions_are_the_same_in_every_run_and_on_every_thread(rules in rules(), tags in tags()) {
        let policy = rules.policy();
        let facts = facts(&tags);
        let here = policy.decide_tags("app", &facts, NOW);
        let there: Vec<Vec<Decision>> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..3).map(|_| scope.spawn(|| policy.decide_tags("app", &facts, NOW))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for decisions in &there {
            prop_assert_eq!(decisions, &here);
        }
        prop_assert_eq!(rules.policy().decide_tags("app", &facts, NOW), here);
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
        for (Tag { name, tagged, pushed, .. }, decision) in tags.iter().zip(decisions) {
            if decision.is_expired() {
                prop_assert!(tagged.is_some_and(|hours| hours >= 24), "{name}");
                prop_assert!(pushed.is_none_or(|hours| hours >= 24), "{name}");
            }
        }
    }

    #[test]
    fn untagged_manifests_are_judged_alike_in_any_order(rules in rules(), tags in tags()) {
        let manifests: Vec<_> = tags.iter().map(Tag::untagged).collect();
        let decisions = rules.without_limits().policy().decide_untagged("app", &manifests, NOW);
        prop_assert_eq!(decisions.len(), manifests.len());
        for (tag, decision) in tags.iter().zip(&decisions) {
            if decision.is_expired() {
                prop_assert!(tag.pushed.is_some_and(|hours| hours >= 24), "{tag:?}: {decision}");
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

/// Properties of what goes would hold idly where nothing does.
#[test]
fn under_every_clock_and_order_some_go_and_some_stay() {
    let names = ["v1.0.0", "v1.1.0", "v2.0.0", "v20.1.1", "v21.2.2", "va", "pr-1", "pr-2", "x", "y"];
    let tags: Vec<Tag> = names
        .into_iter()
        .zip(1_i64..)
        .map(|(name, days)| {
            let hours = Some(days * 100);
            let created = Image::HoursAgo(days * 100);
            Tag {
                name: name.to_owned(),
                tagged: hours,
                pushed: hours,
                pulled: hours,
                unrecorded: None,
                created,
            }
        })
        .collect();
    for clock in ["tagged", "pushed", "pulled", "created"] {
        for order_by in ["clock", "semver", "calver", "name", "captures", "[2, 1]"] {
            let one = Keeps { last: Some(1), ..Keeps::default() };
            let keeps = [one.clone(), one.clone(), one];
            let rules = Rules { clock, order_by, keeps, limits: (None, None), protect: Vec::new() };
            let gone = expired(&rules, &tags);
            assert!(gone.len() >= 3 && gone.len() < tags.len(), "{clock}, {order_by}: {gone:?}");
        }
    }
}
