//! Meridian: declarative multi-region rollouts. This package is the face: command line, printers, and the list of the world's parts.

mod cli;
mod report;
mod secrets;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Every HTTPS client of the process uses this one; installing it twice is impossible here, main runs once.
    let _ = rustls::crypto::ring::default_provider().install_default();
    cli::main().into()
}
