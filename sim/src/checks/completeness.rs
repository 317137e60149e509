//! Leader completeness: whoever is elected has every entry committed in earlier terms.

use super::{Violation, ensure};
use crate::model::Model;
use replica::Core;

const PROPERTY: &str = "leader completeness";

/// How many leaders were looked at.
#[derive(Default)]
pub(crate) struct Completeness {
    leaders: u64,
}

impl Completeness {
    /// A member has begun to lead.
    pub(crate) fn elected(&mut self, core: &Core, model: &Model) -> Result<(), Violation> {
        self.leaders += 1;
        let basic = core.raft_status().basic;
        let Some((index, term)) = model.last_before(basic.term) else { return Ok(()) };
        let has = basic.last >= index && core.term_of(index).is_none_or(|own| own == term);
        ensure(PROPERTY, has, || {
            let own = core.term_of(index);
            let (id, led, last) = (basic.id, basic.term, basic.last);
            format!(
                "{id:x} leads term {led} with a log up to {last}; entry {index} was committed \
                 with term {term}, here it has {own:?}"
            )
        })
    }
}
