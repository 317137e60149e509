//! Words of a command line as they may be shown when they are refused.
//!
//! A password may stand where none belongs: behind a mistyped flag, in another flag's value, in place of
//! a command. So of a word that is refused only as much is shown as names the mistake.

use address::redacted;

/// What stands in place of what may be a secret.
pub const HIDDEN: &str = "xxxxx";

/// A value as it may be shown: URLs without their passwords, and of `user:password` the user.
pub fn shown(value: &str) -> String {
    let hidden = redacted(value);
    match value.split_once(':') {
        Some((user, secret)) if hidden == value && !secret.is_empty() => format!("{user}:{HIDDEN}"),
        _ => hidden,
    }
}

/// A flag as it may be shown, with its dashes: without its value, even if that follows a colon.
pub fn flag_shown(word: &str) -> String {
    let name = word.trim_start_matches('-');
    let dashes = &word[..word.len() - name.len()];
    match name.find(['=', ':']) {
        // Without a name the value is the mistake.
        Some(0) => format!("{dashes}{}{}", &name[..1], shown(&name[1..])),
        Some(end) if end + 1 < name.len() => format!("{dashes}{}{HIDDEN}", &name[..=end]),
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_mistake_is_shown() {
        for (word, shown) in [
            ("--user:root:pw", "--user:xxxxx"),
            ("---password=pw", "---password=xxxxx"),
            ("--=x", "--=x"),
            ("--=root:pw", "--=root:xxxxx"),
            ("--bogus", "--bogus"),
            ("--bogus=", "--bogus="),
        ] {
            assert_eq!(flag_shown(word), shown);
        }
        assert_eq!(shown("root:pw"), "root:xxxxx");
        assert_eq!(shown("http://root:pw@h:1"), "http://root:xxxxx@h:1");
        assert_eq!((shown("gett"), shown("a:")), ("gett".into(), "a:".into()));
    }
}
