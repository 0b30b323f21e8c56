//! Pieces of the CRD's schema that a derive cannot say.

use chrono::{DateTime, Utc};
use kube::core::Rule;
use schemars::{JsonSchema as _, Schema, SchemaGenerator, json_schema};

use serde::{Deserialize as _, Deserializer};

use super::conditions::{self, Condition};

/// A rule on `spec` that keeps one field of `spec.service` or `spec.preset` as it is: the Pod cannot be
/// changed in place. It sits on `spec`, so that leaving the field out does not escape it.
pub fn unchanged(part: &str, field: &str) -> Rule {
    let (new, old) = (format!("self.{part}.{field}"), format!("oldSelf.{part}.{field}"));
    Rule::new(format!(
        "!has(self.{part}) || !has(oldSelf.{part}) || (has({new}) == has({old}) && (!has({new}) || {new} == {old}))"
    ))
    .message(format!(
        "spec.{part}.{field} cannot be changed while the service lives: delete this Ephemeron and create another"
    ).as_str())
}

/// The name of a preset.
pub fn preset_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 63,
        "x-kubernetes-validations": [{
            "rule": "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "message": "a preset's name has lowercase letters, digits and '-', and neither begins nor ends with '-'",
        }],
    })
}

/// An object with fields that the schema does not know. It is managed as a whole: were its fields tracked
/// one by one (`managedFields`), their record would be nested as deeply as they are.
pub fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-map-type": "atomic",
    })
}

/// An RFC 3339 time. Not `format: date-time`, which lets times without a zone through.
pub fn time(_: &mut SchemaGenerator) -> Schema {
    const RFC_3339: &str = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
    json_schema!({
        "type": "string",
        "nullable": true,
        "maxLength": 64,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches('{RFC_3339}')"),
            "message": "expirationTime must be an RFC 3339 time with its zone, such as 2030-01-31T12:00:00Z or 2030-01-31T12:00:00+01:00",
        }, {
            // The conversion fails for a day that is not in the calendar.
            "rule": format!("!self.matches('{RFC_3339}') || timestamp(self.upperAscii()).getFullYear() > 0"),
            "message": "expirationTime must be a day of the calendar",
        }],
    })
}

/// Reads a time of a status; what is none counts as missing. A status can be written by hand, and one
/// that cannot be read would hide its object from the controller.
pub fn time_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|text| text.parse().ok()))
}

/// A string without a format, as printer columns and old clients want it.
pub fn plain_string(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "nullable": true })
}

/// A TCP port.
pub fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535 })
}

/// A map of strings whose values have at most `MAX` bytes; bounded so that rules on it have a
/// known cost.
pub fn string_map<const MAX: usize>(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "maxProperties": 128,
        "additionalProperties": { "type": "string", "maxLength": MAX },
    })
}

/// Amounts, written as numbers or as text (`cpu: 1`, `memory: 64Mi`).
pub fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "nullable": true,
        "maxProperties": 32,
        "additionalProperties": { "x-kubernetes-int-or-string": true, "maxLength": 64 },
    })
}

/// Conditions are one per type, so that writers of different types do not undo each other.
pub fn conditions(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": conditions::MOST,
        "items": Condition::json_schema(generator),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}
