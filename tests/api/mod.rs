//! The REST API on a real cluster, as backends use it.

pub mod again;
mod away;
mod backend;
pub mod http;
mod life;
mod presets;
mod quotas;
pub mod server;
mod tutorial;

use crate::Cases;

/// The cases.
pub fn cases(cases: &mut Cases) {
    life::cases(cases);
    again::cases(cases);
    quotas::cases(cases);
    backend::cases(cases);
    presets::cases(cases);
    away::cases(cases);
    tutorial::cases(cases);
}
