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
use std::time::{Duration, Instant};
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
        .arg("--name=m")
        .arg(format!("--listen-client-urls={client_url}"))
        .arg(format!("--advertise-client-urls={client_url}"))
        .arg(format!("--listen-peer-urls={peer_url}"))
        .arg(format!("--initial-advertise-peer-urls={peer_url}"))
        .arg(format!("--initial-cluster=m={peer_url}"))
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

/// A way to a member that can be cut: every connection that is open then breaks. It can also be
/// stopped: connections are taken and kept, and nothing moves on them.
struct Proxy {
    endpoint: String,
    cut: watch::Sender<u64>,
    stop: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    async fn new(target: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string();
        let (cut, cuts) = watch::channel(0);
        let (stop, stops) = watch::channel(false);
        let connections = Arc::new(AtomicUsize::new(0));
        let (target, count) = (target.to_owned(), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let (target, mut cuts) = (target.clone(), cuts.clone());
                let mut stops = stops.clone();
                cuts.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(target).await.unwrap();
                    tokio::select! {
                        biased;
                        () = stopped(&mut stops) => {
                            let _ = cuts.changed().await;
                        }
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
        });
        Proxy { endpoint, cut, stop, connections }
    }

    fn stop(&self) {
        self.stop.send_replace(true);
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
    assert!(error.is_certainly_not_done());
    assert!(error.unreachable().unwrap().contains("connect: connection refused"), "{error:?}");
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
    let mut watch = client.watch(create, true, limit()).await.unwrap();
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
    let error = client.keep_alive_once(granted.id, limit()).await.unwrap_err();
    assert_eq!(error.to_string(), "etcdserver: requested lease not found");
}

async fn stopped(stops: &mut watch::Receiver<bool>) {
    if stops.wait_for(|is_stopped| *is_stopped).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// How long all kinds of calls together may take beside an endpoint that is of no use, the quickest time
/// of some: a timer of the client's that they waited for would cost each of them as much or more.
const QUICK: Duration = Duration::from_millis(300);
/// Times that something is measured, for others may use the machine.
const TIMES_MAX: usize = 20;

/// Whether something is quick at least once.
async fn is_quick<F: Future<Output = ()>>(once: impl Fn() -> F) -> Result<(), Duration> {
    let mut best = Duration::MAX;
    for _ in 0..TIMES_MAX {
        let start = Instant::now();
        once().await;
        best = best.min(start.elapsed());
        if best < QUICK {
            return Ok(());
        }
    }
    Err(best)
}

fn get(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), ..Default::default() }
}

fn on(key: &str) -> WatchCreateRequest {
    WatchCreateRequest { key: key.to_owned().into(), ..Default::default() }
}

/// Every kind of call.
async fn use_everything(client: &Client, name: &str) {
    let soon = limit;
    let told = |what: &str| format!("{name}: {what}");
    client.call(get("k"), soon()).await.unwrap_or_else(|error| panic!("{}: {error}", told("get")));
    client
        .call(put("k", "v"), soon())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", told("put")));
    client
        .range_in_pieces(get("k"), soon())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", told("range stream")));
    let txn = proto::etcdserverpb::TxnRequest::default();
    client.call(txn, soon()).await.unwrap_or_else(|error| panic!("{}: {error}", told("txn")));
    let list = proto::etcdserverpb::MemberListRequest { linearizable: true };
    client
        .call(list, soon())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", told("member list")));
    let status = proto::etcdserverpb::StatusRequest::default();
    client.call(status, soon()).await.unwrap_or_else(|error| panic!("{}: {error}", told("status")));
    let grant = LeaseGrantRequest { ttl: 60, id: 0 };
    let lease = client
        .call(grant, soon())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", told("lease grant")));
    client
        .keep_alive_once(lease.id, soon())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", told("keep-alive")));
    let mut watch = client
        .watch(on("k"), true, soon())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", told("watch")));
    client
        .call(put("k", "w"), soon())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", told("put")));
    let event = tokio::time::timeout(Duration::from_secs(20), watch.next())
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", told("event")));
    assert_eq!(event.unwrap().response.events.len(), 1);
}

#[tokio::test]
async fn an_endpoint_of_no_use_costs_nothing_although_it_comes_first() {
    let (member, direct) = member().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = (silent.local_addr().unwrap().to_string(), silent);
    // Connections to a listener whose queue is full are never made.
    let full = full_listener();
    let closed = format!("127.0.0.1:{}", free_port());
    for (name, bad) in [("silent", &silent.0), ("full", &full.0), ("closed", &closed)] {
        // Every time with a client that has not found out yet.
        let first = is_quick(|| async {
            let client = Client::new(Config::new([bad.clone(), member.endpoint.clone()])).unwrap();
            client.call(get("k"), limit()).await.unwrap();
        });
        assert_eq!(first.await, Ok(()), "{name}");
        let client = Client::new(Config::new([bad.clone(), member.endpoint.clone()])).unwrap();
        assert_eq!(is_quick(|| use_everything(&client, name)).await, Ok(()), "{name}");
    }
    drop(direct);
}

/// A listener that takes no more connections, and those that fill its queue.
fn full_listener() -> (String, StdListener, Vec<std::net::TcpStream>) {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let quick = Duration::from_millis(20);
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, quick) {
        waiting.push(stream);
        assert!(waiting.len() < 10_000, "the queue has no end");
    }
    (address.to_string(), listener, waiting)
}

#[tokio::test]
async fn a_member_that_stops_is_left_alone() {
    let (member, direct) = member().await;
    let mut best = Duration::MAX;
    for _ in 0..TIMES_MAX {
        let proxy = Proxy::new(&member.endpoint).await;
        let endpoints = [proxy.endpoint.clone(), member.endpoint.clone()];
        let client = Client::new(Config::new(endpoints)).unwrap();
        // Both connections are up: each takes its turn.
        while proxy.connections.load(Ordering::Relaxed) == 0 {
            client.call(get("k"), limit()).await.unwrap();
        }
        for _ in 0..4 {
            client.call(get("k"), limit()).await.unwrap();
        }
        proxy.stop();
        // A read goes to another member as well when it hears nothing; then the one that stopped gets
        // no more calls, whatever they are.
        let start = Instant::now();
        for _ in 0..10 {
            client.call(get("k"), limit()).await.unwrap();
        }
        best = best.min(start.elapsed());
        if best < QUICK {
            assert_eq!(is_quick(|| use_everything(&client, "stopped")).await, Ok(()));
            break;
        }
    }
    assert!(best < QUICK, "{best:?}");
    drop(direct);
}

#[tokio::test]
async fn a_put_is_sent_once_even_to_a_member_that_has_stopped() {
    let (member, direct) = member().await;
    let proxy = Proxy::new(&member.endpoint).await;
    let client = Client::new(Config::new([proxy.endpoint.clone()])).unwrap();
    client.call(get("k"), limit()).await.unwrap();
    proxy.stop();
    client.set_endpoints([proxy.endpoint.clone(), member.endpoint.clone()]).unwrap();
    let mut unknown = 0;
    for number in 0..4 {
        // Long enough for a busy machine; the one that goes to the member that has stopped takes all of it.
        let deadline = Deadline::in_seconds(5);
        match client.call(put("once", &number.to_string()), deadline).await {
            Ok(_) => {}
            Err(error) => {
                assert!(!error.is_certainly_not_done(), "{error:?}");
                unknown += 1;
            }
        }
    }
    assert!(unknown <= 1, "{unknown} puts went to the member that had stopped");
    let found = direct.call(get("once"), limit()).await.unwrap();
    assert!(found.kvs.iter().all(|kv| kv.version <= 4));
}

#[tokio::test]
async fn endpoints_change_while_the_client_runs() {
    let (member, _direct) = member().await;
    let proxy = Proxy::new(&member.endpoint).await;
    let client = Client::new(Config::new([proxy.endpoint.clone()])).unwrap();
    let mut watch = client.watch(on("k"), true, limit()).await.unwrap();
    client.set_endpoints([member.endpoint.clone()]).unwrap();
    assert_eq!(client.endpoints(), std::slice::from_ref(&member.endpoint));
    // What is under way on an endpoint that goes is finished there.
    client.call(put("k", "v"), limit()).await.unwrap();
    assert_eq!(watch.next().await.unwrap().response.events.len(), 1);
    proxy.cut();
    client.call(put("k", "w"), limit()).await.unwrap();
    assert_eq!(watch.next().await.unwrap().response.events.len(), 1);
    assert_eq!(proxy.connections.load(Ordering::Relaxed), 1);
    assert!(client.set_endpoints(Vec::<String>::new()).is_err());
    assert_eq!(client.endpoints().len(), 1);
}

#[tokio::test]
async fn a_watch_shows_what_is_written_after_it_was_made() {
    let (_member, client) = member().await;
    for number in 0..20 {
        let key = format!("w{number}");
        let mut watch = client.watch(on(&key), true, limit()).await.unwrap();
        client.call(put(&key, "v"), limit()).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.unwrap();
        assert_eq!(answer.unwrap().response.events.len(), 1);
    }
}

#[tokio::test]
async fn watches_are_canceled_and_say_why_they_end() {
    let (member, client) = member().await;
    let mut watch = client.watch(on("k"), true, limit()).await.unwrap();
    watch.cancel(limit()).await.unwrap();
    assert!(watch.next().await.is_none());
    let mut watch = client.watch(on("k"), true, limit()).await.unwrap();
    let handle = watch.handle();
    let (last, ()) = tokio::join!(watch.next(), handle.cancel());
    assert!(last.unwrap().response.canceled);
    assert!(watch.next().await.is_none());
    handle.request_progress();
    // Those that are dropped are canceled as well.
    for _ in 0..5 {
        let _dropped = client.watch(on("k"), true, limit()).await.unwrap();
    }
    drop((watch, handle));
    let until = Instant::now() + Duration::from_secs(20);
    while watchers(&member.endpoint).await != 0 {
        assert!(Instant::now() < until, "watchers are left");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for number in 0..5 {
        client.call(put("k", &number.to_string()), limit()).await.unwrap();
    }
    let compact = proto::etcdserverpb::CompactionRequest { revision: 4, ..Default::default() };
    client.call(compact, limit()).await.unwrap();
    let create = WatchCreateRequest { start_revision: 2, ..on("k") };
    let mut watch = client.watch(create, true, limit()).await.unwrap();
    let answer = watch.next().await.unwrap();
    assert_eq!(answer.response.compact_revision, 4);
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(answer.reason().as_deref(), Some(compacted));
    assert!(watch.next().await.is_none());
}

/// The watchers that a member counts.
async fn watchers(endpoint: &str) -> u64 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut page = TcpStream::connect(endpoint).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n";
    page.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    page.read_to_string(&mut text).await.unwrap();
    let line = text.lines().find(|line| line.starts_with("etcd_debugging_mvcc_watcher_total "));
    line.and_then(|line| line.split(' ').nth(1)).and_then(|count| count.parse().ok()).unwrap()
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let client = Client::new(Config::new([format!("127.0.0.1:{}", free_port())])).unwrap();
    let soon = || Deadline::after(Duration::from_millis(200));
    let error = client.keep_alive_once(7, soon()).await.unwrap_err();
    assert_eq!(error.to_string(), "context deadline exceeded");
    let error = client.watch(on("k"), true, soon()).await.err().unwrap();
    assert_eq!(error.to_string(), "context deadline exceeded");
    let error = client.snapshot(soon()).await.err().unwrap();
    assert!(error.is_certainly_not_done(), "{error:?}");
}
