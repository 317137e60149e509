//! Whole clusters stepped by hand say what the reference's say, message for message.
//!
//! The commands are those of the reference's interaction environment; see
//! [`interaction::Env::handle`].
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;
#[path = "interaction/env.rs"]
mod interaction;

fn cluster() -> impl FnMut(&common::Directive) -> String {
    let mut env = interaction::Env::default();
    move |directive| env.handle(directive)
}

#[test]
fn clusters_act_as_the_references_own_scripts_say() {
    common::run_foreign("interaction", cluster);
}
