//! A time in requests and answers: RFC 3339, in UTC when it is written.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type},
};
use serde_json::Value;

/// A moment, such as 2030-01-31T12:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub DateTime<Utc>);

impl Type for Time {
    const IS_REQUIRED: bool = true;

    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        "string_date-time".into()
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "date-time")))
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(self.as_raw_value().into_iter())
    }
}

impl ParseFromJSON for Time {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        let Some(Value::String(text)) = value else {
            return Err(ParseError::expected_type(value.unwrap_or_default()));
        };
        let time = DateTime::parse_from_rfc3339(&text).ok();
        // The API server knows neither leap seconds nor a blank in the place of the T.
        let is_plain = text.as_bytes().get(10).is_some_and(|byte| matches!(byte, b'T' | b't'));
        let time = time.filter(|time| is_plain && time.timestamp_subsec_nanos() < 1_000_000_000);
        let wrong = || ParseError::custom("write an RFC 3339 time, such as 2030-01-31T12:00:00Z");
        Ok(Self(time.ok_or_else(wrong)?.with_timezone(&Utc)))
    }
}

impl ToJSON for Time {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true).into())
    }
}
