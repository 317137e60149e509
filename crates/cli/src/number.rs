//! Numbers and durations as the reference's flags read them: any base, underscores between digits,
//! exact nanoseconds (reference: Go's `strconv` and `time`).

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// It does not look like one.
    Syntax,
    /// It is too large or too small.
    Range,
}

/// Reads a whole number that is not negative: `16`, `0x10`, `0o20`, `020`, `0b1_0000`.
///
/// # Errors
/// The text is no such number, or too large.
pub fn unsigned(text: &str) -> Result<u64, NumberError> {
    let (radix, digits) = radix_of(text);
    if digits.is_empty() && text != "0" {
        return Err(NumberError::Syntax);
    }
    let mut value = 0_u64;
    for digit in digits.bytes().filter(|&byte| byte != b'_') {
        let digit = char::from(digit).to_digit(radix).ok_or(NumberError::Syntax)?;
        let longer = value.checked_mul(u64::from(radix));
        value = longer
            .and_then(|value| value.checked_add(u64::from(digit)))
            .ok_or(NumberError::Range)?;
    }
    if has_stray_underscore(text) {
        return Err(NumberError::Syntax);
    }
    Ok(value)
}

/// Reads a whole number, in the same forms with a sign.
///
/// # Errors
/// The text is no such number, or too large or too small.
pub fn signed(text: &str) -> Result<i64, NumberError> {
    let (is_negative, magnitude) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = i128::from(unsigned(magnitude)?);
    let value = if is_negative { -magnitude } else { magnitude };
    i64::try_from(value).map_err(|_| NumberError::Range)
}

/// The base that a prefix says, and the digits behind it.
fn radix_of(text: &str) -> (u32, &str) {
    let bytes = text.as_bytes();
    match bytes {
        [b'0', b'b' | b'B', _, ..] => (2, &text[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &text[2..]),
        [b'0', b'x' | b'X', _, ..] => (16, &text[2..]),
        [b'0', ..] => (8, &text[1..]),
        _ => (10, text),
    }
}

/// Underscores stand between digits, or between a prefix and a digit.
fn has_stray_underscore(text: &str) -> bool {
    let has_prefix = matches!(text.as_bytes(), [b'0', b'b' | b'B' | b'o' | b'O' | b'x' | b'X', ..]);
    let digits = if has_prefix { &text[2..] } else { text };
    digits.ends_with('_') || digits.contains("__") || (digits.starts_with('_') && !has_prefix)
}

/// Units of a duration, in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration in nanoseconds: numbers with units, `1h30m`, `-1.5s`, or `0`.
///
/// # Errors
/// Says what is wrong, as the reference does.
pub fn nanoseconds(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", crate::go::quote(text.as_bytes()));
    let is_negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_i128;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, next) = behind.split_at(letters);
        let whole_and_fraction = number.split_once('.').unwrap_or((number, ""));
        if number.is_empty() || number == "." || whole_and_fraction.1.contains('.') {
            return Err(invalid());
        }
        if unit.is_empty() {
            return Err(format!(
                "time: missing unit in duration {}",
                crate::go::quote(text.as_bytes())
            ));
        }
        let known = UNITS.iter().find(|(name, _)| *name == unit);
        let Some((_, unit)) = known else {
            let (unit, text) = (unit.as_bytes(), text.as_bytes());
            let (unit, text) = (crate::go::quote(unit), crate::go::quote(text));
            return Err(format!("time: unknown unit {unit} in duration {text}"));
        };
        total += scaled(whole_and_fraction, *unit).ok_or_else(invalid)?;
        if total > i128::from(i64::MAX) + i128::from(is_negative) {
            return Err(invalid());
        }
        rest = next;
    }
    let total = if is_negative { -total } else { total };
    i64::try_from(total).map_err(|_| invalid())
}

/// A decimal number of units in nanoseconds; none where it is beyond all durations.
fn scaled((whole, fraction): (&str, &str), unit: u64) -> Option<i128> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos = i128::from(whole) * i128::from(unit);
    // Further digits are below a nanosecond, whatever the unit.
    let digits = &fraction[..fraction.len().min(18)];
    if digits.is_empty() {
        return Some(nanos);
    }
    let part = i128::from(digits.parse::<u64>().ok()?);
    Some(nanos + part * i128::from(unit) / 10_i128.pow(digits.len() as u32))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_come_in_every_base() {
        let good = [
            ("0", 0),
            ("16", 16),
            ("0x10", 16),
            ("0X_1f", 31),
            ("0o17", 15),
            ("017", 15),
            ("0b11", 3),
            ("1_000", 1000),
            ("0_7", 7),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, value) in good {
            assert_eq!(unsigned(text), Ok(value), "{text}");
        }
        let bad =
            ["", "x", "-1", "+1", " 1", "1 ", "08", "0x", "0b2", "1__0", "_1", "1_", "1.0", "1e3"];
        for text in bad {
            assert_eq!(unsigned(text), Err(NumberError::Syntax), "{text}");
        }
        assert_eq!(unsigned("18446744073709551616"), Err(NumberError::Range));
        assert_eq!(signed("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(signed("+0x7"), Ok(7));
        assert_eq!(signed("9223372036854775808"), Err(NumberError::Range));
        assert_eq!(signed("-"), Err(NumberError::Syntax));
    }

    #[test]
    fn durations_are_exact() {
        let good = [
            ("0", 0),
            ("-0", 0),
            ("1h30m", 5_400_000_000_000),
            ("-1.5s", -1_500_000_000),
            (".5us", 500),
            ("1.s", 1_000_000_000),
            ("+3ns", 3),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
            ("0.100000000000000000000h", 360_000_000_000),
        ];
        for (text, nanos) in good {
            assert_eq!(nanoseconds(text), Ok(nanos), "{text}");
        }
        for text in ["", "-", "x", ".s", "1..s", "99999999h", "9223372036854775808ns", "s"] {
            let error = nanoseconds(text).unwrap_err();
            assert!(error.starts_with("time: invalid duration"), "{text}: {error}");
        }
        assert_eq!(nanoseconds("5").unwrap_err(), "time: missing unit in duration \"5\"");
        let unknown = nanoseconds("5 apples").unwrap_err();
        assert_eq!(unknown, "time: unknown unit \" apples\" in duration \"5 apples\"");
    }
}
