//! Whether two lists of peer URLs mean the same places (reference: `pkg/netutil`).

use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

/// How long names may take to become known: members of a cluster are often started before them.
const RESOLVE_LIMIT: Duration = Duration::from_secs(30);
/// How often a name is looked up again.
const RETRY: Duration = Duration::from_secs(1);

type LookUp<'r> = &'r dyn Fn(&str) -> Result<String, String>;

/// Makes `ip:port` of `host:port`.
pub(super) struct Resolver<'r> {
    look_up: LookUp<'r>,
    patience: Duration,
}

impl Resolver<'static> {
    /// The system's; it is patient.
    pub(super) fn system() -> Resolver<'static> {
        Resolver { look_up: &look_up, patience: RESOLVE_LIMIT }
    }
}

impl<'r> Resolver<'r> {
    /// Another one, asked once for each name.
    #[cfg(test)]
    pub(super) fn once(look_up: LookUp<'r>) -> Resolver<'r> {
        Resolver { look_up, patience: Duration::ZERO }
    }

    /// The URL with its host's address in the place of its name; localhost stays.
    fn resolve(&self, url: &str) -> Result<String, String> {
        let Some((scheme, rest)) = url.split_once("://") else { return Ok(url.into()) };
        let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
        if scheme.starts_with("unix") || host == "localhost" || is_address(host) {
            return Ok(url.into());
        }
        let begun = Instant::now();
        loop {
            match (self.look_up)(rest) {
                Ok(address) => return Ok(format!("{scheme}://{address}")),
                Err(error) if begun.elapsed() + RETRY > self.patience => return Err(error),
                Err(error) => {
                    tracing::warn!(url = %url, host = %rest, error = %error,
                        "failed to resolve URL Host");
                    std::thread::sleep(RETRY);
                }
            }
        }
    }
}

fn is_address(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
}

fn look_up(host: &str) -> Result<String, String> {
    let mut found = host.to_socket_addrs().map_err(|error| error.to_string())?;
    let first = found.next().ok_or_else(|| format!("lookup {host}: no such host"))?;
    Ok(first.to_string())
}

/// Whether both lists name the same places: by their text, or else by what their names resolve to.
///
/// # Errors
/// They do not, or it cannot be found out.
pub(super) fn same(a: &[String], b: &[String], resolver: &Resolver<'_>) -> Result<(), String> {
    if a.len() != b.len() {
        return Err(format!("len({}) != len({})", quoted(a), quoted(b)));
    }
    if sorted(a) == sorted(b) {
        return Ok(());
    }
    let resolved = |urls: &[String]| -> Result<Vec<String>, String> {
        let all: Result<Vec<String>, String> =
            urls.iter().map(|url| resolver.resolve(&normalized(url))).collect();
        Ok(sorted(&all?))
    };
    let (a, b) = (resolved(a)?, resolved(b)?);
    match a.iter().zip(&b).find(|(a, b)| a != b) {
        None => Ok(()),
        Some((a, b)) => Err(format!("resolved urls: {a:?} != {b:?}")),
    }
}

fn sorted(urls: &[String]) -> Vec<String> {
    let mut urls: Vec<String> = urls.iter().map(|url| normalized(url)).collect();
    urls.sort();
    urls
}

/// Host names have no case.
fn normalized(url: &str) -> String {
    if url.starts_with("unix") { url.to_owned() } else { url.to_lowercase() }
}

/// As Go quotes a list.
fn quoted(urls: &[String]) -> String {
    let quoted: Vec<String> = urls.iter().map(|url| format!("{url:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|&url| url.into()).collect()
    }

    #[test]
    fn places_are_compared_by_text_and_then_by_address() {
        let names = |host: &str| match host {
            "a:1" => Ok("10.0.0.1:1".to_owned()),
            _ => Err(format!("lookup {host}: no such host")),
        };
        let resolver = Resolver::once(&names);
        let same = |a: &[&str], b: &[&str]| same(&list(a), &list(b), &resolver);
        assert_eq!(same(&["http://H:2", "http://h:1"], &["http://h:1", "http://h:2"]), Ok(()));
        assert_eq!(same(&["http://a:1"], &["http://10.0.0.1:1"]), Ok(()));
        let error = same(&["http://a:1"], &["http://10.0.0.2:1"]).unwrap_err();
        assert_eq!(error, "resolved urls: \"http://10.0.0.1:1\" != \"http://10.0.0.2:1\"");
        let error = same(&["http://a:1"], &[]).unwrap_err();
        assert_eq!(error, "len([\"http://a:1\"]) != len([])");
        assert_eq!(same(&["http://b:1"], &["http://a:1"]), Err("lookup b:1: no such host".into()));
        assert!(same(&["http://localhost:1"], &["http://127.0.0.1:1"]).is_err());
    }
}
