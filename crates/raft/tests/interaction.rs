//! Whole clusters stepped by hand say what the reference's say, message for message.
//!
//! The commands are those of the reference's interaction environment; see
//! [`interaction::Env::handle`].
#![allow(clippy::unwrap_used)] // the helpers of tests too

mod common;
#[path = "interaction/env.rs"]
mod interaction;

#[test]
fn clusters_act_as_recorded() {
    common::run("interaction", || {
        let mut env = interaction::Env::default();
        move |directive: &common::Directive| env.handle(directive)
    });
}
