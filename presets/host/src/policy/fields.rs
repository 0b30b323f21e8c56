//! The allow-list on what a preset renders: every field of its template is on it, or the template is refused.
//!
//! `table` has the list. What is on it is copied value by value; nothing else reaches the typed template, of
//! which reading by itself would drop what it does not know.

mod near;
mod references;
mod shape;
mod table;
mod text;

use std::io;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::{Map, Value};

use super::{Violation, quantity::Quantity};
pub use references::agree;
pub(super) use references::not_taken;
use shape::{Choice, List, Object, Shape};
use text::Text;

/// The largest template, in bytes of JSON.
pub const LARGEST: usize = 64 << 10;

/// The longest quantity that is looked at, in bytes.
const LONGEST_AMOUNT: usize = 32;

/// The pod template that a preset has rendered. As JSON, it is accepted again, and the same comes of it.
///
/// # Errors
///
/// The first field that is not on the list, or has a value that it cannot have.
pub fn template(rendered: &Map<String, Value>) -> Result<PodTemplateSpec, Violation> {
    let copied = object("", &table::TEMPLATE, rendered)?;
    if !is_at_most(&copied, LARGEST) {
        return Err(nonsense("template", format!("is larger than the {} KiB that it may be", LARGEST >> 10)));
    }
    let template: PodTemplateSpec = serde_json::from_value(copied)
        .map_err(|error| nonsense("template", format!("is no pod template: {error}")))?;
    references::check(&template)?;
    Ok(template)
}

/// Whether the value takes at most so many bytes as JSON.
fn is_at_most(value: &Value, most: usize) -> bool {
    struct Left(usize);
    impl io::Write for Left {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Left(most), value).is_ok()
}

/// A copy of the value, if it has the shape.
fn value(field: &str, shape: &Shape, said: &Value) -> Result<Value, Violation> {
    let wrong = |wanted: &str| Err(nonsense(field, format!("must be {wanted}, and is {}", kind(said))));
    match (shape, said) {
        (_, Value::Null) => Err(nonsense(field, "has no value: write one, or leave it out")),
        (Shape::Object(shape), Value::Object(said)) => object(field, shape, said),
        (Shape::Map(shape), Value::Object(said)) => map(field, shape, said),
        (Shape::Object(_) | Shape::Map(_), _) => wrong("an object"),
        (Shape::List(shape), Value::Array(said)) => list(field, shape, said),
        (Shape::List(_), _) => wrong("a list"),
        (Shape::Text(shape), Value::String(said)) => text(field, shape, said).map(Value::String),
        (Shape::OneOf(values), Value::String(said)) => one_of(field, values, said),
        (Shape::Text(_) | Shape::OneOf(_), _) => wrong("text"),
        (Shape::Whole(least, most), _) => whole(field, *least, *most, said),
        (Shape::Flag, Value::Bool(_)) => Ok(said.clone()),
        (Shape::Flag, _) => wrong("true or false"),
        (Shape::Amount, _) => amount(field, said),
        (Shape::Port, Value::String(name)) => text(field, &text::PORT_NAME, name).map(Value::String),
        (Shape::Port, _) => whole(field, 1, 65_535, said),
    }
}

fn object(field: &str, shape: &Object, said: &Map<String, Value>) -> Result<Value, Violation> {
    let place = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    for name in said.keys() {
        if !shape.fields.iter().any(|field| field.name == name) {
            return Err(near::unknown(&place(&shown(name)), name, shape));
        }
    }
    let mut copy = Map::new();
    for known in shape.fields {
        match said.get(known.name) {
            Some(said) => {
                copy.insert(known.name.into(), value(&place(known.name), &known.shape, said)?);
            }
            None if known.is_needed => return Err(nonsense(&place(known.name), "is missing")),
            None => {}
        }
    }
    let (choices, least, most) = match shape.choice {
        Choice::Any => return Ok(Value::Object(copy)),
        Choice::AtMostOne(choices) => (choices, 0, 1),
        Choice::ExactlyOne(choices) => (choices, 1, 1),
    };
    let chosen = choices.iter().filter(|name| copy.contains_key(**name)).count();
    if (least..=most).contains(&chosen) {
        return Ok(Value::Object(copy));
    }
    let how_many = if least == 0 { "at most one" } else { "one" };
    Err(nonsense(field, format!("must have {how_many} of {}, and has {chosen}", choices.join(", "))))
}

fn map(field: &str, shape: &shape::Map, said: &Map<String, Value>) -> Result<Value, Violation> {
    bounded(field, said.len(), 0, shape.most)?;
    let mut copy = Map::new();
    for (key, said) in said {
        let field = format!("{field}[{}]", shown(key));
        let Value::String(said) = said else {
            return Err(nonsense(&field, format!("must be text, and is {}", kind(said))));
        };
        if let Some(why) = (shape.objection)(key, said) {
            return Err(not_on_the_list(&field, format!("cannot be set by a preset: {why}")));
        }
        copy.insert(key.clone(), Value::String(text(&field, shape.value, said)?));
    }
    Ok(Value::Object(copy))
}

fn list(field: &str, shape: &List, said: &[Value]) -> Result<Value, Violation> {
    bounded(field, said.len(), shape.least, shape.most)?;
    let place = |index: usize| format!("{field}[{index}]");
    let items = said.iter().enumerate().map(|(index, said)| value(&place(index), &shape.of, said));
    let copy = items.collect::<Result<Vec<_>, _>>()?;
    let Some(key) = shape.key else { return Ok(Value::Array(copy)) };
    for (index, item) in copy.iter().enumerate() {
        let is_same = |earlier: &Value| earlier.get(key) == item.get(key);
        if let Some(earlier) = copy.iter().take(index).position(is_same) {
            let earlier = place(earlier);
            return Err(nonsense(&format!("{}.{key}", place(index)), format!("is that of {earlier}, too")));
        }
    }
    Ok(Value::Array(copy))
}

fn bounded(field: &str, count: usize, least: usize, most: usize) -> Result<(), Violation> {
    if count < least {
        return Err(nonsense(field, format!("must have at least {least}")));
    }
    if count > most {
        return Err(not_on_the_list(field, format!("has {count}, and may have {most}")));
    }
    Ok(())
}

fn text(field: &str, shape: &Text, said: &str) -> Result<String, Violation> {
    if said.len() <= shape.most && (shape.fits)(said) {
        return Ok(said.to_owned());
    }
    Err(not_on_the_list(field, format!("must be {}, and is {:?}", shape.rule, beginning(said))))
}

fn one_of(field: &str, values: &[&str], said: &str) -> Result<Value, Violation> {
    if values.contains(&said) {
        return Ok(said.into());
    }
    let values: Vec<_> = values.iter().filter(|value| !value.is_empty()).copied().collect();
    let either = if values.len() == 1 { "" } else { "one of " };
    let why = format!("must be {either}{}, and is {:?}", values.join(", "), beginning(said));
    Err(not_on_the_list(field, why))
}

fn whole(field: &str, least: i64, most: i64, said: &Value) -> Result<Value, Violation> {
    let Value::Number(number) = said else {
        return Err(nonsense(field, format!("must be a whole number, and is {}", kind(said))));
    };
    match number.as_i64() {
        Some(number) if (least..=most).contains(&number) => Ok(number.into()),
        _ => {
            let bounds = if least == most {
                least.to_string()
            } else {
                format!("a whole number from {least} to {most}")
            };
            Err(not_on_the_list(field, format!("must be {bounds}, and is {number}")))
        }
    }
}

fn amount(field: &str, said: &Value) -> Result<Value, Violation> {
    let amount = match said {
        Value::Number(number) => number.to_string(),
        Value::String(text) if text.len() <= LONGEST_AMOUNT => text.clone(),
        Value::String(text) => {
            let why = format!("must be a quantity, and begins with {:?}", beginning(text));
            return Err(nonsense(field, why));
        }
        _ => return Err(nonsense(field, format!("must be a quantity, and is {}", kind(said)))),
    };
    let read: Quantity =
        amount.parse().map_err(|why| Violation::NotAQuantity { field: field.to_owned(), why })?;
    if read.is_negative() {
        return Err(nonsense(field, format!("must not be negative, and is {amount}")));
    }
    Ok(Value::String(amount))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A key that is not ours, as a part of a field's path.
fn shown(key: &str) -> String {
    beginning(key).escape_debug().to_string()
}

/// As much of a text as a message can hold.
fn beginning(text: &str) -> String {
    const MOST: usize = 80;
    let mut beginning: String = text.chars().take(MOST).collect();
    if beginning.len() < text.len() {
        beginning.push('…');
    }
    beginning
}

/// Says what a preset may not set.
fn not_on_the_list(field: &str, why: impl Into<String>) -> Violation {
    Violation::FieldNotAllowed { field: field.to_owned(), why: why.into() }
}

/// Says what means nothing.
fn nonsense(field: &str, why: impl Into<String>) -> Violation {
    Violation::NotATemplate { field: field.to_owned(), why: why.into() }
}

#[cfg(test)]
mod tests;
