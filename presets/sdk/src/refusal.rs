//! Why there is no template.

use std::{error::Error, fmt};

use crate::parameters;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Which value: a JSON Pointer (RFC 6901) into the parameters; empty for all of them.
    pub pointer: String,
    /// The kind of fault, for programs, such as `too-large`.
    pub code: String,
    /// What is wrong and what to do, for people.
    pub message: String,
}

impl Issue {
    /// Something that is wrong with the parameters as a whole; [`Issue::at`] says where.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: String::new(), code: code.into(), message: message.into() }
    }

    /// Something that is wrong with one entry of an object, whatever characters its key has.
    pub fn below(pointer: &str, key: &str, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(code, message).at(parameters::below(pointer, key))
    }

    /// The same, at this JSON Pointer, such as `/image`.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = pointer.into();
        self
    }
}

/// Why there is no template.
///
/// An error of any type becomes [`Refusal::Internal`] by `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The parameters are not what the preset asks for.
    InvalidParameters(Vec<Issue>),
    /// The parameters are valid, but a rule of the preset forbids what they ask for.
    Rejected(Issue),
    /// The preset itself has failed.
    Internal(String),
}

impl Refusal {
    /// A value that is not what the preset asks for: at this JSON Pointer, such as `/image`.
    pub fn invalid(pointer: impl Into<String>, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::InvalidParameters(vec![Issue::new(code, message).at(pointer)])
    }

    /// A rule of the preset forbids what is asked for.
    pub fn rejected(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Rejected(Issue::new(code, message))
    }
}

impl<E: Error> From<E> for Refusal {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::Internal(message)
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pointer.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.pointer, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no size")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn an_error_becomes_internal_with_its_causes() {
        fn fails() -> Result<u8, Refusal> {
            Ok("x".parse::<u8>().map_err(Outer)?)
        }
        assert_eq!(fails(), Err(Refusal::Internal("no size: invalid digit found in string".into())));
    }
}
