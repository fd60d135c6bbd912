//! Tags that name what they are about: they live and go with it.

use super::{Held, Marker};
use crate::inventory::{BlobId, Target};
use crate::oci::Digest;
use crate::policy::referrers::referrer_subject;
use crate::policy::{Decision, ExpireReason, KeepReason, Verdict};

impl Marker<'_> {
    fn follower_subject(&self, index: usize) -> Option<BlobId> {
        let (algorithm, hex) = referrer_subject(self.repository.tags[index].name.as_str())?;
        self.inventory.blobs.find(&Digest::from_parts(algorithm, hex).ok()?)
    }

    /// Tags that name their subject stay with it, and bring what they point to, which may be the subject of others.
    pub(super) fn follow_subjects(&mut self, decisions: &mut [Decision]) {
        loop {
            let mut changed = false;
            for (index, decision) in decisions.iter_mut().enumerate() {
                if decision.verdict != Verdict::Follows {
                    continue;
                }
                let Some(subject) = self.follower_subject(index) else { continue };
                let kept = self.linked.get(&subject).is_some_and(|&revision| self.fates[revision].is_some());
                if kept {
                    decision.verdict = Verdict::Keep(KeepReason::Subject);
                    if let Target::Manifest(id) = self.repository.tags[index].target {
                        self.reach(id, &Held::Tag(index));
                    }
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// A follower whose subject is here and goes, goes with it; one whose subject is gone has had its time or not.
    pub(super) fn settle_followers(&mut self, decisions: &mut [Decision]) {
        for (index, decision) in decisions.iter_mut().enumerate() {
            if decision.verdict != Verdict::Follows {
                continue;
            }
            let tag = &self.repository.tags[index];
            let here = self.follower_subject(index).is_some_and(|subject| self.linked.contains_key(&subject));
            let held = self.tag_young(tag) || self.tag_pinned(&tag.name);
            match self.rules.policy {
                None => decision.verdict = Verdict::Keep(KeepReason::NoPolicy),
                // What is kept here may be the subject of others: that is known when all of it is.
                Some(_) if here && !held => continue,
                Some(_) if here => {}
                Some(policy) => {
                    let name = self.repository.name.as_str();
                    *decision = policy.decide_orphaned_referrer(name, tag.tagged, self.rules.now);
                }
            }
            if held && !matches!(decision.verdict, Verdict::Keep(_)) {
                decision.verdict = Verdict::Keep(KeepReason::Young);
            }
            if let (Verdict::Keep(_), Target::Manifest(id)) = (&decision.verdict, &tag.target) {
                self.reach(*id, &Held::Tag(index));
            }
        }
        self.follow_subjects(decisions);
        for decision in decisions.iter_mut().filter(|decision| decision.verdict == Verdict::Follows) {
            decision.verdict = Verdict::Expire(ExpireReason::Subject);
        }
    }
}
