//! Ephemeron: a Kubernetes operator for services that live for a while.
//!
//! | room | what lives in it |
//! | --- | --- |
//! | [`resource`] | the custom resource, its conditions, and every label and annotation key of ours |
//! | [`policy`] | what a Pod may be in an installation: template, images, caps, Pod Security (`presets/host`) |
//! | [`api`] | the REST API: creates, shows and changes Ephemerons for backends |
//! | [`controller`] | brings Ephemerons about, and deletes them when their time is over |
//! | [`cache`] | what the watches have shown of a kind of object |
//! | [`config`] | the programs' flags and variables |
//! | [`client`] | how the programs find the API server |
//! | [`health`] | a program's own HTTP server: is it alive and ready, and its metrics |
//! | [`telemetry`] | what the programs tell while they run |
//!
//! Who may import whom:
//!
//! ```text
//! bin        -> everything
//! config     -> api::settings, controller::settings, health, policy, resource
//! api        -> cache, client, controller::settings, controller::template, health, policy, resource
//! controller -> cache, client, health, policy, resource
//! cache      -> client, health
//! resource, client, health, telemetry -> nothing in the crate
//! ```
//!
//! The policy and, inside the controller, the pure middle (`template`, `desired`, `status`, `routing`,
//! `validate`, `drift`) have neither a client nor a clock nor a runtime in them; `tests/structure.rs`
//! checks both rules.

pub mod api;
pub mod cache;
pub mod client;
pub mod config;
pub mod controller;
pub mod health;
pub mod resource;
pub mod telemetry;

pub use ephemeron_preset_host::policy;
