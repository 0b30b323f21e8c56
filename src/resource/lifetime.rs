//! How long an Ephemeron lives: a duration as people write it, such as `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration of whole seconds in the form of GEP-2257 (the Gateway API's durations: up to four
/// numbers of up to five digits with their units), with days and without milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Lifetime {
    text: String,
    seconds: i64,
}

/// The text is not a lifetime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a lifetime: write numbers with the units d, h, m and s, such as 30m or 1h30m")]
pub struct Malformed(String);

const PATTERN: &str = "^([0-9]{1,5}(d|h|m|s)){1,4}$";

impl Lifetime {
    /// Its length in seconds; at most 4 × 99,999 days, so that no sum overflows.
    #[must_use]
    pub fn as_secs(&self) -> i64 {
        self.seconds
    }
}

impl FromStr for Lifetime {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed(text.chars().take(40).collect());
        let (mut seconds, mut parts, mut digits) = (0_i64, 0, String::new());
        for char in text.chars() {
            let unit = match char {
                '0'..='9' if digits.len() < 5 => {
                    digits.push(char);
                    continue;
                }
                'd' => 86_400,
                'h' => 3_600,
                'm' => 60,
                's' => 1,
                _ => return Err(malformed()),
            };
            seconds += unit * digits.parse::<i64>().map_err(|_| malformed())?;
            digits.clear();
            parts += 1;
        }
        if parts == 0 || parts > 4 || !digits.is_empty() {
            return Err(malformed());
        }
        Ok(Self { text: text.into(), seconds })
    }
}

impl TryFrom<String> for Lifetime {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        text.parse()
    }
}

impl From<Lifetime> for String {
    fn from(lifetime: Lifetime) -> Self {
        lifetime.text
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl JsonSchema for Lifetime {
    fn schema_name() -> Cow<'static, str> {
        "Lifetime".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 24, "pattern": PATTERN })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read() {
        let seconds = |text: &str| text.parse::<Lifetime>().map(|lifetime| lifetime.as_secs());
        assert_eq!(seconds("30m"), Ok(1_800));
        assert_eq!(seconds("1h30m"), Ok(5_400));
        assert_eq!(seconds("2d1h1m1s"), Ok(176_461));
        assert_eq!(seconds("99999d99999d99999d99999d"), Ok(4 * 99_999 * 86_400));
        for text in ["", "30", "m", "-1m", "1.5h", "1h 30m", "100000s", "1s1s1s1s1s", "30M", "٣m"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
