//! Deployments on Kubernetes as a cloud of Meridian.
