//! Lines of a transaction or an interactive watch, cut into words.

use crate::go;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// The words of a line: in double quotes with escapes, in single quotes as they stand, or up to
/// the next space. A quote that is never closed is skipped.
///
/// # Errors
/// A double-quoted word with a wrong escape.
pub(crate) fn words(line: &str) -> Result<Vec<OsString>, String> {
    let mut words = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        if first.is_ascii_whitespace() {
            rest = &rest[1..];
        } else if first == '"' || first == '\'' {
            match closing(rest, first) {
                None => rest = &rest[1..],
                Some(end) if first == '\'' => {
                    words.push(rest[1..end].into());
                    rest = &rest[end + 1..];
                }
                Some(end) => {
                    let (word, _) = go::unquote(&rest[..=end]).ok_or("invalid syntax")?;
                    words.push(OsString::from_vec(word));
                    rest = &rest[end + 1..];
                }
            }
        } else {
            let end = rest.find(|c: char| c.is_ascii_whitespace()).unwrap_or(rest.len());
            words.push(rest[..end].into());
            rest = &rest[end..];
        }
    }
    Ok(words)
}

/// Where the quote that `text` begins with is closed.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote == '"' {
            escaped = true;
        } else if c == quote {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::words;

    #[test]
    fn quotes_hold_words_together() {
        assert_eq!(words(r#"put "a \"b" 'c d' e"f"#).unwrap(), ["put", "a \"b", "c d", "e\"f"]);
        assert_eq!(words("put \"open").unwrap(), ["put", "open"]);
        assert!(words("  ").unwrap().is_empty());
        assert!(words(r#"put "\q""#).is_err());
    }
}
