//! Arguments and variables are read, and what is wrong with them is named in one line.

use std::process::ExitCode;

use clap::{
    CommandFactory, Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::health::Listen;

/// Settings that cannot work, in one line, or the help that was asked for.
#[derive(Debug)]
pub struct Refused(Reason);

#[derive(Debug)]
enum Reason {
    Text(String, u8),
    Clap(clap::Error),
}

impl Refused {
    /// Why, and the code to exit with.
    #[must_use]
    pub fn new(why: &impl ToString, code: u8) -> Self {
        Self(Reason::Text(why.to_string(), code))
    }

    /// What is wrong.
    #[must_use]
    pub fn text(&self) -> String {
        match &self.0 {
            Reason::Text(text, _) => text.clone(),
            Reason::Clap(error) => error.to_string(),
        }
    }

    /// The code to exit with: 0 where help was asked for.
    #[must_use]
    pub fn code(&self) -> u8 {
        match &self.0 {
            Reason::Text(_, code) => *code,
            Reason::Clap(error) => u8::try_from(error.exit_code()).unwrap_or(2),
        }
    }

    /// Prints it; returns the code to exit with.
    #[must_use]
    pub fn print(self) -> ExitCode {
        match &self.0 {
            Reason::Text(text, _) => eprintln!("{text}"),
            // Nothing can be done where not even this can be printed.
            Reason::Clap(error) => drop(error.print()),
        }
        ExitCode::from(self.code())
    }
}

/// Reads a program's settings from its arguments and environment.
///
/// # Errors
///
/// What is wrong with them.
pub fn parse<T: Parser>() -> Result<T, Refused> {
    T::try_parse().map_err(|error| match named::<T>(&error) {
        Some(line) => Refused(Reason::Text(line, u8::try_from(error.exit_code()).unwrap_or(2))),
        None => Refused(Reason::Clap(error)),
    })
}

/// Where a program is to answer for itself, also where its other settings cannot be read; None where that
/// cannot be read itself.
#[must_use]
pub fn listen<T: CommandFactory>() -> Option<Listen> {
    let mut arguments = std::env::args();
    let flag = arguments.find_map(|argument| match argument.strip_prefix("--listen") {
        Some("") => Some(None),
        Some(rest) => rest.strip_prefix('=').map(|value| Some(value.to_owned())),
        None => None,
    });
    let flag = flag.map(|value| value.or_else(|| arguments.next()).unwrap_or_default());
    let text = flag.or_else(|| std::env::var("EPHEMERON_LISTEN").ok()).or_else(|| {
        let command = T::command();
        let argument = command.get_arguments().find(|argument| argument.get_long() == Some("listen"))?;
        Some(argument.get_default_values().first()?.to_string_lossy().into_owned())
    })?;
    text.parse().ok()
}

/// One line that names the variable, not only the flag, that is missing or wrong.
fn named<T: CommandFactory>(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    };
    let shown = text(ContextKind::InvalidArg)?;
    let mut command = T::command();
    command.build();
    let argument = command.get_arguments().find(|argument| argument.to_string() == shown)?;
    let variable = argument.get_env()?.to_string_lossy();
    let flag = argument.get_long()?;
    match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            Some(format!("{variable} (or --{flag}) is not set. {help}"))
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            // A secret is not shown.
            let shown = text(ContextKind::InvalidValue).filter(|_| !argument.is_hide_env_values_set());
            let shown = shown.map_or_else(|| "that".into(), |value| format!("{value:?}"));
            Some(format!("{variable} (or --{flag}) cannot be {shown}: {why}"))
        }
        _ => None,
    }
}
