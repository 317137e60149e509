//! Values as the reference's language prints and reads them, since its output is compared.

use crate::secret::shown;
pub use address::quote;
use std::path::Path;
use std::time::Duration;

/// Reads a quoted string, as [`quote`] writes it, from the beginning of `text`; what it says and
/// what follows it.
pub fn unquote(text: &str) -> Option<(Vec<u8>, &str)> {
    let mut out = Vec::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let c = rest.chars().next()?;
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => return Some((out, rest)),
            '\n' => return None,
            '\\' => rest = escape(rest, &mut out)?,
            c => push(c, &mut out),
        }
    }
}

fn push(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape<'a>(text: &'a str, out: &mut Vec<u8>) -> Option<&'a str> {
    let c = text.chars().next()?;
    let rest = &text[c.len_utf8()..];
    let simple = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '"' => c as u8,
        'x' => return hex(rest, 2, |value| u8::try_from(value).ok().map(|byte| out.push(byte))),
        'u' => return hex(rest, 4, |value| char::from_u32(value).map(|c| push(c, out))),
        'U' => return hex(rest, 8, |value| char::from_u32(value).map(|c| push(c, out))),
        '0'..='7' => {
            out.push(u8::from_str_radix(text.get(..3)?, 8).ok()?);
            return text.get(3..);
        }
        _ => return None,
    };
    out.push(simple);
    Some(rest)
}

fn hex(text: &str, digits: usize, use_it: impl FnOnce(u32) -> Option<()>) -> Option<&str> {
    let number = text.get(..digits)?;
    use_it(u32::from_str_radix(number, 16).ok()?)?;
    text.get(digits..)
}

/// `\x` before each byte in hexadecimal.
pub fn hex_bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// What the system said about a file: `open x: no such file or directory`.
pub fn path_error(call: &str, path: &Path, error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
    format!("{call} {}: {text}", path.display())
}

/// A number of bytes for people, in powers of 1000.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 10 {
        return format!("{count} B");
    }
    let mut unit = 0;
    let mut scaled = count as f64;
    while scaled >= 1000.0 && unit + 1 < UNITS.len() {
        scaled /= 1000.0;
        unit += 1;
    }
    let rounded = (scaled * 10.0 + 0.5).floor() / 10.0;
    if rounded < 10.0 {
        format!("{rounded:.1} {}", UNITS[unit])
    } else {
        format!("{rounded:.0} {}", UNITS[unit])
    }
}

/// A duration: `1.5s`, `2m3s`, `850µs`.
pub fn duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanos, 1_000_000)),
        _ => {
            let (minutes, nanos) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = format!("{}s", fraction(nanos, 1_000_000_000));
            match (minutes / 60, minutes % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

/// `nanos / unit` without trailing zeros.
fn fraction(nanos: u128, unit: u128) -> String {
    let (whole, rest) = (nanos / unit, nanos % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

/// Reads a duration: numbers with units, `1h30m`, `1.5s`, or `0`.
///
/// # Errors
/// Says what is wrong, as the reference does.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let invalid = || format!("time: invalid duration {}", quote(shown(text).as_bytes()));
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0.0;
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" => {
                return Err(format!(
                    "time: missing unit in duration {}",
                    quote(shown(text).as_bytes())
                ));
            }
            _ => return Err(invalid()),
        };
        total += number * unit;
        rest = &rest[letters..];
    }
    Duration::try_from_secs_f64(total).map_err(|_| invalid())
}

/// Reads a truth value.
///
/// # Errors
/// Says that it is none.
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(syntax("ParseBool", text)),
    }
}

/// Reads a whole number.
///
/// # Errors
/// Says that it is none.
pub fn parse_int(text: &str) -> Result<i64, String> {
    integer(text, 10, "ParseInt", i64::from_str_radix)
}

/// Reads a flag's whole number: as a literal of Go's, with a prefix for its base and underscores.
///
/// # Errors
/// Says that it is none.
pub fn parse_flag_int(text: &str) -> Result<i64, String> {
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    };
    let Some((radix, digits)) = literal(digits) else { return Err(syntax("ParseInt", text)) };
    named(text, "ParseInt", i64::from_str_radix(&format!("{sign}{digits}"), radix))
}

/// The same for a number that is not negative.
///
/// # Errors
/// Says that it is none.
pub fn parse_flag_unsigned(text: &str) -> Result<u64, String> {
    let Some((radix, digits)) = literal(text) else { return Err(syntax("ParseUint", text)) };
    named(text, "ParseUint", u64::from_str_radix(&digits, radix))
}

/// The base of a literal, and its digits.
fn literal(text: &str) -> Option<(u32, String)> {
    let lower = text.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0b", 2), ("0o", 8)];
    let found = prefixes.iter().find_map(|(prefix, radix)| {
        lower.strip_prefix(prefix).map(|digits| (*radix, digits, true))
    });
    let (radix, digits, has_prefix) = found.unwrap_or(match lower.strip_prefix('0') {
        Some(digits) if !digits.is_empty() => (8, digits, true),
        _ => (10, lower.as_str(), false),
    });
    // Underscores stand between digits, or after a prefix.
    let is_bare = digits.starts_with('_') && !has_prefix;
    if is_bare || digits.ends_with('_') || digits.contains("__") || digits.starts_with(['+', '-']) {
        return None;
    }
    Some((radix, digits.replace('_', "")))
}

/// Reads a lease's id, in hexadecimal.
///
/// # Errors
/// Says that it is none.
pub fn parse_hex(text: &str) -> Result<i64, String> {
    integer(text, 16, "ParseInt", i64::from_str_radix)
}

/// Reads a member's id, in hexadecimal.
///
/// # Errors
/// Says that it is none.
pub fn parse_hex_unsigned(text: &str) -> Result<u64, String> {
    integer(text, 16, "ParseUint", u64::from_str_radix)
}

fn integer<T>(
    text: &str,
    radix: u32,
    function: &str,
    parse: fn(&str, u32) -> Result<T, std::num::ParseIntError>,
) -> Result<T, String> {
    named(text, function, parse(text, radix))
}

fn named<T>(
    text: &str,
    function: &str,
    parsed: Result<T, std::num::ParseIntError>,
) -> Result<T, String> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    parsed.map_err(|error| match error.kind() {
        PosOverflow | NegOverflow => {
            format!("strconv.{function}: parsing {}: value out of range", quote(text.as_bytes()))
        }
        _ => syntax(function, text),
    })
}

fn syntax(function: &str, text: &str) -> String {
    format!("strconv.{function}: parsing {}: invalid syntax", quote(shown(text).as_bytes()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_flags_are_literals() {
        let good = [("12", 12), ("-2", -2), ("+3", 3), ("0x1F", 31), ("017", 15), ("0b11", 3)];
        for (text, number) in good.into_iter().chain([("1_000", 1000), ("0", 0), ("0_7", 7)]) {
            assert_eq!(parse_flag_int(text), Ok(number), "{text}");
        }
        for bad in ["", "-", "x", "1__0", "_1", "1_", "0x", "08", "--1", "1.5"] {
            let syntax = format!("strconv.ParseInt: parsing {bad:?}: invalid syntax");
            assert_eq!(parse_flag_int(bad), Err(syntax));
        }
        let range = "strconv.ParseUint: parsing \"99999999999999999999\": value out of range";
        assert_eq!(parse_flag_unsigned("99999999999999999999"), Err(range.to_owned()));
        assert!(parse_flag_unsigned("-1").is_err() && parse_flag_unsigned("+1").is_err());
    }

    #[test]
    fn refusals_show_no_secret() {
        let odd = "root:s3cret";
        let refusals = [
            parse_int(odd).err(),
            parse_bool(odd).err(),
            parse_hex(odd).err(),
            parse_flag_int(odd).err(),
            parse_flag_unsigned(odd).err(),
            parse_duration(odd).err(),
        ];
        for refusal in refusals {
            assert!(refusal.is_some_and(|refusal| refusal.contains("\"root:xxxxx\"")));
        }
    }

    #[test]
    fn strings_are_quoted_and_read_back() {
        let cases: [(&[u8], &str); 5] = [
            (b"a\"b\\", r#""a\"b\\""#),
            (b"\x00\x7f\n", r#""\x00\x7f\n""#),
            ("é世\u{301}".as_bytes(), "\"é世\u{301}\""),
            (b"\xff\xc3", r#""\xff\xc3""#),
            ("\u{200b}\u{e0001}".as_bytes(), r#""\u200b\U000e0001""#),
        ];
        for (bytes, text) in cases {
            assert_eq!(quote(bytes), text);
            assert_eq!(unquote(text).unwrap(), (bytes.to_vec(), ""));
        }
        assert_eq!(unquote(r#""\101" x"#).unwrap(), (b"A".to_vec(), " x"));
        assert!(unquote("\"open").is_none() && unquote(r#""\q""#).is_none());
    }

    #[test]
    fn durations_and_sizes_look_as_in_go() {
        let shown = [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (2_225_220, "2.22522ms"),
            (1_000_000_000, "1s"),
            (61_500_000_000, "1m1.5s"),
            (3_600_000_000_000, "1h0m0s"),
        ];
        for (nanos, text) in shown {
            assert_eq!(duration(Duration::from_nanos(nanos)), text);
        }
        assert_eq!(parse_duration("1m1.5s"), Ok(Duration::from_millis(61_500)));
        assert!(parse_duration("5").is_err() && parse_duration("x").is_err());
        let sizes = [(9, "9 B"), (20480, "20 kB"), (2_147_483_648, "2.1 GB"), (999, "999 B")];
        for (count, text) in sizes {
            assert_eq!(bytes(count), text);
        }
    }
}
