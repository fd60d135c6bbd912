//! Why a plan is not carried out: values, collected and shown all at once.

use crate::oci::RepositoryName;

/// Why a plan is not carried out. Each says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The plan is for something else.
    #[error("the plan was made for {plan}, and this is {store}: make a plan for this store")]
    OtherStore {
        /// Where it was made.
        plan: String,
        /// Where it was to be carried out.
        store: String,
    },
    /// The plan is too old.
    #[error("the plan is {age} old, and one of more than {limit} is not carried out: make it again")]
    Stale {
        /// Its age.
        age: String,
        /// The limit.
        limit: String,
    },
    /// The plan is from another policy.
    #[error("the plan was made by another version of the policy: make it again, or leave out the policy")]
    OtherPolicy,
    /// More goes than the limit allows.
    #[error(
        "{gone} of {all} {what} would go, and the limit is {limit}: look at the plan, and if it is what you want, run \
         again with --accept {accept}"
    )]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much would go, in words.
        gone: String,
        /// How much there is, in words.
        all: String,
        /// The limit.
        limit: String,
        /// What lifts it.
        accept: String,
    },
    /// A repository would lose its last tag.
    #[error(
        "{repository} would lose all of its {tags} tags{others}: if it is what you want, run again with --accept \
         repository_may_empty, or write limits.repository_may_empty in the policy"
    )]
    Empties {
        /// The first such repository.
        repository: RepositoryName,
        /// Its tags.
        tags: u64,
        /// How many more there are, in words.
        others: String,
    },
    /// Nothing would be live.
    #[error(
        "no manifest would be left of {before}: that is seldom meant. If it is, run again with --accept \
         repository_may_empty"
    )]
    NothingLeft {
        /// Manifests before.
        before: u64,
    },
    /// Much less is there than the last run left.
    #[error(
        "{now} {what} are there, and the last run left {before}: a listing that stops short looks like that. If they \
         were deleted, run again with --accept shrink=100%"
    )]
    Shrunk {
        /// Of what.
        what: &'static str,
        /// How many are there.
        now: u64,
        /// How many the last run left.
        before: u64,
    },
    /// The store belongs to a pull-through cache.
    #[error(
        "this is the store of a pull-through cache, which expires content by itself: leave it alone, or run again with \
         --accept pull_through_cache"
    )]
    PullThroughCache,
    /// Something that the policy wants to be asked did not answer.
    #[error("what must not go is not known, so nothing goes: {0}")]
    Source(String),
    /// The mode does not fit.
    #[error("{0}")]
    Mode(String),
    /// A repository manager must do it itself.
    #[error(
        "{gone} of the steps are about tags, manifests and blobs that the repository manager's database knows: files that go \
         without it leave images that are listed and cannot be pulled or pushed again. Delete these tags in the \
         repository manager and run its tasks; without a policy regsweep removes what the database does not know"
    )]
    NotInFiles {
        /// How many.
        gone: u64,
    },
    /// What goes does not come back.
    #[error(
        "the repository manager deletes for good, and no restore brings it back: look at the plan, and if it is what you \
         want, run again with --accept no_undo"
    )]
    NoUndo,
    /// A step would lose something. This is a defect of regsweep, or the store changed since the plan was made.
    #[error("step {step} would lose something: {why}. Nothing was done; make the plan again")]
    Unsafe {
        /// The step's number.
        step: usize,
        /// What it would lose.
        why: String,
    },
}

impl Refusal {
    /// The rule that refuses, as one word for counting.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::OtherStore { .. } => "other_store",
            Self::Stale { .. } => "stale",
            Self::OtherPolicy => "other_policy",
            Self::TooMuch { .. } => "too_much",
            Self::Empties { .. } => "repository_may_empty",
            Self::NothingLeft { .. } => "nothing_left",
            Self::Shrunk { .. } => "shrunk",
            Self::PullThroughCache => "pull_through_cache",
            Self::Source(_) => "source",
            Self::Mode(_) => "mode",
            Self::NotInFiles { .. } => "not_in_files",
            Self::NoUndo => "no_undo",
            Self::Unsafe { .. } => "unsafe",
        }
    }
}
