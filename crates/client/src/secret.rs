//! What no log, message or panic shows.

use std::fmt;

/// A password or a token: it can be used, and is not shown by `{:?}`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, to be sent and to be kept to oneself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: Into<String>> From<S> for Secret {
    fn from(text: S) -> Secret {
        Secret(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// An endpoint or another URL as it may be shown: without the password in its user information, as
/// Go's `URL.Redacted` does.
pub fn without_password(url: &str) -> String {
    let start = url.find("://").map_or(0, |at| at + 3);
    let authority_len = url[start..].find(['/', '?', '#']).unwrap_or(url.len() - start);
    let Some((user, _)) = url[start..start + authority_len].rsplit_once('@') else {
        return url.to_owned();
    };
    let Some((name, _)) = user.split_once(':') else { return url.to_owned() };
    format!("{}{name}:xxxxx{}", &url[..start], &url[start + user.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::from("s3cret");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[secret] Some([secret])");
        assert_eq!(secret.expose(), "s3cret");
    }

    #[test]
    fn urls_lose_their_password() {
        assert_eq!(without_password("http://u:p@h:1/x"), "http://u:xxxxx@h:1/x");
        assert_eq!(without_password("u:p:q@r@h:1"), "u:xxxxx@h:1");
        for harmless in ["http://h:1", "http://u@h:1", "h:1", "unix:///a@b:c", ""] {
            assert_eq!(without_password(harmless), harmless);
        }
    }
}
