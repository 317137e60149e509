//! New members that find each other through a cluster that runs
//! (reference: `server/etcdserver/api/v3discovery`).
//!
//! ```text
//! /_etcd/registry/<token>/_config/size       how many there will be; put there by the operator
//! /_etcd/registry/<token>/members/<id>       name=url,...; put there by each member itself
//! ```
//! The first so many to register are the cluster; whoever comes later is refused.

use client::{Client, Config, Credentials, Deadline, TlsFlags, prefix_end};
use proto::etcdserverpb::{PutRequest, RangeRequest, WatchCreateRequest};
use proto::mvccpb::KeyValue;
use std::time::Duration;

/// Pauses between attempts double until there were so many.
const DOUBLINGS_MAX: u32 = 8;

/// The service and the cluster's place in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discovery {
    pub(crate) token: String,
    pub(crate) endpoints: Vec<String>,
    pub(crate) dial_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) keepalive_interval: Duration,
    pub(crate) keepalive_timeout: Duration,
    /// A user and its password.
    pub(crate) user: Option<(String, client::Secret)>,
    /// What is said of TLS.
    pub(crate) tls: TlsFlags,
}

/// Those who registered so far, in the order in which they did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Registered(Vec<Registration>);

#[derive(Debug, PartialEq, Eq)]
struct Registration {
    key: String,
    member: String,
    create_revision: i64,
}

/// What the service says of the cluster.
struct Found {
    size: usize,
    registered: Registered,
    revision: i64,
}

enum Failure {
    /// It will not get better.
    Final(String),
    /// The service could not be asked.
    Unasked(String),
}

impl Discovery {
    /// Registers a member, `name=url,...`, and waits for the others; the list of all comes back.
    ///
    /// # Errors
    /// The cluster has no size, or is complete without this member; in etcd's words.
    pub(super) fn join(&self, own_id: u64, member: &str) -> Result<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let joined = runtime.block_on(self.join_async(own_id, member));
        match &joined {
            Ok(cluster) => {
                tracing::info!(cluster = %cluster, "discovery joined cluster successfully");
            }
            Err(error) => tracing::error!(error = %error, "discovery failed to join cluster"),
        }
        joined
    }

    async fn join_async(&self, own_id: u64, member: &str) -> Result<String, String> {
        let service = Service { client: self.client()?, at: self, own_id };
        service.check().await?;
        service.register(member).await?;
        let mut found = service.check().await?;
        service.wait(&mut found).await?;
        Ok(found.registered.list(found.size))
    }

    fn client(&self) -> Result<Client, String> {
        let mut config = Config::new(self.endpoints.clone());
        config.dial_timeout = self.dial_timeout;
        config.keepalive_interval = self.keepalive_interval;
        config.keepalive_timeout = self.keepalive_timeout;
        config.credentials =
            self.user.clone().map(|(name, password)| Credentials::Password { name, password });
        config.tls = self.tls.settings();
        Client::new(config).map_err(|error| error.to_string())
    }

    fn size_key(&self) -> String {
        format!("/_etcd/registry/{}/_config/size", self.token)
    }

    fn members_prefix(&self) -> String {
        format!("/_etcd/registry/{}/members", self.token)
    }

    fn member_key(&self, id: u64) -> String {
        format!("{}/{id:x}", self.members_prefix())
    }
}

/// The service as one member uses it.
struct Service<'d> {
    client: Client,
    at: &'d Discovery,
    own_id: u64,
}

impl Service<'_> {
    /// Asks until there is an answer.
    async fn check(&self) -> Result<Found, String> {
        let mut attempts = 0;
        loop {
            match self.check_once().await {
                Ok(found) => {
                    let own_key = self.at.member_key(self.own_id);
                    if found.registered.is_full_without(&own_key, found.size) {
                        return Err("discovery: cluster is full".into());
                    }
                    return Ok(found);
                }
                Err(Failure::Final(why)) => return Err(why),
                Err(Failure::Unasked(why)) => {
                    pause(&mut attempts, "cluster status check", &why).await;
                }
            }
        }
    }

    async fn check_once(&self) -> Result<Found, Failure> {
        let size = self.range(self.at.size_key(), Vec::new()).await?.0;
        let size = match size.first() {
            None => return Err(Failure::Final("discovery: size key not found".into())),
            Some(kv) => size_of(&kv.value)
                .ok_or_else(|| Failure::Final("discovery: size key is bad".into()))?,
        };
        let prefix = self.at.members_prefix();
        let end = prefix_end(prefix.as_bytes());
        let (kvs, revision) = self.range(prefix, end).await?;
        let mut registered = Registered::default();
        kvs.iter().for_each(|kv| registered.add(kv));
        Ok(Found { size, registered, revision })
    }

    async fn range(&self, key: String, end: Vec<u8>) -> Result<(Vec<KeyValue>, i64), Failure> {
        let request =
            RangeRequest { key: key.into(), range_end: end.into(), ..RangeRequest::default() };
        let answer = self.client.call(request, Deadline::after(self.at.request_timeout)).await;
        let answer = answer.map_err(|error| Failure::Unasked(error.to_string()))?;
        let revision = answer.header.as_ref().map_or(0, |header| header.revision);
        Ok((answer.kvs, revision))
    }

    async fn register(&self, member: &str) -> Result<(), String> {
        let key = self.at.member_key(self.own_id);
        let mut attempts = 0;
        loop {
            let request = PutRequest {
                key: key.clone().into(),
                value: member.to_owned().into(),
                ..PutRequest::default()
            };
            match self.client.call(request, Deadline::after(self.at.request_timeout)).await {
                Ok(_) => {
                    tracing::info!(memberKey = %key, memberInfo = %member,
                        "register member itself successfully");
                    return Ok(());
                }
                Err(error) => {
                    pause(&mut attempts, "register member itself", &error.to_string()).await;
                }
            }
        }
    }

    /// Until as many have registered as there will be.
    async fn wait(&self, found: &mut Found) -> Result<(), String> {
        tracing::info!(
            clusterSize = found.size,
            found_peers = found.registered.0.len(),
            "waiting for peers from discovery service"
        );
        let prefix = self.at.members_prefix();
        while found.registered.0.len() < found.size {
            let create = WatchCreateRequest {
                key: prefix.clone().into(),
                range_end: prefix_end(prefix.as_bytes()).into(),
                start_revision: found.revision + 1,
                ..WatchCreateRequest::default()
            };
            let watch = self.client.watch(create, false, Deadline::NONE).await;
            let mut watch = watch.map_err(|error| error.to_string())?;
            while found.registered.0.len() < found.size
                && let Some(answer) = watch.next().await
            {
                let events = answer.response.events.iter();
                events.filter_map(|event| event.kv.as_ref()).for_each(|kv| {
                    found.registered.add(kv);
                });
            }
            if found.registered.0.len() < found.size {
                // The watch was refused, as after a compaction: everything is read again.
                *found = self.check().await?;
            }
        }
        tracing::info!(
            clusterSize = found.size,
            found_peers = found.registered.0.len(),
            "found all needed peers from discovery service"
        );
        Ok(())
    }
}

async fn pause(attempts: &mut u32, step: &str, why: &str) {
    *attempts += 1;
    let backoff = Duration::from_secs(1 << (*attempts).min(DOUBLINGS_MAX));
    tracing::warn!(reason = step, error = why, backoff = ?backoff,
        "retry connecting to discovery service");
    tokio::time::sleep(backoff).await;
}

/// How many members the cluster will have.
fn size_of(value: &[u8]) -> Option<usize> {
    std::str::from_utf8(value).ok()?.parse().ok().filter(|size| *size > 0)
}

impl Registered {
    fn add(&mut self, kv: &KeyValue) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (key, member) = (text(&kv.key), text(&kv.value));
        let is_known = self.0.iter().any(|one| one.key == key);
        if is_known || !member.contains('=') {
            let why = if is_known {
                "found duplicate peer from discovery service"
            } else {
                "invalid peer info returned from discovery service"
            };
            return tracing::warn!(memberKey = %key, memberInfo = %member, "{why}");
        }
        tracing::info!(memberKey = %key, memberInfo = %member,
            "found peer from discovery service");
        self.0.push(Registration { key, member, create_revision: kv.create_revision });
        self.0.sort_by_key(|one| one.create_revision);
    }

    /// Whether the first `size` are others.
    fn is_full_without(&self, own_key: &str, size: usize) -> bool {
        self.0.len() >= size && !self.0.iter().take(size).any(|one| one.key == own_key)
    }

    /// The first `size`, as `--initial-cluster` lists them.
    fn list(&self, size: usize) -> String {
        let first: Vec<&str> = self.0.iter().take(size).map(|one| one.member.as_str()).collect();
        first.join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered(members: &[(&'static str, &'static str, i64)]) -> Registered {
        let mut registered = Registered::default();
        for &(key, value, create_revision) in members {
            let kv = KeyValue {
                key: key.into(),
                value: value.into(),
                create_revision,
                ..KeyValue::default()
            };
            registered.add(&kv);
        }
        registered
    }

    #[test]
    fn who_registers_first_is_in() {
        let all = registered(&[
            ("k/3", "c=http://h:3", 9),
            ("k/1", "a=http://h:1", 7),
            ("k/2", " b=http://h:2\n", 8),
            ("k/2", "b=http://h:9", 10),
            ("k/4", "nonsense", 11),
        ]);
        assert_eq!(all.list(2), "a=http://h:1,b=http://h:2");
        assert_eq!(all.list(3), "a=http://h:1,b=http://h:2,c=http://h:3");
        assert!(!all.is_full_without("k/2", 2) && all.is_full_without("k/3", 2));
        assert!(!all.is_full_without("k/5", 4));
    }

    #[test]
    fn keys_and_sizes_are_those_of_etcd() {
        let user = Some(("me".to_owned(), "s3cret".into()));
        let discovery = Discovery { token: "tok".into(), user, ..Discovery::default() };
        assert!(!format!("{discovery:?}").contains("s3cret"));
        assert_eq!(discovery.size_key(), "/_etcd/registry/tok/_config/size");
        assert_eq!(discovery.member_key(0xabc), "/_etcd/registry/tok/members/abc");
        assert_eq!((size_of(b"3"), size_of(b"0"), size_of(b"x")), (Some(3), None, None));
    }
}
