//! Reading JSON whose shape cannot be trusted, in one pass and without building a tree.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// What to do with a value, whatever it turns out to be. Wrapped in [`Any`] it reads any JSON value without an error
/// of its own: only malformed JSON fails.
pub(super) trait Reader<'de>: Sized {
    /// What it makes of the value.
    type Value;

    /// A value of a type that the reader has no use for; already consumed.
    fn other(self) -> Self::Value;

    fn null(self) -> Self::Value {
        self.other()
    }

    fn number(self, _: u64) -> Self::Value {
        self.other()
    }

    fn text(self, _: &str) -> Self::Value {
        self.other()
    }

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.other())
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.other())
    }
}

/// A [`Reader`] as serde wants it.
pub(super) struct Any<R>(pub(super) R);

impl<'de, R: Reader<'de>> DeserializeSeed<'de> for Any<R> {
    type Value = R::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<R::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: Reader<'de>> Visitor<'de> for Any<R> {
    type Value = R::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<R::Value, E> {
        Ok(self.0.other())
    }

    fn visit_i64<E>(self, _: i64) -> Result<R::Value, E> {
        Ok(self.0.other())
    }

    fn visit_u64<E>(self, number: u64) -> Result<R::Value, E> {
        Ok(self.0.number(number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<R::Value, E> {
        Ok(self.0.other())
    }

    fn visit_str<E>(self, text: &str) -> Result<R::Value, E> {
        Ok(self.0.text(text))
    }

    fn visit_unit<E>(self) -> Result<R::Value, E> {
        Ok(self.0.null())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<R::Value, A::Error> {
        self.0.array(array)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<R::Value, A::Error> {
        self.0.object(object)
    }
}

/// A text, and what was there instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// `null`.
    Null,
    /// A text.
    Found(String),
    /// Something else.
    Other,
}

/// Reads a text.
pub(super) struct ReadText;

impl Reader<'_> for ReadText {
    type Value = Text;

    fn other(self) -> Text {
        Text::Other
    }

    fn null(self) -> Text {
        Text::Null
    }

    fn text(self, text: &str) -> Text {
        Text::Found(text.to_owned())
    }
}

/// Reads a whole number that is not negative.
pub(super) struct ReadNumber;

impl Reader<'_> for ReadNumber {
    type Value = Option<u64>;

    fn other(self) -> Option<u64> {
        None
    }

    fn number(self, number: u64) -> Option<u64> {
        Some(number)
    }
}

/// Reads a text without keeping it: `Some` of what the function makes of it.
pub(super) struct ReadWith<F>(pub(super) F);

impl<T, F: FnOnce(&str) -> T> Reader<'_> for ReadWith<F> {
    type Value = Option<T>;

    fn other(self) -> Option<T> {
        None
    }

    fn text(self, text: &str) -> Option<T> {
        Some((self.0)(text))
    }
}

/// Whether it is an array with at least one element.
pub(super) struct IsFilledArray;

impl<'de> Reader<'de> for IsFilledArray {
    type Value = bool;

    fn other(self) -> bool {
        false
    }

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<bool, A::Error> {
        let mut filled = false;
        while array.next_element::<IgnoredAny>()?.is_some() {
            filled = true;
        }
        Ok(filled)
    }
}
