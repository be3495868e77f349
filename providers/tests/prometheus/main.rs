//! The real Prometheus server beside ours: the same samples in both, the same questions to both, the same answers; and the
//! metric source before both.
//!
//! The binary is Debian's package `prometheus`; `MERIDIAN_TEST_PROMETHEUS` names another, and
//! `MERIDIAN_SKIP_PROMETHEUS=1` leaves these tests out on a machine that cannot have it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod compare;
mod data;
mod generate;
mod server;
mod source;
mod table;
