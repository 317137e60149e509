//! How a member without data begins: with others that are as new, or by joining a cluster that
//! runs (reference: `server/etcdserver/bootstrap.go`, `cluster_util.go`).
//!
//! ```text
//! data                 begins with that; nobody is asked
//! new, listed          verified, unless another member knows this one already
//! new, to be found     the source completes the list with what the other new members told it
//! existing             the members that run say which id this one was given
//! ```

mod join;
mod remote;
mod urls;
mod verify;

use disk::Disk;
use membership::InitialCluster;
use remote::PROBE_LIMIT;
use replica::Beginning;
use std::collections::BTreeSet;
use tls::Connector;

/// The members of a cluster that is joined, with their URLs: whom a member must be able to answer
/// before it knows them from the log.
pub type Remotes = Vec<(u64, Vec<String>)>;

/// Where the list of the first members comes from. Asked only for a member without data.
pub trait Source {
    /// The members as they are known at first, this one among them.
    ///
    /// # Errors
    /// There is no usable list.
    fn cluster(&self) -> Result<InitialCluster, String>;

    /// The domain whose records name the members, where that is how they are found: their
    /// certificates must be for it.
    fn domain(&self) -> Option<&str> {
        None
    }

    /// Whether the list is completed by [`Source::complete`].
    fn discovers(&self) -> bool;

    /// Makes this member known to the other new ones, and waits until there are enough; the whole
    /// list comes back.
    ///
    /// # Errors
    /// The cluster is complete without this member, or the others cannot be found.
    fn complete(&self, own_id: u64, known: &InitialCluster) -> Result<InitialCluster, String>;
}

/// What a member without data is told.
pub struct Plan<'p> {
    /// Whether the member joins a cluster that runs.
    pub joins: bool,
    /// Where other members reach it.
    pub advertise_peer_urls: &'p [String],
    /// The first members.
    pub source: &'p dyn Source,
    /// Who this member is to the others, and whom of them it believes.
    pub tls: &'p tls::Settings,
}

/// What a member knows once it knows how to begin.
#[derive(Debug)]
pub struct Begun {
    /// The members that this one must be able to answer before its own data names them; empty unless it joins.
    pub remotes: Remotes,
    /// For connections to the others.
    pub connector: Connector,
}

/// Finds out how a member begins. A member that has data begins with it.
///
/// # Errors
/// What is wrong with the list of members, in the words of etcd; what the others say against it.
pub fn begin(
    disk: &dyn Disk,
    options: &mut replica::Options,
    plan: &Plan<'_>,
) -> Result<Begun, String> {
    let connector = |name: &str| {
        let settings = tls::Settings { server_name: name.to_owned(), ..plan.tls.clone() };
        Connector::new(&settings, &[]).map_err(|error| error.to_string())
    };
    if replica::has_log(disk, options).map_err(|fault| fault.to_string())? {
        if plan.source.discovers() {
            tracing::warn!(
                "discovery token is ignored since cluster already initialized; valid logs are found"
            );
        }
        return Ok(Begun { remotes: Remotes::new(), connector: connector(&plan.tls.server_name)? });
    }
    let initial = plan.source.cluster();
    let initial = initial.map_err(|error| format!("error setting up initial cluster: {error}"))?;
    verify::has_local_member(&initial, &options.name)?;
    let connector = connector(server_name(&initial, plan))?;
    if plan.joins {
        verify::joining(&initial, plan.source.discovers())?;
        let (identity, remotes) = join::join(&initial, options, &connector)?;
        options.beginning = Beginning::Existing(identity);
        return Ok(Begun { remotes, connector });
    }
    verify::beginning(&initial, &options.name, plan.advertise_peer_urls)?;
    let initial = begin_new(initial, &options.name, plan.source, &connector)?;
    options.beginning = Beginning::New(initial);
    Ok(Begun { remotes: Remotes::new(), connector })
}

/// Whom the certificates of the others are for, where it is not their hosts: the domain by which they
/// were found, unless there is an authority of their own.
fn server_name<'p>(initial: &InitialCluster, plan: &Plan<'p>) -> &'p str {
    let mut urls = initial.listed.iter().flat_map(|(_, urls)| urls);
    let is_secure = urls.any(|url| url.scheme() == "https");
    match plan.source.domain() {
        Some(domain) if is_secure && plan.tls.trusted_ca_file.is_empty() => domain,
        _ => &plan.tls.server_name,
    }
}

/// The list that a new cluster begins with.
fn begin_new(
    initial: InitialCluster,
    name: &str,
    source: &dyn Source,
    connector: &Connector,
) -> Result<InitialCluster, String> {
    let own_id = initial.named(name).map(|member| member.id).expect("the list was verified");
    verify::distinct_ids(&initial)?;
    if is_bootstrapped(&initial, name, own_id, connector) {
        return Err(format!("member {own_id:x} has already been bootstrapped"));
    }
    if !source.discovers() {
        return Ok(initial);
    }
    tracing::info!("Bootstrapping cluster using v3 discovery.");
    let found = source.complete(own_id, &initial);
    let found = found.map_err(|why| format!("failed to join discovery cluster ({why})"))?;
    if found.listed.has_duplicate_url() {
        return Err(format!("discovery cluster {found} has duplicate url"));
    }
    verify::has_local_member(&found, name)?;
    verify::distinct_ids(&found)?;
    Ok(found)
}

/// Whether the cluster runs, and has seen this member run: then its data was lost.
fn is_bootstrapped(
    initial: &InitialCluster,
    name: &str,
    own_id: u64,
    connector: &Connector,
) -> bool {
    let others = other_urls(initial, name);
    let Ok(cluster) = remote::ask_members(others, PROBE_LIMIT, connector) else {
        return false;
    };
    let has_run =
        |member: &membership::Member| member.id == own_id && !member.client_urls.is_empty();
    cluster.members.iter().any(has_run)
}

/// Where the others are, in order.
fn other_urls(initial: &InitialCluster, name: &str) -> Vec<String> {
    let others = initial.members.iter().filter(|member| member.name != name);
    let urls: BTreeSet<String> = others.flat_map(|member| member.peer_urls.clone()).collect();
    urls.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Found(&'static str);

    impl Source for Found {
        fn cluster(&self) -> Result<InitialCluster, String> {
            InitialCluster::parse(self.0, "t").map_err(|error| error.to_string())
        }

        fn domain(&self) -> Option<&str> {
            Some("example.com")
        }

        fn discovers(&self) -> bool {
            false
        }

        fn complete(&self, _: u64, known: &InitialCluster) -> Result<InitialCluster, String> {
            Ok(known.clone())
        }
    }

    #[test]
    fn certificates_of_members_found_by_dns_are_for_their_domain() {
        let name = |list, trusted_ca_file: &str| {
            let source = Found(list);
            let trusted_ca_file = trusted_ca_file.into();
            let tls = tls::Settings { trusted_ca_file, ..tls::Settings::default() };
            let plan = Plan { joins: false, advertise_peer_urls: &[], source: &source, tls: &tls };
            server_name(&source.cluster().unwrap(), &plan).to_owned()
        };
        assert_eq!(name("a=https://h:1", ""), "example.com");
        assert_eq!(name("a=http://h:1", ""), "");
        assert_eq!(name("a=https://h:1", "ca"), "");
    }
}
