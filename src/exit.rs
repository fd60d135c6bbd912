//! The exit codes, in one place; `--help` prints this table.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; also when there was nothing to do.
    Done,
    /// Finished, and some steps failed. A rerun takes them up.
    SomeFailed,
    /// Wrong usage, or a file or flag that is wrong.
    Usage,
    /// Refused for safety.
    Refused,
    /// The store cannot be reached or listed whole. A rerun takes up what was begun.
    Unreachable,
    /// Ended by this signal, after the step in hand.
    Signal(u8),
}

impl Exit {
    /// The number that a shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::SomeFailed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The table as `--help` prints it.
pub const TABLE: &str = "\
Exit codes:
  0    done (also: nothing to do)
  1    finished, some steps failed; a rerun takes them up
  2    wrong usage or configuration
  3    refused for safety (plan check, limits, lease held, clock skew, no known layout)
  4    store unreachable, or the listing is not complete; a rerun takes up what was begun
  130  interrupted (143: terminated), after the step in hand";
