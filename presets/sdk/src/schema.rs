//! What parameters have against their schema: the part of JSON Schema that types are made into.
//!
//! What is not understood here, such as a pattern, is left to the parameters' type.

use serde_json::{Map, Value};

use crate::{Issue, parameters::below};

/// The most issues that are told; the host hands on no more.
pub(crate) const MOST: usize = 32;

/// How many steps down are followed: references that lead in circles end there.
const DEPTH: usize = 256;

/// All that is wrong with this value, at most [`MOST`].
pub(crate) fn issues(schema: &Value, value: &Value) -> Vec<Issue> {
    let mut check = Check { root: schema, issues: Vec::new() };
    check.value(schema, value, "", DEPTH);
    check.issues.truncate(MOST);
    check.issues
}

struct Check<'a> {
    root: &'a Value,
    issues: Vec<Issue>,
}

impl<'a> Check<'a> {
    fn tell(&mut self, pointer: &str, code: &str, message: String) {
        self.issues.push(Issue::new(code, message).at(pointer));
    }

    fn value(&mut self, schema: &'a Value, value: &Value, pointer: &str, depth: usize) {
        let Some(depth) = depth.checked_sub(1) else { return };
        if self.issues.len() >= MOST {
            return;
        }
        if schema == &Value::Bool(false) {
            self.tell(pointer, "not-allowed", "nothing may stand here".into());
        }
        let Some(schema) = schema.as_object() else { return };
        if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|to| self.local(to)) {
            self.value(target, value, pointer, depth);
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.value(part, value, pointer, depth);
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(branches) = schema.get(choice).and_then(Value::as_array) {
                self.one_of(branches, value, pointer, depth);
            }
        }
        if !self.kind(schema, value, pointer) {
            return;
        }
        self.listed(schema, value, pointer);
        match value {
            Value::Object(fields) => self.object(schema, fields, pointer, depth),
            Value::Array(items) => {
                self.length(schema, ["minItems", "maxItems"], items.len(), "entries", pointer);
                let Some(schema) = schema.get("items") else { return };
                for (index, item) in items.iter().enumerate() {
                    self.value(schema, item, &below(pointer, &index.to_string()), depth);
                }
            }
            Value::String(text) => {
                let length = text.chars().count();
                self.length(schema, ["minLength", "maxLength"], length, "characters", pointer);
            }
            Value::Number(number) => {
                if let Some(number) = number.as_f64() {
                    self.range(schema, number, pointer);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn local(&self, reference: &str) -> Option<&'a Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }

    /// One branch has to fit. Where none does, the faults of the only one that is of the value's kind.
    fn one_of(&mut self, branches: &'a [Value], value: &Value, pointer: &str, depth: usize) {
        let mut near = Vec::new();
        for branch in branches {
            let mut check = Check { root: self.root, issues: Vec::new() };
            check.value(branch, value, pointer, depth);
            if check.issues.is_empty() {
                return;
            }
            if !check.issues.iter().any(|issue| issue.pointer == pointer && issue.code == "wrong-type") {
                near.push(check.issues);
            }
        }
        if near.len() == 1
            && let Some(issues) = near.pop()
        {
            self.issues.extend(issues);
            return;
        }
        let constants: Vec<_> = branches.iter().flat_map(constants).collect();
        if constants.is_empty() && near.is_empty() {
            let kinds: Vec<_> = branches.iter().flat_map(|branch| self.kinds(branch)).collect();
            self.wrong_type(&kinds, value, pointer);
        } else if constants.is_empty() {
            self.tell(pointer, "not-allowed", "it is none of the forms that it can have".into());
        } else {
            self.tell(pointer, "not-allowed", format!("it must be one of {}", list(&constants)));
        }
    }

    /// The types that a branch takes.
    fn kinds(&self, branch: &'a Value) -> Vec<&'a str> {
        let target = branch.get("$ref").and_then(Value::as_str).and_then(|to| self.local(to));
        types(target.unwrap_or(branch).get("type"))
    }

    /// Whether the value is of a type that it may have.
    fn kind(&mut self, schema: &'a Map<String, Value>, value: &Value, pointer: &str) -> bool {
        let kinds = types(schema.get("type"));
        let fits = kinds.is_empty() || kinds.iter().any(|kind| is(kind, value));
        if !fits {
            self.wrong_type(&kinds, value, pointer);
        }
        fits
    }

    fn wrong_type(&mut self, kinds: &[&str], value: &Value, pointer: &str) {
        let kinds: Vec<_> = kinds.iter().copied().filter(|kind| *kind != "null").map(named).collect();
        let message = format!("it is {} and must be {}", named(kind_of(value)), kinds.join(" or "));
        self.tell(pointer, "wrong-type", message);
    }

    fn listed(&mut self, schema: &Map<String, Value>, value: &Value, pointer: &str) {
        let allowed = own_constants(schema);
        if !allowed.is_empty() && !allowed.contains(&value) {
            self.tell(pointer, "not-allowed", format!("it must be one of {}", list(&allowed)));
        }
    }

    fn object(
        &mut self,
        schema: &'a Map<String, Value>,
        fields: &Map<String, Value>,
        pointer: &str,
        depth: usize,
    ) {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = name.as_str().filter(|name| !fields.contains_key(*name)) {
                self.tell(&below(pointer, name), "missing", "it is missing".into());
            }
        }
        let known = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties");
        for (name, value) in fields {
            let pointer = below(pointer, name);
            match (known.and_then(|known| known.get(name)), others) {
                (None, Some(Value::Bool(false))) => {
                    let known: Vec<_> = known.into_iter().flat_map(Map::keys).map(String::as_str).collect();
                    let message = if known.is_empty() {
                        "there is no such parameter: there are none here".into()
                    } else {
                        format!("there is no such parameter; there are {}", known.join(", "))
                    };
                    self.tell(&pointer, "unknown", message);
                }
                (Some(schema), _) | (None, Some(schema)) => self.value(schema, value, &pointer, depth),
                (None, None) => {}
            }
        }
    }

    fn length(
        &mut self,
        schema: &Map<String, Value>,
        [least, most]: [&str; 2],
        length: usize,
        what: &str,
        pointer: &str,
    ) {
        let bound = |key| schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        if let Some(least) = bound(least).filter(|least| length < *least) {
            self.tell(pointer, "too-short", format!("it has {length} {what}; it must have at least {least}"));
        }
        if let Some(most) = bound(most).filter(|most| length > *most) {
            self.tell(pointer, "too-long", format!("it has {length} {what}; it can have at most {most}"));
        }
    }

    fn range(&mut self, schema: &Map<String, Value>, number: f64, pointer: &str) {
        let bound = |key| schema.get(key).filter(|bound| bound.is_number());
        let beyond = |key, is_beyond: fn(f64, f64) -> bool| {
            bound(key).filter(|bound| bound.as_f64().is_some_and(|bound| is_beyond(number, bound)))
        };
        if let Some(least) = beyond("minimum", |number, least| number < least) {
            self.tell(pointer, "too-small", format!("it must be at least {least}"));
        } else if let Some(least) = beyond("exclusiveMinimum", |number, least| number <= least) {
            self.tell(pointer, "too-small", format!("it must be more than {least}"));
        }
        if let Some(most) = beyond("maximum", |number, most| number > most) {
            self.tell(pointer, "too-large", format!("it can be at most {most}"));
        } else if let Some(most) = beyond("exclusiveMaximum", |number, most| number >= most) {
            self.tell(pointer, "too-large", format!("it must be less than {most}"));
        }
    }
}

/// The values that a schema lists, its own and those of its branches.
fn constants(schema: &Value) -> Vec<&Value> {
    schema.as_object().map(own_constants).unwrap_or_default()
}

fn own_constants(schema: &Map<String, Value>) -> Vec<&Value> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    schema.get("const").into_iter().chain(listed).collect()
}

fn list(values: &[&Value]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn types(kind: Option<&Value>) -> Vec<&str> {
    match kind {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match (kind, value) {
        // 1.0 is an integer to JSON Schema but not to serde.
        ("integer", Value::Number(number)) => number.is_i64() || number.is_u64(),
        ("number", Value::Number(_)) => true,
        ("integer" | "number", _) => false,
        (kind, value) => kind == kind_of(value),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A type of JSON, as people say it.
fn named(kind: &str) -> &str {
    match kind {
        "null" => "null",
        "boolean" => "true or false",
        "number" => "a number",
        "integer" => "a whole number",
        "string" => "a text",
        "array" => "a list",
        _ => "an object",
    }
}
