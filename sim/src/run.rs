//! One run, from its plan to what came of it.

use crate::cluster::{Cluster, Counts};
use crate::{Plan, Trace};
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// A run in which everything held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its seed.
    pub seed: u64,
    /// The hash of its trace.
    pub hash: u64,
    /// What happened in it.
    pub counts: Counts,
}

/// A run in which something did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// The number of the last event.
    pub event: u64,
    /// The property, or `panic`.
    pub property: &'static str,
    /// What was seen.
    pub why: String,
    /// The last events.
    pub tail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, event, property, why, tail } = self;
        write!(f, "{tail}seed {seed}, event {event}: {property}: {why}")
    }
}

thread_local! {
    /// The run of this thread, for a panic that ends the program.
    static CURRENT: RefCell<Option<(u64, Rc<RefCell<Trace>>)>> = const { RefCell::new(None) };
}

/// The last events of the run on this thread, with its seed.
pub fn last_events() -> Option<String> {
    CURRENT.with_borrow(|current| {
        let (seed, trace) = current.as_ref()?;
        let trace = trace.try_borrow().ok()?;
        Some(format!("{}seed {seed}, event {}", trace.tail(), trace.count()))
    })
}

/// Runs a plan.
///
/// # Errors
/// Something did not hold.
pub fn run(plan: Plan) -> Result<Summary, Box<Failure>> {
    let trace = Rc::new(RefCell::new(Trace::default()));
    CURRENT.set(Some((plan.seed, Rc::clone(&trace))));
    let outcome = catch_unwind(AssertUnwindSafe(|| Cluster::new(plan, Rc::clone(&trace)).run()));
    let trace = trace.borrow();
    let failure = |property, why| {
        let (event, tail) = (trace.count(), trace.tail());
        Box::new(Failure { seed: plan.seed, event, property, why, tail })
    };
    match outcome {
        Ok(Ok(counts)) => Ok(Summary { seed: plan.seed, hash: trace.hash(), counts }),
        Ok(Err(violation)) => Err(failure(violation.property, violation.why)),
        Err(panic) => Err(failure("panic", words(&*panic))),
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words").to_owned()
}
