//! From facts to decisions.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::config::values::Period;
use crate::oci::Created;
use crate::policy::Policy;
use crate::policy::age::{Age, by_clock};
use crate::policy::pulls::Pulled;
use crate::policy::referrers::referrer_subject;
use crate::policy::rules::{Clock, Keep, OrderBy, RepositoryPolicy};
use crate::policy::standing::{Member, judge};
use crate::policy::verdict::{Decision, ExpireReason, KeepReason, OTHER, UNTAGGED, Verdict};

/// What is known of a tag. `None` is unknown, which keeps wherever a rule needs the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TagFacts<'a> {
    /// The tag, without its repository.
    pub name: &'a str,
    /// When the tag was last written.
    pub tagged: Option<Timestamp>,
    /// When the manifest was pushed.
    pub pushed: Option<Timestamp>,
    /// When it was last pulled, as far as anybody knows.
    pub pulled: Pulled,
    /// When the image says that it was created.
    pub created: Created,
}

/// What is known of a manifest that no tag of its repository names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UntaggedFacts {
    /// When it was pushed; `None` is unknown, which keeps.
    pub pushed: Option<Timestamp>,
    /// When it was last pulled, as far as anybody knows.
    pub pulled: Pulled,
    /// When the image says that it was created.
    pub created: Created,
}

impl Policy {
    /// Decides about every tag of a repository; the decisions stand in the order of the tags.
    ///
    /// `tags` must be all tags of the repository: ranks are counted among them.
    pub fn decide_tags(&self, repository: &str, tags: &[TagFacts<'_>], now: Timestamp) -> Vec<Decision> {
        let policy = self.for_repository(repository);
        let mut contenders = Vec::new();
        // A contender's place is filled with what keeps it unless the ranking says otherwise.
        let mut decisions: Vec<Decision> = Vec::with_capacity(tags.len());
        for (index, tag) in tags.iter().enumerate() {
            let (decision, contender) = self.settle(policy, repository, tag, index, now);
            decisions.push(decision);
            contenders.extend(contender);
        }
        if let Some(policy) = policy {
            self.rank_classes(policy, tags, &contenders, now, &mut decisions);
            hold_back_tags(policy, tags, &contenders, &mut decisions);
        }
        decisions
    }

    /// Decides about every manifest of a repository that no tag, live index or live subject holds; the decisions
    /// stand in the order of the manifests.
    ///
    /// Manifests pushed at the same moment share the best of their ranks.
    pub fn decide_untagged(
        &self,
        repository: &str,
        manifests: &[UntaggedFacts],
        now: Timestamp,
    ) -> Vec<Decision> {
        let policy = self.for_repository(repository);
        let all = |class: Option<&str>, reason| {
            vec![Decision::new(policy, class.map(Arc::from), Verdict::Keep(reason)); manifests.len()]
        };
        if let Some(pattern) = self.protect.repositories.matching(repository) {
            return all(None, KeepReason::Protected { pattern: pattern.text().clone() });
        }
        let Some(governing) = policy else {
            return all(None, KeepReason::NoPolicy);
        };
        let Some(rule) = &governing.untagged else {
            return all(Some(UNTAGGED), KeepReason::UntaggedWithoutRule);
        };
        if *rule == Keep::All {
            return all(Some(UNTAGGED), KeepReason::ClassKeepsAll);
        }
        let class: Arc<str> = Arc::from(UNTAGGED);
        let mut decisions = Vec::with_capacity(manifests.len());
        let (mut known, mut members) = (Vec::new(), Vec::new());
        for (index, manifest) in manifests.iter().enumerate() {
            let reason = match self.untagged_times(governing.clock, manifest, now) {
                Err(reason) => reason,
                Ok((Age { time, open }, newest)) => {
                    known.push((index, newest));
                    members.push(Member { name: "", time, open });
                    KeepReason::TimeUnknown
                }
            };
            decisions.push(Decision::new(policy, Some(class.clone()), Verdict::Keep(reason)));
        }
        let mut expired = Vec::new();
        let verdicts = judge(rule, OrderBy::CLOCK, &members, now);
        for (((index, newest), member), verdict) in known.into_iter().zip(&members).zip(verdicts) {
            let verdict = self.spare_young(verdict, now.duration_since(newest));
            if let Verdict::Expire(_) = verdict {
                expired.push((member.time, index));
            }
            decisions[index].verdict = verdict;
        }
        expired.sort_unstable();
        let oldest_first: Vec<usize> = expired.into_iter().map(|(_, index)| index).collect();
        hold_back(&mut decisions, &oldest_first, governing.limits.max_delete, |max_delete| {
            KeepReason::MaxDelete { max_delete }
        });
        decisions
    }

    /// Decides about a referrer whose subject is gone from its repository since `since`; `None` is unknown, which
    /// keeps.
    pub fn decide_orphaned_referrer(
        &self,
        repository: &str,
        since: Option<Timestamp>,
        now: Timestamp,
    ) -> Decision {
        let policy = self.for_repository(repository);
        let verdict = if let Some(pattern) = self.protect.repositories.matching(repository) {
            Verdict::Keep(KeepReason::Protected { pattern: pattern.text().clone() })
        } else if policy.is_none() {
            Verdict::Keep(KeepReason::NoPolicy)
        } else {
            match known_past(since, now) {
                Err(reason) => Verdict::Keep(reason),
                Ok(time) => {
                    let (exact, after) = (now.duration_since(time), self.orphaned_after);
                    let age = Period::from_signed(exact);
                    if exact <= after.as_signed() {
                        Verdict::Keep(KeepReason::Orphaned { age, after })
                    } else {
                        let by = Period::from_signed(exact - after.as_signed());
                        self.spare_young(Verdict::Expire(ExpireReason::Orphaned { age, after, by }), exact)
                    }
                }
            }
        };
        Decision::new(policy, None, verdict)
    }

    /// Decides about a tag as far as that needs no sibling; the rest is left to the ranking.
    fn settle(
        &self,
        policy: Option<&RepositoryPolicy>,
        repository: &str,
        tag: &TagFacts<'_>,
        index: usize,
        now: Timestamp,
    ) -> (Decision, Option<Contender>) {
        let protected = self.protect.repositories.matching(repository);
        let protected = protected.or_else(|| self.protect.tags.matching(tag.name));
        let protected = protected.or_else(|| policy?.protect.matching(tag.name));
        let protected = protected.or_else(|| policy?.preset_protect.matching(tag.name));
        if let Some(pattern) = protected {
            let reason = KeepReason::Protected { pattern: pattern.text().clone() };
            return (Decision::new(policy, None, Verdict::Keep(reason)), None);
        }
        let Some(governing) = policy else {
            return (Decision::new(None, None, Verdict::Keep(KeepReason::NoPolicy)), None);
        };
        if referrer_subject(tag.name).is_some() {
            return (Decision::new(policy, None, Verdict::Follows), None);
        }
        let class = governing.class_of(tag.name);
        let (name, rule) = governing.rule_of(class);
        let kept = |reason| Decision::new(policy, name.clone(), Verdict::Keep(reason));
        match rule {
            None if class.is_some() => (kept(KeepReason::ClassWithoutRule), None),
            None => (kept(KeepReason::Unmatched), None),
            Some(Keep::All) => (kept(KeepReason::ClassKeepsAll), None),
            Some(_) => match Contender::new(index, tag, class, governing.clock, self.grace, now) {
                Ok(contender) => (kept(KeepReason::TimeUnknown), Some(contender)),
                Err(reason) => (kept(reason), None),
            },
        }
    }

    /// Ranks the contenders of each class among themselves and judges them.
    fn rank_classes(
        &self,
        policy: &RepositoryPolicy,
        tags: &[TagFacts<'_>],
        contenders: &[Contender],
        now: Timestamp,
        decisions: &mut [Decision],
    ) {
        for class in (0..policy.classes.len()).map(Some).chain([None]) {
            let (_, Some(rule)) = policy.rule_of(class) else { continue };
            let order_by = class.map_or(OrderBy::CLOCK, |index| &policy.classes[index].class.order_by);
            let of_class: Vec<&Contender> = contenders.iter().filter(|it| it.class == class).collect();
            let members: Vec<Member<'_>> = of_class
                .iter()
                .map(|contender| Member {
                    name: tags[contender.index].name,
                    time: contender.time,
                    open: contender.open,
                })
                .collect();
            for (contender, verdict) in of_class.iter().zip(judge(rule, order_by, &members, now)) {
                decisions[contender.index].verdict =
                    self.spare_young(verdict, now.duration_since(contender.newest));
            }
        }
    }

    /// The time of an untagged manifest by a clock, and the newest of its times, or why its times keep it. What has no
    /// tag was never tagged at any time: its push stands in.
    fn untagged_times(
        &self,
        clock: Clock,
        manifest: &UntaggedFacts,
        now: Timestamp,
    ) -> Result<(Age, Timestamp), KeepReason> {
        let age = by_clock(clock, manifest.pushed, manifest.pulled, manifest.created);
        let age = age.ok_or(KeepReason::TimeUnknown)?;
        let time = known_past(Some(age.time), now)?;
        // An old image may have been pushed just now.
        if manifest.pushed.is_none() && !self.grace.is_zero() {
            return Err(KeepReason::TimeUnknown);
        }
        let newest = known_past(Some(manifest.pushed.map_or(time, |pushed| pushed.max(time))), now)?;
        Ok((age, newest))
    }

    /// Keeps what would go but is younger than the grace.
    fn spare_young(&self, verdict: Verdict, age: SignedDuration) -> Verdict {
        match verdict {
            Verdict::Expire(_) if age < self.grace.as_signed() => {
                let age = Period::from_signed(age);
                Verdict::Keep(KeepReason::Grace { age, grace: self.grace })
            }
            verdict => verdict,
        }
    }
}

impl RepositoryPolicy {
    /// The place of the first class that matches the tag; `None` stands for `other`.
    fn class_of(&self, tag: &str) -> Option<usize> {
        self.classes.iter().position(|rule| rule.class.matches.matches(tag))
    }

    /// The name and the rule of a class as [`Self::class_of`] gave it; no name for `other` without a rule.
    fn rule_of(&self, class: Option<usize>) -> (Option<Arc<str>>, Option<&Keep>) {
        match class {
            Some(index) => (Some(self.classes[index].class.name.clone()), self.classes[index].keep.as_ref()),
            None => (self.other.as_ref().map(|_| Arc::from(OTHER)), self.other.as_ref()),
        }
    }
}

/// A tag that nothing holds before its siblings are known.
struct Contender {
    /// Its place among the tags.
    index: usize,
    /// Its class; `None` is `other`.
    class: Option<usize>,
    /// Its time by the policy's clock.
    time: Timestamp,
    /// It may as well be any earlier time.
    open: bool,
    /// The newest of its times, which the grace counts from.
    newest: Timestamp,
}

impl Contender {
    /// A tag with the times that its rules need, or why its times keep it.
    fn new(
        index: usize,
        tag: &TagFacts<'_>,
        class: Option<usize>,
        clock: Clock,
        grace: Period,
        now: Timestamp,
    ) -> Result<Self, KeepReason> {
        let age = match clock {
            Clock::Tagged => tag.tagged.map(Age::of),
            other => by_clock(other, tag.pushed, tag.pulled, tag.created),
        };
        let Age { time, open } = age.ok_or(KeepReason::TimeUnknown)?;
        known_past(Some(time), now)?;
        // A tag may have been moved just now on to an old manifest: without its time nothing proves it older than
        // the grace.
        if tag.tagged.is_none() && !grace.is_zero() {
            return Err(KeepReason::TimeUnknown);
        }
        let newest = tag.tagged.into_iter().chain(tag.pushed).fold(time, Timestamp::max);
        let newest = known_past(Some(newest), now)?;
        Ok(Self { index, class, time, open, newest })
    }
}

/// The time, if it is known and has come; otherwise why it keeps.
fn known_past(time: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, KeepReason> {
    match time {
        None => Err(KeepReason::TimeUnknown),
        Some(time) if time > now => {
            Err(KeepReason::FutureTime { ahead: Period::from_signed(time.duration_since(now)) })
        }
        Some(time) => Ok(time),
    }
}

/// Holds expired tags back, the youngest first, until the repository's limits are met.
fn hold_back_tags(
    policy: &RepositoryPolicy,
    tags: &[TagFacts<'_>],
    contenders: &[Contender],
    decisions: &mut [Decision],
) {
    let mut expired: Vec<_> =
        contenders.iter().filter(|contender| decisions[contender.index].is_expired()).collect();
    expired.sort_unstable_by_key(|contender| (contender.time, tags[contender.index].name));
    let oldest_first: Vec<usize> = expired.into_iter().map(|contender| contender.index).collect();
    if let Some(min_keep) = policy.limits.min_keep {
        let counted = decisions.iter().filter(|decision| counts_as_kept(&decision.verdict)).count();
        let spare = count(counted).saturating_sub(min_keep);
        hold_back(decisions, &oldest_first, Some(spare), |_| KeepReason::MinKeep { min_keep });
    }
    hold_back(decisions, &oldest_first, policy.limits.max_delete, |max_delete| KeepReason::MaxDelete {
        max_delete,
    });
}

/// Whether a tag is one of those that `min_keep` counts before anything goes.
fn counts_as_kept(verdict: &Verdict) -> bool {
    !matches!(
        verdict,
        Verdict::Follows
            | Verdict::Keep(
                KeepReason::Protected { .. } | KeepReason::TimeUnknown | KeepReason::FutureTime { .. }
            )
    )
}

/// Lets at most `most` of the expired go, in the order given, and keeps the others for the reason.
fn hold_back(
    decisions: &mut [Decision],
    oldest_first: &[usize],
    most: Option<u64>,
    reason: impl Fn(u64) -> KeepReason,
) {
    let Some(most) = most else { return };
    let held = oldest_first.iter().skip(usize::try_from(most).unwrap_or(usize::MAX));
    for index in held {
        if decisions[*index].is_expired() {
            decisions[*index].verdict = Verdict::Keep(reason(most));
        }
    }
}

/// A length as the number that plans and rules count in.
fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod peers;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod tests;
