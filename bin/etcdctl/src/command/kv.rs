//! `get`, `put`, `del` and `compaction`.

use super::{Context, is_serializable};
use crate::args::{Compaction, Del, Get, Put};
use crate::exit::Exit;
use crate::go;
use crate::output::print;
use bytes::Bytes;
use cli::secret::shown;
use client::prefix_end;
use proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use proto::etcdserverpb::{CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

const BOTH: &str = "`--prefix` and `--from-key` cannot be set at the same time, choose one";
const TOO_MANY: &str =
    "too many arguments, only accept one argument when `--prefix` or `--from-key` is set";
/// Every key from some key on.
const NO_END: &[u8] = b"\0";
/// How long a range is kept from deletion, for second thoughts.
const SECOND_THOUGHTS: Duration = Duration::from_secs(2);

fn bytes(word: OsString) -> Bytes {
    word.into_vec().into()
}

/// A key and the end of a range, from arguments and flags.
fn range(args: Vec<OsString>, prefix: bool, from_key: bool) -> Result<(Bytes, Bytes), Exit> {
    let mut args = args.into_iter().map(bytes);
    let key = args.next().unwrap_or_default();
    if let Some(end) = args.next() {
        if prefix || from_key {
            return Err(Exit::args(TOO_MANY));
        }
        return Ok((key, end));
    }
    Ok(match (prefix, from_key) {
        (false, false) => (key, Bytes::new()),
        (true, _) if !key.is_empty() => {
            let end = prefix_end(&key);
            (key, end.into())
        }
        _ if key.is_empty() => (Bytes::from_static(NO_END), Bytes::from_static(NO_END)),
        _ => (key, Bytes::from_static(NO_END)),
    })
}

/// The request of a `get`.
pub(super) fn get_request(get: Get) -> Result<RangeRequest, Exit> {
    if get.args.is_empty() {
        let text = "get command needs one argument as key and an optional argument as range_end";
        return Err(Exit::args(text));
    }
    if get.prefix && get.from_key {
        return Err(Exit::args(BOTH));
    }
    if get.keys_only && get.count_only {
        let text = "`--keys-only` and `--count-only` cannot be set at the same time, choose one";
        return Err(Exit::args(text));
    }
    let serializable = is_serializable(&get.consistency)?;
    let (order, target) = sorting(&get)?;
    check_revisions(&get)?;
    let (key, range_end) = range(get.args, get.prefix, get.from_key)?;
    Ok(RangeRequest {
        key,
        range_end,
        limit: get.limit,
        revision: get.rev.max(0),
        sort_order: order as i32,
        sort_target: target as i32,
        serializable,
        keys_only: get.keys_only,
        count_only: get.count_only,
        min_mod_revision: get.min_mod_rev.max(0),
        max_mod_revision: get.max_mod_rev.max(0),
        min_create_revision: get.min_create_rev.max(0),
        max_create_revision: get.max_create_rev.max(0),
    })
}

fn sorting(get: &Get) -> Result<(SortOrder, SortTarget), Exit> {
    let order = match get.order.to_uppercase().as_str() {
        "ASCEND" => SortOrder::Ascend,
        "DESCEND" => SortOrder::Descend,
        "" => SortOrder::None,
        _ => return Err(Exit::feature(format!("bad sort order {}", shown(&get.order)))),
    };
    let target = match get.sort_by.to_uppercase().as_str() {
        "CREATE" => SortTarget::Create,
        "KEY" | "" => SortTarget::Key,
        "MODIFY" => SortTarget::Mod,
        "VALUE" => SortTarget::Value,
        "VERSION" => SortTarget::Version,
        _ => return Err(Exit::feature(format!("bad sort target {}", shown(&get.sort_by)))),
    };
    // Keys come in ascending order anyway.
    let order = match (target, order) {
        (SortTarget::Key, SortOrder::Ascend) => SortOrder::None,
        (_, order) => order,
    };
    Ok((order, target))
}

fn check_revisions(get: &Get) -> Result<(), Exit> {
    let pairs = [
        ("Create", get.min_create_rev, get.max_create_rev),
        ("Mod", get.min_mod_rev, get.max_mod_rev),
    ];
    for (name, min, max) in pairs {
        if max > 0 && min > max {
            let text = format!("getMin{name}Rev(={min}) > getMax{name}Rev(={max})");
            return Err(Exit::feature(text));
        }
    }
    Ok(())
}

pub(super) async fn get(context: &Context, get: Get) -> Result<(), Exit> {
    let (stream, count_only, value_only) = (get.stream, get.count_only, get.print_value_only);
    let request = get_request(get)?;
    let client = context.client().await?;
    let answer = if stream {
        client.range_in_pieces(request, context.deadline()).await?
    } else {
        client.call(request, context.deadline()).await?
    };
    let mut output = context.output;
    if count_only && !output.is_fields() {
        return Err(Exit::args("--count-only is only for `--write-out=fields`"));
    }
    if value_only {
        if !output.is_simple() {
            return Err(Exit::args("print-value-only is only for `--write-out=simple`"));
        }
        output = output.value_only();
    }
    output.show(&answer)
}

/// The request of a `put`.
pub(super) fn put_request(put: Put) -> Result<PutRequest, Exit> {
    let missing = "put command needs 1 argument and input from stdin or 2 arguments";
    let mut args = put.args.into_iter().map(bytes);
    let key = args.next().ok_or_else(|| Exit::args(missing))?;
    let value = match args.next() {
        Some(_) if put.ignore_value => {
            let text = "put command needs only 1 argument when 'ignore-value' is set";
            return Err(Exit::args(text));
        }
        Some(value) => value,
        None if put.ignore_value => Bytes::new(),
        None => {
            let mut value = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut value);
            if read.is_err() || value.is_empty() {
                return Err(Exit::args(missing));
            }
            value.into()
        }
    };
    let lease = go::parse_hex(&put.lease)
        .map_err(|error| Exit::args(format!("bad lease ID ({error}), expecting ID in Hex")))?;
    Ok(PutRequest {
        key,
        value,
        lease,
        prev_kv: put.prev_kv,
        ignore_value: put.ignore_value,
        ignore_lease: put.ignore_lease,
    })
}

pub(super) async fn put(context: &Context, put: Put) -> Result<(), Exit> {
    let request = put_request(put)?;
    let answer = context.client().await?.call(request, context.deadline()).await?;
    context.output.show(&answer)
}

/// The request of a `del`.
pub(super) fn del_request(del: Del) -> Result<DeleteRangeRequest, Exit> {
    if del.args.is_empty() || del.args.len() > 2 {
        let text = "del command needs one argument as key and an optional argument as range_end";
        return Err(Exit::args(text));
    }
    if del.prefix && del.from_key {
        return Err(Exit::args(BOTH));
    }
    let is_range = del.args.len() == 2;
    let (key, range_end) = range(del.args, del.prefix, del.from_key)?;
    if is_range && !del.range {
        let mut err = std::io::stderr();
        // The pause matters, even to nobody who reads.
        let _ = writeln!(
            err,
            "Warning: Keys between {} and {} will be deleted. Please interrupt the command within \
             next 2 seconds to cancel. You can provide `--range` flag to avoid the delay.",
            go::quote(&key),
            go::quote(&range_end),
        );
        std::thread::sleep(SECOND_THOUGHTS);
    }
    Ok(DeleteRangeRequest { key, range_end, prev_kv: del.prev_kv })
}

pub(super) async fn del(context: &Context, del: Del) -> Result<(), Exit> {
    let request = del_request(del)?;
    let answer = context.client().await?.call(request, context.deadline()).await?;
    context.output.show(&answer)
}

pub(super) async fn compaction(context: &Context, args: Compaction) -> Result<(), Exit> {
    let [revision] = args.args.as_slice() else {
        return Err(Exit::args("compaction command needs 1 argument"));
    };
    let revision = go::parse_int(revision).map_err(Exit::error)?;
    let request = CompactionRequest { revision, physical: args.physical };
    context.client().await?.call(request, context.deadline()).await?;
    print(format!("compacted revision {revision}\n"))
}
