//! The operations: one file per resource.

mod auth;
mod collection;
mod events;
mod logs;
mod presets;
mod services;

use poem_openapi::{Tags, types::Example as _};

use super::view::Service;

pub use auth::Auth;
pub use collection::Collection;
pub use events::Events;
pub use logs::Logs;
pub use presets::Presets;
pub use services::Services;

/// What operations are about.
#[derive(Tags)]
enum Tag {
    /// Who calls.
    Auth,
    /// Services that live for a while.
    Services,
    /// What can be asked for.
    Presets,
    /// What a backend itself does with all services of its users.
    Backend,
}

/// The id of the documentation's examples.
fn an_id() -> String {
    Service::example().id
}

/// The preset of the documentation's examples.
fn a_preset() -> String {
    Service::example().preset.unwrap_or_default()
}

/// The objects of requests that have no fields but those of the document.
pub const CLOSED: &[&str] = &["Login", "AppLogin", "NewService", "NewEnd", "Preview"];
