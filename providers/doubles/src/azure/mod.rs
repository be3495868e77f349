//! Azure's App Service (behind its resource manager) and App Configuration, as far as releases are made with them.
//!
//! Both hold to Microsoft's published descriptions (`Microsoft.Web` 2025-05-01, App Configuration's data plane 2026-04-01) and,
//! where those are silent, to what the services' documentation and their error messages say. What is not promised is not given
//! here: App Service's `ETag` is sent, and `If-Match` is not looked at.

pub mod app_configuration;
pub mod app_service;
mod arm;
mod clock;
mod exchange;
mod journal;

pub use app_configuration::AppConfiguration;
pub use app_service::AppService;
