//! A preset that is loaded: `describe()` and `render()` as calls.

use std::{os::fd::AsRawFd, sync::Arc};

use wasmtime::{
    PoolConcurrencyLimitError, Store, Trap,
    component::{Component, ComponentExportIndex, InstancePre, Linker, Val},
};

use crate::{
    audit::{self, Incompatible},
    compile::{Code, Compiled},
    document::{self, Description, Fault, Rendered},
    engine::{Engine, Running, Usage},
    error::{CallError, Issue, Refusal, printable},
    last_words,
};

/// A preset that is loaded and audited. Cheap to clone; each call runs in a fresh instance.
#[derive(Clone)]
pub struct Module {
    engine: Engine,
    loaded: Arc<Loaded>,
}

struct Loaded {
    instance: InstancePre<Usage>,
    describe: ComponentExportIndex,
    render: ComponentExportIndex,
}

/// An answer, and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// The document.
    pub document: T,
    /// Its text, as the preset has written it.
    pub text: String,
    /// The fuel that was used: the same each time, on every machine.
    pub fuel: u64,
}

impl Module {
    /// Looks at a file, compiles it and checks its imports and exports. The time and memory that the
    /// compilation takes are not bounded here.
    ///
    /// # Errors
    /// When it is not a preset that this program can call within its limits.
    pub fn new(engine: &Engine, bytes: &[u8]) -> Result<Self, Incompatible> {
        audit::first_look(bytes, engine.limits.file)?;
        let component = Component::new(&engine.inner, bytes).map_err(|error| unusable(&error))?;
        Self::linked(engine, &component)
    }

    /// Loads what was compiled, and checks its imports and exports.
    ///
    /// # Errors
    /// When it is not a preset that this program can call within its limits.
    pub fn load(engine: &Engine, compiled: &Compiled) -> Result<Self, Incompatible> {
        #[expect(
            unsafe_code,
            reason = "code that was compiled ahead of time cannot be checked, only trusted"
        )]
        // SAFETY: a `Compiled` is only ever what a child of this program has compiled, or what the cache has
        // proved to be such by its key over these very bytes; a file of it is sealed against all changes, and
        // its descriptor is open while it is opened by its number.
        let component = unsafe {
            match compiled.code() {
                Code::Memory(bytes, from) => {
                    Component::deserialize(&engine.inner, bytes.get(*from..).unwrap_or_default())
                }
                Code::Sealed(file) => {
                    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                    Component::deserialize_file(&engine.inner, path)
                }
            }
        };
        Self::linked(engine, &component.map_err(|error| unusable(&error))?)
    }

    fn linked(engine: &Engine, component: &Component) -> Result<Self, Incompatible> {
        let interface = audit::interface(engine, component)?;
        let missing = |function| {
            let interface = printable(&interface);
            move || Incompatible::Missing { interface, function }
        };
        let template = component.get_export_index(None, &interface).ok_or(Incompatible::NoTemplate)?;
        let index = |function| component.get_export_index(Some(&template), function);
        let describe = index("describe").ok_or_else(missing("describe"))?;
        let render = index("render").ok_or_else(missing("render"))?;
        let mut linker = Linker::new(&engine.inner);
        // The one import that is let through has types only; it is never called.
        linker.define_unknown_imports_as_traps(component).map_err(|error| unusable(&error))?;
        let instance = linker.instantiate_pre(component).map_err(|error| unusable(&error))?;
        Ok(Self { engine: engine.clone(), loaded: Arc::new(Loaded { instance, describe, render }) })
    }

    /// What the preset is. Blocks the thread until it has answered.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn describe(&self) -> Result<Answer<Description>, CallError> {
        let (value, fuel) = self.call(&self.loaded.describe, &[])?;
        let Val::String(text) = value else { return Err(unexpected()) };
        let document =
            document::description(&text, self.engine.limits.depth).map_err(malformed("describe"))?;
        Ok(Answer { document, text, fuel })
    }

    /// Whether parameters and context are within their limit.
    pub(crate) fn fits(&self, parameters: &str, context: &str) -> Result<(), CallError> {
        let limit = self.engine.limits.input;
        for (what, size) in [("parameters", parameters.len()), ("a context", context.len())] {
            if size > limit {
                return Err(CallError::TooMuchInput { what, size, limit });
            }
        }
        Ok(())
    }

    /// The pod template for these parameters, both JSON. Blocks the thread until the preset has answered.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn render(&self, parameters: &str, context: &str) -> Result<Answer<Rendered>, CallError> {
        self.fits(parameters, context)?;
        let arguments = [Val::String(parameters.to_owned()), Val::String(context.to_owned())];
        let (value, fuel) = self.call(&self.loaded.render, &arguments)?;
        let text = match value {
            Val::Result(Ok(Some(text))) => match *text {
                Val::String(text) => text,
                _ => return Err(unexpected()),
            },
            Val::Result(Err(Some(value))) => {
                return Err(refusal(*value).ok_or_else(unexpected)?.bounded().into());
            }
            _ => return Err(unexpected()),
        };
        let document = document::rendered(&text, self.engine.limits.depth).map_err(malformed("render"))?;
        Ok(Answer { document, text, fuel })
    }

    /// As [`Module::describe`], called twice.
    ///
    /// # Errors
    /// Also when the answers differ in a byte.
    pub fn describe_twice(&self) -> Result<Answer<Description>, CallError> {
        let first = self.describe()?;
        same("describe", first, &self.describe()?)
    }

    /// As [`Module::render`], called twice.
    ///
    /// # Errors
    /// Also when the answers differ in a byte.
    pub fn render_twice(&self, parameters: &str, context: &str) -> Result<Answer<Rendered>, CallError> {
        let first = self.render(parameters, context)?;
        same("render", first, &self.render(parameters, context)?)
    }

    fn call(&self, function: &ComponentExportIndex, arguments: &[Val]) -> Result<(Val, u64), CallError> {
        let _running = Running::new();
        let mut store = self.engine.store().map_err(|_| CallError::Lost)?;
        let outcome = self.loaded.instance.instantiate(&mut store).and_then(|instance| {
            let mut results = [Val::Bool(false)];
            let function = instance
                .get_func(&mut store, function)
                .ok_or_else(|| wasmtime::Error::msg("the function is gone"))?;
            function.call(&mut store, arguments, &mut results)?;
            let [result] = results;
            Ok(result)
        });
        match outcome {
            Ok(value) => {
                let left = store.get_fuel().unwrap_or_default();
                Ok((value, self.engine.limits.fuel.saturating_sub(left)))
            }
            Err(error) => Err(self.failure(&mut store, &error)),
        }
    }

    /// What a failed call has died of.
    fn failure(&self, store: &mut Store<Usage>, error: &wasmtime::Error) -> CallError {
        let limits = &self.engine.limits;
        if store.data().exceeded {
            return CallError::OutOfMemory { memory: limits.memory, elements: limits.table_elements };
        }
        if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
            return CallError::Busy;
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => CallError::OutOfFuel { fuel: limits.fuel },
            Some(Trap::UnreachableCodeReached) => match last_words::of(store, error) {
                Some(words) => Refusal::Internal(words).bounded().into(),
                None => CallError::Trapped(Trap::UnreachableCodeReached),
            },
            Some(Trap::Interrupt) => CallError::TimedOut(limits.time),
            Some(trap) => CallError::Trapped(*trap),
            None => {
                let text = format!("{error:#}");
                // The engine has no public type for this error; a test holds its text.
                if text.contains("fuel allocated for hostcalls has been exhausted") {
                    return CallError::TooMuchOutput(limits.output);
                }
                CallError::Broken(printable(&text))
            }
        }
    }
}

fn unusable(error: &wasmtime::Error) -> Incompatible {
    Incompatible::Unusable(printable(&format!("{error:#}")))
}

fn same<T>(call: &'static str, first: Answer<T>, second: &Answer<T>) -> Result<Answer<T>, CallError> {
    if first.text == second.text { Ok(first) } else { Err(CallError::NotRepeatable(call)) }
}

fn malformed(call: &'static str) -> impl Fn(Fault) -> CallError {
    move |Fault { at, reason }| CallError::Malformed { call, at, reason }
}

/// The audit has checked the types: no answer can be of another one.
fn unexpected() -> CallError {
    CallError::Lost
}

fn refusal(value: Val) -> Option<Refusal> {
    let Val::Variant(name, Some(value)) = value else { return None };
    match (name.as_str(), *value) {
        ("invalid-parameters", Val::List(issues)) => {
            issues.into_iter().map(issue).collect::<Option<_>>().map(Refusal::InvalidParameters)
        }
        ("rejected", value) => issue(value).map(Refusal::Rejected),
        ("internal", Val::String(message)) => Some(Refusal::Internal(message)),
        _ => None,
    }
}

fn issue(value: Val) -> Option<Issue> {
    let Val::Record(fields) = value else { return None };
    let mut texts = fields.into_iter().map(|(_, value)| match value {
        Val::String(text) => Some(text),
        _ => None,
    });
    let mut next = || texts.next().flatten();
    Some(Issue { pointer: next()?, code: next()?, message: next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_differ_in_a_byte_are_not_the_same() {
        let answer = |text: &str| Answer { document: (), text: text.into(), fuel: 1 };
        assert_eq!(same("render", answer("{}"), &answer("{}")).ok(), Some(answer("{}")));
        let differs = same("render", answer("{}"), &answer("{} "));
        assert!(matches!(differs, Err(CallError::NotRepeatable("render"))));
    }
}
