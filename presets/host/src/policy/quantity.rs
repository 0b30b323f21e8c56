//! Kubernetes' quantities, read exactly: `500m`, `1.5Gi`, `2e3`
//! (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>).

use std::str::FromStr;

/// An amount, in billionths. As in Kubernetes, what is finer is rounded away from zero, and the
/// magnitude is at most 2^63-1 units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

/// The text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a quantity: write a number with one of the suffixes m, k, M, G, T, Ki, Mi, Gi, Ti or none"
)]
pub struct Malformed(String);

/// Billionths in one.
const NANO: i64 = 9;
const LARGEST: i128 = (i64::MAX as i128) * 1_000_000_000;
/// More decimal digits before the point than this are beyond [`LARGEST`].
const MOST_DIGITS: usize = 30;

impl Quantity {
    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether it is more than zero.
    pub fn is_positive(self) -> bool {
        self.0 > 0
    }

    /// The amount where it is a whole number and not below zero.
    pub fn whole(self) -> Option<u64> {
        const ONE: i128 = 1_000_000_000;
        u64::try_from(self.0 / ONE).ok().filter(|_| self.0 % ONE == 0 && self.0 >= 0)
    }
}

impl FromStr for Quantity {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed(text.chars().take(40).collect());
        let (is_negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let number_ends =
            unsigned.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(number_ends);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || whole.is_empty() && fraction.is_empty() {
            return Err(malformed());
        }
        let (exponent, kibis) = scale(suffix).ok_or_else(malformed)?;
        let mut digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|digit| digit - b'0').collect();
        let fraction = i64::try_from(fraction.len()).map_err(|_| malformed())?;
        for _ in 0..kibis {
            digits = times_1024(&digits);
        }
        let nanos = rounded(&digits, exponent.saturating_sub(fraction).saturating_add(NANO));
        Ok(Self(if is_negative { -nanos } else { nanos }))
    }
}

/// The power of ten, and that of 1024, that a suffix stands for.
fn scale(suffix: &str) -> Option<(i64, u32)> {
    Some(match suffix {
        "n" => (-9, 0),
        "u" => (-6, 0),
        "m" => (-3, 0),
        "" => (0, 0),
        "k" => (3, 0),
        "M" => (6, 0),
        "G" => (9, 0),
        "T" => (12, 0),
        "P" => (15, 0),
        "E" => (18, 0),
        "Ki" => (0, 1),
        "Mi" => (0, 2),
        "Gi" => (0, 3),
        "Ti" => (0, 4),
        "Pi" => (0, 5),
        "Ei" => (0, 6),
        _ => (suffix.strip_prefix(['e', 'E'])?.parse().ok()?, 0),
    })
}

/// The number of these decimal digits, most significant first, times 1024.
fn times_1024(digits: &[u8]) -> Vec<u8> {
    let mut product = Vec::with_capacity(digits.len() + 4);
    let mut carry = 0_u32;
    for digit in digits.iter().rev() {
        let sum = u32::from(*digit) * 1024 + carry;
        product.push(last_digit(sum));
        carry = sum / 10;
    }
    while carry > 0 {
        product.push(last_digit(carry));
        carry /= 10;
    }
    product.reverse();
    product
}

fn last_digit(number: u32) -> u8 {
    u8::try_from(number % 10).unwrap_or_default()
}

/// The number of these decimal digits times this power of ten: a whole number, rounded up, at most
/// [`LARGEST`].
fn rounded(digits: &[u8], exponent: i64) -> i128 {
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = &digits[leading..];
    if digits.is_empty() {
        return 0;
    }
    let before_point = i64::try_from(digits.len()).unwrap_or(i64::MAX).saturating_add(exponent);
    let Ok(before_point) = usize::try_from(before_point) else { return 1 };
    if before_point > MOST_DIGITS {
        return LARGEST;
    }
    let at = |place: usize| i128::from(digits.get(place).copied().unwrap_or(0));
    let whole = (0..before_point).fold(0, |sum, place| sum * 10 + at(place));
    let has_rest = digits.iter().skip(before_point).any(|digit| *digit != 0);
    (whole + i128::from(has_rest)).min(LARGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nanos(text: &str) -> Option<i128> {
        text.parse::<Quantity>().ok().map(|quantity| quantity.0)
    }

    #[test]
    fn quantities_are_read_exactly() {
        let unit = 1_000_000_000_i128;
        let rows = [
            ("0", 0),
            ("1", unit),
            ("+1", unit),
            ("-1", -unit),
            ("1.", unit),
            (".5", unit / 2),
            ("0.5", unit / 2),
            ("500m", unit / 2),
            ("1u", 1_000),
            ("1n", 1),
            ("0.1n", 1),
            ("-0.1n", -1),
            ("1.0000000001", unit + 1),
            ("2k", 2_000 * unit),
            ("2e3", 2_000 * unit),
            ("2E3", 2_000 * unit),
            ("2e+3", 2_000 * unit),
            ("2e-3", unit / 500),
            ("1E", unit * 10_i128.pow(18)),
            ("1Ki", 1024 * unit),
            ("1.5Gi", 3 * 512 * 1024 * 1024 * unit),
            ("0.1Ki", 102_400_000_000),
            ("1Ei", unit << 60),
            // The exact product of a binary suffix ends in a 5 far behind the point: rounded up.
            ("0.0000000000001Ki", 1),
            ("8Ei", LARGEST),
            ("1e99", LARGEST),
            ("-1e99", -LARGEST),
            ("1e-99", 1),
            ("0e9223372036854775807", 0),
            ("1e9223372036854775807", LARGEST),
            ("1e-9223372036854775808", 1),
        ];
        for (text, wanted) in rows {
            assert_eq!(nanos(text), Some(wanted), "{text}");
        }
        let long = format!("0.{}", "3".repeat(10_000));
        assert_eq!(nanos(&long), Some(333_333_334));
        assert_eq!(nanos(&"9".repeat(10_000)), Some(LARGEST));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        let texts = [
            "",
            ".",
            "-",
            "+",
            "m",
            "1 ",
            " 1",
            "1 Gi",
            "1.2.3",
            "--1",
            "1gi",
            "1KI",
            "1K",
            "1mi",
            "much",
            "1e",
            "1e1.5",
            "1ee1",
            "1e99999999999999999999",
            "٣",
            "1µ",
            "0x10",
            "1_000",
            "NaN",
            "Infinity",
            "-.m",
        ];
        for text in texts {
            assert_eq!(nanos(text), None, "{text}");
        }
    }

    /// Numbers that look random and are the same each time (Knuth's MMIX generator).
    struct Sequence(u64);

    impl Sequence {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).expect("31 bits") % bound
        }
    }

    #[test]
    fn no_text_breaks_the_reading() {
        let alphabet: Vec<char> = "0123456789..+-eEinumkKMGTP äﷺ\0".chars().collect();
        let mut sequence = Sequence(1);
        let mut read = 0;
        for _ in 0..200_000 {
            let length = sequence.below(12);
            let text: String = (0..length).map(|_| alphabet[sequence.below(alphabet.len())]).collect();
            if let Some(nanos) = nanos(&text) {
                read += 1;
                assert!((-LARGEST..=LARGEST).contains(&nanos), "{text:?}");
                let opposite = text
                    .strip_prefix('-')
                    .map_or_else(|| format!("-{}", text.trim_start_matches('+')), ToOwned::to_owned);
                assert_eq!(super::tests::nanos(&opposite), Some(-nanos), "{text:?}");
            }
        }
        assert!(read > 1_000, "only {read} were quantities");
    }

    #[test]
    fn quantities_are_ordered_as_their_amounts() {
        let mut sequence = Sequence(7);
        let units = [("m", 1), ("", 1_000), ("k", 1_000_000), ("Ki", 1_024_000), ("Mi", 1_048_576_000_i128)];
        let mut any = || {
            let (suffix, millis) = units[sequence.below(units.len())];
            let number = sequence.below(5_000);
            (format!("{number}{suffix}"), i128::try_from(number).expect("small") * millis)
        };
        for _ in 0..20_000 {
            let ((left, left_millis), (right, right_millis)) = (any(), any());
            let order = left.parse::<Quantity>().ok().cmp(&right.parse::<Quantity>().ok());
            assert_eq!(order, left_millis.cmp(&right_millis), "{left} {right}");
        }
    }
}
