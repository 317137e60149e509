//! Whole clusters stepped by hand say what the reference's say, message for message.
//!
//! The commands are those of the reference's interaction environment; see
//! [`interaction::Env::handle`].
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;
#[path = "interaction/env.rs"]
mod interaction;

/// Scripts are added, not lost.
const SCRIPTS_MIN: usize = 36;

fn cluster() -> impl FnMut(&common::Directive) -> String {
    let mut env = interaction::Env::default();
    move |directive| env.handle(directive)
}

#[test]
fn clusters_act_as_the_reference_recorded_for_our_scripts() {
    common::run_recorded("interaction", SCRIPTS_MIN, cluster);
}

#[test]
fn clusters_act_as_the_references_own_scripts_say() {
    common::run_foreign("interaction", cluster);
}
