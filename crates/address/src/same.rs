//! Whether two lists of URLs mean the same places (etcd's `pkg/netutil`).

use crate::host::{join_host_port, port_number, split_host_port};
use crate::{Error, Quoting, Url, ip};
use std::net::IpAddr;

/// Whether both lists mean the same places, by their texts or else by the addresses that `resolve` finds
/// for a URL: `host:port`, or nothing where the URL stays as it is.
///
/// # Errors
/// They do not, or it cannot be found out; in etcd's words.
pub fn same(
    a: &[String],
    b: &[String],
    resolve: &dyn Fn(&Url) -> Result<Option<String>, String>,
) -> Result<(), Error> {
    if a.len() != b.len() {
        return Err(Error::quoting(|quoting| {
            format!("len({}) != len({})", quoted(a, quoting), quoted(b, quoting))
        }));
    }
    let (a, b) = (read(a)?, read(b)?);
    if first_difference(&a, &b).is_none() {
        return Ok(());
    }
    let (a, b) = (resolved(&a, resolve)?, resolved(&b, resolve)?);
    match first_difference(&a, &b) {
        None => Ok(()),
        Some((a, b)) => {
            let quoted = |url: &Url, quoting: Quoting| quoting.quoted(url.as_str());
            Err(Error::quoting(|quoting| {
                format!("resolved urls: {} != {}", quoted(a, quoting), quoted(b, quoting))
            }))
        }
    }
}

/// The address of a URL's host: `host:port`, or nothing where the URL stays as it is, for it means
/// this machine. `look_up` knows the addresses of names.
///
/// # Errors
/// There is no port, or the name has no address.
pub fn resolve(
    url: &Url,
    look_up: &dyn Fn(&str) -> Result<IpAddr, String>,
) -> Result<Option<String>, String> {
    if url.is_unix() {
        return Ok(None);
    }
    let (host, port) = split_host_port(url.host()).map_err(|error| error.to_string())?;
    if host == "localhost" {
        return Ok(None);
    }
    let port = port_number(port).map_err(|error| error.to_string())?;
    let host = match ip::parse(host.as_bytes()) {
        Ok(address) if address.zone.is_empty() => address.ip.to_canonical().to_string(),
        Ok(address) => format!("{}%{}", address.ip, String::from_utf8_lossy(&address.zone)),
        Err(_) if host.is_empty() => return Err("lookup : no such host".into()),
        Err(_) => look_up(host)?.to_canonical().to_string(),
    };
    Ok(Some(join_host_port(&host, port)))
}

fn read(texts: &[String]) -> Result<Vec<Url>, Error> {
    let refused = |text: &str| {
        Error::quoting(|quoting| format!("failed to parse string to URL: {}", quoting.quoted(text)))
    };
    let read = |text: &String| Url::parse(text).map_err(|_| refused(text));
    let mut urls = texts.iter().map(read).collect::<Result<Vec<Url>, Error>>()?;
    urls.sort();
    Ok(urls)
}

fn resolved(
    urls: &[Url],
    resolve: &dyn Fn(&Url) -> Result<Option<String>, String>,
) -> Result<Vec<Url>, Error> {
    let one = |url: &Url| match resolve(url) {
        Ok(Some(host)) => Ok(url.with_host(&host)),
        Ok(None) => Ok(url.clone()),
        Err(why) => Err(Error::quoting(|quoting| {
            format!("failed to resolve {} ({why})", quoting.quoted(url.as_str()))
        })),
    };
    let mut urls = urls.iter().map(one).collect::<Result<Vec<Url>, Error>>()?;
    urls.sort();
    Ok(urls)
}

fn first_difference<'u>(a: &'u [Url], b: &'u [Url]) -> Option<(&'u Url, &'u Url)> {
    a.iter().zip(b).find(|(a, b)| !a.is_same_place(b))
}

/// As Go quotes a list.
fn quoted(texts: &[String], quoting: Quoting) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoting.quoted(text)).collect();
    format!("[{}]", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(a: &[&str], b: &[&str]) -> Result<(), String> {
        let names = |name: &str| match name {
            "a" => Ok(IpAddr::from([10, 0, 0, 1])),
            _ => Err(format!("lookup {name}: no such host")),
        };
        let list = |urls: &[&str]| urls.iter().map(|&url| url.into()).collect::<Vec<String>>();
        same(&list(a), &list(b), &|url| resolve(url, &names)).map_err(|error| error.to_string())
    }

    #[test]
    fn places_are_compared_by_text_and_then_by_address() {
        for (a, b) in [
            ("http://[fd00:0::1]:1", "http://[fd00::1]:1"),
            ("http://[::ffff:10.0.0.1]:1", "http://10.0.0.1:1"),
            ("HTTP://x:1", "http://x:1"),
            ("http://a:1", "http://10.0.0.1:1"),
            ("http://10.0.0.1:01", "http://10.0.0.1:1"),
            ("http://localhost:1", "http://localhost:1"),
            ("http://u@a:1?x", "http://a:1"),
        ] {
            assert_eq!(compare(&[a], &[b]), Ok(()), "{a} {b}");
        }
        assert_eq!(compare(&["http://x:2", "http://x:1"], &["http://x:1", "http://x:2"]), Ok(()));
    }

    #[test]
    fn differences_are_told_in_the_words_of_etcd() {
        for (a, b, why) in [
            (
                "http://a:1",
                "http://10.0.0.2:1",
                "resolved urls: \"http://10.0.0.1:1\" != \"http://10.0.0.2:1\"",
            ),
            (
                "http://b:1",
                "http://a:1",
                "failed to resolve \"http://b:1\" (lookup b: no such host)",
            ),
            (
                "http://localhost:1",
                "http://127.0.0.1:1",
                "resolved urls: \"http://localhost:1\" != \"http://127.0.0.1:1\"",
            ),
            (
                "http://10.0.0.1:65536",
                "http://a:1",
                "failed to resolve \"http://10.0.0.1:65536\" (address 65536: invalid port)",
            ),
            ("a:b:1", "x", "failed to resolve \"a:b:1\" (missing port in address)"),
            ("1:b", "x", "failed to parse string to URL: \"1:b\""),
        ] {
            assert_eq!(compare(&[a], &[b]).unwrap_err(), why);
        }
        let error = compare(&["http://a:1"], &[]).unwrap_err();
        assert_eq!(error, "len([\"http://a:1\"]) != len([])");
    }
}
