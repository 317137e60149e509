//! What members that run say of themselves over their peer port.

use membership::Member;
use peer::{Page, Question};
use std::fmt;
use std::time::Duration;
use tls::Connector;

/// How long a member may take to say who is in its cluster.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Asks members that may not have been started yet.
pub(super) const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// A cluster as one of its members describes it.
pub(super) struct Described {
    pub(super) cluster_id: u64,
    pub(super) members: Vec<Member>,
}

/// As Go prints the reference's `RaftCluster`; operators know it from error texts.
impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = |member: &Member| {
            format!(
                "&{{ID:{:x} RaftAttributes:{{PeerURLs:[{}] IsLearner:{}}} \
                 Attributes:{{Name:{} ClientURLs:[{}]}}}}",
                member.id,
                member.peer_urls.join(" "),
                member.is_learner,
                member.name,
                member.client_urls.join(" ")
            )
        };
        let members: Vec<String> = self.members.iter().map(member).collect();
        let members = members.join(" ");
        write!(f, "{{ClusterID:{:x} Members:[{members}] RemovedMemberIDs:[]}}", self.cluster_id)
    }
}

/// Who is in the cluster, by the first member that knows.
///
/// # Errors
/// None of them said so.
pub(super) fn ask_members(
    urls: Vec<String>,
    limit: Duration,
    connector: &Connector,
) -> Result<Described, String> {
    for url in urls {
        let Ok(page) = get(vec![url.clone()], "/members", limit, connector) else {
            tracing::debug!(address = %format!("{url}/members"), "failed to get cluster response");
            continue;
        };
        match describe(&page) {
            Some(described) if described.members.is_empty() => {
                return Err("failed to get raft cluster member(s) from the given URLs".into());
            }
            Some(described) => return Ok(described),
            // The next one may know better.
            None => {}
        }
    }
    Err("could not retrieve cluster information from the given URLs".into())
}

/// A page of the first of these URLs that answers.
///
/// # Errors
/// Why the last one did not.
pub(super) fn get(
    urls: Vec<String>,
    path: &str,
    limit: Duration,
    connector: &Connector,
) -> Result<Page, String> {
    peer::ask_and_wait(&Question { urls, path: path.into(), posted: None, limit }, connector)
}

fn describe(page: &Page) -> Option<Described> {
    let id = page.headers.get("x-etcd-cluster-id")?.to_str().ok()?;
    let cluster_id = u64::from_str_radix(id, 16).ok()?;
    let members = serde_json::from_slice(&page.body).ok()?;
    Some(Described { cluster_id, members })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_shown_as_go_shows_it() {
        let member = Member {
            id: 0x10,
            name: "a".into(),
            peer_urls: vec!["http://h:1".into(), "http://h:2".into()],
            client_urls: vec!["http://h:3".into()],
            ..Member::default()
        };
        let shown = Described { cluster_id: 0xff, members: vec![member] }.to_string();
        assert_eq!(
            shown,
            "{ClusterID:ff Members:[&{ID:10 RaftAttributes:{PeerURLs:[http://h:1 http://h:2] \
             IsLearner:false} Attributes:{Name:a ClientURLs:[http://h:3]}}] RemovedMemberIDs:[]}"
        );
    }
}
