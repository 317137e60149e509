//! The first members by DNS: `_etcd-server-ssl._tcp.domain` and `_etcd-server._tcp.domain`
//! (reference: `client/pkg/srv`, `server/embed/config.go`).

use super::dns::Dns;
use address::{Url, join_host_port};
use std::collections::HashMap;
use std::net::SocketAddr;

/// Where to look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Srv {
    /// `--discovery-srv`.
    pub(crate) domain: String,
    /// `--discovery-srv-name`: distinguishes clusters of one domain.
    pub(crate) suffix: String,
}

impl Srv {
    /// The members, as `--initial-cluster` lists them: this one, found by its address, under its
    /// name, the others under numbers.
    ///
    /// # Errors
    /// Neither service has a member.
    pub(super) fn members(
        &self,
        dns: &dyn Dns,
        name: &str,
        advertised: &[String],
    ) -> Result<Vec<String>, String> {
        let mut members = Vec::new();
        let mut errors = Vec::new();
        for (scheme, service) in [("https", "etcd-server-ssl"), ("http", "etcd-server")] {
            let named = match self.suffix.as_str() {
                "" => service.to_owned(),
                suffix => format!("{service}-{suffix}"),
            };
            let found = self.members_of(dns, scheme, &named, name, advertised);
            tracing::info!(
                service_scheme = scheme,
                service_name = %named,
                server_name = name,
                discovery_srv = %self.domain,
                found_cluster = ?found,
                "get cluster for {service} SRV"
            );
            match found {
                Ok(found) => members.extend(found),
                Err(error) => errors.push(error),
            }
        }
        let error = errors.join("\n");
        if !error.is_empty() {
            tracing::warn!(error, "failed to resolve during SRV discovery");
        }
        if members.is_empty() { Err(error) } else { Ok(members) }
    }

    fn members_of(
        &self,
        dns: &dyn Dns,
        scheme: &str,
        service: &str,
        name: &str,
        advertised: &[String],
    ) -> Result<Vec<String>, String> {
        let own = addresses(dns, advertised)?;
        let asked = dns.srv(&format!("_{service}._tcp.{}", self.domain));
        let fail = |why| format!("error querying DNS SRV records for _{service} {why}");
        let mut members = Vec::new();
        let mut why = String::new();
        let mut number = 0;
        for target in asked.map_err(fail)? {
            let address = match dns.address(&target.address()) {
                Ok(address) => address,
                Err(error) => {
                    why = error;
                    continue;
                }
            };
            let mine = own.get(&address);
            let member = match mine {
                Some(_) => name.to_owned(),
                None => {
                    number += 1;
                    (number - 1).to_string()
                }
            };
            // A record ends with a dot, a URL does not.
            let host = join_host_port(target.host.trim_end_matches('.'), target.port);
            match mine {
                Some(url) if !url.starts_with(&format!("{scheme}://")) => {
                    why = format!(
                        "bootstrap at {scheme}://{host} from DNS for {service} has scheme mismatch \
                         with expected peer {url}"
                    );
                }
                _ => members.push(format!("{member}={scheme}://{host}")),
            }
        }
        if members.is_empty() && !why.is_empty() { Err(fail(why)) } else { Ok(members) }
    }
}

/// This member's own URLs by their addresses.
fn addresses<'u>(
    dns: &dyn Dns,
    advertised: &'u [String],
) -> Result<HashMap<SocketAddr, &'u str>, String> {
    let address = |url: &'u String| {
        let read = Url::parse(url).map_err(|error| error.to_string())?;
        Ok((dns.address(read.host())?, url.as_str()))
    };
    advertised.iter().map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cli::dns::Target;

    /// Records as `service -> (host, port)`, and addresses by host.
    struct Records {
        services: Vec<(&'static str, &'static str, u16)>,
        hosts: Vec<(&'static str, [u8; 4])>,
    }

    impl Dns for Records {
        fn srv(&self, name: &str) -> Result<Vec<Target>, String> {
            let of = self.services.iter().filter(|(service, _, _)| *service == name);
            let found: Vec<Target> =
                of.map(|&(_, host, port)| Target { host: host.into(), port }).collect();
            if found.is_empty() { Err(format!("lookup {name}: no such host")) } else { Ok(found) }
        }

        fn address(&self, host: &str) -> Result<SocketAddr, String> {
            let (name, port) = host.rsplit_once(':').unwrap();
            let known = self.hosts.iter().find(|(host, _)| *host == name.trim_end_matches('.'));
            let (_, ip) = known.ok_or_else(|| format!("lookup {name}: no such host"))?;
            Ok(SocketAddr::from((*ip, port.parse().unwrap())))
        }
    }

    fn three() -> Records {
        let service = "_etcd-server._tcp.example.com";
        Records {
            services: vec![
                (service, "a.example.com.", 2380),
                (service, "b.example.com.", 2380),
                (service, "c.example.com.", 2380),
            ],
            hosts: vec![
                ("a.example.com", [10, 0, 0, 1]),
                ("b.example.com", [10, 0, 0, 2]),
                ("c.example.com", [10, 0, 0, 3]),
                ("10.0.0.2", [10, 0, 0, 2]),
            ],
        }
    }

    fn find(srv: &Srv, records: &Records, own: &str) -> Result<Vec<String>, String> {
        srv.members(records, "me", &[own.to_owned()])
    }

    #[test]
    fn a_member_finds_itself_by_its_address() {
        let srv = Srv { domain: "example.com".into(), suffix: String::new() };
        assert_eq!(
            find(&srv, &three(), "http://10.0.0.2:2380").unwrap(),
            [
                "0=http://a.example.com:2380",
                "me=http://b.example.com:2380",
                "1=http://c.example.com:2380"
            ]
        );
        let error = find(&srv, &three(), "http://unknown:2380").unwrap_err();
        assert!(error.contains("lookup unknown: no such host"), "{error}");
    }

    #[test]
    fn both_services_count_and_schemes_must_match() {
        let srv = Srv { domain: "example.com".into(), suffix: String::new() };
        let mut records = three();
        for (service, _, _) in &mut records.services {
            *service = "_etcd-server-ssl._tcp.example.com";
        }
        records.services.truncate(2);
        // Its own record is left out, for it is not what the member says of itself.
        assert_eq!(
            find(&srv, &records, "http://b.example.com:2380").unwrap(),
            ["0=https://a.example.com:2380"]
        );
        records.services.remove(0);
        let error = find(&srv, &records, "http://b.example.com:2380").unwrap_err();
        assert!(error.contains("has scheme mismatch with expected peer http://b.example.com:2380"));
    }

    #[test]
    fn a_suffix_names_another_service() {
        let srv = Srv { domain: "example.com".into(), suffix: "blue".into() };
        let error = find(&srv, &three(), "http://a.example.com:2380").unwrap_err();
        assert_eq!(
            error,
            "error querying DNS SRV records for _etcd-server-ssl-blue lookup \
             _etcd-server-ssl-blue._tcp.example.com: no such host\n\
             error querying DNS SRV records for _etcd-server-blue lookup \
             _etcd-server-blue._tcp.example.com: no such host"
        );
    }
}
