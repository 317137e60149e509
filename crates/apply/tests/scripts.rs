//! What entries of the log do, as scripts tell it.
#![allow(clippy::unwrap_used)] // the helpers of tests too

#[path = "scripted/member.rs"]
mod member;
#[path = "scripted/requests.rs"]
mod requests;
#[path = "scripted/said.rs"]
mod said;

use member::Member;
use script::Suite;
use std::path::Path;

/// Scripts are added, not lost.
const SCRIPTS_MIN: usize = 23;

#[test]
fn entries_do_what_the_scripts_say() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    Suite::own(dir, SCRIPTS_MIN).run(|| {
        let mut member = Member::new();
        move |directive| {
            let text = member.handle(directive);
            if let Some(machine) = &member.machine {
                machine.check();
            }
            text
        }
    });
}
