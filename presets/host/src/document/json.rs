//! JSON, read within bounds.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, map::Entry};

use super::Fault;

/// JSON without duplicate keys and nested at most so deep. JSON itself has no NaN and no infinity.
///
/// # Errors
/// When it is something else, with line and column.
pub fn parse(text: &str, depth: usize) -> Result<Value, Fault> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict { left: depth }.deserialize(&mut reader);
    value.and_then(|value| reader.end().map(|()| value)).map_err(|error| {
        let at = format!("at line {}, column {}", error.line(), error.column());
        Fault::new(&at, error)
    })
}

/// Whether objects and arrays are nested deeper than this.
pub fn is_deeper(value: &Value, depth: usize) -> bool {
    match (value, depth.checked_sub(1)) {
        (Value::Array(_) | Value::Object(_), None) => true,
        (Value::Array(items), Some(left)) => items.iter().any(|item| is_deeper(item, left)),
        (Value::Object(fields), Some(left)) => fields.values().any(|field| is_deeper(field, left)),
        _ => false,
    }
}

/// A value whose objects and arrays are nested at most `left` deep.
#[derive(Clone, Copy)]
struct Strict {
    left: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        let left = self.left.checked_sub(1).ok_or_else(|| E::custom("nested too deep"))?;
        Ok(Self { left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            match object.entry(key) {
                Entry::Vacant(place) => place.insert(entries.next_value_seed(inner)?),
                Entry::Occupied(place) => {
                    return Err(A::Error::custom(format!("the key {:?} is there twice", place.key())));
                }
            };
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_within_bounds() {
        assert_eq!(parse(r#"{"a":[1,-2,0.5,"x",null,true]}"#, 8).expect("JSON")["a"][2], 0.5);
        let reason = |outcome: &Result<Value, Fault>| {
            let fault = outcome.as_ref().expect_err("a fault");
            format!("{}: {}", fault.at, fault.reason)
        };
        for (text, says) in [
            (r#"{"a":1,"a":2}"#, "twice"),
            ("NaN", "expected"),
            ("1e999", "out of range"),
            ("[1] 2", "trailing"),
            ("", "EOF"),
            (&"[".repeat(9), "too deep"),
            (&"[".repeat(1_000_000), "too deep"),
        ] {
            let reason = reason(&parse(text, 8));
            assert!(reason.contains(says), "{reason}");
            assert!(reason.starts_with("at line 1"), "{reason}");
        }
        // The reader's own bound holds where ours is set higher.
        reason(&parse(&"[".repeat(1_000_000), usize::MAX));
    }

    #[test]
    fn depth_is_counted_as_the_reader_does() {
        for depth in 1..5 {
            let value = parse(&("[".repeat(depth) + &"]".repeat(depth)), depth).expect("JSON");
            assert!(!is_deeper(&value, depth) && is_deeper(&value, depth - 1));
        }
        assert!(!is_deeper(&Value::from(1), 0));
    }
}
