//! Policies from what other registries' rules are written in.
//!
//! Where the two languages differ, what comes out keeps more, never less, and a note says what differs.

mod artifact_registry;
mod draft;
mod ecr;
mod gitlab;
mod harbor;
mod input;
mod quay;
mod zot;

use draft::Draft;
use input::Input;

/// Whose rules a document holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A lifecycle policy of Amazon ECR.
    Ecr,
    /// Cleanup policies of Google's Artifact Registry.
    ArtifactRegistry,
    /// A tag retention policy of Harbor, as its API gives it.
    Harbor,
    /// The configuration of zot, as JSON or YAML.
    Zot,
    /// The cleanup policy of a GitLab project, as its API takes it.
    Gitlab,
    /// Auto-prune policies of Quay, as its API gives them.
    Quay,
}

impl Source {
    /// Every source.
    pub const ALL: [Self; 6] =
        [Self::Ecr, Self::ArtifactRegistry, Self::Harbor, Self::Zot, Self::Gitlab, Self::Quay];

    /// The name by which a user gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ecr => "ecr",
            Self::ArtifactRegistry => "artifact-registry",
            Self::Harbor => "harbor",
            Self::Zot => "zot",
            Self::Gitlab => "gitlab",
            Self::Quay => "quay",
        }
    }

    /// The product, in words.
    const fn product(self) -> &'static str {
        match self {
            Self::Ecr => "an Amazon ECR lifecycle policy",
            Self::ArtifactRegistry => "Artifact Registry cleanup policies",
            Self::Harbor => "a Harbor tag retention policy",
            Self::Zot => "the retention of a zot configuration",
            Self::Gitlab => "a GitLab cleanup policy",
            Self::Quay => "Quay auto-prune policies",
        }
    }
}

/// A policy document made from another product's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The document, which says in comments what did not carry over.
    pub text: String,
    /// What did not carry over, a sentence each.
    pub notes: Vec<String>,
}

/// Why a document cannot be converted; the text names the place in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConvertError(String);

impl ConvertError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Converts a document. `repositories` are the patterns of those that it is about, where it does not say so itself.
///
/// # Errors
/// When the document is not what the source writes.
pub fn convert(source: Source, text: &str, repositories: &[String]) -> Result<Converted, ConvertError> {
    let input = Input::parse(text)?;
    let mut draft = Draft::new(source, repositories);
    match source {
        Source::Ecr => ecr::convert(&input, &mut draft)?,
        Source::ArtifactRegistry => artifact_registry::convert(&input, &mut draft)?,
        Source::Harbor => harbor::convert(&input, &mut draft)?,
        Source::Zot => zot::convert(&input, &mut draft)?,
        Source::Gitlab => gitlab::convert(&input, &mut draft)?,
        Source::Quay => quay::convert(&input, &mut draft)?,
    }
    Ok(draft.finish())
}

#[cfg(test)]
mod tests;
