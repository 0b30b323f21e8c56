//! The JSON Schema of a preset's parameters: can others use it without harm?

use serde_json::{Map, Value};

use crate::document::Fault;

/// The most bytes of a schema: it stands in API descriptions and in what people read.
const SIZE: usize = 64 << 10;
/// The longest pattern, in bytes: some that read them take exponential time for long ones.
const PATTERN: usize = 512;
/// The longest way from one reference to the next.
const CHAIN: usize = 16;

/// Whose values are schemas by name.
const NAMED: [&str; 5] = ["$defs", "definitions", "properties", "patternProperties", "dependentSchemas"];
/// Whose values are data.
const DATA: [&str; 5] = ["const", "default", "enum", "example", "examples"];

/// Checks that it is the schema of an object, stays within itself and is bounded.
///
/// # Errors
/// What in it is not so, and where.
pub fn check(schema: &Map<String, Value>) -> Result<(), Fault> {
    let whole = Value::from(schema.clone());
    let size = whole.to_string().len();
    if size > SIZE {
        return Err(Fault::new(
            "at its root",
            format!("it has {size} bytes, more than the {SIZE} that it may"),
        ));
    }
    match schema.get("type") {
        None => {}
        Some(Value::String(kind)) if kind == "object" => {}
        Some(_) => return Err(Fault::new("at /type", "parameters are an object: it should be \"object\"")),
    }
    walk(&whole, &whole, "")
}

/// Looks at a value that is a schema, or a list of them. The nesting was bounded where the text was read.
fn walk(whole: &Value, value: &Value, at: &str) -> Result<(), Fault> {
    let fields = match value {
        Value::Object(fields) => fields,
        Value::Array(items) => {
            return items
                .iter()
                .enumerate()
                .try_for_each(|(number, item)| walk(whole, item, &format!("{at}/{number}")));
        }
        _ => return Ok(()),
    };
    for (key, value) in fields {
        let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        match key.as_str() {
            "$ref" | "$dynamicRef" | "$recursiveRef" => reference(whole, value, &at)?,
            "type" => kind(value, &at)?,
            "pattern" => pattern(value.as_str(), &at)?,
            key if DATA.contains(&key) => {}
            key if NAMED.contains(&key) => {
                let Value::Object(named) = value else {
                    return Err(Fault::new(&format!("at {at}"), "it should be an object of schemas"));
                };
                for (name, schema) in named {
                    let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    if key == "patternProperties" {
                        pattern(Some(name), &at)?;
                    }
                    if !(schema.is_object() || schema.is_boolean()) {
                        return Err(Fault::new(
                            &format!("at {at}"),
                            "it should be a schema: an object, true or false",
                        ));
                    }
                    walk(whole, schema, &at)?;
                }
            }
            _ => walk(whole, value, &at)?,
        }
    }
    Ok(())
}

fn reference(whole: &Value, value: &Value, at: &str) -> Result<(), Fault> {
    let fault = |why: &str| Err(Fault::new(&format!("at {at}"), why));
    let mut target = value;
    for _ in 0..CHAIN {
        let Some(pointer) = target.as_str().and_then(|text| text.strip_prefix('#')) else {
            return fault("a reference stays within the schema: it begins with #");
        };
        let Some(found) = whole.pointer(pointer) else {
            return fault(
                "there is nothing at what it refers to: write # and a JSON Pointer, such as #/$defs/name",
            );
        };
        match found.get("$ref") {
            Some(next) => target = next,
            None => return Ok(()),
        }
    }
    fault("references that refer to each other have no end")
}

fn kind(value: &Value, at: &str) -> Result<(), Fault> {
    let known = |value: &Value| {
        let kinds = ["array", "boolean", "integer", "null", "number", "object", "string"];
        value.as_str().is_some_and(|kind| kinds.contains(&kind))
    };
    let fits = match value {
        Value::Array(kinds) => !kinds.is_empty() && kinds.iter().all(known),
        value => known(value),
    };
    if fits { Ok(()) } else { Err(Fault::new(&format!("at {at}"), "it is not a type of JSON Schema")) }
}

fn pattern(pattern: Option<&str>, at: &str) -> Result<(), Fault> {
    match pattern {
        Some(pattern) if pattern.len() <= PATTERN => Ok(()),
        Some(_) => Err(Fault::new(&format!("at {at}"), format!("the pattern has more than {PATTERN} bytes"))),
        None => Err(Fault::new(&format!("at {at}"), "a pattern is a text")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(schema: &Value) -> Result<(), String> {
        let schema = schema.as_object().expect("an object");
        check(schema).map_err(|fault| format!("{}: {}", fault.at, fault.reason))
    }

    #[test]
    fn schemas_of_objects_can_be_used() {
        for schema in [
            json!({}),
            json!({"type": "object", "properties": {
                "size": {"$ref": "#/$defs/size"},
                // Names and data are no keywords.
                "$ref": {"type": "string", "default": {"$ref": "https://example.com"}},
                "pattern": {"enum": [{"$ref": 1}], "type": ["string", "null"]},
            }, "$defs": {"size": {"type": "string", "pattern": "^[a-z]{1,8}$"}}}),
            json!({"properties": {"tree": {"$ref": "#"}}, "additionalProperties": false}),
            json!({"properties": {"a/b~c": {"type": "string"}, "b": {"$ref": "#/properties/a~1b~0c"}}}),
        ] {
            assert_eq!(outcome(&schema), Ok(()), "{schema}");
        }
    }

    #[test]
    fn what_harms_others_is_refused_with_its_place() {
        let deep =
            (0..20).map(|number| (format!("d{number}"), json!({"$ref": format!("#/$defs/d{}", number + 1)})));
        let deep: Map<_, _> = deep.collect();
        for (schema, says) in [
            (json!({"type": "array"}), "at /type: parameters are an object"),
            (json!({"properties": {"a": {"type": "text"}}}), "at /properties/a/type: it is not a type"),
            (json!({"properties": {"a": 1}}), "at /properties/a: it should be a schema"),
            (json!({"properties": []}), "at /properties: it should be an object"),
            (json!({"$ref": "https://example.com/schema"}), "at /$ref: a reference stays"),
            (json!({"anyOf": [{}, {"$ref": "file:///etc/passwd"}]}), "at /anyOf/1/$ref: a reference stays"),
            (json!({"items": {"$dynamicRef": "other.json#"}}), "at /items/$dynamicRef: a reference"),
            (json!({"$ref": 1}), "at /$ref: a reference stays"),
            (json!({"properties": {"a": {"$ref": "#/$defs/a"}}}), "at /properties/a/$ref: there is nothing"),
            (json!({"$ref": "#"}), "at /$ref: references that refer to each other"),
            (json!({"$ref": "#/$defs/d0", "$defs": deep}), "references that refer to each other"),
            (
                json!({"properties": {"a": {"pattern": "(a*)*".repeat(200)}}}),
                "at /properties/a/pattern: the pattern has",
            ),
            (json!({"patternProperties": {"(a*)*".repeat(200): true}}), "the pattern has more"),
            (json!({"pattern": 1}), "at /pattern: a pattern is a text"),
            (json!({"description": "x".repeat(SIZE)}), "bytes, more than the 65536"),
        ] {
            let said = outcome(&schema).expect_err("a fault");
            assert!(said.contains(says), "{said}");
        }
    }
}
