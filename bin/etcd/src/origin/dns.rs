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
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let resolver = {
            let _inside = runtime.enter();
            let builder = TokioResolver::builder_tokio().map_err(|error| error.to_string())?;
            builder.build().map_err(|error| error.to_string())?
        };
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
