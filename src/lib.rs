//! Ephemeron: a Kubernetes operator for services that live for a while.
pub mod client;
pub mod config;
pub mod controller;
pub mod resource;
pub mod telemetry;
