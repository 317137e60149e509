//! Running text without the passwords of the URLs that it quotes.

use crate::redacted;

/// A message as it may be shown: every URL in it loses its password, as by [`redacted`]. What stands in
/// quotation marks is taken whole, as Go's `%q` wrote it; everything else is cut at blanks and brackets. A
/// path in the file system, which begins with one slash, is no URL.
pub fn redacted_text(text: &str) -> String {
    if !text.contains('@') {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (piece, behind) = match first {
            '"' => rest.split_at(quoted_len(rest)),
            first if is_edge(first) => rest.split_at(first.len_utf8()),
            _ => rest.split_at(rest.find(|c| c == '"' || is_edge(c)).unwrap_or(rest.len())),
        };
        let inner = piece.strip_prefix('"').unwrap_or(piece);
        match inner.starts_with('/') && !inner.starts_with("//") {
            true => shown.push_str(piece),
            false => {
                shown.push_str(&piece[..piece.len() - inner.len()]);
                shown.push_str(&redacted(inner));
            }
        }
        rest = behind;
    }
    shown
}

/// How long a text in quotation marks is, without the last one. One that does not end is no such text.
fn quoted_len(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        ends
    });
    end.map_or(1, |(at, _)| at)
}

/// What does not stand in a URL, but around it.
fn is_edge(c: char) -> bool {
    c.is_whitespace() || matches!(c, '(' | ')' | '[' | '{' | '}' | '<' | '>' | '\'' | '`' | ';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_in_a_message_lose_their_passwords() {
        for (text, shown) in [
            ("http://u:p@h:1", "http://u:xxxxx@h:1"),
            ("cannot reach http://u:p@h:1 (refused)", "cannot reach http://u:xxxxx@h:1 (refused)"),
            ("parse \"http://u:p w@h\": no", "parse \"http://u:xxxxx@h\": no"),
            ("parse \"u:a\\\"b@h\", \"v:q@i\"", "parse \"u:xxxxx@h\", \"v:xxxxx@i\""),
            (
                "{Name:m ClientURLs:[http://u:p@[::1]:1 http://b:2]}",
                "{Name:m ClientURLs:[http://u:xxxxx@[::1]:1 http://b:2]}",
            ),
            ("has m=http://u:p@h:1,n=http://i:2 but", "has m=http://u:xxxxx@h:1,n=http://i:2 but"),
            ("in URL for binding (http://u:p@h)", "in URL for binding (http://u:xxxxx@h)"),
            ("never closed \"http://u:p@h", "never closed \"http://u:xxxxx@h"),
        ] {
            assert_eq!(redacted_text(text), shown);
            assert_eq!(redacted_text(shown), shown, "once is enough");
        }
    }

    #[test]
    fn what_holds_no_password_stays() {
        for harmless in [
            "",
            "a: b",
            "/srv/a:b@c/wal is locked",
            "open \"/a:b@c\"",
            "mail a@b: no",
            "\u{e9}@\u{e9} \"",
            "@\"@\"@",
        ] {
            assert_eq!(redacted_text(harmless), harmless);
        }
    }
}
