//! Gates that ask the world: one file each, and one line each in the list.

pub mod command;
pub mod http;
pub mod metric;
pub mod question;

use std::sync::Arc;

use meridian_engine::ports::gate::Gate;
use meridian_engine::ports::secret::Secrets;

/// The gates of this folder by the key that the language knows them under.
pub fn gates(secrets: &Arc<dyn Secrets>) -> Vec<(&'static str, Arc<dyn Gate>)> {
    vec![
        ("http", Arc::new(http::Http::new(Arc::clone(secrets)))),
        ("command", Arc::new(command::Command::new(Arc::clone(secrets)))),
    ]
}

#[cfg(test)]
mod stories;
