//! Errors of a policy document, with their places.

use std::fmt;

/// One thing wrong with a policy document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; 0 when the problem is the whole document's.
    pub line: u64,
    /// The column in characters, from 1; 0 when the problem is the whole document's.
    pub column: u64,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Everything wrong with a policy document.
///
/// `Display` has a line for each problem: `policy.yaml:12:9: unknown key "repositorys" (did you mean "repositories"?)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    origin: String,
    problems: Vec<Problem>,
}

impl PolicyError {
    /// The problems of one document, at least one, sorted by their place.
    pub(super) fn new(origin: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        problems.dedup();
        Self { origin: origin.to_owned(), problems }
    }

    /// The document's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The problems in the order of their places.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(formatter)?;
            }
            write!(formatter, "{}:", self.origin)?;
            if problem.line > 0 {
                write!(formatter, "{}:{}:", problem.line, problem.column)?;
            }
            write!(formatter, " {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}
