//! Sizes, durations and numbers as people write them in settings.

use std::time::Duration;

use crate::policy::quantity::Quantity;

/// A size in bytes, written as a quantity of Kubernetes: more than none.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let quantity: Quantity = text.parse().map_err(|error| format!("{error}"))?;
    let bytes = quantity.whole().and_then(|bytes| usize::try_from(bytes).ok());
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "write more than 0, in whole bytes".into())
}

/// A number of things: at least one.
pub(super) fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().map_err(|error| format!("{error}"))?;
    if count > 0 { Ok(count) } else { Err("write at least 1".into()) }
}

/// A duration in the form of GEP-2257 (the Gateway API's durations: up to four numbers of up to five
/// digits with their units): more than none.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let malformed = || {
        let text: String = text.chars().take(40).collect();
        format!(
            "{text:?} is not a duration: write numbers with the units h, m, s and ms, such as 250ms or 1m30s"
        )
    };
    let (mut millis, mut rest, mut parts) = (0_u64, text, 0);
    while !rest.is_empty() {
        let ends = rest.find(|char: char| !char.is_ascii_digit()).ok_or_else(malformed)?;
        let (digits, from_unit) = rest.split_at(ends);
        if !(1..=5).contains(&ends) || parts == 4 {
            return Err(malformed());
        }
        let ends = from_unit.find(|char: char| char.is_ascii_digit()).unwrap_or(from_unit.len());
        let (unit, after) = from_unit.split_at(ends);
        let scale = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return Err(malformed()),
        };
        millis += digits.parse::<u64>().map_err(|_| malformed())? * scale;
        (rest, parts) = (after, parts + 1);
    }
    match (parts, millis) {
        (0, _) => Err(malformed()),
        (_, 0) => Err("write more than 0".into()),
        _ => Ok(Duration::from_millis(millis)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, millis) in [("250ms", 250), ("60s", 60_000), ("1m30s", 90_000), ("1h1m1s1ms", 3_661_001)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "0s", "1", "s", "-1s", "1.5s", "1d", "100000s", "1s1s1s1s1s", "1 s", "1S", "٣s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, size) in [("1", 1), ("64Mi", 64 << 20), ("1.5Ki", 1_536), ("1e3", 1_000)] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "0", "-1", "1MiB", "much", "0.5", "1m"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
