//! Azure's App Service, as far as releases are made with it.
//!
//! It holds to Microsoft's published description (`Microsoft.Web` 2025-05-01) and, where that is silent, to what the service's
//! documentation and its error messages say. What is not promised is not given here: App Service's `ETag` is sent, and `If-Match`
//! is not looked at.

pub mod app_service;
mod arm;
mod clock;
mod exchange;

pub use app_service::AppService;
