//! The interface as WebAssembly sees it, made from the WIT package.

#![allow(missing_docs, unsafe_code, clippy::pedantic, reason = "most of it is generated")]

use std::marker::PhantomData;

use crate::{Named, call, last_words, refusal};

wit_bindgen::generate!({
    world: "preset",
    path: "../wit",
    runtime_path: "::ephemeron_preset::guest::runtime",
    pub_export_macro: true,
    export_macro_name: "export_preset",
});

pub use wit_bindgen::rt as runtime;

use ephemeron::preset::types;
use exports::ephemeron::preset::template::Guest;

/// A preset behind the interface.
pub struct Exported<P>(PhantomData<P>);

impl<P: Named> Guest for Exported<P> {
    fn describe() -> String {
        last_words::keep();
        call::describe::<P>()
    }

    fn render(parameters: String, context: String) -> Result<String, types::Refusal> {
        last_words::keep();
        call::render::<P>(&parameters, &context).map_err(types::Refusal::from)
    }
}

impl From<refusal::Refusal> for types::Refusal {
    fn from(refusal: refusal::Refusal) -> Self {
        match refusal {
            refusal::Refusal::InvalidParameters(issues) => {
                Self::InvalidParameters(issues.into_iter().map(types::Issue::from).collect())
            }
            refusal::Refusal::Rejected(issue) => Self::Rejected(issue.into()),
            refusal::Refusal::Internal(message) => Self::Internal(message),
        }
    }
}

impl From<refusal::Issue> for types::Issue {
    fn from(issue: refusal::Issue) -> Self {
        Self { pointer: issue.pointer, code: issue.code, message: issue.message }
    }
}
