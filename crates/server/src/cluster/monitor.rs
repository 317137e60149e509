//! The leader looks after the cluster's version.

use crate::lines;
use crate::mailbox::Woken;
use crate::promise::Promise;
use crate::shared::Shared;
use apply::{Kind, Reply};
use membership::Members;
use prost::Message;
use proto::VERSION;
use proto::membershippb::{ClusterVersionSetRequest, DowngradeInfoSetRequest};
use replica::turn::WakePolicy;
use services::Error;
use services::versions::{self, decide};
use services::{Call, Waiter};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a member may take to say its version.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Runs until its mailbox is closed; a message there has it look at once.
pub(crate) fn run(shared: &Arc<Shared>) {
    let mut wakes = Vec::new();
    let next = || Some(Instant::now() + INTERVAL);
    while shared.ports.monitor.drain(&mut wakes, next(), WakePolicy::Every) != Woken::Closed {
        wakes.clear();
        if shared.common().figures.leads() {
            look(shared);
        }
    }
}

fn look(shared: &Arc<Shared>) {
    let members = shared.ports.roster.members();
    let versions = gather(shared);
    let downgrade = members.downgrade();
    let target = downgrade.enabled.then_some(downgrade.target_version.as_str());
    if let Some(ver) = decide(&versions, members.cluster_version(), target) {
        return set_version(shared, ver);
    }
    if let Some(target) = target.filter(|target| versions::all_are_at(&versions, target)) {
        tracing::info!(cluster_version = %target, "the cluster has been downgraded");
        let request = DowngradeInfoSetRequest { enabled: false, ver: String::new() };
        let waiter = Waiter::nobody();
        shared.services.propose(
            &Call::default(),
            Kind::DowngradeInfoSet,
            &request.encode_to_vec(),
            waiter,
        );
    }
}

/// The version that a member sets which is all of its cluster, if it is another than now.
pub(crate) fn own_version(members: &Members) -> Option<String> {
    let downgrade = members.downgrade();
    let target = downgrade.enabled.then_some(downgrade.target_version.as_str());
    let is_alone = members.list().count() == 1;
    is_alone.then(|| decide(&[Some(VERSION.to_owned())], members.cluster_version(), target))?
}

fn set_version(shared: &Arc<Shared>, ver: String) {
    lines::sets_version(shared.ports.roster.members().cluster_version(), &ver);
    let request = ClusterVersionSetRequest { ver: ver.clone() }.encode_to_vec();
    // If it does not come through, it is decided again.
    let then = move |result: Result<Reply, Error>| {
        if result.is_ok() {
            lines::version_set(&ver);
        }
    };
    shared.services.propose(
        &Call::default(),
        Kind::ClusterVersionSet,
        &request,
        Waiter::Own(Box::new(then)),
    );
}

/// What each member says; none where one does not answer.
fn gather(shared: &Arc<Shared>) -> Vec<Option<String>> {
    let mut versions = vec![Some(VERSION.to_owned())];
    let mut promises = Vec::new();
    let members = shared.ports.roster.members();
    for member in members.list().filter(|member| member.id != shared.member_id) {
        let promise = Promise::new();
        let promised = Arc::clone(&promise);
        if let Some(network) = shared.ports.roster.network() {
            let then = Box::new(move |answer| promised.give(answer));
            let urls = member.peer_urls.clone();
            network.get(urls, "/version".to_owned(), ANSWER_LIMIT, then);
        }
        promises.push(promise);
    }
    for promise in promises {
        let answer = promise.wait(ANSWER_LIMIT);
        versions.push(answer.and_then(|answer| read(&answer.ok()?.1)));
    }
    versions
}

fn read(body: &[u8]) -> Option<String> {
    let page: serde_json::Value = serde_json::from_slice(body).ok()?;
    page.get("etcdserver")?.as_str().map(str::to_owned)
}
