//! The provider against its double, and unchanged against real clusters where `MERIDIAN_TEST_KUBECONFIG` names them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod conformance;
mod data_plane;
mod diagnosis;
mod double;
mod drift;
mod hands;
mod manners;
mod others;
mod real;
mod rig;
mod stage;
mod stories;
mod traffic;
mod truth;
mod way;
