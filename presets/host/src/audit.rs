//! Is this file a preset, and one of a version that this program can talk to?

use thiserror::Error;
use wasmtime::component::{
    Component,
    types::{ComponentFunc, ComponentItem, Type},
};

use crate::{engine::Engine, error::printable};

/// The major version of the interface that this program speaks.
const MAJOR: &str = "1";

/// Why a file is not a preset for this program.
#[derive(Debug, Error)]
pub enum Incompatible {
    /// It is larger than a preset may be.
    #[error("the file has {size} bytes, more than the {limit} that a preset may have")]
    TooLarge {
        /// Its bytes.
        size: usize,
        /// The most bytes.
        limit: usize,
    },
    /// It is something else.
    #[error("the file is not WebAssembly")]
    NotWebAssembly,
    /// It is a core module, which has no typed interface.
    #[error("the file is a core module: make a component of it (wasm-tools component new)")]
    CoreModule,
    /// It is not valid, or asks for what presets do not get.
    #[error("the component cannot be used: {0}")]
    Unusable(String),
    /// It wants something from outside.
    #[error("the component imports {0}, and a preset may import nothing: build it without {1}")]
    Import(String, &'static str),
    /// It speaks another major version of the interface.
    #[error("the component exports {found}, and this program speaks version {MAJOR}: build it with that one")]
    OtherMajor {
        /// The name of the export.
        found: String,
    },
    /// It does not export the interface.
    #[error("the component does not export ephemeron:preset/template@{MAJOR}")]
    NoTemplate,
    /// The interface lacks a function.
    #[error("{interface} has no function {function}")]
    Missing {
        /// The name of the export.
        interface: String,
        /// What is missing.
        function: &'static str,
    },
    /// A function is of another type.
    #[error("{interface} has a {function} of another type; it should be {should}")]
    WrongType {
        /// The name of the export.
        interface: String,
        /// Which one.
        function: &'static str,
        /// Its type in WIT.
        should: &'static str,
    },
}

/// Looks at the first bytes and the size, before anything else is done with the file.
///
/// # Errors
/// When it cannot be a component, or is too large.
pub fn first_look(bytes: &[u8], limit: usize) -> Result<(), Incompatible> {
    looks_right(bytes, bytes.len(), limit)
}

/// As [`first_look`], at a file of this size of which at least the first 8 bytes are given.
pub(crate) fn looks_right(begins: &[u8], size: usize, limit: usize) -> Result<(), Incompatible> {
    if size > limit {
        return Err(Incompatible::TooLarge { size, limit });
    }
    match begins.get(..8) {
        Some([b'\0', b'a', b's', b'm', _, _, 1, 0]) => Ok(()),
        Some([b'\0', b'a', b's', b'm', ..]) => Err(Incompatible::CoreModule),
        _ => Err(Incompatible::NotWebAssembly),
    }
}

/// Checks imports and exports. Gives the name under which the interface is exported.
pub(crate) fn interface(engine: &Engine, component: &Component) -> Result<String, Incompatible> {
    let engine = &engine.inner;
    let ty = component.component_type();
    for (name, item) in ty.imports(engine) {
        let types = major(name, "ephemeron:preset/types@") == Some(MAJOR);
        let only_types = match &item.ty {
            ComponentItem::ComponentInstance(instance) => {
                instance.exports(engine).all(|(_, item)| matches!(item.ty, ComponentItem::Type(_)))
            }
            _ => false,
        };
        if !(types && only_types) {
            let without = if name.starts_with("wasi:") { "WASI" } else { "it" };
            return Err(Incompatible::Import(printable(name), without));
        }
    }
    let mut other = None;
    for (name, item) in ty.exports(engine) {
        let Some(major) = major(name, "ephemeron:preset/template@") else { continue };
        if major != MAJOR {
            other = Some(printable(name));
            continue;
        }
        let ComponentItem::ComponentInstance(instance) = &item.ty else { continue };
        let function = |function: &'static str, fits: fn(&ComponentFunc) -> bool, should: &'static str| {
            let interface = || printable(name);
            match instance.get_export(engine, function).map(|item| item.ty) {
                Some(ComponentItem::ComponentFunc(ty)) if fits(&ty) => Ok(()),
                Some(_) => Err(Incompatible::WrongType { interface: interface(), function, should }),
                None => Err(Incompatible::Missing { interface: interface(), function }),
            }
        };
        function("describe", is_describe, "func() -> json")?;
        function("render", is_render, "func(parameters: json, context: json) -> result<json, refusal>")?;
        return Ok(name.to_owned());
    }
    Err(other.map_or(Incompatible::NoTemplate, |found| Incompatible::OtherMajor { found }))
}

/// The major version of a name that begins so.
fn major<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let version = name.strip_prefix(prefix)?;
    Some(version.split_once('.').map_or(version, |(major, _)| major))
}

fn is_describe(ty: &ComponentFunc) -> bool {
    !ty.async_() && ty.params().len() == 0 && results(ty).is_some_and(|ty| ty == Type::String)
}

fn is_render(ty: &ComponentFunc) -> bool {
    let strings = ty.params().len() == 2 && ty.params().all(|(_, ty)| ty == Type::String);
    let Some(Type::Result(result)) = results(ty) else { return false };
    let json = result.ok().is_some_and(|ty| ty == Type::String);
    !ty.async_() && strings && json && result.err().is_some_and(|ty| is_refusal(&ty))
}

fn results(ty: &ComponentFunc) -> Option<Type> {
    let mut results = ty.results();
    results.next().filter(|_| results.next().is_none())
}

fn is_refusal(ty: &Type) -> bool {
    let Type::Variant(variant) = ty else { return false };
    let cases: Vec<_> = variant.cases().map(|case| (case.name.to_owned(), case.ty)).collect();
    match cases.as_slice() {
        [(invalid, Some(Type::List(issues))), (rejected, Some(issue)), (internal, Some(Type::String))] => {
            invalid == "invalid-parameters"
                && rejected == "rejected"
                && internal == "internal"
                && is_issue(&issues.ty())
                && is_issue(issue)
        }
        _ => false,
    }
}

fn is_issue(ty: &Type) -> bool {
    let Type::Record(record) = ty else { return false };
    let fields = ["pointer", "code", "message"];
    record.fields().len() == fields.len()
        && record.fields().zip(fields).all(|(field, name)| field.name == name && field.ty == Type::String)
}
