//! What is asked of the domain name system.

use cli::dns::{Names, Target};
use std::net::SocketAddr;
use tokio::runtime::Runtime;

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

/// The system's, asked from a thread that may wait.
pub(super) struct SystemDns {
    runtime: Runtime,
    names: Names,
}

impl SystemDns {
    /// Reads the system's settings.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn new() -> Result<SystemDns, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let inside = runtime.enter();
        let names = Names::of_system()?;
        drop(inside);
        Ok(SystemDns { runtime, names })
    }
}

impl Dns for SystemDns {
    fn srv(&self, name: &str) -> Result<Vec<Target>, String> {
        self.runtime.block_on(self.names.targets(name))
    }

    fn address(&self, host: &str) -> Result<SocketAddr, String> {
        self.names.address(host)
    }
}
