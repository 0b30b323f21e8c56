//! Ephemeron: a Kubernetes operator for services that live for a while.
//!
//! | room | what lives in it |
//! | --- | --- |
//! | [`resource`] | the custom resource, its conditions, and every label and annotation key of ours |
//! | [`controller`] | brings Ephemerons about, and deletes them when their time is over |
//! | [`config`] | the programs' flags and variables |
//! | [`client`] | how the programs find the API server |
//! | [`health`] | a program's own HTTP server: is it alive and ready, and its metrics |
//! | [`telemetry`] | what the programs tell while they run |
//!
//! Who may import whom:
//!
//! ```text
//! bin        -> everything
//! config     -> controller::settings, health, resource
//! controller -> health, resource
//! resource, client, health, telemetry -> nothing in the crate
//! ```
//!
//! Inside the controller the pure middle (`desired`, `status`, `routing`, `validate`, `drift`) has
//! neither a client nor a clock nor a runtime in it; `tests/structure.rs` checks both rules.

pub mod client;
pub mod config;
pub mod controller;
pub mod health;
pub mod resource;
pub mod telemetry;
