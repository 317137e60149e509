//! How a member without data begins: with others that are as new, or by joining a cluster that
//! runs (reference: `server/etcdserver/bootstrap.go`, `cluster_util.go`).

use apply::membership::{InitialCluster, Member};
use peer::{Page, Question};
use replica::disk::Disk;
use replica::{Beginning, Identity};
use std::time::Duration;

/// How long a member may take to say who is in its cluster.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The same for members that may not have been started yet.
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// The members of a cluster that is joined, with their URLs: whom a member must be able to answer
/// before it knows them from the log.
pub type Remotes = Vec<(u64, Vec<String>)>;

/// Finds out how a member begins. One with data begins with that; nobody is asked then.
///
/// # Errors
/// What does not fit, in etcd's words; I/O faults as text.
pub fn begin(
    disk: &dyn Disk,
    options: &mut replica::Options,
    joins: bool,
) -> Result<Remotes, String> {
    let Beginning::New(initial) = options.beginning.clone() else { return Ok(Remotes::new()) };
    if replica::has_log(disk, options).map_err(|fault| fault.to_string())? {
        return Ok(Remotes::new());
    }
    if !joins {
        begin_new(&initial, &options.name)?;
        return Ok(Remotes::new());
    }
    let (identity, remotes) = join(&initial, &options.name)?;
    options.beginning = Beginning::Existing(identity);
    Ok(remotes)
}

/// A cluster as one of its members describes it.
struct Described {
    cluster_id: u64,
    members: Vec<Member>,
}

/// For `--initial-cluster-state new`.
///
/// # Errors
/// The member belongs to a cluster that runs: its data was lost.
fn begin_new(initial: &InitialCluster, name: &str) -> Result<(), String> {
    let others = peer_urls(initial, name);
    let me = initial.named(name).map(|member| member.id);
    if let Some(me) = me
        && let Ok(cluster) = ask(others, PROBE_LIMIT)
    {
        let has_run = |member: &Member| member.id == me && !member.client_urls.is_empty();
        if cluster.members.iter().any(has_run) {
            return Err(format!("member {me:x} has already been bootstrapped"));
        }
    }
    Ok(())
}

/// For `--initial-cluster-state existing`: the others say which id this member was given.
///
/// # Errors
/// Nobody answers, or the list does not fit what they say.
fn join(initial: &InitialCluster, name: &str) -> Result<(Identity, Remotes), String> {
    let mut refused = None;
    // One of them may not have heard of this member yet.
    for url in peer_urls(initial, name) {
        match ask(vec![url], ANSWER_LIMIT) {
            Ok(cluster) => match find_in(cluster, initial, name) {
                Err(why) => refused = Some(why),
                found => return found,
            },
            Err(error) => {
                let why = format!("cannot fetch cluster info from peer urls: {error}");
                refused.get_or_insert(why);
            }
        }
    }
    Err(refused.unwrap_or_else(|| "there are no other members to ask".to_owned()))
}

/// Who this member is in a cluster as another one describes it.
fn find_in(
    cluster: Described,
    initial: &InitialCluster,
    name: &str,
) -> Result<(Identity, Remotes), String> {
    let urls = |members: &[Member]| -> Vec<Vec<String>> {
        let mut all: Vec<Vec<String>> = members.iter().map(sorted_urls).collect();
        all.sort();
        all
    };
    let (listed, told) = (urls(&initial.members), urls(&cluster.members));
    let refuse = |why: &str| Err(format!("error validating peerURLs {told:?}: {why}"));
    if listed.len() != told.len() {
        return refuse("member count is unequal");
    }
    if listed != told {
        return refuse("unmatched member while checking PeerURLs");
    }
    let own = initial.named(name).map(sorted_urls).ok_or_else(|| {
        format!("couldn't find local name {name:?} in the initial cluster configuration")
    })?;
    let me = cluster.members.iter().find(|member| sorted_urls(member) == own);
    let member_id = me.map(|member| member.id).expect("the lists are the same");
    let identity = Identity { cluster_id: cluster.cluster_id, member_id };
    let remotes = cluster.members.into_iter().map(|member| (member.id, member.peer_urls)).collect();
    Ok((identity, remotes))
}

fn sorted_urls(member: &Member) -> Vec<String> {
    let mut urls = member.peer_urls.clone();
    urls.sort();
    urls
}

/// Where the others are.
fn peer_urls(initial: &InitialCluster, name: &str) -> Vec<String> {
    let others = initial.members.iter().filter(|member| member.name != name);
    let mut urls: Vec<String> = others.flat_map(|member| member.peer_urls.clone()).collect();
    urls.sort();
    urls
}

fn ask(urls: Vec<String>, limit: Duration) -> Result<Described, String> {
    let mut why = "could not retrieve cluster information from the given URLs".to_owned();
    for url in urls {
        let question = Question { urls: vec![url], path: "/members".into(), posted: None, limit };
        match peer::ask_and_wait(&question).map(|page| describe(&page)) {
            Ok(Some(described)) if described.members.is_empty() => {
                why = "failed to get raft cluster member(s) from the given URLs".to_owned();
            }
            Ok(Some(described)) => return Ok(described),
            // The next one may know better.
            Ok(None) | Err(_) => {}
        }
    }
    Err(why)
}

fn describe(page: &Page) -> Option<Described> {
    let id = page.headers.get("x-etcd-cluster-id")?.to_str().ok()?;
    let cluster_id = u64::from_str_radix(id, 16).ok()?;
    let members = serde_json::from_slice(&page.body).ok()?;
    Some(Described { cluster_id, members })
}
