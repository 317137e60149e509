//! Lines of a transaction or an interactive watch, cut into words.

use crate::go;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// The words of a line, which may hold any bytes: in double quotes with escapes, in single quotes as they
/// stand, or up to the next space. A quote that is never closed is skipped. As with the reference, what is
/// no text is replaced in double quotes, and there alone.
///
/// # Errors
/// A double-quoted word with a wrong escape.
pub(crate) fn words(line: &[u8]) -> Result<Vec<OsString>, String> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(&first) = rest.first() {
        if first.is_ascii_whitespace() {
            rest = &rest[1..];
        } else if first == b'"' || first == b'\'' {
            match closing(rest, first) {
                None => rest = &rest[1..],
                Some(end) if first == b'\'' => {
                    words.push(OsString::from_vec(rest[1..end].to_vec()));
                    rest = &rest[end + 1..];
                }
                Some(end) => {
                    let text = String::from_utf8_lossy(&rest[..=end]);
                    let (word, _) = go::unquote(&text).ok_or("invalid syntax")?;
                    words.push(OsString::from_vec(word));
                    rest = &rest[end + 1..];
                }
            }
        } else {
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            words.push(OsString::from_vec(rest[..end].to_vec()));
            rest = &rest[end..];
        }
    }
    Ok(words)
}

/// Where the quote that `line` begins with is closed.
fn closing(line: &[u8], quote: u8) -> Option<usize> {
    let mut escaped = false;
    for (at, &byte) in line.iter().enumerate().skip(1) {
        if escaped {
            escaped = false;
        } else if byte == b'\\' && quote == b'"' {
            escaped = true;
        } else if byte == quote {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn words(line: &str) -> Result<Vec<OsString>, String> {
        super::words(line.as_bytes())
    }

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(words(r#"put "a \"b" 'c d' e"f"#).unwrap(), ["put", "a \"b", "c d", "e\"f"]);
        assert_eq!(words("put \"open").unwrap(), ["put", "open"]);
        assert!(words("  ").unwrap().is_empty());
        assert!(words(r#"put "\q""#).is_err());
    }

    #[test]
    fn words_may_hold_any_bytes() {
        let read = super::words(b"put \xe9 '\xe8' \"\xe7\"").unwrap();
        let bytes: Vec<Vec<u8>> = read.into_iter().map(OsString::into_vec).collect();
        assert_eq!(bytes, [&b"put"[..], b"\xe9", b"\xe8", "\u{fffd}".as_bytes()]);
    }
}
