//! Azure App Service slots and Azure App Configuration flags as clouds of Meridian.
