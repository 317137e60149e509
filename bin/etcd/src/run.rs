//! From start to stop.

use crate::config::Config;
use crate::describe;
use crate::listen::Listen;
use crate::reason::reason;
use crate::secure::EffectiveTls;
use crate::signals::{Stop, StopSignal};
use crate::systemd::Manager;
use server::{Begun, Listener, Member, Plan, StartError};
use socket2::{Domain, Protocol, Socket, Type};
use std::error::Error;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

/// How often signals and failures are looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How many connections may wait to be taken; the system may allow fewer.
const BACKLOG: i32 = 4096;
/// How long open calls may take when the member stops.
const GRACE: Duration = Duration::from_secs(2);

/// Why a member ended that had nothing against going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was told to.
    Signal(StopSignal),
    /// The others removed it from the cluster.
    Removed,
}

/// Runs a member until a signal or a failure.
pub(crate) fn run(config: &Config, stop: &Stop) -> Result<End, Box<dyn Error>> {
    describe::data_dir(&config.server.replica.data_dir)?;
    let result = start(config, stop);
    if result.is_err() {
        closing(config);
        closed(config);
    }
    match result? {
        Started::Serves(serving) => watch_over(*serving, config, stop),
        Started::Ended(end) => Ok(end),
    }
}

enum Started {
    Serves(Box<Serving>),
    /// It was not to begin.
    Ended(End),
}

/// A member that serves.
struct Serving {
    member: Member,
    manager: Manager,
    bound: Bound,
}

/// The addresses that the system gave for those asked for: another port for 0, both families for
/// 0.0.0.0.
struct Bound {
    peers: Vec<SocketAddr>,
    clients: Vec<SocketAddr>,
}

/// The sockets, in etcd's order: whichever address is taken, nothing was touched yet.
struct Sockets {
    peers: Vec<Listener>,
    clients: Vec<Listener>,
    metrics: Vec<Listener>,
    peer_tls: EffectiveTls,
    bound: Bound,
}

impl Sockets {
    fn open(config: &Config) -> Result<Sockets, Box<dyn Error>> {
        let data_dir = &config.server.replica.data_dir;
        let shown = json(&describe::urls(&config.listen_peers));
        tracing::info!(listen_peer_urls = &shown[..], "configuring peer listeners");
        let peer_tls = config.tls.peer(&config.listen_peers, data_dir)?;
        let peers = listen(&config.listen_peers, &peer_tls).inspect_err(|error| {
            tracing::error!(error, "creating peer listener failed");
        })?;
        let shown = json(&describe::urls(&config.listen));
        tracing::info!(listen_client_urls = &shown[..], "configuring client listeners");
        let client_tls = config.tls.client(&config.listen, data_dir)?;
        let clients = listen(&config.listen, &client_tls)?;
        let metrics_tls = config.tls.metrics(&client_tls, &config.listen_metrics)?;
        let metrics = listen(&config.listen_metrics, &metrics_tls)?;
        let bound = Bound { peers: addresses(&peers)?, clients: addresses(&clients)? };
        Ok(Sockets { peers, clients, metrics, peer_tls, bound })
    }
}

fn start(config: &Config, stop: &Stop) -> Result<Started, Box<dyn Error>> {
    let Sockets { peers, clients, metrics, peer_tls, bound } = Sockets::open(config)?;
    describe::start(config);
    let disk = disk::RealDisk::new();
    let mut server = config.server.clone();
    let plan = Plan {
        joins: config.joins,
        advertise_peer_urls: &config.server.advertise_peer_urls,
        source: &config.origin,
        tls: &peer_tls.settings,
    };
    let begun = server::begin(&*disk, &mut server.replica, &plan)?;
    let stops = || stop.signal().is_some();
    let mut member = match Member::start(disk, &server, stops) {
        // Another process still had the data.
        Err(StartError::Stopped) => {
            let signal = stop.signal().ok_or(StartError::Stopped)?;
            return Ok(Started::Ended(End::Signal(signal)));
        }
        started => started?,
    };
    stop.in_order();
    serve_others(&mut member, config, (peers, &bound.peers), metrics, &begun)?;
    if let Err(error) = member.publish(&server, stops) {
        if let Some(fault) = member.wait_failure(Duration::ZERO) {
            return Err(fault.into());
        }
        let end = end_of(&member, stop).ok_or(error)?;
        let mut manager = Manager::of_environment();
        leave(member, &mut manager, &bound, config, end);
        return Ok(Started::Ended(end));
    }
    tracing::info!("ready to serve client requests");
    member.serve(clients, &server)?;
    tracing::info!(service = "", status = "SERVING", "grpc service status changed");
    for (listen, address) in config.listen.iter().zip(&bound.clients) {
        let text = match listen.is_secure {
            true => "serving client traffic securely",
            false => "serving client traffic insecurely; this is strongly discouraged!",
        };
        tracing::info!(traffic = "grpc+http", %address, "{text}");
    }
    let mut manager = Manager::of_environment();
    manager.ready();
    Ok(Started::Serves(Box::new(Serving { member, manager, bound })))
}

/// Other members, and whoever looks at metrics and health alone.
fn serve_others(
    member: &mut Member,
    config: &Config,
    (peers, bound): (Vec<Listener>, &[SocketAddr]),
    metrics: Vec<Listener>,
    begun: &Begun,
) -> Result<(), Box<dyn Error>> {
    member.serve_peers(peers, &config.server, begun)?;
    for address in bound {
        tracing::info!(%address, "serving peer traffic");
    }
    if !metrics.is_empty() {
        member.serve_metrics(metrics, &config.server)?;
        for listen in &config.listen_metrics {
            tracing::info!(address = %listen.url, "serving metrics");
        }
    }
    let (peer, client) = (&config.server.advertise_peer_urls, &config.server.advertise_client_urls);
    tracing::info!(
        local_member_id = %format!("{:x}", member.ids().0),
        initial_advertise_peer_urls = &json(peer)[..],
        listen_peer_urls = &json(&describe::urls(&config.listen_peers))[..],
        advertise_client_urls = &json(client)[..],
        listen_client_urls = &json(&describe::urls(&config.listen))[..],
        listen_metrics_urls = &json(&describe::urls(&config.listen_metrics))[..],
        "now serving peer/client/metrics"
    );
    Ok(())
}

/// Why the member is to end, if it is.
fn end_of(member: &Member, stop: &Stop) -> Option<End> {
    if member.is_removed() {
        return Some(End::Removed);
    }
    stop.signal().map(End::Signal)
}

/// Until a signal, a failure or the member's removal.
fn watch_over(serving: Serving, config: &Config, stop: &Stop) -> Result<End, Box<dyn Error>> {
    let Serving { member, mut manager, bound } = serving;
    loop {
        if let Some(fault) = member.wait_failure(LOOK) {
            tracing::error!(error = %fault, "stopping: the member cannot go on");
            return Err(fault.into());
        }
        if let Some(end) = end_of(&member, stop) {
            leave(member, &mut manager, &bound, config, end);
            return Ok(end);
        }
        manager.watch(|answer| member.ask(answer));
    }
}

/// Stops a member in order.
fn leave(member: Member, manager: &mut Manager, bound: &Bound, config: &Config, end: End) {
    match end {
        End::Signal(signal) => {
            tracing::info!(signal = signal.name(), "received signal; shutting down");
        }
        End::Removed => {
            let error = "the member has been permanently removed from the cluster";
            tracing::warn!(error, "server error");
            tracing::warn!("data-dir used by this member must be removed");
        }
    }
    manager.stopping();
    closing(config);
    for address in &bound.peers {
        tracing::info!(%address, "stopping serving peer traffic");
    }
    member.stop(GRACE);
    for address in &bound.peers {
        tracing::info!(%address, "stopped serving peer traffic");
    }
    closed(config);
}

fn closing(config: &Config) {
    tell(config, "closing etcd server");
}

fn closed(config: &Config) {
    tell(config, "closed etcd server");
}

fn tell(config: &Config, text: &str) {
    let (name, dir, peer, client) = whose(config);
    tracing::info!(
        name,
        data_dir = dir,
        advertise_peer_urls = &peer[..],
        advertise_client_urls = &client[..],
        "{text}"
    );
}

/// Name, directory and addresses of the member.
fn whose(config: &Config) -> (&str, String, Vec<u8>, Vec<u8>) {
    let (server, replica) = (&config.server, &config.server.replica);
    let dir = replica.data_dir.display().to_string();
    let (peer, client) = (&server.advertise_peer_urls, &server.advertise_client_urls);
    (&replica.name, dir, json(peer), json(client))
}

/// A list for the log.
fn json(list: &[impl AsRef<str>]) -> Vec<u8> {
    let list: Vec<&str> = list.iter().map(AsRef::as_ref).collect();
    serde_json::Value::from(list).to_string().into_bytes()
}

/// Where sockets are bound.
fn addresses(listeners: &[Listener]) -> Result<Vec<SocketAddr>, String> {
    let found = listeners.iter().map(|listener| listener.socket.local_addr());
    found.collect::<Result<_, _>>().map_err(|error| format!("listen tcp: {}", reason(&error)))
}

/// Binds sockets; errors read as Go's do.
fn listen(urls: &[Listen], tls: &EffectiveTls) -> Result<Vec<Listener>, String> {
    let bind = |url: &Listen| {
        let socket = bind(url.address)?;
        let acceptor = tls.acceptor.clone().filter(|_| url.is_secure);
        Ok(Listener { socket, acceptor })
    };
    urls.iter().map(bind).collect()
}

fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    let bound = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            bind_everywhere(address.port()).or_else(|_| TcpListener::bind(address))
        }
        _ => TcpListener::bind(address),
    };
    bound.map_err(|error| format!("listen tcp {address}: bind: {}", reason(&error)))
}

/// All addresses of this machine, of both families: that is what 0.0.0.0 means to Go.
fn bind_everywhere(port: u16) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_are_those_of_both_families() {
        let listener = bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let hosts = if listener.local_addr().unwrap().is_ipv6() {
            &["127.0.0.1", "::1"][..]
        } else {
            &["127.0.0.1"]
        };
        for &host in hosts {
            let reached = std::net::TcpStream::connect((host, port));
            assert!(reached.is_ok(), "{host}: {reached:?}");
        }
        assert!(bind(SocketAddr::from(([0, 0, 0, 0], port))).is_err());
    }

    #[test]
    fn the_port_that_the_system_chose_is_told() {
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let told = addresses(&[Listener { socket, acceptor: None }]).unwrap();
        assert!(told.len() == 1 && told[0].port() != 0, "{told:?}");
    }

    #[test]
    fn an_address_in_use_is_refused_in_the_words_of_etcd() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let refusal = bind(address).unwrap_err();
        assert_eq!(refusal, format!("listen tcp {address}: bind: address already in use"));
    }
}
