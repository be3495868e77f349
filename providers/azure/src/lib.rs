//! Azure App Service slots and Azure App Configuration flags as clouds of Meridian, and who Meridian is to Azure.

pub mod app_configuration;
pub mod app_service;
pub mod identity;

mod credentials;
mod endpoint;
mod fence;
mod operation;
mod reading;
mod service;
mod trouble;
mod wire;
