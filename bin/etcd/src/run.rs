//! From start to stop.

use crate::config::Config;
use server::{Member, VERSION, disk};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::error::Error;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often signals and failures are looked for.
const LOOK: Duration = Duration::from_millis(100);
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
    let mut listeners = Vec::new();
    for address in &config.listen {
        let listener = TcpListener::bind(address)
            .map_err(|error| format!("listen tcp {address}: bind: {error}"))?;
        listeners.push(listener);
    }
    let mut member = Member::start(disk::RealDisk::new(), &config.server)?;
    let (member_id, cluster_id) = member.ids();
    tracing::info!(
        local_member_id = %format!("{member_id:x}"),
        cluster_id = %format!("{cluster_id:x}"),
        is_new = member.is_new,
        "opened the member's data"
    );
    if let Err(error) = member.publish(&config.server) {
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
    member.serve(listeners, &config.server)?;
    for address in &config.listen {
        tracing::info!(
            traffic = "grpc+http",
            address = %address,
            "serving client traffic insecurely; this is strongly discouraged!"
        );
    }
    loop {
        if let Some(fault) = member.wait_failure(LOOK) {
            tracing::error!(error = %fault, "stopping: the member cannot go on");
            return Err(fault.into());
        }
        if stop.load(Ordering::Relaxed) {
            tracing::info!("received signal; shutting down");
            member.stop(GRACE);
            tracing::info!("closed etcd server");
            return Ok(());
        }
    }
}
