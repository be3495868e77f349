//! Every metric source before a server: the real one where Debian has it (Graphite, InfluxDB, VictoriaMetrics), else answers of the
//! shape that its vendor documents, over HTTP on loopback.
//!
//! `MERIDIAN_SKIP_SOURCES=1` leaves the real servers out on a machine that cannot have them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod answers;
#[cfg(feature = "azure")]
mod azure_monitor;
#[cfg(feature = "aws")]
mod cloud_watch;
mod datadog;
mod google_monitoring;
mod graphite;
mod influxdb;
mod json;
#[cfg(feature = "azure")]
mod log_analytics;
mod new_relic;
mod page;
mod process;
mod settings;
mod victoria_metrics;
mod wavefront;
