//! Executes one committed entry against keys, leases, members and alarms in one transaction.
//!
//! ```text
//! Entry -> Envelope -> alarms -> quota -> mvcc | lease | membership | alarm
//!                        all writes and the applied index in one ApplyTxn
//!       <- Outcome { reply or refusal, what changed }
//! ```
//!
//! Rules that hold here:
//! 1. An entry whose index is not above the applied index changes nothing (replay after a crash).
//! 2. Effects and applied index are one atomic write.
//! 3. A refusal is a result: the index advances, and every member refuses the same.
//! 4. Whatever stands in the log is applied without panic: requests that clients could not have
//!    sent through the checks of a careful server are refused here as well.

mod alarm;
mod effect;
pub mod envelope;
mod fault;
mod kinds;
mod kv;
mod machine;
pub mod quota;
mod refusal;
mod reply;
mod step;
mod storage_version;
mod txn;
mod versions;

pub use alarm::Alarms;
pub use effect::Effect;
pub use envelope::Envelope;
pub use fault::Fault;
pub use kinds::{Kind, Request};
pub use kv::options as range_options;
pub use machine::{Config, Machine, Opened, Outcome};
pub use refusal::Refusal;
pub use reply::{Header, RangeWriter, Reply, TxnReply};
pub use txn::{is_read_only, is_serializable, read as read_txn};
