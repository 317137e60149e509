//! From start to stop.

use crate::config::{Config, Listen};
use crate::secure::InForce;
use server::{Listener, Member, Plan, StartError, VERSION, disk};
use signal_hook::consts::{SIGINT, SIGTERM};
use socket2::{Domain, Protocol, Socket, Type};
use std::error::Error;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often signals and failures are looked for.
const LOOK: Duration = Duration::from_millis(100);
/// How many connections may wait to be taken; the system may allow fewer.
const BACKLOG: i32 = 4096;
/// How long open calls may take when the member stops.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a member until a signal or a failure.
pub(crate) fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let replica = &config.server.replica;
    tracing::info!(
        etcd_version = VERSION,
        name = %replica.name,
        data_dir = %replica.data_dir.display(),
        "starting an etcd server"
    );
    // Peers first, as etcd; whichever address is taken, nothing was touched yet.
    let data_dir = &replica.data_dir;
    let peer_tls = config.tls.peer(&config.listen_peers, data_dir)?;
    let peer_listeners = listen(&config.listen_peers, &peer_tls)?;
    let client_tls = config.tls.client(&config.listen, data_dir)?;
    let listeners = listen(&config.listen, &client_tls)?;
    let metrics_tls = config.tls.metrics(&client_tls, &config.listen_metrics)?;
    let metrics_listeners = listen(&config.listen_metrics, &metrics_tls)?;
    let disk = disk::RealDisk::new();
    let mut server = config.server.clone();
    let plan = Plan {
        joins: config.joins,
        advertise_peer_urls: &config.server.advertise_peer_urls,
        source: &config.origin,
        tls: &peer_tls.settings,
    };
    let begun = server::begin(&*disk, &mut server.replica, &plan)?;
    let stops = || stop.load(Ordering::Relaxed);
    let mut member = match Member::start(disk, &server, stops) {
        // Another process still had the data.
        Err(StartError::Stopped) => return Ok(()),
        started => started?,
    };
    let (member_id, cluster_id) = member.ids();
    tracing::info!(
        local_member_id = %format!("{member_id:x}"),
        cluster_id = %format!("{cluster_id:x}"),
        is_new = member.is_new,
        "opened the member's data"
    );
    member.serve_peers(peer_listeners, &server, &begun)?;
    for listen in &config.listen_peers {
        tracing::info!(address = %listen.address, "serving peer traffic");
    }
    if !metrics_listeners.is_empty() {
        member.serve_metrics(metrics_listeners, &server)?;
        for listen in &config.listen_metrics {
            tracing::info!(address = %listen.url, "serving metrics");
        }
    }
    if let Err(error) = member.publish(&server, stops) {
        if member.is_removed() {
            member.stop(GRACE);
            return Err("the member has been permanently removed from the cluster".into());
        }
        if stop.load(Ordering::Relaxed) {
            member.stop(GRACE);
            return Ok(());
        }
        if let Some(fault) = member.wait_failure(Duration::ZERO) {
            return Err(fault.into());
        }
        return Err(error.into());
    }
    tracing::info!(
        local_member_id = %format!("{member_id:x}"),
        "published local member to cluster through raft"
    );
    tracing::info!("ready to serve client requests");
    member.serve(listeners, &server)?;
    for listen in &config.listen {
        let text = match listen.is_secure {
            true => "serving client traffic securely",
            false => "serving client traffic insecurely; this is strongly discouraged!",
        };
        tracing::info!(traffic = "grpc+http", address = %listen.address, "{text}");
    }
    watch_over(member, &stop)
}

/// Until a signal, a failure or the member's removal.
fn watch_over(member: Member, stop: &AtomicBool) -> Result<(), Box<dyn Error>> {
    loop {
        if let Some(fault) = member.wait_failure(LOOK) {
            tracing::error!(error = %fault, "stopping: the member cannot go on");
            return Err(fault.into());
        }
        let removed = member.is_removed();
        if removed {
            tracing::error!("the member has been permanently removed from the cluster");
        }
        if removed || stop.load(Ordering::Relaxed) {
            tracing::info!("received signal; shutting down");
            member.stop(GRACE);
            tracing::info!("closed etcd server");
            return Ok(());
        }
    }
}

/// Binds sockets; errors read as Go's do.
fn listen(urls: &[Listen], tls: &InForce) -> Result<Vec<Listener>, String> {
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

/// The system's reason in the words of Go, which has no capitals and no numbers.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
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
    fn an_address_in_use_is_refused_in_the_words_of_etcd() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let refusal = bind(address).unwrap_err();
        assert_eq!(refusal, format!("listen tcp {address}: bind: address already in use"));
    }
}
