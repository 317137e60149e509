//! Where to listen, and what may be advertised (etcd's `server/embed`).

use crate::host::{port_number, split_host_port};
use crate::ip::parse_ip;
use crate::{Error, Url, Urls};
use std::net::{IpAddr, SocketAddr};

impl Urls {
    /// Whether one can listen on all of them: they have addresses, or are on this machine.
    ///
    /// # Errors
    /// One has a name, which could mean another machine tomorrow, or no host at all.
    pub fn check_binding(&self) -> Result<(), Error> {
        for url in self.iter().filter(|url| !url.is_unix()) {
            let (host, _) = split_host_port(url.host())?;
            if host != "localhost" && parse_ip(host).is_none() {
                return Err(no_ip(url));
            }
        }
        Ok(())
    }

    /// Whether all of them have a host, by which others can reach them.
    ///
    /// # Errors
    /// One has none.
    pub fn check_hosts(&self) -> Result<(), Error> {
        for url in self.iter().filter(|url| !url.is_unix()) {
            let (host, _) = split_host_port(url.host())?;
            if host.is_empty() {
                return Err(Error::quoting(|quoting| {
                    format!("unexpected empty host ({})", quoting.plain(url.as_str()))
                }));
            }
        }
        Ok(())
    }
}

impl Url {
    /// The address to listen on. `localhost` knows that of this machine.
    ///
    /// # Errors
    /// It has a name, or a port that is too large.
    pub fn listen_address(&self, localhost: impl Fn() -> IpAddr) -> Result<SocketAddr, Error> {
        let (host, port) = split_host_port(self.host())?;
        let ip = match host {
            "localhost" => localhost(),
            host => parse_ip(host).ok_or_else(|| no_ip(self))?,
        };
        let port = port_number(port).map_err(|error| Error::new(format!("listen tcp: {error}")))?;
        Ok(SocketAddr::new(ip, port))
    }
}

fn no_ip(url: &Url) -> Error {
    Error::quoting(|quoting| {
        format!("expected IP in URL for binding ({})", quoting.plain(url.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn one_listens_on_addresses_and_advertises_hosts() {
        let bind = |list| Urls::parse(list).unwrap().check_binding().map_err(|e| e.to_string());
        let hosts = |list| Urls::parse(list).unwrap().check_hosts().map_err(|e| e.to_string());
        for list in ["http://localhost:1", "http://[::]:1", "http://0.0.0.0:1", "unix://x:1"] {
            assert_eq!((bind(list), hosts(list)), (Ok(()), Ok(())), "{list}");
        }
        for list in ["http://h:1", "http://127.0.0.010:1", "http://[fe80::1%25lo]:1"] {
            assert_eq!(bind(list), Err(format!("expected IP in URL for binding ({list})")));
            assert_eq!(hosts(list), Ok(()));
        }
        assert_eq!(bind("http://:1"), Err("expected IP in URL for binding (http://:1)".into()));
        assert_eq!(hosts("http://:1"), Err("unexpected empty host (http://:1)".into()));
    }

    #[test]
    fn a_url_says_where_to_listen() {
        let listen = |text| {
            let address = Url::of_member(text).unwrap();
            let address = address.listen_address(|| IpAddr::V4(Ipv4Addr::LOCALHOST));
            address.map(|address| address.to_string()).map_err(|error| error.to_string())
        };
        assert_eq!(listen("http://localhost:1").unwrap(), "127.0.0.1:1");
        assert_eq!(listen("http://[::ffff:127.0.0.1]:1").unwrap(), "127.0.0.1:1");
        assert_eq!(listen("http://[0::0]:").unwrap(), "[::]:0");
        let refused = listen("http://127.0.0.1:65536").unwrap_err();
        assert_eq!(refused, "listen tcp: address 65536: invalid port");
    }
}
