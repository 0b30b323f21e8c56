//! The words in which the table of fields is written.

use super::text::Text;

/// What a value has to be.
#[derive(Clone, Copy)]
pub enum Shape {
    Object(&'static Object),
    List(&'static List),
    Map(&'static Map),
    Text(&'static Text),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A whole number within these bounds.
    Whole(i64, i64),
    /// `true` or `false`.
    Flag,
    /// A quantity that is not negative; a number is read as the text of it, as Kubernetes does.
    Amount,
    /// A port's number or name.
    Port,
}

/// An object with fields that are known; there may be no others.
pub struct Object {
    pub fields: &'static [Field],
    /// Which of the fields exclude each other.
    pub choice: Choice,
    /// Fields of Kubernetes that a preset does not set, and why.
    pub refused: &'static [Refused],
}

/// A field that may be there.
#[derive(Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub shape: Shape,
    /// Whether it has to be there.
    pub is_needed: bool,
}

/// How many of some fields an object has.
pub enum Choice {
    /// Whichever it likes.
    Any,
    AtMostOne(&'static [&'static str]),
    ExactlyOne(&'static [&'static str]),
}

/// Fields that a preset does not set, for one reason.
pub struct Refused {
    pub names: &'static [&'static str],
    /// Goes on after "cannot be set by a preset: ".
    pub why: &'static str,
}

/// A list of values that are alike.
pub struct List {
    pub of: Shape,
    /// The fewest and the most there may be.
    pub least: usize,
    pub most: usize,
    /// The field by which its objects are told apart, if they are: Kubernetes, and the merging with the
    /// installation's template, go by it.
    pub key: Option<&'static str>,
}

/// An object whose keys are free within a rule.
pub struct Map {
    /// Why a key, with this value, cannot be there; None if it can.
    pub objection: fn(&str, &str) -> Option<&'static str>,
    pub value: &'static Text,
    pub most: usize,
}

/// A field that may be left out.
pub const fn may(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, is_needed: false }
}

/// A field that has to be there.
pub const fn must(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, is_needed: true }
}

/// An object of these fields, none of which needs further words.
pub const fn of(fields: &'static [Field]) -> Object {
    Object { fields, choice: Choice::Any, refused: &[] }
}

/// A list with nothing to tell its values apart.
pub const fn up_to(most: usize, of: Shape) -> List {
    List { of, least: 0, most, key: None }
}
