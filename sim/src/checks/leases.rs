//! Leases: none is revoked before its time on the clock of the leader that revokes it, none by a member
//! that could not have led when it looked, and none is kept for ever.

use super::{Violation, ensure};
use crate::model::Model;
use crate::plan::ELECTION_TIMEOUT;
use std::collections::BTreeMap;

const PROPERTY: &str = "leases";

/// How much later than its time a lease may be gone: what its new leader adds, the time between two scans
/// of a member, and some for the log.
const KEPT_MAX_US: u64 = 500_000 + 500_000 + 2_000_000;
/// Members see time in milliseconds.
const ROUNDING_US: u64 = 1_000;

/// A member in one of its lives.
type Life = (usize, u32);

/// What is known of leases, in microseconds.
#[derive(Default)]
pub(crate) struct Leases {
    /// Since when each member leads, and in which term.
    led: BTreeMap<Life, (u64, u64)>,
    /// When each lease was last granted or renewed at a member that led.
    renewed: BTreeMap<(Life, i64), u64>,
    /// When each lease was last granted or renewed at any member.
    last: BTreeMap<i64, u64>,
    /// When each member last asked whether it still leads, to revoke a lease.
    asked: BTreeMap<(Life, i64), u64>,
    /// When its core last answered that.
    confirmed: BTreeMap<(Life, i64), u64>,
    /// When each checkpoint was last proposed in a term.
    noted: BTreeMap<(Life, u64, i64), u64>,
    /// When each term had its leader.
    elected: BTreeMap<u64, u64>,
    /// Who leads without a break since when, as was seen from outside.
    steady: Option<(Life, u64, u64)>,
}

impl Leases {
    /// A term has a leader.
    pub(crate) fn elected(&mut self, term: u64, now_us: u64) {
        self.elected.entry(term).or_insert(now_us);
    }

    /// A member shows that it leads.
    pub(crate) fn leads(&mut self, life: Life, term: u64, now_us: u64) {
        let led = self.led.entry(life).or_insert((term, now_us));
        if led.0 != term {
            *led = (term, now_us);
        }
    }

    /// A member has granted a lease; its time begins there if it is the one that lets leases expire.
    pub(crate) fn granted(&mut self, life: Life, lease: i64, (now_us, leads): (u64, bool)) {
        if leads {
            self.renewed.insert((life, lease), now_us);
        }
        self.last.insert(lease, now_us);
    }

    /// A member that leads has renewed a lease; its time begins anew.
    pub(crate) fn renewed(&mut self, life: Life, lease: i64, now_us: u64) {
        self.renewed.insert((life, lease), now_us);
        self.last.insert(lease, now_us);
    }

    /// A member asks whether it still leads, for these leases have expired.
    pub(crate) fn asks(&mut self, life: Life, leases: &[i64], now_us: u64) {
        self.asked.extend(leases.iter().map(|lease| ((life, *lease), now_us)));
    }

    /// The core of a member says that it still leads: these leases may be revoked.
    pub(crate) fn confirms(&mut self, life: Life, leases: &[i64], now_us: u64) {
        self.confirmed.extend(leases.iter().map(|lease| ((life, *lease), now_us)));
    }

    /// A member that led in this term proposes to revoke a lease; `asks` tells whether it had to ask.
    pub(crate) fn revokes(
        &self,
        model: &Model,
        life: Life,
        term: u64,
        lease: i64,
        (now_us, asks): (u64, bool),
    ) -> Result<(), Violation> {
        let (ttl_s, left_s) = model.lease_times(lease);
        let us = |seconds: i64| seconds.max(0) as u64 * 1_000_000;
        let renewed = self.renewed.get(&(life, lease)).copied();
        // A renewal counts from now on, whatever was left before.
        let led = self.led.get(&life).filter(|(led, since)| {
            *led == term && renewed.is_none_or(|renewed_us| renewed_us < *since)
        });
        let extend_us = ELECTION_TIMEOUT.as_micros() as u64;
        let led_us = led.map_or(0, |(_, since)| since + us(left_s) + extend_us);
        let renewed_us = renewed.map_or(0, |at| at + us(ttl_s));
        let due_us = led_us.max(renewed_us);
        ensure(PROPERTY, now_us + ROUNDING_US >= due_us, || {
            format!(
                "m{} revokes lease {lease} in term {term} at {now_us} us, not from {due_us} on: \
                 it leads since {led:?}, has renewed it for until {renewed_us}, it has {left_s} s",
                life.0
            )
        })?;
        let looked_us = self.asked.get(&(life, lease)).copied().unwrap_or(0);
        let confirmed_us = self.confirmed.get(&(life, lease)).copied();
        ensure(PROPERTY, !asks || confirmed_us.is_some_and(|at| at >= looked_us), || {
            format!("m{} revokes lease {lease} unconfirmed since {looked_us} us", life.0)
        })?;
        let successor =
            self.elected.range(term + 1..).find(|(_, at)| asks && **at + ROUNDING_US < looked_us);
        ensure(PROPERTY, successor.is_none(), || {
            format!(
                "m{} revokes lease {lease} in term {term}, looked at at {looked_us} us; \
                 before that it was succeeded: {successor:?}",
                life.0
            )
        })
    }

    /// A member that leads in this term proposes to note what a lease has left.
    pub(crate) fn notes(
        &mut self,
        life: Life,
        term: u64,
        lease: i64,
        (now_us, interval_us): (u64, u64),
    ) -> Result<(), Violation> {
        let before = self.noted.insert((life, term, lease), now_us);
        ensure(PROPERTY, before.is_none_or(|at| now_us + ROUNDING_US >= at + interval_us), || {
            format!("m{} notes lease {lease} at {now_us} us and did at {before:?}", life.0)
        })
    }

    /// Nothing goes wrong, and this member leads, or nobody; no lease may be kept beyond its time.
    pub(crate) fn calm(
        &mut self,
        model: &Model,
        leader: Option<(Life, u64)>,
        now_us: u64,
    ) -> Result<(), Violation> {
        let Some((life, term)) = leader else {
            self.steady = None;
            return Ok(());
        };
        let since_us = match self.steady {
            Some((led, in_term, since)) if (led, in_term) == (life, term) => since,
            _ => now_us,
        };
        self.steady = Some((life, term, since_us));
        for lease in model.leases() {
            let ttl_us = model.lease_times(lease).0.max(1) as u64 * 1_000_000;
            let from_us = self.last.get(&lease).copied().unwrap_or(0).max(since_us);
            ensure(PROPERTY, now_us <= from_us + ttl_us + KEPT_MAX_US, || {
                format!("lease {lease} is there at {now_us} us, its time began at {from_us} us")
            })?;
        }
        Ok(())
    }
}
