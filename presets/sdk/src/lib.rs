//! Write a preset of Ephemeron: a function from typed parameters to a pod template.
//!
//! ```
//! use ephemeron_preset::{Context, Preset, Refusal, Rendered, export, json};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Parameters {
//!     /// The image to run.
//!     image: String,
//! }
//!
//! struct Hello;
//!
//! impl Preset for Hello {
//!     type Parameters = Parameters;
//!
//!     fn render(parameters: Parameters, _context: &Context) -> Result<Rendered, Refusal> {
//!         let container = json!({"name": "service", "image": parameters.image});
//!         Ok(Rendered::new(8080, json!({"spec": {"containers": [container]}})))
//!     }
//! }
//!
//! export!(Hello);
//! # fn main() {}
//! ```
//!
//! Name, version and title are those of the crate (`name`, `version`, `description` in Cargo.toml); the
//! schema of the parameters is derived from their type. What a user gets wrong is told to them by this
//! crate, each fault with its place. An error of yours that goes through `?` becomes
//! [`Refusal::Internal`], and a panic ends the call with its message and place as the last words
//! ([`last_words`]).
//!
//! Pod templates are written with [`json!`], not with Kubernetes' types: those of a PodSpec alone would
//! make the module several times as large. A field that does not exist is found by `preset check` and
//! `preset test`, which run the policy of the operator.
//!
//! | room | what lives in it |
//! | --- | --- |
//! | [`call`] | the two functions of the interface, from text to text |
//! | [`context`] | what is known of the Ephemeron, and the secrets derived from its seed |
//! | [`parameters`] | the user's parameters: read, and what is wrong with them |
//! | [`refusal`] | why there is no template |
//! | [`rendered`] | the template and what goes with it |
//! | [`last_words`] | what a panic leaves behind |

pub mod call;
pub mod context;
pub mod last_words;
pub mod parameters;
pub mod refusal;
pub mod rendered;
mod schema;

#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
// What is generated names this crate as its users do.
#[cfg(target_arch = "wasm32")]
extern crate self as ephemeron_preset;

pub use context::Context;
pub use refusal::{Issue, Refusal};
pub use rendered::{Rendered, literal, secret};
pub use serde_json::{Map, Value, json};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

/// The `apiVersion` of the documents that are exchanged.
pub const API_VERSION: &str = "preset.ephemeron/v1";

/// A preset: parameters in, pod template out. Without files, network, clock and random numbers: the same
/// arguments give the same answer, byte for byte.
pub trait Preset {
    /// What users may set. The schema that they see is derived from it; `#[serde(deny_unknown_fields)]`
    /// has a misspelt name refused instead of ignored.
    type Parameters: DeserializeOwned + JsonSchema;

    /// Which fields of the context [`Preset::render`] looks at.
    const USES: &'static [&'static str] = &[];

    /// Parameters that render; each is tried when the preset is loaded. At most 16, each an object.
    #[must_use]
    fn examples() -> Vec<Value> {
        Vec::new()
    }

    /// The pod template for these parameters.
    ///
    /// # Errors
    /// Why there is none: see [`Refusal`].
    fn render(parameters: Self::Parameters, context: &Context) -> Result<Rendered, Refusal>;
}

/// What the crate of a preset is called; [`export!`] takes it from Cargo.toml.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// The name by which the preset is asked for: a DNS label.
    pub name: &'static str,
    /// The preset's own version.
    pub version: &'static str,
    /// One line for people.
    pub title: &'static str,
}

/// A preset with a name; [`export!`] writes it.
pub trait Named: Preset {
    /// The crate's name, version and description.
    const IDENTITY: Identity;
}

/// Makes the module of a type that implements [`Preset`]: once per crate, which has `crate-type = ["cdylib"]`.
/// Compiled for another machine than WebAssembly, it is the module `native` with the same two functions, for
/// tests and for measuring.
#[macro_export]
macro_rules! export {
    ($preset:ident) => {
        impl $crate::Named for $preset {
            const IDENTITY: $crate::Identity = $crate::Identity {
                name: env!("CARGO_PKG_NAME"),
                version: env!("CARGO_PKG_VERSION"),
                title: env!("CARGO_PKG_DESCRIPTION"),
            };
        }

        /// The preset's two functions, called without WebAssembly.
        #[cfg(not(target_arch = "wasm32"))]
        pub mod native {
            /// What the preset is.
            #[must_use]
            pub fn describe() -> String {
                $crate::call::describe::<super::$preset>()
            }

            /// The pod template for these parameters.
            ///
            /// # Errors
            /// Why there is none.
            pub fn render(parameters: &str, context: &str) -> Result<String, $crate::Refusal> {
                $crate::call::render::<super::$preset>(parameters, context)
            }
        }

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::guest::Exported<$preset>;
    $crate::guest::export_preset!(Exported with_types_in $crate::guest);
        };
    };
}
