//! `member`, `alarm`, `move-leader` and `downgrade`.

use super::{Context, is_serializable};
use crate::args::{Alarm, Downgrade, Member, MoveLeader};
use crate::exit::Exit;
use crate::go;
use crate::output::{Changed, Downgraded, Moved, print};
use address::Urls;
use address::redacted;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::downgrade_request::DowngradeAction;
use proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DowngradeRequest, MemberAddRequest, MemberAddResponse,
    MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest,
    MoveLeaderRequest, ResponseHeader, StatusRequest,
};

pub(super) async fn member(context: &Context, member: Member) -> Result<(), Exit> {
    match member {
        Member::Add { args, peer_urls, learner } => add(context, &args, &peer_urls, learner).await,
        Member::Remove { args } => {
            let id = id(&args)?;
            let request = MemberRemoveRequest { id };
            let response = context.client().await?.call(request, context.deadline()).await?;
            let cluster = cluster(response.header.as_ref());
            context.output.show(&Changed { id, cluster, what: "removed from", response })
        }
        Member::Update { args, peer_urls } => {
            let id = id(&args)?;
            let request = MemberUpdateRequest { id, peer_ur_ls: urls(&peer_urls)? };
            let response = context.client().await?.call(request, context.deadline()).await?;
            let cluster = cluster(response.header.as_ref());
            context.output.show(&Changed { id, cluster, what: "updated in", response })
        }
        Member::List { consistency } => {
            let linearizable = !is_serializable(&consistency)?;
            let request = MemberListRequest { linearizable };
            let answer = context.client().await?.call(request, context.deadline()).await?;
            context.output.show(&answer)
        }
        Member::Promote { args } => {
            let id = id(&args)?;
            let request = MemberPromoteRequest { id };
            let response = context.client().await?.call(request, context.deadline()).await?;
            let cluster = cluster(response.header.as_ref());
            context.output.show(&Changed { id, cluster, what: "promoted in", response })
        }
    }
}

fn cluster(header: Option<&ResponseHeader>) -> u64 {
    header.map_or(0, |header| header.cluster_id)
}

fn id(args: &[String]) -> Result<u64, Exit> {
    let [id] = args else { return Err(Exit::args("member ID is not provided")) };
    go::parse_hex_unsigned(id)
        .map_err(|error| Exit::args(format!("bad member ID arg ({error}), expecting ID in Hex")))
}

/// Peer URLs, checked and sent as they were written.
fn urls(text: &str) -> Result<Vec<String>, Exit> {
    if text.is_empty() {
        return Err(Exit::args("member peer urls not provided"));
    }
    Urls::parse(text).map_err(|error| Exit::error(error.to_string()))?;
    Ok(text.split(',').map(str::to_owned).collect())
}

async fn add(
    context: &Context,
    args: &[String],
    peer_urls: &str,
    is_learner: bool,
) -> Result<(), Exit> {
    let name = match args {
        [] => return Err(Exit::args("member name not provided")),
        [name] => name,
        args => {
            let is_url = |arg: &&String| arg.to_lowercase().starts_with("http");
            let hint = |url: &String| format!(", did you mean --peer-urls={url}");
            let hints: String = args.iter().filter(is_url).map(hint).collect();
            return Err(Exit::args(format!("too many arguments{hints}")));
        }
    };
    let request = MemberAddRequest { peer_ur_ls: urls(peer_urls)?, is_learner };
    let answer = context.client().await?.call(request, context.deadline()).await?;
    context.output.show(&answer)?;
    if context.output.is_simple() {
        print(environment(name, peer_urls, &answer))?;
    }
    Ok(())
}

/// What the new member is to be started with.
fn environment(name: &str, peer_urls: &str, answer: &MemberAddResponse) -> String {
    let new = answer.member.as_ref().map_or(0, |member| member.id);
    let mut cluster = Vec::new();
    for member in &answer.members {
        let name = if member.id == new { name } else { &member.name };
        cluster.extend(member.peer_ur_ls.iter().map(|url| format!("{name}={url}")));
    }
    let quote = |text: &str| go::quote(text.as_bytes());
    format!(
        "\nETCD_NAME={}\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_ADVERTISE_PEER_URLS={}\n\
         ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
        quote(name),
        quote(&cluster.join(",")),
        quote(peer_urls),
    )
}

pub(super) async fn alarm(context: &Context, alarm: Alarm) -> Result<(), Exit> {
    let (name, args) = match &alarm {
        Alarm::List { args } => ("list", args),
        Alarm::Disarm { args } => ("disarm", args),
    };
    if !args.is_empty() {
        return Err(Exit::args(format!("alarm {name} command accepts no arguments")));
    }
    let client = context.client().await?;
    let request = |action: AlarmAction, alarm, member_id| AlarmRequest {
        action: action as i32,
        alarm,
        member_id,
    };
    let all = request(AlarmAction::Get, 0, 0);
    match alarm {
        Alarm::List { .. } => context.output.show(&client.call(all, context.deadline()).await?),
        Alarm::Disarm { .. } => {
            let deadline = context.deadline();
            // The answers are put together, without any one's header.
            let mut shown = AlarmResponse::default();
            for alarm in client.call(all, deadline).await?.alarms {
                let request = request(AlarmAction::Deactivate, alarm.alarm, alarm.member_id);
                let answer = client.call(request, deadline).await?;
                shown.alarms.extend(answer.alarms);
            }
            context.output.show(&shown)
        }
    }
}

pub(super) async fn move_leader(context: &Context, args: MoveLeader) -> Result<(), Exit> {
    let [target] = args.args.as_slice() else {
        return Err(Exit::args("move-leader command needs 1 argument"));
    };
    let to = go::parse_hex_unsigned(target).map_err(Exit::args)?;
    let deadline = context.deadline();
    let endpoints = context.endpoints().await?;
    for endpoint in &endpoints {
        let client = context.client_of(vec![endpoint.clone()]).await?;
        let status = client.call(StatusRequest::default(), deadline).await?;
        let member = status.header.as_ref().map_or(0, |header| header.member_id);
        if member == status.leader {
            let response = client.call(MoveLeaderRequest { target_id: to }, deadline).await?;
            return context.output.show(&Moved { from: status.leader, to, response });
        }
    }
    let endpoints: Vec<_> = endpoints.iter().map(|name| redacted(name)).collect();
    let endpoints = endpoints.join(" ");
    Err(Exit::args(format!("no leader endpoint given at [{endpoints}]")))
}

pub(super) async fn downgrade(context: &Context, downgrade: Downgrade) -> Result<(), Exit> {
    let (what, action, args) = match downgrade {
        Downgrade::Validate { args } => ("validate", DowngradeAction::Validate, Some(args)),
        Downgrade::Enable { args } => ("enable", DowngradeAction::Enable, Some(args)),
        Downgrade::Cancel => ("cancel", DowngradeAction::Cancel, None),
    };
    let version = match args.as_deref() {
        None => String::new(),
        Some([]) => return Err(Exit::args("TARGET_VERSION not provided")),
        Some([version]) if version.is_empty() => {
            return Err(Exit::args("target version not provided"));
        }
        Some([version]) => version.clone(),
        Some(_) => return Err(Exit::args("too many arguments")),
    };
    let request = DowngradeRequest { action: action as i32, version };
    let response = context.client().await?.call(request, context.deadline()).await?;
    context.output.show(&Downgraded { what, response })
}
