//! The settings of the REST API.

use std::{io, net::SocketAddr, time::Duration};

use clap::Parser;
use ephemeron_preset_host::secret;

use super::{
    Pods, Presets, dns_label,
    file::{File, file},
};
use crate::{api::settings::Settings, health::Listen, policy::Policy, resource::lifetime::Lifetime};

/// Runs the REST API, for backends that act for their users.
#[derive(Debug, Parser)]
#[command(name = "api", version)]
pub struct Api {
    /// A file (YAML) with `presets` (name: the fields of spec.service) and `apps` (name: its key, or `key`
    /// and what the app may do); docs/reference/api.md has all of it.
    #[arg(long, env = "EPHEMERON_CONFIG", value_name = "FILE", value_parser = file, required_unless_present = "spec")]
    pub config: Option<File>,

    /// The secret that tokens are signed with; with commas between them several, of which the first signs and
    /// all verify, so that it can be replaced. At least 32 characters, such as those of `openssl rand -hex 32`.
    #[arg(long, env = "JWT_SECRET", hide_env_values = true, value_parser = secrets, required_unless_present = "spec")]
    pub jwt_secret: Option<Secrets>,

    /// The secret that the ids of services are derived with where a request has an Idempotency-Key. All
    /// processes of an installation have the same, and it stays. Default: derived from the last of JWT_SECRET.
    #[arg(long, env = "EPHEMERON_ID_SECRET", hide_env_values = true)]
    pub id_secret: Option<String>,

    /// Where the API is served: ADDRESS:PORT (port 0: one that is free, and the log says which).
    #[arg(long, env = "EPHEMERON_API_LISTEN", default_value = "[::]:3030")]
    pub api_listen: SocketAddr,

    /// Connections that may be open at once; others wait.
    #[arg(long, env = "EPHEMERON_API_CONNECTIONS", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub api_connections: u32,

    /// How long the program goes on accepting connections after it was told to stop, so that requests find
    /// another process meanwhile.
    #[arg(long, env = "EPHEMERON_API_DRAIN", default_value = "5s")]
    pub api_drain: Lifetime,

    /// The namespace of the Pods. Default: the one of the kubeconfig's context.
    #[arg(long, env = "EPHEMERON_NAMESPACE", value_parser = dns_label)]
    pub namespace: Option<String>,

    /// Where /healthz, /readyz and /metrics are served: ADDRESS:PORT (port 0: one that is free, and
    /// the log says which), or `off`.
    #[arg(long, env = "EPHEMERON_LISTEN", default_value = "127.0.0.1:8082")]
    pub listen: Listen,

    /// What the services' Pods may be: the same as the controller's.
    #[command(flatten)]
    pub pods: Pods,

    /// Where presets come from: the same as the controller's.
    #[command(flatten)]
    pub presets: Presets,

    /// Print the OpenAPI document, and exit.
    #[arg(long)]
    pub spec: bool,
}

/// What tokens are signed with.
#[derive(Clone)]
pub struct Secrets(Vec<Vec<u8>>);

/// Logs do not get them.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secrets(…)")
    }
}

/// A secret of fewer bytes can be guessed (RFC 7518, section 3.2).
const SHORT: usize = 32;

fn secrets(text: &str) -> Result<Secrets, String> {
    let all: Vec<_> = text.split(',').map(|one| one.trim().as_bytes().to_vec()).collect();
    if all.iter().any(Vec::is_empty) {
        return Err("an empty secret protects nothing: write one, or several with commas between them".into());
    }
    Ok(Secrets(all))
}

/// A secret or a key is the example's, which everybody knows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Sample {
    /// What tokens are signed with.
    #[error(
        "JWT_SECRET (or --jwt-secret) cannot be that of the example, which everybody knows: take those of \
         `openssl rand -hex 32`"
    )]
    Secret,
    /// What an app authenticates with.
    #[error(
        "EPHEMERON_CONFIG (or --config): apps.{0} cannot have the key of the example, which everybody knows: \
         take those of `openssl rand -hex 32`, or keyFile"
    )]
    Key(String),
}

/// What the examples sign tokens with.
const SAMPLE_SECRET: &[u8] = b"secret";

impl Api {
    /// What is the example's: an installation is not to run with it.
    #[must_use]
    pub fn sample(&self) -> Option<Sample> {
        let secrets = self.jwt_secret.as_ref().map(|Secrets(secrets)| secrets.as_slice()).unwrap_or_default();
        if secrets.iter().any(|secret| secret == SAMPLE_SECRET) {
            return Some(Sample::Secret);
        }
        let mut apps = self.config.iter().flat_map(|file| file.apps.values());
        let app = apps.find(|app| app.key.is(super::file::SAMPLE_KEY))?;
        Some(Sample::Key(app.name.clone()))
    }

    /// The API's settings; `namespace` is the one to use where none is set, `policy` that of [`Pods`]. What is
    /// weak in them is told in the log.
    ///
    /// # Errors
    ///
    /// The system has no random bytes for a seed, and none is set.
    pub fn settings(self, policy: Policy, namespace: &str) -> io::Result<Settings> {
        let secrets = self.jwt_secret.map(|Secrets(secrets)| secrets).unwrap_or_default();
        if secrets.iter().any(|secret| secret.len() < SHORT) {
            tracing::warn!(
                "JWT_SECRET has fewer than {SHORT} characters: who guesses it acts for every user. \
                 Take those of `openssl rand -hex 32`"
            );
        }
        let id_secret = match (self.id_secret, secrets.last()) {
            (Some(secret), _) => secret.into_bytes(),
            (None, Some(last)) => last.clone(),
            (None, None) => secret::random()?.into(),
        };
        let File { apps, services, origins } = self.config.unwrap_or_default();
        for app in apps.values().filter(|app| app.key.is(super::file::SAMPLE_KEY)) {
            tracing::warn!(
                "the app {} has the key of the example, which everybody knows: write another one into EPHEMERON_CONFIG",
                app.name
            );
        }
        Ok(Settings {
            listen: self.api_listen,
            connections: usize::try_from(self.api_connections).unwrap_or(usize::MAX),
            drain: Duration::from_secs(u64::try_from(self.api_drain.as_secs()).unwrap_or_default()),
            namespace: self.namespace.unwrap_or_else(|| namespace.into()),
            secrets,
            id_secret,
            apps,
            services,
            origins,
            policy,
            presets: self.presets.settings()?,
        })
    }
}
