//! The addresses of names, from the system, with patience.

use crate::{Url, is_number_of_c, resolve};
use std::net::{IpAddr, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

/// How long names may take to become known: members of a cluster are often started before them.
const LIMIT: Duration = Duration::from_secs(30);
/// How often a name is looked up again.
const RETRY: Duration = Duration::from_secs(1);

/// Finds the addresses of URLs. It waits for names that nobody knows yet, all in all for half a minute.
pub struct Resolver<'r> {
    look_up: &'r dyn Fn(&str) -> Result<IpAddr, String>,
    /// Hears of every failure.
    note: &'r dyn Fn(&Url, &str),
    until: Instant,
}

impl<'r> Resolver<'r> {
    /// The system's. `note` hears of every failure.
    pub fn system(note: &'r dyn Fn(&Url, &str)) -> Resolver<'r> {
        Resolver { look_up: &look_up, note, until: Instant::now() + LIMIT }
    }

    /// Another one, which does not wait.
    pub fn once(look_up: &'r dyn Fn(&str) -> Result<IpAddr, String>) -> Resolver<'r> {
        Resolver { look_up, note: &|_, _| {}, until: Instant::now() }
    }

    /// See [`resolve`].
    ///
    /// # Errors
    /// Why it failed last.
    pub fn resolve(&self, url: &Url) -> Result<Option<String>, String> {
        loop {
            match resolve(url, self.look_up) {
                // Without a port nothing will ever be found.
                Err(why) if url.dial().is_err() || Instant::now() + RETRY > self.until => {
                    return Err(why);
                }
                Err(why) => {
                    (self.note)(url, &why);
                    thread::sleep(RETRY);
                }
                found => return found,
            }
        }
    }
}

/// The first address of a name.
fn look_up(name: &str) -> Result<IpAddr, String> {
    let none = || format!("lookup {name}: no such host");
    if is_number_of_c(name) {
        return Err(none());
    }
    let mut found = (name, 0).to_socket_addrs().map_err(|_| none())?;
    found.next().map(|address| address.ip()).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_no_addresses_are_unknown_names() {
        for name in ["127.1", "2130706433", "0x7f.0.0.1"] {
            assert_eq!(look_up(name), Err(format!("lookup {name}: no such host")));
        }
        assert_eq!(look_up("127.0.0.1"), Ok(IpAddr::from([127, 0, 0, 1])));
    }

    #[test]
    fn who_has_no_patience_asks_once() {
        let names = |name: &str| match name {
            "a" => Ok(IpAddr::from([10, 0, 0, 1])),
            _ => Err(format!("lookup {name}: no such host")),
        };
        let resolver = Resolver::once(&names);
        let resolve = |text| resolver.resolve(&Url::parse(text).unwrap());
        assert_eq!(resolve("http://a:1"), Ok(Some("10.0.0.1:1".into())));
        assert_eq!(resolve("http://b:1"), Err("lookup b: no such host".into()));
        assert_eq!(resolve("http://localhost:1"), Ok(None));
    }
}
