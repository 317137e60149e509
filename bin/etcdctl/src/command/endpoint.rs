//! `endpoint` and `defrag`: what is asked of every endpoint by itself.

use super::Context;
use crate::args::{Defrag, Endpoint, EndpointCommand};
use crate::exit::Exit;
use crate::go;
use crate::output::{HashKvs, Health, Healths, Statuses, print};
use address::redacted;
use client::{Client, Error, Unary};
use futures_util::future::join_all;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, AlarmType, DefragmentRequest, HashKvRequest, MemberListRequest,
    RangeRequest, StatusRequest,
};
use std::io::Write;
use std::time::Instant;

const PERMISSION_DENIED: &str = "etcdserver: permission denied";

pub(super) async fn endpoint(context: &Context, endpoint: Endpoint) -> Result<(), Exit> {
    let endpoints = endpoints(context, endpoint.cluster).await?;
    match endpoint.command {
        EndpointCommand::Health => health(context, endpoints).await,
        EndpointCommand::Status => {
            let (answers, failure) =
                ask_all(context, endpoints, StatusRequest::default(), "status").await?;
            context.output.show(&Statuses(answers))?;
            failure.map_or(Ok(()), |_| Err(Exit::silent()))
        }
        EndpointCommand::Hashkv { rev } => {
            let request = HashKvRequest { revision: rev };
            let (answers, failure) = ask_all(context, endpoints, request, "hash").await?;
            context.output.show(&HashKvs(answers))?;
            failure.map_or(Ok(()), |error| Err(error.into()))
        }
    }
}

/// The endpoints given, or those of all members.
async fn endpoints(context: &Context, cluster: bool) -> Result<Vec<String>, Exit> {
    if !cluster {
        // As with etcd's, what a domain says counts for the list of members alone; but it is asked.
        context.endpoints().await?;
        return Ok(context.given_endpoints()?.to_vec());
    }
    let request = MemberListRequest { linearizable: true };
    let members =
        context.client().await?.call(request, context.deadline()).await.map_err(|error| {
            let text = "failed to fetch endpoints from etcd cluster member list";
            Exit::error(format!("{text}: {error}"))
        })?;
    Ok(members.members.into_iter().flat_map(|member| member.client_ur_ls).collect())
}

/// Asks each endpoint; the answers, and the last failure. Each failure is named.
async fn ask_all<R: Unary>(
    context: &Context,
    endpoints: Vec<String>,
    request: R,
    what: &str,
) -> Result<(Vec<(String, R::Response)>, Option<Error>), Exit> {
    let mut answers = Vec::new();
    let mut failure = None;
    for endpoint in endpoints {
        let client = context.client_of(vec![endpoint.clone()]).await?;
        match client.call(request.clone(), context.deadline()).await {
            Ok(answer) => answers.push((redacted(&endpoint), answer)),
            Err(error) => {
                let (mut err, shown) = (std::io::stderr(), redacted(&endpoint));
                // The exit code tells of it too.
                let _ = writeln!(err, "Failed to get the {what} of endpoint {shown} ({error})");
                failure = Some(error);
            }
        }
    }
    Ok((answers, failure))
}

async fn health(context: &Context, endpoints: Vec<String>) -> Result<(), Exit> {
    let mut clients = Vec::new();
    for endpoint in &endpoints {
        clients.push(context.bare_client_of(vec![endpoint.clone()]).await?);
    }
    let checks = endpoints.into_iter().zip(&clients);
    let healths = join_all(checks.map(|(name, client)| check(context, name, client))).await;
    let well = healths.iter().all(|health| health.error.is_empty());
    context.output.show(&Healths(healths))?;
    if well { Ok(()) } else { Err(Exit::error("unhealthy cluster")) }
}

/// An endpoint is well if it answers a linearizable read and knows of no alarm.
async fn check(context: &Context, endpoint: String, client: &Client) -> Health {
    let deadline = context.deadline();
    let start = Instant::now();
    let request = RangeRequest { key: "health".into(), ..RangeRequest::default() };
    let read = client.call(request, deadline).await;
    let took = go::duration(start.elapsed());
    let mut error = match read {
        // A refusal for want of permission has gone through consensus as well.
        Err(error) if error.message() != PERMISSION_DENIED => error.to_string(),
        _ => String::new(),
    };
    if error.is_empty() {
        let request = AlarmRequest { action: AlarmAction::Get as i32, ..AlarmRequest::default() };
        error = match client.call(request, deadline).await {
            Ok(answer) => active(&answer),
            Err(_) => "Unable to fetch the alarm list".to_owned(),
        };
    }
    let endpoint = redacted(&endpoint);
    Health { endpoint, health: error.is_empty(), took, error }
}

fn active(alarms: &AlarmResponse) -> String {
    if alarms.alarms.is_empty() {
        return String::new();
    }
    let name = |kind: AlarmType| match kind {
        AlarmType::Nospace => "NOSPACE ",
        AlarmType::Corrupt => "CORRUPT ",
        AlarmType::None => "UNKNOWN ",
    };
    let names: String = alarms.alarms.iter().map(|alarm| name(alarm.alarm())).collect();
    format!("Active Alarm(s): {names}")
}

pub(super) async fn defrag(context: &Context, args: Defrag) -> Result<(), Exit> {
    let mut failed = false;
    for endpoint in endpoints(context, args.cluster).await? {
        let client = context.client_of(vec![endpoint.clone()]).await?;
        let start = Instant::now();
        let endpoint = redacted(&endpoint);
        let answer = client.call(DefragmentRequest {}, context.deadline()).await;
        let took = go::duration(start.elapsed());
        match answer {
            Ok(_) => {
                print(format!("Finished defragmenting etcd member[{endpoint}]. took {took}\n"))?;
            }
            Err(error) => {
                let mut err = std::io::stderr();
                // The exit code tells of it too.
                let _ = writeln!(
                    err,
                    "Failed to defragment etcd member[{endpoint}]. took {took}. ({error})"
                );
                failed = true;
            }
        }
    }
    if failed { Err(Exit::silent()) } else { Ok(()) }
}
