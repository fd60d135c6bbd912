//! What goes wrong, and when.

use std::time::Duration;

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
    /// It takes that much longer.
    Delay(Duration),
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
}

impl Fault {
    /// Happens to every request for `operation`, such as `PutObject`; `*` is any.
    pub fn always(operation: &'static str, effect: Effect) -> Self {
        Self { operation, key: None, first: 1, last: u64::MAX, effect, met: 0 }
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

    /// Counts a request, and answers what happens to it.
    pub fn meet(&mut self, operation: &str, key: &str) -> Option<Effect> {
        let named = self.operation == "*" || self.operation == operation;
        if !named || self.key.as_ref().is_some_and(|wanted| wanted != key) {
            return None;
        }
        self.met += 1;
        (self.first..=self.last).contains(&self.met).then(|| self.effect.clone())
    }
}
