//! Raised alarms: which member raised what. Kept in the `alarm` table, one key per alarm.

use backend::{ApplyTxn, Table, View};
use bytes::Bytes;
use prost::Message;
use proto::etcdserverpb::{AlarmMember, AlarmType};
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Every raised alarm. The table's key is the encoded [`AlarmMember`], its value empty.
///
/// Always true: the table holds exactly the alarms raised, so a restart changes no answer.
#[derive(Debug, Default)]
pub struct Alarms {
    raised: BTreeSet<(i32, u64)>,
}

impl Alarms {
    /// Reads the alarms that a database holds; keys that are no alarm are skipped.
    pub fn load(view: &View) -> Alarms {
        let mut raised = BTreeSet::new();
        view.range(Table::Alarm, &[], &[], usize::MAX, |key, _| {
            if let Ok(alarm) = AlarmMember::decode(key) {
                raised.insert((alarm.alarm, alarm.member_id));
            }
            ControlFlow::Continue(())
        });
        Alarms { raised }
    }

    /// The alarms of one kind, or all of them for `AlarmType::None`.
    pub fn list(&self, kind: i32) -> Vec<AlarmMember> {
        self.raised
            .iter()
            .filter(|(raised, _)| kind == AlarmType::None as i32 || *raised == kind)
            .map(|&(alarm, member_id)| AlarmMember { member_id, alarm })
            .collect()
    }

    /// Whether any member has raised this alarm.
    pub fn is_raised(&self, kind: AlarmType) -> bool {
        self.raised.iter().any(|(raised, _)| *raised == kind as i32)
    }

    /// Raises an alarm; raising it again changes nothing.
    pub fn raise(&mut self, txn: &mut ApplyTxn<'_>, alarm: AlarmMember) {
        if self.raised.insert((alarm.alarm, alarm.member_id)) {
            txn.put(Table::Alarm, &alarm.encode_to_vec(), Bytes::new());
        }
    }

    /// Asserts what is always true, against what a restart would find.
    pub(crate) fn check(&self, view: &View) {
        let stored = Alarms::load(view).raised;
        assert_eq!(self.raised, stored, "the alarms raised, and those stored");
    }

    /// Lowers an alarm; `false` where it was not raised.
    pub fn lower(&mut self, txn: &mut ApplyTxn<'_>, alarm: AlarmMember) -> bool {
        let was_raised = self.raised.remove(&(alarm.alarm, alarm.member_id));
        if was_raised {
            txn.delete(Table::Alarm, &alarm.encode_to_vec());
        }
        was_raised
    }
}
