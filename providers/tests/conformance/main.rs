//! The conformance suite on the clouds that live in this crate.
#![allow(clippy::unwrap_used, clippy::panic)]

mod exec;
mod sandbox;

/// So much of a ladder that each step is another.
fn rungs(percents: &[u16]) -> Vec<meridian_engine::ports::provider::Rung> {
    let rung = |percent: &u16| meridian_engine::ports::provider::Rung {
        exposure: meridian_workflows::workflow::Exposure::Traffic(
            meridian_workflows::share::Share::percent(*percent).unwrap(),
        ),
        bake: meridian_workflows::duration::Duration::ZERO,
    };
    percents.iter().map(rung).collect()
}
