//! `lease`.

use super::{Context, reach};
use crate::args::Lease;
use crate::exit::Exit;
use crate::go;
use crate::output::{Granted, KeptAlive, Leases, Revoked, TimeToLive, print};
use client::Deadline;
use proto::etcdserverpb::{
    LeaseGrantRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
};

/// The call, as it is told of where no server is there.
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

pub(super) async fn lease(context: &Context, lease: Lease) -> Result<(), Exit> {
    match lease {
        Lease::Grant { args } => grant(context, &args).await,
        Lease::Revoke { args } => {
            let id = id(&args, "lease revoke command needs 1 argument")?;
            let request = LeaseRevokeRequest { id };
            let answer = context.client().await?.call(request, context.deadline()).await;
            let response =
                answer.map_err(|error| Exit::error(format!("failed to revoke lease ({error})")))?;
            context.output.show(&Revoked { id, response })
        }
        Lease::Timetolive { args, keys } => {
            let id = id(&args, "lease timetolive command needs lease ID as argument")?;
            let request = LeaseTimeToLiveRequest { id, keys };
            let answer = context.client().await?.call(request, Deadline::NONE).await;
            let response = answer.map_err(Exit::connection)?;
            context.output.show(&TimeToLive { response, keys })
        }
        Lease::List => {
            let answer = context.client().await?.call(LeaseLeasesRequest {}, Deadline::NONE).await;
            context.output.show(&Leases(answer.map_err(Exit::connection)?))
        }
        Lease::KeepAlive { args, once } => keep_alive(context, &args, once).await,
    }
}

fn id(args: &[String], missing: &str) -> Result<i64, Exit> {
    let [id] = args else { return Err(Exit::args(missing)) };
    go::parse_hex(id)
        .map_err(|error| Exit::args(format!("bad lease ID arg ({error}), expecting ID in Hex")))
}

async fn grant(context: &Context, args: &[String]) -> Result<(), Exit> {
    let [ttl] = args else {
        return Err(Exit::args("lease grant command needs TTL argument"));
    };
    let ttl = go::parse_int(ttl).map_err(|error| Exit::args(format!("bad TTL ({error})")))?;
    let request = LeaseGrantRequest { ttl, id: 0 };
    let answer = context.client().await?.call(request, context.deadline()).await;
    let answer = answer.map_err(|error| Exit::error(format!("failed to grant lease ({error})")))?;
    context.output.show(&Granted(answer))
}

async fn keep_alive(context: &Context, args: &[String], once: bool) -> Result<(), Exit> {
    let id = id(args, "lease keep-alive command needs lease ID as argument")?;
    let client = context.client().await?;
    if once {
        let answer =
            client.keep_alive_once(id, context.deadline()).await.map_err(Exit::connection)?;
        return context.output.show(&KeptAlive(answer));
    }
    reach(&client, KEEP_ALIVE).await?;
    let mut keep_alive = client.keep_alive(id);
    while let Some(answer) = keep_alive.next().await.map_err(Exit::connection)? {
        context.output.show(&KeptAlive(answer))?;
    }
    if context.output.is_simple() {
        print(format!("lease {id:016x} expired or revoked.\n"))?;
    }
    Ok(())
}
