//! Bounds: no queue or table grows without limit, and no part sleeps beside what it is to work on.

use super::{Violation, ensure};
use crate::member::{Member, Pace};
use replica::turn::{Queue, WAITERS_MAX, WakePolicy};

/// Messages that may wait for a part: no more are under way with the clients and troubles there are.
const QUEUED_MAX: usize = 20_000;

/// Looks at the queues and tables of a member.
pub(crate) fn hold(member: &Member) -> Result<(), Violation> {
    let (core, log) = (&member.core, &member.log);
    of_queue("core", &core.queue, &core.pace)?;
    of_queue("log", &log.queue, &log.pace)?;
    of_queue("apply", &member.apply.queue, &member.apply.pace)?;
    of_queue("watch", &member.watch.queue, &member.watch.pace)?;
    let waiters = member.common.waiters.len();
    ensure("bounds", waiters <= WAITERS_MAX, || format!("{waiters} waiters"))
}

fn of_queue<T>(name: &str, queue: &Queue<T>, pace: &Pace) -> Result<(), Violation> {
    let waits = queue.waits();
    let sleeps_well = !pace.is_asleep()
        || waits == Some(WakePolicy::Urgent)
        || waits.is_some() && queue.is_empty();
    ensure("wake-ups", sleeps_well, || {
        format!("the {name} part sleeps, waits for {waits:?}, and something is there")
    })?;
    let length = queue.len();
    ensure("bounds", length <= QUEUED_MAX, || format!("{length} messages wait for the {name}"))
}
