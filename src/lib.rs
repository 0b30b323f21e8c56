//! Ephemeron: a Kubernetes operator for services that live for a while.
//!
//! | room | what lives in it |
//! | --- | --- |
//! | [`resource`] | the custom resource, its conditions, and every label and annotation key of ours |
//! | [`policy`] | what a Pod may be in an installation: template, images, caps, Pod Security (`presets/host`) |
//! | [`api`] | the REST API: creates, shows and changes Ephemerons for backends |
//! | [`controller`] | brings Ephemerons about, and deletes them when their time is over |
//! | [`cache`] | what the watches have shown of a kind of object |
//! | [`presets`] | where presets come from, and how their catalogue is opened |
//! | [`template`] | what `spec.service` says, as a pod template |
//! | [`config`] | the programs' flags and variables |
//! | [`client`] | how the programs find the API server |
//! | [`keys`] | makes an installation's random keys, in an init container |
//! | [`health`] | a program's own HTTP server: is it alive and ready, and its metrics |
//! | [`lease`] | which of several replicas leads, and what lets nobody else write |
//! | [`start`] | how a program begins, and what it does where its settings cannot work |
//! | [`telemetry`] | what the programs tell while they run |
//!
//! Who may import whom:
//!
//! ```text
//! bin        -> everything
//! config     -> api::settings, controller::settings, health, lease, policy, presets, resource
//! api        -> cache, client, health, policy, presets, resource, template
//! controller -> cache, client, health, lease, policy, presets, resource, template
//! cache      -> client, health
//! keys       -> client, telemetry
//! lease      -> client, health
//! presets    -> health, policy
//! start      -> client, config, health, telemetry
//! template   -> policy, resource
//! resource, client, health, telemetry -> nothing in the crate
//! ```
//!
//! The policy, the election and, inside the controller, the pure middle (`desired`, `status`, `routing`,
//! `validate`, `drift`) have neither a client nor a clock nor a runtime in them; `tests/structure.rs`
//! checks both rules.

pub mod api;
pub mod cache;
pub mod client;
pub mod config;
pub mod controller;
pub mod health;
pub mod keys;
pub mod lease;
pub mod presets;
pub mod resource;
pub mod start;
pub mod telemetry;
pub mod template;

pub use ephemeron_preset_host::policy;
