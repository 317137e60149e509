//! The command line as anyone may see it.

/// What is shown instead of a secret.
const HIDDEN: &str = "xxxxx";
/// Parts of flags' names whose values are secrets.
const SECRETS: [&str; 2] = ["password", "secret"];

/// Arguments without the values of flags that name a secret, without the passwords that follow users'
/// names, and without those in URLs.
pub fn shown_arguments(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    // What hides the value of a flag that stands before it.
    let mut hide: Option<fn(&str) -> String> = None;
    let shown = arguments.into_iter().map(|argument| {
        if let Some(hide) = hide.take() {
            return hide(&argument);
        }
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with('-') => (name, value),
            _ => {
                hide = hiding(&argument);
                return without_passwords(&argument);
            }
        };
        format!("{name}={}", hiding(name).unwrap_or(without_passwords)(value))
    });
    shown.collect()
}

/// A value without the passwords of the URLs in it. A path in the file system is no URL.
fn without_passwords(value: &str) -> String {
    match value.starts_with('/') && !value.starts_with("//") {
        true => value.to_owned(),
        false => address::redacted(value),
    }
}

/// How the value of a flag is hidden, if it has to be.
fn hiding(flag: &str) -> Option<fn(&str) -> String> {
    let name = flag.to_ascii_lowercase();
    if !name.starts_with('-') {
        None
    } else if SECRETS.iter().any(|word| name.contains(word)) {
        Some(|_| HIDDEN.to_owned())
    } else if name.ends_with("user") {
        Some(|value| match value.split_once(':') {
            Some((user, _)) => format!("{user}:{HIDDEN}"),
            None => value.to_owned(),
        })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let shown =
            |arguments: &[&str]| shown_arguments(arguments.iter().map(|&argument| argument.into()));
        assert_eq!(
            shown(&["etcd", "--discovery-password=s3cret", "--name", "m", "--data-dir=d"]),
            ["etcd", "--discovery-password=xxxxx", "--name", "m", "--data-dir=d"]
        );
        assert_eq!(
            shown(&["etcd", "-discovery-Password", "s3cret", "--debug"]),
            ["etcd", "-discovery-Password", "xxxxx", "--debug"]
        );
        assert_eq!(
            shown(&["etcd", "--discovery-endpoints=http://u:p:q@a:1,https://b:2,http://c@d,v:p@e"]),
            ["etcd", "--discovery-endpoints=http://u:xxxxx@a:1,https://b:2,http://c@d,v:xxxxx@e"]
        );
        assert_eq!(
            shown(&["etcd", "--initial-cluster", "m=http://u:p/x@h:1,n=http://i:1", "-x=u:p@h"]),
            ["etcd", "--initial-cluster", "m=http://u:xxxxx@h:1,n=http://i:1", "-x=u:xxxxx@h"]
        );
        assert_eq!(
            shown(&["etcd", "--discovery-user=u:p:q", "--discovery-user", "u:p", "--user=u"]),
            ["etcd", "--discovery-user=u:xxxxx", "--discovery-user", "u:xxxxx", "--user=u"]
        );
        for harmless in ["--password", "--data-dir=/srv/a:b@c", "/srv/a:b@c"] {
            assert_eq!(shown(&["etcd", harmless]), ["etcd", harmless]);
        }
    }
}
