//! What is asked of the domain name system.

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use std::net::{SocketAddr, ToSocketAddrs};
use tokio::runtime::Runtime;

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// A name, with the dot that ends it.
    pub(super) host: String,
    pub(super) port: u16,
}

/// The names of services and hosts.
pub(super) trait Dns {
    /// The targets of a service, as `_service._tcp.domain` names it, the preferred ones first.
    ///
    /// # Errors
    /// There are none, or it cannot be found out.
    fn srv(&self, name: &str) -> Result<Vec<Target>, String>;

    /// The address of `host:port`.
    ///
    /// # Errors
    /// It has none.
    fn address(&self, host: &str) -> Result<SocketAddr, String>;
}

/// The system's resolver, for addresses; the same name servers, for services.
pub(super) struct SystemDns {
    runtime: Runtime,
    resolver: TokioResolver,
}

impl SystemDns {
    /// Reads the system's settings.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn new() -> Result<SystemDns, String> {
        SystemDns::built_by(|| {
            let builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
            builder.build().map_err(|error| error.to_string())
        })
    }

    /// With a resolver, which is made inside the runtime that it will use.
    fn built_by(
        build: impl FnOnce() -> Result<TokioResolver, String>,
    ) -> Result<SystemDns, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let inside = runtime.enter();
        let resolver = build()?;
        drop(inside);
        Ok(SystemDns { runtime, resolver })
    }
}

impl Dns for SystemDns {
    fn srv(&self, name: &str) -> Result<Vec<Target>, String> {
        // A name that ends with a dot is not tried below the machine's own domain.
        let absolute = format!("{}.", name.trim_end_matches('.'));
        let found = self.runtime.block_on(self.resolver.srv_lookup(absolute));
        let found = found.map_err(|error| format!("lookup {name}: {error}"))?;
        let mut targets: Vec<(u16, u16, Target)> = Vec::new();
        for record in found.answers() {
            if let RData::SRV(srv) = &record.data {
                let target = Target { host: srv.target.to_ascii(), port: srv.port };
                targets.push((srv.priority, u16::MAX - srv.weight, target));
            }
        }
        targets.sort_by_key(|(priority, lightness, _)| (*priority, *lightness));
        Ok(targets.into_iter().map(|(_, _, target)| target).collect())
    }

    fn address(&self, host: &str) -> Result<SocketAddr, String> {
        let found = host.to_socket_addrs().map_err(|error| format!("lookup {host}: {error}"))?;
        let found: Vec<SocketAddr> = found.collect();
        let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
        first.copied().ok_or_else(|| format!("lookup {host}: no such host"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
    use hickory_resolver::net::runtime::TokioRuntimeProvider;
    use std::net::{Ipv4Addr, UdpSocket};

    /// A name server that knows two targets of every service, and no other names.
    fn serve(socket: &UdpSocket) {
        let mut query = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut query) {
            let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap();
            let question = &query[12..name_end + 5];
            let is_known = query[12..len].windows(5).any(|part| part == b"known");
            let mut answer = query[..2].to_vec();
            // An answer: one question, two records or none and "no such name".
            answer.extend([0x81, if is_known { 0x80 } else { 0x83 }, 0, 1]);
            answer.extend([0, if is_known { 2 } else { 0 }, 0, 0, 0, 0]);
            answer.extend_from_slice(question);
            for (priority, port, host) in [(20, 2381_u16, b"b"), (10, 2380, b"a")] {
                if is_known {
                    // The question's name, SRV, IN, a minute, and the target.
                    answer.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, 9, 0, priority, 0, 1]);
                    answer.extend(port.to_be_bytes());
                    answer.extend([1, host[0], 0]);
                }
            }
            socket.send_to(&answer, from).unwrap();
        }
    }

    #[test]
    fn targets_come_from_the_name_server_in_their_order() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        std::thread::spawn(move || serve(&socket));
        let dns = SystemDns::built_by(|| {
            let mut udp = ConnectionConfig::udp();
            udp.port = port;
            let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![udp]);
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            let provider = TokioRuntimeProvider::default();
            let builder = TokioResolver::builder_with_config(config, provider);
            builder.build().map_err(|error| error.to_string())
        });
        let dns = dns.unwrap();
        let found = dns.srv("_etcd-server._tcp.known").unwrap();
        let target = |host: &str, port| Target { host: host.into(), port };
        assert_eq!(found, [target("a.", 2380), target("b.", 2381)]);
        let error = dns.srv("_etcd-server._tcp.nowhere").unwrap_err();
        assert!(error.starts_with("lookup _etcd-server._tcp.nowhere: "), "{error}");
    }
}
