//! Peer URLs as they are given on the command line, and refused.
//!
//! Reference: `client/pkg/types/{urls,urlsmap}.go`, `server/config/config.go`, `pkg/netutil`.

use cli::go;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, ToSocketAddrs};

/// Members' names and their peer URLs.
pub(crate) type UrlsByName = BTreeMap<String, Vec<Url>>;

/// Where a member can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Url {
    /// All of it, the scheme in lower case.
    text: String,
    scheme: String,
    /// The host with its port.
    host: String,
    path: String,
}

impl Url {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    fn parse(text: &str) -> Result<Url, String> {
        let text = text.trim();
        let scheme = scheme_of(text)?.to_ascii_lowercase();
        let rest = &text[(scheme.len() + 1).min(text.len())..];
        let (authority, after) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())),
            None => ("", rest),
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned();
        let path = after[..after.find(['?', '#']).unwrap_or(after.len())].to_owned();
        let url = Url { text: format!("{scheme}:{rest}"), scheme, host, path };
        url.check(text)?;
        Ok(url)
    }

    fn check(&self, text: &str) -> Result<(), String> {
        match self.scheme.as_str() {
            "unix" | "unixs" => Ok(()),
            "http" | "https" => {
                let port = self.port();
                let is_number = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
                match port {
                    None => {
                        Err(format!("URL address does not have the form \"host:port\": {text}"))
                    }
                    Some(port) if !is_number(port) => {
                        let (text, port) = (go::quote(text.as_bytes()), format!(":{port}"));
                        let port = go::quote(port.as_bytes());
                        Err(format!("parse {text}: invalid port {port} after host"))
                    }
                    Some(_) if !self.path.is_empty() => {
                        Err(format!("URL must not contain a path: {text}"))
                    }
                    Some(_) => Ok(()),
                }
            }
            _ => Err(format!("URL scheme must be http, https, unix, or unixs: {text}")),
        }
    }

    /// What follows the host's last colon; none where there is no such colon, or one too many.
    fn port(&self) -> Option<&str> {
        let (name, port) = self.host.rsplit_once(':')?;
        let is_bracketed = name.starts_with('[') && name.ends_with(']');
        (is_bracketed || !name.contains([':', '[', ']'])).then_some(port)
    }

    /// The host without brackets.
    fn name(&self) -> &str {
        let name = self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name);
        name.trim_start_matches('[').trim_end_matches(']')
    }

    /// What must be equal for two URLs to mean the same place.
    fn place(&self) -> (String, String, String) {
        let host = match self.name().parse::<IpAddr>() {
            Ok(address) => format!("{address} {}", self.port().unwrap_or_default()),
            Err(_) => self.host.clone(),
        };
        (self.scheme.clone(), host, self.path.clone())
    }

    /// The same with an address for its name.
    fn resolved(&self) -> Result<Url, String> {
        let is_local = self.name() == "localhost" || self.scheme.starts_with("unix");
        if is_local || self.name().parse::<IpAddr>().is_ok() {
            return Ok(self.clone());
        }
        let failed = |why| format!("failed to resolve {} ({why})", go::quote(self.text.as_bytes()));
        let mut found = self.host.to_socket_addrs().map_err(|error| failed(error.to_string()))?;
        let address = found.next().ok_or_else(|| failed("no such host".into()))?;
        let (host, scheme) = (address.to_string(), self.scheme.clone());
        Ok(Url { text: format!("{scheme}://{host}"), host, scheme, path: self.path.clone() })
    }
}

/// What stands before the first colon, if that can be a scheme; empty where there is none.
fn scheme_of(text: &str) -> Result<&str, String> {
    let colon = text.find([':', '/', '?', '#']).filter(|at| text.as_bytes()[*at] == b':');
    let Some(at) = colon else { return Ok("") };
    let scheme = &text[..at];
    let is_scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if scheme.is_empty() {
        Err(format!("parse {}: missing protocol scheme", go::quote(text.as_bytes())))
    } else if scheme.as_bytes()[0].is_ascii_alphabetic() && scheme.bytes().all(is_scheme_byte) {
        Ok(scheme)
    } else {
        let text = go::quote(text.as_bytes());
        Err(format!("parse {text}: first path segment in URL cannot contain colon"))
    }
}

/// Reads URLs, in order.
///
/// # Errors
/// What is wrong with one of them.
pub(crate) fn parse_urls<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<Url>, String> {
    let mut urls = texts.into_iter().map(Url::parse).collect::<Result<Vec<Url>, String>>()?;
    urls.sort();
    Ok(urls)
}

/// Reads `name=url,name=url`; a name may come again with another URL.
///
/// # Errors
/// What is wrong with one of the URLs.
pub(crate) fn parse_cluster(list: &str) -> Result<UrlsByName, String> {
    let mut texts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pair in list.split(',').filter(|pair| !pair.is_empty()) {
        let (name, url) = pair.split_once('=').unwrap_or((pair, ""));
        texts.entry(name).or_default().push(url);
    }
    let read = |(name, urls): (&str, Vec<&str>)| Ok((name.to_owned(), parse_urls(urls)?));
    texts.into_iter().map(read).collect()
}

/// Whether the member of this name is in the cluster, at the URLs that it advertises, and every URL
/// is there once.
///
/// # Errors
/// It is not.
pub(crate) fn check_cluster(
    name: &str,
    advertised: &[Url],
    cluster: &UrlsByName,
) -> Result<(), String> {
    let Some(listed) = cluster.get(name) else {
        let name = go::quote(name.as_bytes());
        let place = "in the initial cluster configuration";
        return Err(format!("couldn't find local name {name} {place}"));
    };
    if let Err(why) = same_places(advertised, listed) {
        return Err(mismatch(name, advertised, listed, &why));
    }
    let mut seen = BTreeSet::new();
    if cluster.values().flatten().any(|url| !seen.insert(url.as_str())) {
        let all = pairs(cluster.iter().map(|(name, urls)| (name.as_str(), urls.as_slice())));
        return Err(format!("initial cluster {all} has duplicate url"));
    }
    Ok(())
}

/// Whether two lists in order mean the same places, by name or by address.
fn same_places(a: &[Url], b: &[Url]) -> Result<(), String> {
    if a.len() != b.len() {
        return Err(format!("len({}) != len({})", quoted_list(a), quoted_list(b)));
    }
    if a.iter().zip(b).all(|(a, b)| a.place() == b.place()) {
        return Ok(());
    }
    let resolve = |urls: &[Url]| {
        let mut urls = urls.iter().map(Url::resolved).collect::<Result<Vec<Url>, String>>()?;
        urls.sort();
        Ok::<_, String>(urls)
    };
    let (a, b) = (resolve(a)?, resolve(b)?);
    match a.iter().zip(&b).find(|(a, b)| a.place() != b.place()) {
        None => Ok(()),
        Some((a, b)) => {
            let (a, b) = (go::quote(a.text.as_bytes()), go::quote(b.text.as_bytes()));
            Err(format!("resolved urls: {a} != {b}"))
        }
    }
}

fn mismatch(name: &str, advertised: &[Url], listed: &[Url], why: &str) -> String {
    let missing_in = |all: &[Url], of: &[Url]| -> Vec<String> {
        let missing = of.iter().filter(|url| !all.contains(url));
        missing.map(|url| url.text.clone()).collect()
    };
    let advertised_list = texts(advertised).join(",");
    let missing = missing_in(advertised, listed);
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(|url| format!("{name}={url}")).collect();
        let missing = missing.join(",");
        return format!(
            "--initial-cluster has {missing} but missing from \
             --initial-advertise-peer-urls={advertised_list} ({why})"
        );
    }
    let pairs = pairs([(name, advertised)].into_iter());
    let missing = missing_in(listed, advertised);
    if !missing.is_empty() {
        let missing = missing.join(",");
        return format!(
            "--initial-advertise-peer-urls has {missing} but missing from --initial-cluster={pairs}"
        );
    }
    format!("failed to resolve {advertised_list} to match --initial-cluster={pairs} ({why})")
}

fn texts(urls: &[Url]) -> Vec<&str> {
    urls.iter().map(Url::as_str).collect()
}

fn quoted_list(urls: &[Url]) -> String {
    let quoted: Vec<String> = urls.iter().map(|url| go::quote(url.text.as_bytes())).collect();
    format!("[{}]", quoted.join(" "))
}

fn pairs<'a>(named: impl Iterator<Item = (&'a str, &'a [Url])>) -> String {
    let mut pairs: Vec<String> = named
        .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={}", url.text)))
        .collect();
    pairs.sort();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_refused_in_the_words_of_the_reference() {
        let refusals = [
            ("http://a", "URL address does not have the form \"host:port\": http://a"),
            ("http://a:1/x", "URL must not contain a path: http://a:1/x"),
            ("ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"),
            ("localhost:1", "URL scheme must be http, https, unix, or unixs: localhost:1"),
            ("", "URL scheme must be http, https, unix, or unixs: "),
            ("http://a:x", "parse \"http://a:x\": invalid port \":x\" after host"),
            (":1", "parse \":1\": missing protocol scheme"),
            ("1.2.3.4:5", "parse \"1.2.3.4:5\": first path segment in URL cannot contain colon"),
        ];
        for (text, refusal) in refusals {
            assert_eq!(Url::parse(text).unwrap_err(), refusal);
        }
        for good in ["http://a:1", "https://[::1]:2380", "unix://x:1", "http://:1"] {
            assert_eq!(Url::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(Url::parse(" HTTP://a:1").unwrap().as_str(), "http://a:1");
    }

    #[test]
    fn a_member_must_advertise_what_the_cluster_lists() {
        let check = |advertised: &str, cluster: &str| {
            let advertised = parse_urls(advertised.split(',')).unwrap();
            check_cluster("m", &advertised, &parse_cluster(cluster).unwrap())
        };
        assert_eq!(check("http://1.1.1.1:2", "m=http://1.1.1.1:2,n=http://1.1.1.1:3"), Ok(()));
        assert_eq!(check("http://[::1]:2", "m=http://[0::1]:2"), Ok(()));
        let refusals = [
            (
                "http://a:2",
                "n=http://a:2",
                "couldn't find local name \"m\" in the initial cluster configuration",
            ),
            (
                "http://1.1.1.1:2",
                "m=http://1.1.1.1:2,n=http://1.1.1.1:2",
                "initial cluster m=http://1.1.1.1:2,n=http://1.1.1.1:2 has duplicate url",
            ),
            (
                "http://1.1.1.1:2",
                "m=http://1.1.1.1:3",
                "--initial-cluster has m=http://1.1.1.1:3 but missing from \
                 --initial-advertise-peer-urls=http://1.1.1.1:2 (resolved urls: \
                 \"http://1.1.1.1:2\" != \"http://1.1.1.1:3\")",
            ),
            (
                "http://1.1.1.1:2,http://1.1.1.1:3",
                "m=http://1.1.1.1:3",
                "--initial-advertise-peer-urls has http://1.1.1.1:2 but missing from \
                 --initial-cluster=m=http://1.1.1.1:2,m=http://1.1.1.1:3",
            ),
        ];
        for (advertised, cluster, refusal) in refusals {
            assert_eq!(check(advertised, cluster).unwrap_err(), refusal);
        }
    }
}
