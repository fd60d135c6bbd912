//! Stage 6: what will be.
//!
//! A [`Plan`] is data with no choices left in it: it says which store it is for, what it saw, and every step with the
//! evidence for it. Executing one is the business of `sweep`, and only a [`CheckedPlan`] can be executed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::values::Period;
use crate::evidence::managed::Listed;
use crate::oci::{Digest, RepositoryName};
use crate::policy::Decision;
use crate::store::Identity;

mod action;
pub mod build;
pub mod candidates;
mod check;
pub mod explain;
mod freed;
pub mod limits;
mod managed;
mod mend;
mod records;
mod refusal;
mod unknown;
pub mod usage;
mod waiting;

pub use action::Action;
pub use check::{CheckedPlan, Refused, World, check as check_plan};
pub use mend::{PurgeBan, Taken, TakenTag, gives_back_first};
pub use records::{RecordMode, UnknownMode};
pub use refusal::Refusal;

/// The `schema` of a plan file. A reader refuses any other.
pub const SCHEMA: &str = "regsweep/plan/1";

/// Everything a run will do, and what it goes by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// What it is for and what it saw.
    pub header: Header,
    /// Steps in the order in which they are carried out: references before what they refer to.
    pub steps: Vec<Step>,
    /// What is unreferenced and not yet old enough, or condemned in this run.
    pub condemned: Vec<Condemned>,
    /// What is freed, by repository.
    pub freed: Freed,
    /// It gives back and takes nothing: what comes back may need more than could be seen without it, so what goes is
    /// decided afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mends: bool,
    /// What it takes for granted of the sources that the policy names, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What its time has come for, and that stays all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_back: Option<HeldBack>,
}

/// Trash that is old enough to be purged, and is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldBack {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Why, and what to do about it.
    pub why: String,
}

/// What a plan is for and what it saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// The version of regsweep that made it.
    pub regsweep: String,
    /// The store.
    pub store: Identity,
    /// The layout's name.
    pub layout: String,
    /// When the listing began.
    pub listed_at: Timestamp,
    /// Whether the registry is stopped or read-only, as the user says.
    pub mode: Mode,
    /// Where the policy was read from.
    pub policy_origin: Option<String>,
    /// SHA-256 of the policy's text, in hexadecimal.
    pub policy_hash: Option<String>,
    /// The policy's text, so that a plan file can be checked where the policy file is not.
    pub policy: Option<String>,
    /// Nothing younger goes.
    pub grace: Period,
    /// How long what goes can be brought back.
    pub trash_keep: Period,
    /// What the store held.
    pub saw: Counts,
    /// Whether a repository manager deletes what goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub managed: bool,
}

/// Whether pushes may be going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The registry is stopped or read-only: one run condemns and sweeps.
    Offline,
    /// The registry is serving: links go now, and data only what an earlier run condemned.
    Online,
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Offline => "offline",
            Self::Online => "online",
        })
    }
}

/// What a store held when it was listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Repositories.
    pub repositories: u64,
    /// Tags.
    pub tags: u64,
    /// Manifests, once in every repository that has them.
    pub manifests: u64,
    /// Blobs with data.
    pub blobs: u64,
    /// Bytes of these blobs, as far as they are known.
    pub bytes: u64,
    /// Blobs that something kept needs.
    pub live_blobs: u64,
    /// Bytes of these.
    pub live_bytes: u64,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    #[serde(flatten)]
    pub action: Action,
    /// Why it may be done.
    pub evidence: Evidence,
}

impl Step {
    /// Whether the repository manager carries it out.
    pub fn is_managed(&self) -> bool {
        self.evidence.listed.is_some() || matches!(self.action, Action::RunTask { .. })
    }
}

/// Why a step may be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The reason.
    pub reason: Reason,
    /// The latest sign of change of what goes. `None` where there was nothing to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
    /// What the repository manager lists of it, where that is to delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<Box<Listed>>,
}

/// Why something goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The policy says so.
    Policy(Decision),
    /// The manifest that it belongs to goes.
    Along,
    /// Nothing that stays refers to it.
    Unreferenced,
    /// It leads nowhere: its target is gone.
    Dangling,
    /// Nobody has touched it for so long that nobody will.
    Abandoned,
    /// It is empty.
    Empty,
    /// What goes is let go of by a task of the repository manager.
    Managed,
    /// The database of the repository manager does not know it, and would by now.
    Unknown,
    /// Its time in the trash is over.
    TrashKept,
    /// Something needs it and it is missing.
    NeededAgain,
}

/// A blob that nothing references and that stays for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condemned {
    /// The blob.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// When it was first seen with nothing that refers or links to it.
    pub since: Timestamp,
    /// When it may go, at the earliest.
    pub until: Timestamp,
    /// Whether it was a manifest.
    #[serde(default)]
    pub manifest: bool,
}

/// What is remembered of a condemned blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condemnation {
    /// When it was first seen with nothing that refers or links to it.
    pub since: Timestamp,
    /// Whether it was a manifest: those stay ten times longer in the trash.
    #[serde(default)]
    pub manifest: bool,
}

/// What a plan frees.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freed {
    /// Bytes of all blobs that go, each counted once.
    pub bytes: u64,
    /// Blobs that go.
    pub blobs: u64,
    /// Of these bytes, what was unreferenced before any rule of the policy.
    pub unreferenced_bytes: u64,
    /// Of these blobs, how many were unreferenced before any rule of the policy.
    pub unreferenced_blobs: u64,
    /// Bytes that several repositories shared, and that go because all of them let go.
    pub shared_bytes: u64,
    /// Bytes of abandoned uploads and leftovers.
    pub upload_bytes: u64,
    /// Bytes of what the database of a repository manager does not know, without what another name leads to as well.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown_bytes: u64,
    /// By repository, where anything goes.
    pub repositories: Vec<FreedIn>,
}

/// What a plan frees in one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreedIn {
    /// The repository.
    pub repository: RepositoryName,
    /// Tags before.
    pub tags: u64,
    /// Tags that go.
    pub tags_gone: u64,
    /// Manifests that go.
    pub manifests_gone: u64,
    /// Bytes that only this repository referred to, and that go.
    pub exclusive_bytes: u64,
    /// Bytes that it shared with others, and that go: counted in each of them, and once in the total.
    pub shared_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Plan {
    /// Reads a plan file.
    ///
    /// # Errors
    /// When it is no plan, or of a schema that this version does not read.
    pub fn read(text: &str) -> Result<Self, String> {
        let schema = serde_json::from_str::<serde_json::Value>(text)
            .map_err(|error| format!("it is not JSON: {error}"))?
            .get("schema")
            .and_then(|schema| schema.as_str().map(ToOwned::to_owned));
        match schema.as_deref() {
            Some(SCHEMA) => serde_json::from_str(text).map_err(|error| format!("it is no plan: {error}")),
            Some(other) => {
                Err(format!("its schema is {other}, and this version reads {SCHEMA}; make the plan again"))
            }
            None => Err(format!("it has no schema; a plan file says {SCHEMA}")),
        }
    }

    /// The plan without its steps, of which there may be millions: what a report tells of it when it is carried out.
    #[must_use]
    pub fn summary(&self) -> Self {
        Self {
            schema: self.schema.clone(),
            header: self.header.clone(),
            steps: Vec::new(),
            condemned: self.condemned.clone(),
            freed: self.freed.clone(),
            mends: self.mends,
            notes: self.notes.clone(),
            held_back: self.held_back.clone(),
        }
    }

    /// Whether the repository manager is to delete what goes: then nothing of it can be brought back.
    pub fn is_managed(&self) -> bool {
        self.steps.iter().any(Step::is_managed)
    }

    /// Tags that go.
    pub fn tags_gone(&self) -> u64 {
        self.steps.iter().filter(|step| matches!(step.action, Action::Untag { .. })).count() as u64
    }
}
