//! Values that are of another type than they should be, and cost only themselves.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::wire::Block;

/// As much of a tool's result as is looked at, in bytes: how it ended, and why it was refused, stand at its beginning.
const HEAD: usize = 600;

/// As many parts of a list as are kept.
const MOST: usize = 4_096;

/// What can be made of a value of any type. Each method that is not there skips its value and gives nothing.
trait Lenient<'de>: Default {
    fn borrowed(text: &'de str) -> Self {
        Self::copied(text)
    }

    fn copied(_: &str) -> Self {
        Self::default()
    }

    fn number(_: f64) -> Self {
        Self::default()
    }

    fn truth(_: bool) -> Self {
        Self::default()
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

struct Any<T>(PhantomData<T>);

#[allow(clippy::cast_precision_loss, reason = "counts and times are far below 2^53")]
impl<'de, T: Lenient<'de>> Visitor<'de> for Any<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<T, E> {
        Ok(T::borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::copied(text))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(T::number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<T, E> {
        Ok(T::number(number))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<T, E> {
        Ok(T::truth(truth))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        T::list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::map(map)
    }
}

macro_rules! leniently {
    ($($what:ident $(<$t:ident>)?),+) => {
        $(impl<'de $(, $t: Deserialize<'de>)?> Deserialize<'de> for $what $(<$t>)? {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Any(PhantomData))
            }
        })+
    };
}

leniently!(Number, Flag, Head, Map<T>, List<T>);

/// What borrows may live shorter than what it borrows from.
macro_rules! borrowing {
    ($($what:ident),+) => {
        $(impl<'de: 'a, 'a> Deserialize<'de> for $what<'a> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Any(PhantomData::<$what<'de>>))
            }
        })+
    };
}

borrowing!(Str, Content);

/// A text.
#[derive(Debug, Default)]
pub(super) struct Str<'a>(pub(super) Option<Cow<'a, str>>);

impl Str<'_> {
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    pub(super) fn or_empty(&self) -> &str {
        self.get().unwrap_or("")
    }

    pub(super) fn owned(&self) -> Option<String> {
        self.get().filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// A number, or a text that is one.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Number(pub(super) Option<f64>);

impl Number {
    /// As a count of things: what is none is 0.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, which is what is wanted"
    )]
    pub(super) fn count(self) -> u64 {
        // A number of tokens beyond 2^53 is no number of tokens: and sums of what is said must not overflow.
        self.0.map_or(0, |number| number.clamp(0.0, 9_007_199_254_740_992.0) as u64)
    }
}

/// Yes or no.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Flag(pub(super) bool);

/// An object.
#[derive(Debug)]
pub(super) struct Map<T>(pub(super) Option<T>);

impl<T> Default for Map<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// A list, without what is no `T` in it.
#[derive(Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// What a message is made of: a text, or parts.
#[derive(Debug, Default)]
pub(super) struct Content<'a> {
    pub(super) text: Option<Cow<'a, str>>,
    pub(super) blocks: Vec<Block<'a>>,
}

/// The beginning of a text, or of the first text among parts.
#[derive(Debug, Default)]
pub(super) struct Head(pub(super) String);

impl<'de> Lenient<'de> for Str<'de> {
    fn borrowed(text: &'de str) -> Self {
        Self(Some(Cow::Borrowed(text)))
    }

    fn copied(text: &str) -> Self {
        Self(Some(Cow::Owned(text.to_owned())))
    }

    /// Ids are numbers in some versions, and texts in others.
    fn number(number: f64) -> Self {
        Self(Some(Cow::Owned(number.to_string())))
    }
}

impl<'de> Lenient<'de> for Number {
    fn copied(text: &str) -> Self {
        Self(text.trim().parse().ok().filter(|number: &f64| number.is_finite()))
    }

    fn number(number: f64) -> Self {
        Self(Some(number))
    }

    /// Where a program is built with serde_json's feature `arbitrary_precision`, as ours is for REST, what has a point comes as a map of
    /// one text.
    fn map<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        let first = map.next_entry::<String, Self>()?;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(first
            .filter(|(name, _)| name == "$serde_json::private::Number")
            .map(|(_, number)| number)
            .unwrap_or_default())
    }
}

impl Lenient<'_> for Flag {
    fn copied(text: &str) -> Self {
        Self(text == "true")
    }

    fn truth(truth: bool) -> Self {
        Self(truth)
    }
}

impl<'de> Lenient<'de> for Head {
    fn copied(text: &str) -> Self {
        Self(text[..text.floor_char_boundary(HEAD)].to_owned())
    }

    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Part {
            text: Head,
        }
        let mut head = Self::default();
        while let Some(Map(part)) = list.next_element::<Map<Part>>()? {
            if let Some(part) = part.filter(|_| head.0.is_empty()) {
                head = part.text;
            }
        }
        Ok(head)
    }
}

impl<'de> Lenient<'de> for Content<'de> {
    fn borrowed(text: &'de str) -> Self {
        Self { text: Some(Cow::Borrowed(text)), blocks: Vec::new() }
    }

    fn copied(text: &str) -> Self {
        Self { text: Some(Cow::Owned(text.to_owned())), blocks: Vec::new() }
    }

    fn list<A: SeqAccess<'de>>(list: A) -> Result<Self, A::Error> {
        let List(blocks) = <List<Map<Block<'de>>> as Lenient<'de>>::list(list)?;
        Ok(Self { text: None, blocks: blocks.into_iter().filter_map(|Map(block)| block).collect() })
    }
}

impl<'de, T: Deserialize<'de>> Lenient<'de> for Map<T> {
    fn map<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|value| Self(Some(value)))
    }
}

impl<'de, T: Deserialize<'de>> Lenient<'de> for List<T> {
    fn list<A: SeqAccess<'de>>(mut list: A) -> Result<Self, A::Error> {
        let mut all = Vec::new();
        while all.len() < MOST {
            match list.next_element()? {
                Some(value) => all.push(value),
                None => return Ok(Self(all)),
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self(all))
    }
}
