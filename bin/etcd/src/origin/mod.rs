//! Where a member without data gets the list of the first members from: the command line, DNS, or
//! a discovery service.

mod discovery;
mod dns;
mod srv;

pub(crate) use discovery::Discovery;
pub(crate) use srv::Srv;

use dns::SystemDns;
use membership::InitialCluster;
use server::Source;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// The way to the list.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// `--initial-cluster`.
    Listed(String),
    /// `--discovery-srv`.
    Srv(Srv),
    /// `--discovery-endpoints` and `--discovery-token`.
    Discovery(Box<Discovery>),
}

/// The way, and what is known beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) way: Way,
    /// `--initial-cluster-token`.
    pub(crate) token: OsString,
    /// This member's name.
    pub(crate) name: String,
    /// This member's peer URLs.
    pub(crate) advertised: Vec<String>,
}

impl Source for Origin {
    fn cluster(&self) -> Result<InitialCluster, String> {
        match &self.way {
            Way::Listed(list) => parse(list, self.token.as_bytes()),
            Way::Srv(srv) => self.look_up(srv),
            Way::Discovery(discovery) => {
                let own = self.advertised.iter().map(|url| format!("{}={url}", self.name));
                parse(&own.collect::<Vec<_>>().join(","), discovery.token.as_bytes())
            }
        }
    }

    fn domain(&self) -> Option<&str> {
        match &self.way {
            Way::Srv(srv) => Some(&srv.domain),
            Way::Listed(_) | Way::Discovery(_) => None,
        }
    }

    fn discovers(&self) -> bool {
        matches!(self.way, Way::Discovery(_))
    }

    fn complete(&self, own_id: u64, known: &InitialCluster) -> Result<InitialCluster, String> {
        match &self.way {
            Way::Discovery(discovery) => {
                let found = discovery.join(own_id, &known.to_string())?;
                let read = parse(&found, discovery.token.as_bytes());
                read.map_err(|why| format!("discovery: invalid peer URL: {why}"))
            }
            Way::Listed(_) | Way::Srv(_) => Ok(known.clone()),
        }
    }
}

impl Origin {
    fn look_up(&self, srv: &Srv) -> Result<InitialCluster, String> {
        let dns = SystemDns::new()?;
        let list = srv.members(&dns, &self.name, &self.advertised)?;
        for node in &list {
            tracing::info!(node = %node, "got bootstrap from DNS for etcd-server");
        }
        let initial = parse(&list.join(","), self.token.as_bytes())?;
        if initial.named(&self.name).is_none() {
            let name = &self.name;
            return Err(format!("cannot find local etcd member {name:?} in SRV records"));
        }
        Ok(initial)
    }
}

fn parse(list: &str, token: &[u8]) -> Result<InitialCluster, String> {
    InitialCluster::parse(list, token).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    fn before_it_is_found_a_cluster_is_its_one_member() {
        let origin = Origin {
            way: Way::Discovery(Box::new(Discovery { token: "d".into(), ..Discovery::default() })),
            token: "t".into(),
            name: "a".into(),
            advertised: vec!["http://h:1".into()],
        };
        let alone = origin.cluster().unwrap();
        assert_eq!(alone, InitialCluster::parse("a=http://h:1", "d").unwrap());
        assert!(origin.discovers());
        let token = OsString::from_vec(b"\xe9".to_vec());
        let listed = Origin { way: Way::Listed("a=http://h:1".into()), token, ..origin };
        let found = listed.cluster().unwrap();
        assert_eq!(found, InitialCluster::parse("a=http://h:1", b"\xe9").unwrap());
        assert_ne!(found, InitialCluster::parse("a=http://h:1", "\u{fffd}").unwrap());
    }
}
