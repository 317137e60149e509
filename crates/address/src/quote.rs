//! Text in quotation marks, as Go's `%q` writes it: most of its messages hold some.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// `%q` of a string that may hold any bytes.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| quote_char(c, &mut out));
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

fn quote_char(c: char, out: &mut String) {
    match c {
        '"' | '\\' => out.extend(['\\', c]),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\x0c' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\x0b' => out.push_str("\\v"),
        c if is_print(c) => out.push(c),
        c if c < '\u{80}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if c < '\u{10000}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
    }
}

fn is_print(c: char) -> bool {
    use GeneralCategoryGroup::{Letter, Mark, Number, Punctuation, Symbol};
    let group = c.general_category_group();
    c == ' ' || matches!(group, Letter | Mark | Number | Punctuation | Symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_printed_is_escaped() {
        for (bytes, text) in [
            (&b"a\"b\\"[..], r#""a\"b\\""#),
            (b"\n\x00\x7f", r#""\n\x00\x7f""#),
            ("\u{e9}\u{85}\u{10ffff}".as_bytes(), "\"\u{e9}\\u0085\\U0010ffff\""),
            (b"\xff", r#""\xff""#),
        ] {
            assert_eq!(quote(bytes), text);
        }
    }
}
