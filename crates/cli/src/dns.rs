//! Services in the domain name system, and its failures in Go's words.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::RData;
use hickory_resolver::system_conf::read_system_conf;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

/// Where a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name, with the dot that ends it.
    pub host: String,
    /// As it is in the record.
    pub port: u16,
}

impl Target {
    /// `host:port`.
    pub fn address(&self) -> String {
        address::join_host_port(&self.host, self.port)
    }
}

/// The system's name servers. It is made, and asked, inside a runtime.
pub struct Names {
    resolver: TokioResolver,
    /// The first server, for messages.
    server: String,
}

impl Names {
    /// Reads the system's settings.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn of_system() -> Result<Names, String> {
        let (config, options) = read_system_conf().map_err(|error| error.to_string())?;
        Names::new(config, |builder| *builder = options)
    }

    fn new(
        config: ResolverConfig,
        change: impl FnOnce(&mut hickory_resolver::config::ResolverOpts),
    ) -> Result<Names, String> {
        let first = config.name_servers().first().and_then(|server| {
            let port = server.connections.first()?.port;
            Some(SocketAddr::new(server.ip, port).to_string())
        });
        let provider = TokioRuntimeProvider::default();
        let mut builder = TokioResolver::builder_with_config(config, provider);
        change(builder.options_mut());
        let resolver = builder.build().map_err(|error| error.to_string())?;
        Ok(Names { resolver, server: first.unwrap_or_default() })
    }

    /// The targets of a service, as `_service._tcp.domain` names it, the preferred ones first.
    ///
    /// # Errors
    /// There are none, or it cannot be found out.
    pub async fn targets(&self, name: &str) -> Result<Vec<Target>, String> {
        // A name that ends with a dot is not tried below the machine's own domain.
        let absolute = format!("{}.", name.trim_end_matches('.'));
        let found = self.resolver.srv_lookup(absolute).await;
        let found = found.map_err(|error| {
            // A domain is what somebody typed.
            let shown = address::redacted(name);
            self.failed(&shown, &words(&error).replace(name, &shown))
        })?;
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

    /// The address of `host:port`, as the system's own resolver finds it.
    ///
    /// # Errors
    /// It has none.
    pub fn address(&self, host: &str) -> Result<SocketAddr, String> {
        let (name, port) = address::split_host_port(host).map_err(|error| error.to_string())?;
        let port = address::port_number(port).map_err(|error| error.to_string())?;
        if address::is_number_of_c(name) {
            return Err(self.failed(name, NO_SUCH_HOST));
        }
        let found = (name, port).to_socket_addrs();
        let found = found.map_err(|error| self.failed(name, &told(&error)))?;
        let found: Vec<SocketAddr> = found.collect();
        let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
        first.copied().ok_or_else(|| self.failed(name, NO_SUCH_HOST))
    }

    fn failed(&self, name: &str, why: &str) -> String {
        format!("lookup {name} on {}: {why}", self.server)
    }
}

const NO_SUCH_HOST: &str = "no such host";
const MISBEHAVING: &str = "server misbehaving";

/// What Go says of a name server's answer.
fn words(error: &NetError) -> String {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(_)) => NO_SUCH_HOST.into(),
        NetError::Dns(DnsError::ResponseCode(_)) => MISBEHAVING.into(),
        NetError::Timeout => "i/o timeout".into(),
        _ => error.to_string(),
    }
}

/// What Go says where the system's resolver fails.
fn told(error: &io::Error) -> String {
    let text = error.to_string();
    match text.rsplit(": ").next() {
        Some("Name or service not known" | "No address associated with hostname") => {
            NO_SUCH_HOST.into()
        }
        Some("Temporary failure in name resolution") => MISBEHAVING.into(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
    use std::net::{Ipv4Addr, UdpSocket};

    /// A name server that knows two targets of every service of `known`, fails for `broken`, and knows
    /// no other names.
    fn serve(socket: &UdpSocket) {
        let mut query = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut query) {
            let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap();
            let question = &query[12..name_end + 5];
            let is_of = |name: &[u8]| query[12..len].windows(name.len()).any(|part| part == name);
            let is_known = is_of(b"known");
            let mut answer = query[..2].to_vec();
            // An answer: its code, one question, two records or none.
            let code = if is_of(b"broken") { 2 } else { 3 };
            answer.extend([0x81, 0x80 | if is_known { 0 } else { code }, 0, 1]);
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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut udp = ConnectionConfig::udp();
            udp.port = port;
            let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![udp]);
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
            let names = Names::new(config, |_| ()).unwrap();
            let found = names.targets("_etcd-server._tcp.known").await.unwrap();
            let found: Vec<String> = found.iter().map(Target::address).collect();
            assert_eq!(found, ["a.:2380", "b.:2381"]);
            let failed = |why: &str| format!(" on 127.0.0.1:{port}: {why}");
            for (domain, why) in [("nowhere", NO_SUCH_HOST), ("broken", MISBEHAVING)] {
                let name = format!("_etcd-server._tcp.{domain}");
                let error = names.targets(&name).await.unwrap_err();
                assert_eq!(error, format!("lookup {name}{}", failed(why)));
            }
        });
    }

    #[test]
    fn failures_of_the_system_are_told_as_go_tells_them() {
        let of = |why: &str| told(&io::Error::other(format!("failed to lookup: {why}")));
        assert_eq!(of("Name or service not known"), "no such host");
        assert_eq!(of("Temporary failure in name resolution"), "server misbehaving");
        assert_eq!(of("out of memory"), "failed to lookup: out of memory");
    }
}
