//! Joining a cluster that runs.

use super::remote::{ANSWER_LIMIT, Described, ask_members, get};
use super::urls::resolver;
use super::{Remotes, other_urls};
use address::{Resolver, same};
use membership::{InitialCluster, Member};
use proto::CLUSTER_VERSION;
use replica::Identity;
use services::versions::minor_of;
use std::time::Duration;
use tls::Connector;

/// How long a member may take to say its version.
const VERSION_LIMIT: Duration = Duration::from_secs(7);
/// Older clusters speak another protocol.
const OLDEST: (u64, u64) = (3, 0);

/// The others say which id this member was given, and where they are.
///
/// # Errors
/// Nobody answers, the list does not fit what they say, or they run another version.
pub(super) fn join(
    initial: &InitialCluster,
    options: &replica::Options,
    connector: &Connector,
) -> Result<(Identity, Remotes), String> {
    let (cluster, member_id) = find(initial, &options.name, connector)?;
    let others: Vec<&Member> =
        cluster.members.iter().filter(|member| member.id != member_id).collect();
    if !is_compatible(&others, connector) {
        return Err("incompatible with current running cluster".into());
    }
    let learners = cluster.members.iter().filter(|member| member.is_learner).count();
    if learners > options.apply.learners_max {
        return Err("membership: too many learner members in cluster".into());
    }
    let identity = Identity { cluster_id: cluster.cluster_id, member_id };
    let remotes = cluster.members.into_iter().map(|member| (member.id, member.peer_urls)).collect();
    Ok((identity, remotes))
}

/// The cluster, as one of its members describes it that knows this one: not all may have heard of
/// it yet.
fn find(
    initial: &InitialCluster,
    name: &str,
    connector: &Connector,
) -> Result<(Described, u64), String> {
    let mut refused = None;
    let mut unanswered = "could not retrieve cluster information from the given URLs".to_owned();
    for url in other_urls(initial, name) {
        match ask_members(vec![url], ANSWER_LIMIT, connector) {
            Err(why) => unanswered = why,
            Ok(cluster) => match own_id(initial, &cluster, name, &resolver()) {
                Ok(id) => return Ok((cluster, id)),
                Err(why) => refused = Some(format!("error validating peerURLs {cluster}: {why}")),
            },
        }
    }
    let unanswered = format!("cannot fetch cluster info from peer urls: {unanswered}");
    Err(refused.unwrap_or(unanswered))
}

/// The id that the cluster knows this member by: its URLs are those listed for it. Every member of
/// the cluster must be on the list, and no others.
fn own_id(
    initial: &InitialCluster,
    cluster: &Described,
    name: &str,
    resolver: &Resolver<'_>,
) -> Result<u64, String> {
    if initial.members.len() != cluster.members.len() {
        return Err("member count is unequal".into());
    }
    let mut own_id = None;
    for member in &cluster.members {
        let mut why = String::new();
        let listed = initial.members.iter().find(|listed| {
            let same = same(&member.peer_urls, &listed.peer_urls, &|url| resolver.resolve(url));
            same.map_err(|error| why = error.to_string()).is_ok()
        });
        let Some(listed) = listed else {
            return Err(format!(
                "PeerURLs: no match found for existing member ({:x}, [{}]), last resolver error \
                 ({why})",
                member.id,
                member.peer_urls.join(" ")
            ));
        };
        if listed.name == name {
            own_id = Some(member.id);
        }
    }
    own_id.ok_or_else(|| format!("member {name} is not in the cluster"))
}

/// Whether one of them at least runs a version that this member can live with, and none another.
fn is_compatible(others: &[&Member], connector: &Connector) -> bool {
    let (major, minor) = minor_of(CLUSTER_VERSION).expect("it is a version");
    let (mut oldest, mut newest) = (OLDEST, (major, minor));
    let says = |path| {
        let page = move |member: &&Member| {
            get(member.peer_urls.clone(), path, VERSION_LIMIT, connector).ok()
        };
        others.iter().filter_map(page)
    };
    // A cluster that goes down takes members of the version that it goes to.
    if says("/downgrade/enabled").next().is_some_and(|page| &page.body[..] == b"true") {
        newest = (major, minor + 1);
        oldest = newest;
    }
    let versions = says("/version").filter_map(|page| {
        let page: serde_json::Value = serde_json::from_slice(&page.body).ok()?;
        minor_of(page.get("etcdcluster")?.as_str()?)
    });
    let versions: Vec<(u64, u64)> = versions.collect();
    let fits = |version: &(u64, u64)| (oldest..=newest).contains(version);
    !versions.is_empty() && versions.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(members: &[(u64, &str)]) -> Described {
        let member = |&(id, url): &(u64, &str)| Member {
            id,
            peer_urls: vec![url.to_owned()],
            ..Member::default()
        };
        Described { cluster_id: 1, members: members.iter().map(member).collect() }
    }

    #[test]
    fn the_cluster_says_which_id_a_member_has() {
        let list = InitialCluster::parse("a=http://h:1,b=http://h:2", "t").unwrap();
        let names = |name: &str| Err(format!("lookup {name}: no such host"));
        let resolver = Resolver::once(&names);
        let id = |members: &[(u64, &str)]| own_id(&list, &described(members), "b", &resolver);
        assert_eq!(id(&[(7, "http://h:1"), (8, "http://h:2")]), Ok(8));
        assert_eq!(id(&[(7, "http://h:1")]), Err("member count is unequal".into()));
        let error = id(&[(7, "http://h:1"), (8, "http://x:9")]).unwrap_err();
        assert!(
            error.starts_with("PeerURLs: no match found for existing member (8, [http://x:9])")
        );
        let pointing = |_: &str| Ok([10, 0, 0, 1].into());
        let resolver = Resolver::once(&pointing);
        let cluster = described(&[(7, "http://h:1"), (8, "http://other:2")]);
        assert_eq!(own_id(&list, &cluster, "b", &resolver), Ok(8));
    }
}
