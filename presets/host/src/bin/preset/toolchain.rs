//! Which Rust compiles for WebAssembly on this machine.
//!
//! rustup's, where its target is installed. Else Debian's packages `rustc-web`, `cargo-web` and `rust-web-src`
//! (Debian 12 has them among its security updates): they come without that target's standard library, which
//! is compiled along, and the linker is the one that rustup's Rust brings, or LLVM's from the package `lld-…`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// The target that presets are compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// What to do where there is none.
const ADVICE: &str = "no Rust here compiles for wasm32-unknown-unknown:
  rustup target add wasm32-unknown-unknown
  or, on Debian 12: apt-get install rustc-web cargo-web rust-web-src lld-22";

/// Where Debian's packages have their programs, and the sources of the standard library.
const DEBIAN: &str = "/usr/bin";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust";

/// A Rust that compiles presets.
#[derive(Debug)]
pub enum Toolchain {
    /// The one that is found first, whose target is installed.
    Own {
        /// Where its standard library is.
        sysroot: PathBuf,
    },
    /// Debian's, which compiles the standard library along.
    Debian {
        /// The linker.
        linker: PathBuf,
    },
}

impl Toolchain {
    /// The one for this folder, in which rustup may find a version that is asked for.
    pub fn find(folder: &Path) -> Result<Self> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let sysroot =
            output(Command::new(rustc).args(["--print", "sysroot"]).current_dir(folder)).map(PathBuf::from);
        if let Ok(sysroot) = &sysroot
            && sysroot.join("lib/rustlib").join(TARGET).join("lib").is_dir()
        {
            return Ok(Self::Own { sysroot: sysroot.clone() });
        }
        let debian = [Path::new(DEBIAN).join("rustc"), Path::new(DEBIAN).join("cargo")];
        let complete = debian.iter().all(|program| program.is_file())
            && Path::new(DEBIAN_SOURCES).join("library/std/Cargo.toml").is_file();
        match linker(sysroot.ok().as_deref()) {
            Some(linker) if complete => Ok(Self::Debian { linker }),
            _ => bail!(ADVICE),
        }
    }

    /// `cargo`, set up for that. `workspace` is the folder of the lockfile: like the folders of cargo and of the
    /// toolchain, it is not to be seen in the module, so that the same source gives the same bytes anywhere.
    pub fn cargo(&self, workspace: &Path) -> Command {
        let mut flags = Vec::new();
        let mut hide = |folder: &Path, name: &str| {
            for folder in [Some(folder.to_owned()), folder.canonicalize().ok()].into_iter().flatten() {
                let flag = format!("--remap-path-prefix={}={name}", folder.display());
                if !flags.contains(&flag) {
                    flags.push(flag);
                }
            }
        };
        hide(workspace, "/preset");
        if let Some(home) = cargo_home() {
            hide(&home, "/cargo");
        }
        let mut cargo = match self {
            Self::Own { sysroot } => {
                hide(&sysroot.join("lib/rustlib/src/rust"), "/rust");
                let mut cargo = Command::new("cargo");
                cargo.arg("build");
                cargo
            }
            Self::Debian { linker } => {
                hide(Path::new(DEBIAN_SOURCES), "/rust");
                let mut cargo = Command::new(Path::new(DEBIAN).join("cargo"));
                cargo
                    .args(["build", "-Zbuild-std=std,panic_abort"])
                    .env("RUSTC", Path::new(DEBIAN).join("rustc"))
                    // Without it, a compiler that is no nightly one does not compile the standard library.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
                cargo
            }
        };
        cargo
            .args(["--release", "--target", TARGET])
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        cargo
    }
}

/// The linker for WebAssembly: the one of this toolchain, else LLVM's newest.
fn linker(sysroot: Option<&Path>) -> Option<PathBuf> {
    let hosts = sysroot.and_then(|sysroot| sysroot.join("lib/rustlib").read_dir().ok());
    let own = hosts.into_iter().flatten().flatten().map(|host| host.path().join("bin/rust-lld"));
    let llvm = (14..40).rev().map(|version| Path::new(DEBIAN).join(format!("wasm-ld-{version}")));
    own.chain([Path::new(DEBIAN).join("wasm-ld")]).chain(llvm).find(|linker| linker.is_file())
}

fn cargo_home() -> Option<PathBuf> {
    let home = || env::home_dir().map(|home| home.join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// What a program says on its standard output, without the end of the line.
fn output(command: &mut Command) -> Result<String> {
    let output =
        command.output().with_context(|| format!("{} cannot be run", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
