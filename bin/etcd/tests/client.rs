//! Our client against a member in a process of its own, over connections that are cut.
#![allow(clippy::unwrap_used)]

use client::{Client, Config, Deadline, KeepAlive};
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, WatchCreateRequest,
};
use std::net::TcpListener as StdListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A member that ends with the test.
struct Member {
    process: Child,
    endpoint: String,
    _dir: TempDir,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A port below those that the system gives to outgoing connections: one of these could take it
/// before its server does.
fn free_port() -> u16 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    loop {
        let place = std::process::id() as usize * 16 + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 12_000 + (place % 20_000) as u16;
        if StdListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Starts a member and waits until it answers.
async fn member() -> (Member, Client) {
    let dir = TempDir::new().unwrap();
    let (client_port, peer_port) = (free_port(), free_port());
    let (client_url, peer_url) =
        (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
    let process = Command::new(env!("CARGO_BIN_EXE_etcd"))
        .arg(format!("--data-dir={}", dir.path().join("d").display()))
        .arg(format!("--listen-client-urls={client_url}"))
        .arg(format!("--advertise-client-urls={client_url}"))
        .arg(format!("--listen-peer-urls={peer_url}"))
        .arg(format!("--initial-advertise-peer-urls={peer_url}"))
        .arg(format!("--initial-cluster=default={peer_url}"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let endpoint = format!("127.0.0.1:{client_port}");
    let client = Client::new(Config::new([endpoint.clone()])).unwrap();
    client.call(RangeRequest { key: "x".into(), ..Default::default() }, limit()).await.unwrap();
    (Member { process, endpoint, _dir: dir }, client)
}

fn limit() -> Deadline {
    Deadline::in_seconds(20)
}

fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..Default::default() }
}

/// A way to a member that can be cut: every connection that is open then breaks.
struct Proxy {
    endpoint: String,
    cut: watch::Sender<u64>,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    async fn new(target: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let (cut, cuts) = watch::channel(0);
        let connections = Arc::new(AtomicUsize::new(0));
        let (target, count) = (target.to_owned(), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (target, mut cuts) = (target.clone(), cuts.clone());
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Proxy { endpoint, cut, connections }
    }

    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

#[tokio::test]
async fn calls_go_to_the_endpoint_that_lives() {
    let (member, direct) = member().await;
    let dead = format!("127.0.0.1:{}", free_port());
    let client = Client::new(Config::new([dead, member.endpoint.clone()])).unwrap();
    for number in 0..20 {
        client.call(put("k", &number.to_string()), limit()).await.unwrap();
    }
    let range = RangeRequest { key: "k".into(), ..Default::default() };
    let found = direct.call(range, limit()).await.unwrap();
    assert_eq!((found.kvs[0].version, found.kvs[0].value.as_ref()), (20, &b"19"[..]));
}

#[tokio::test]
async fn a_call_that_nobody_can_take_ends_at_its_deadline() {
    let client = Client::new(Config::new([format!("127.0.0.1:{}", free_port())])).unwrap();
    let deadline = Deadline::after(Duration::from_millis(200));
    let error = client.call(put("k", "v"), deadline).await.unwrap_err();
    assert_eq!(error.to_string(), "context deadline exceeded");
    let error = client.call(put("k", "v"), Deadline::NONE).await.unwrap_err();
    assert_eq!(error.code(), Some(client::Code::Unavailable));
}

#[tokio::test]
async fn a_put_whose_fate_is_unknown_is_not_sent_again() {
    let (member, direct) = member().await;
    let proxy = Proxy::new(&member.endpoint).await;
    let client = Client::new(Config::new([proxy.endpoint.clone()])).unwrap();
    let (mut acknowledged, mut unknown) = (0, 0);
    for number in 0..200 {
        let call = client.call(put("k", "v"), limit());
        let cut = async {
            if number % 4 == 0 {
                proxy.cut();
            }
        };
        match tokio::join!(call, cut).0 {
            Ok(_) => acknowledged += 1,
            Err(_) => unknown += 1,
        }
    }
    let range = RangeRequest { key: "k".into(), ..Default::default() };
    let version = direct.call(range, limit()).await.unwrap().kvs[0].version;
    assert!(unknown > 0 && proxy.connections.load(Ordering::Relaxed) > 1, "nothing was cut");
    assert!((acknowledged..=acknowledged + unknown).contains(&version), "{version}");
}

#[tokio::test]
async fn a_watch_shows_every_event_once_over_broken_connections() {
    const EVENTS: i64 = 300;
    let (member, direct) = member().await;
    let proxy = Proxy::new(&member.endpoint).await;
    let client = Client::new(Config::new([proxy.endpoint.clone()])).unwrap();
    let create = WatchCreateRequest { key: "w".into(), start_revision: 2, ..Default::default() };
    let mut watch = client.watch(create, true);
    let writer = async {
        for number in 0..EVENTS {
            direct.call(put("w", &number.to_string()), limit()).await.unwrap();
            if number % 10 == 0 {
                proxy.cut();
            }
        }
    };
    let reader = async {
        let mut next = 2;
        while next < 2 + EVENTS {
            let answer = watch.next().await.unwrap();
            assert_eq!(answer.reason(), None);
            for event in &answer.response.events {
                assert_eq!(event.kv.as_ref().unwrap().mod_revision, next);
                next += 1;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(writer, reader) })
        .await
        .unwrap();
    assert!(proxy.connections.load(Ordering::Relaxed) > 3, "nothing was cut");
}

#[tokio::test]
async fn a_lease_lives_over_broken_connections_and_its_end_is_told() {
    let (member, direct) = member().await;
    let proxy = Proxy::new(&member.endpoint).await;
    let client = Client::new(Config::new([proxy.endpoint.clone()])).unwrap();
    let granted = direct.call(LeaseGrantRequest { ttl: 2, id: 0 }, limit()).await.unwrap();
    let mut keep_alive: KeepAlive = client.keep_alive(granted.id);
    for _ in 0..3 {
        assert_eq!(keep_alive.next().await.unwrap().unwrap().ttl, 2);
        proxy.cut();
    }
    let request = LeaseTimeToLiveRequest { id: granted.id, keys: false };
    assert!(direct.call(request, limit()).await.unwrap().ttl > 0);
    let revoke = proto::etcdserverpb::LeaseRevokeRequest { id: granted.id };
    direct.call(revoke, limit()).await.unwrap();
    assert_eq!(keep_alive.next().await.unwrap(), None);
    let error = client.keep_alive_once(granted.id).await.unwrap_err();
    assert_eq!(error.to_string(), "etcdserver: requested lease not found");
}
