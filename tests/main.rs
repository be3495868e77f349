//! The one integration binary of the workspace.

#![allow(clippy::unwrap_used, clippy::panic)]

mod architecture;
mod stores;
mod terminal;
