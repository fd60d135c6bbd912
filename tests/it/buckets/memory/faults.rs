//! What goes wrong, and when.

use std::time::Duration;

use jiff::SignedDuration;

/// In the place of an operation: every one that changes something.
pub const WRITES: &str = "writes";

/// Whether an operation changes something.
pub fn writes(operation: &str) -> bool {
    !["Get", "Head", "List"].iter().any(|verb| operation.starts_with(verb))
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// It is not carried out; the answer is this status with this error code.
    Refuse {
        /// Such as 503.
        status: u16,
        /// Such as `SlowDown`.
        code: &'static str,
    },
    /// It is not carried out, and the connection is closed without an answer.
    HangUp,
    /// It is carried out, and the connection is closed without an answer.
    LoseReply,
    /// It is carried out; the answer is a whole HTTP response whose body ends in its middle.
    CutBody,
    /// It is carried out; the connection is closed in the middle of the answer.
    HangUpMidway,
    /// A listing says that there is more, and not how to ask for it.
    NoToken,
    /// A listing says that a page is the last, and it is not.
    Ends,
    /// A bulk delete does not delete these keys, and says so with this error code.
    RefuseKeys {
        /// Whole keys.
        keys: Vec<String>,
        /// Such as `AccessDenied`.
        code: &'static str,
    },
    /// A bulk delete deletes half of its keys, and says of the rest that it failed. `true` has those fail that `false`
    /// deletes; which those are is the same in every request.
    RefuseHalf(bool),
    /// The time that it tells of every object is so much later than it is.
    Shift(SignedDuration),
    /// It takes that much longer.
    Delay(Duration),
    /// It is not carried out, and nobody answers until the server is healed; then the connection is closed.
    Halt,
    /// It is carried out, and nobody answers until the server is healed; then the connection is closed.
    HaltAfter,
}

impl Effect {
    /// 503 `SlowDown`.
    pub const SLOW_DOWN: Self = Self::Refuse { status: 503, code: "SlowDown" };
    /// 500 `InternalError`.
    pub const INTERNAL_ERROR: Self = Self::Refuse { status: 500, code: "InternalError" };
    /// 403 `AccessDenied`.
    pub const ACCESS_DENIED: Self = Self::Refuse { status: 403, code: "AccessDenied" };
    /// 400 `ExpiredToken`.
    pub const EXPIRED_TOKEN: Self = Self::Refuse { status: 400, code: "ExpiredToken" };
    /// 404 `NoSuchKey`.
    pub const NO_SUCH_KEY: Self = Self::Refuse { status: 404, code: "NoSuchKey" };
}

/// One thing that goes wrong. What it counts begins when it is set.
#[derive(Debug, Clone)]
pub struct Fault {
    operation: &'static str,
    key: Option<String>,
    first: u64,
    last: u64,
    effect: Effect,
    met: u64,
    /// How many requests like the first that it happened to it happens to as well.
    repeats: u64,
    stuck: Option<(String, String)>,
}

impl Fault {
    /// Happens to every request for `operation`, such as `PutObject`; `*` is any, [`WRITES`] any that changes something.
    pub fn always(operation: &'static str, effect: Effect) -> Self {
        Self { operation, key: None, first: 1, last: u64::MAX, effect, met: 0, repeats: 0, stuck: None }
    }

    /// Happens to the `nth` request, from 1, and to no other.
    pub fn nth(operation: &'static str, nth: u64, effect: Effect) -> Self {
        Self { first: nth, last: nth, ..Self::always(operation, effect) }
    }

    /// Happens to the `nth` request, from 1, and to all after it.
    pub fn from_nth(operation: &'static str, nth: u64, effect: Effect) -> Self {
        Self { first: nth, ..Self::always(operation, effect) }
    }

    /// Only requests about this key count, and only to them it happens.
    #[must_use]
    pub fn on(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// Once it has happened, it happens to the next `repeats` requests of that operation and key, and to no other.
    #[must_use]
    pub fn again(self, repeats: u64) -> Self {
        Self { repeats, ..self }
    }

    /// Counts a request, and answers what happens to it.
    pub fn meet(&mut self, operation: &str, key: &str) -> Option<Effect> {
        if let Some((of, about)) = &self.stuck {
            let like_it = self.repeats > 0 && of == operation && about == key;
            self.repeats -= u64::from(like_it);
            return like_it.then(|| self.effect.clone());
        }
        let named = match self.operation {
            "*" => true,
            WRITES => writes(operation),
            only => only == operation,
        };
        if !named || self.key.as_ref().is_some_and(|wanted| wanted != key) {
            return None;
        }
        self.met += 1;
        let happens = (self.first..=self.last).contains(&self.met);
        if happens && self.repeats > 0 {
            self.stuck = Some((operation.to_owned(), key.to_owned()));
        }
        happens.then(|| self.effect.clone())
    }
}
