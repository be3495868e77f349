//! A small cloud in one process: regions with real HTTP traffic, weighted proxies, versioned instances and a Prometheus-compatible endpoint.

pub mod promql;
