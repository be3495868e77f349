//! The one integration binary of the workspace.

#![allow(clippy::unwrap_used, clippy::panic)]

mod architecture;
mod crashes;
mod crossing;
mod essence;
mod machine;
mod stores;
mod stories;
mod terminal;
