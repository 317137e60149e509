//! Where a member without data gets the list of the first members from: the command line, DNS, or
//! a discovery service.

mod discovery;
mod dns;
mod srv;

pub(crate) use discovery::Discovery;
pub(crate) use srv::Srv;

use dns::SystemDns;
use server::Source;
use server::apply::membership::InitialCluster;

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
    pub(crate) token: String,
    /// This member's name.
    pub(crate) name: String,
    /// This member's peer URLs.
    pub(crate) advertised: Vec<String>,
}

impl Source for Origin {
    fn cluster(&self) -> Result<InitialCluster, String> {
        match &self.way {
            Way::Listed(list) => parse(list, &self.token),
            Way::Srv(srv) => self.look_up(srv),
            Way::Discovery(discovery) => {
                let own = self.advertised.iter().map(|url| format!("{}={url}", self.name));
                parse(&own.collect::<Vec<_>>().join(","), &discovery.token)
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
                parse(&discovery.join(own_id, &known.to_string())?, &discovery.token)
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
        let initial = parse(&list.join(","), &self.token)?;
        if initial.named(&self.name).is_none() {
            let name = &self.name;
            return Err(format!("cannot find local etcd member {name:?} in SRV records"));
        }
        Ok(initial)
    }
}

/// Reads a list and looks at its URLs.
fn parse(list: &str, token: &str) -> Result<InitialCluster, String> {
    let initial = InitialCluster::parse(list, token).map_err(|error| error.to_string())?;
    for url in initial.members.iter().flat_map(|member| &member.peer_urls) {
        check(url)?;
    }
    Ok(initial)
}

/// What etcd takes for the URL of a peer (reference: `client/pkg/types/urls.go`).
fn check(url: &str) -> Result<(), String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if matches!(scheme, "unix" | "unixs") {
        return Ok(());
    }
    if !matches!(scheme, "http" | "https") {
        return Err(format!("URL scheme must be http, https, unix, or unixs: {url}"));
    }
    let (address, path) = rest.split_once('/').map_or((rest, None), |(a, path)| (a, Some(path)));
    let port = address.rsplit_once(':').map(|(_, port)| port);
    if port.is_none_or(|port| port.parse::<u16>().is_err()) {
        return Err(format!("URL address does not have the form \"host:port\": {url}"));
    }
    if path.is_some() {
        return Err(format!("URL must not contain a path: {url}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_refused_in_the_words_of_etcd() {
        let refused = |list: &str| parse(list, "t").unwrap_err();
        assert_eq!(
            refused("a=ftp://h:1"),
            "URL scheme must be http, https, unix, or unixs: ftp://h:1"
        );
        assert_eq!(
            refused("a=http://h"),
            "URL address does not have the form \"host:port\": http://h"
        );
        assert_eq!(refused("a=http://h:1/x"), "URL must not contain a path: http://h:1/x");
        assert_eq!(parse("a=http://h:1,b=http://[::1]:2", "t").unwrap().members.len(), 2);
    }

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
    }
}
