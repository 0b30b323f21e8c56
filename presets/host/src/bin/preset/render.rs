//! `preset render`: parameters in, YAML out.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    Outcome,
    case::Case,
    show::{self, Extent},
    workshop::{Answer, Setting, Workshop},
};

/// Render a preset: the template as YAML to standard output, all else to standard error
#[derive(Debug, Args)]
pub struct Arguments {
    /// The preset: NAME.wasm
    file: PathBuf,
    /// The parameters: JSON, or @ and a file with it
    #[arg(long, value_name = "JSON|@FILE", default_value = "{}")]
    parameters: String,
    /// The fields of the context that are not the usual ones: JSON, or @ and a file with it
    #[arg(long, value_name = "JSON|@FILE")]
    context: Option<String>,
    /// Show the values of secrets, too
    #[arg(long)]
    show_secrets: bool,
    #[command(flatten)]
    setting: Setting,
}

pub fn run(arguments: &Arguments) -> Result<Outcome> {
    let case = Case::said(&arguments.parameters, arguments.context.as_deref())?;
    let workshop = Workshop::new(&arguments.setting)?;
    let module = workshop.load(&arguments.file)?;
    match workshop.render(&module, &case.parameters.to_string(), &case.context()) {
        Answer::Rendered(rendered, fuel) => {
            print!("{}", show::rendered(&rendered, Extent::Template)?);
            for warning in &rendered.warnings {
                eprintln!("warning: {warning}");
            }
            for (name, value) in &rendered.secrets {
                if arguments.show_secrets {
                    eprintln!("secret: {name} = {value:?}");
                } else {
                    eprintln!("secret: {name}");
                }
            }
            eprintln!("fuel: {}", show::number(fuel));
            Ok(Outcome::Fine)
        }
        Answer::Refused(refusal) => {
            eprint!("{}", show::refusal(&refusal)?);
            Ok(Outcome::Findings)
        }
        Answer::Wrong(why) => bail!("{why}"),
    }
}
