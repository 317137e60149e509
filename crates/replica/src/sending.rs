//! Which members are being sent a database: the log behind it is kept for them.
//!
//! Whoever gets a database needs every entry behind it. While it is sent, received and taken up, the
//! log goes on; shortened meanwhile, it would begin behind the database, and the member would need
//! another one, and so on (reference: `EtcdServer.inflightSnapshots`).

use std::collections::BTreeMap;

/// The members with the database that each was sent last.
#[derive(Debug, Default)]
pub(crate) struct Sending(BTreeMap<u64, Sent>);

#[derive(Debug)]
struct Sent {
    /// The database holds at least everything up to this entry.
    index: u64,
    /// The tick until which the member has time to catch up; `None` while the database is sent.
    until: Option<u64>,
}

impl Sending {
    /// A database that holds this entry goes to a member.
    pub(crate) fn begin(&mut self, to: u64, index: u64) {
        self.0.insert(to, Sent { index, until: None });
    }

    /// It was delivered, and the member has until this tick; or it was not.
    pub(crate) fn end(&mut self, to: u64, until: Option<u64>) {
        match until {
            Some(_) => self.0.get_mut(&to).into_iter().for_each(|sent| sent.until = until),
            None => drop(self.0.remove(&to)),
        }
    }

    /// Forgets members that had their time, and members that are none any more.
    pub(crate) fn expire(&mut self, now: u64, is_member: impl Fn(u64) -> bool) {
        self.0.retain(|id, sent| sent.until.is_none_or(|until| now < until) && is_member(*id));
    }

    /// The entry behind which the log is needed, if it is.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.0.values().map(|sent| sent.index).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_kept_until_all_have_caught_up_or_failed() {
        let mut sending = Sending::default();
        sending.begin(2, 70);
        sending.begin(3, 50);
        assert_eq!(sending.oldest(), Some(50));
        sending.end(3, None);
        assert_eq!(sending.oldest(), Some(70));
        sending.end(2, Some(9));
        sending.expire(8, |_| true);
        assert_eq!(sending.oldest(), Some(70));
        sending.expire(9, |_| true);
        assert_eq!(sending.oldest(), None);
    }

    #[test]
    fn nothing_is_kept_for_who_left_or_was_never_sent_anything() {
        let mut sending = Sending::default();
        sending.end(2, Some(9));
        assert_eq!(sending.oldest(), None);
        sending.begin(2, 70);
        sending.expire(0, |id| id != 2);
        assert_eq!(sending.oldest(), None);
    }
}
