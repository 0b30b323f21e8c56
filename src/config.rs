//! The programs' settings: flags and environment variables, read and validated once. Their help
//! texts are the reference.

mod api;
mod arguments;
mod file;

use std::{fmt, fs, io, path::PathBuf, time::Duration};

use chrono::TimeDelta;
use clap::{Args, Parser, ValueEnum};

use ephemeron_preset_host::{cache::Key, limits::Limits, secret};
use serde_json::{Map, Value};

use crate::{
    controller::settings::{Expiry, ProbeChoice, Reserved, RoutingChoice, Settings},
    health::Listen,
    lease::{self, election::Times},
    policy::{
        Policy, Rules, Violation, annotations::Keys, images::Images, resources::Caps, security::Level,
        template::Template,
    },
    presets,
    resource::{domain::Domain, labels, lifetime::Lifetime, selector::Selector},
};

pub use api::Api;
pub use arguments::{Refused, listen, parse};

/// Runs the controller: brings Ephemerons about, and deletes them when their time is over.
#[derive(Debug, Parser)]
#[command(name = "run", version)]
pub struct Run {
    /// The domain: a service answers at {name}.{domain}. At most 189 characters.
    #[arg(long, env = "EPHEMERON_DOMAIN")]
    pub domain: Domain,

    /// The namespace of the Pods, Services and routes. Default: the one of the kubeconfig's context.
    #[arg(long, env = "EPHEMERON_NAMESPACE", value_parser = dns_label)]
    pub namespace: Option<String>,

    /// How hosts are routed: `auto` (the one Gateway with a listener for *.{domain}, else an
    /// Ingress), `ingress`, or a Gateway as NAMESPACE/NAME or NAMESPACE/NAME/LISTENER.
    #[arg(long, env = "EPHEMERON_GATEWAY", default_value = "auto")]
    pub gateway: RoutingChoice,

    /// The ingress class where Ingresses are used. Default: the cluster's default class.
    #[arg(long, env = "EPHEMERON_INGRESS_CLASS", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub ingress_class: Option<String>,

    /// Where public URLs are probed: HOST or HOST:PORT, or `off` to count services as available
    /// without. Default: the address that the Gateway or Ingress publishes, else the host's own in
    /// DNS.
    #[arg(long, env = "EPHEMERON_PROBE_ADDRESS")]
    pub probe_address: Option<ProbeChoice>,

    /// Only look after Ephemerons with these labels (a label selector). Default: all.
    #[arg(long, env = "EPHEMERON_SELECTOR", default_value = "")]
    pub selector: Selector,

    /// Names that no Ephemeron may have, with commas between them, such as www,mail. Those that live already
    /// stay. Default: none.
    #[arg(long, env = "EPHEMERON_RESERVED_NAMES", value_delimiter = ',', value_parser = dns_label)]
    pub reserved_names: Vec<String>,

    /// The host of the REST API: no Ephemeron may take it.
    #[arg(long, env = "EPHEMERON_API_HOST")]
    pub api_host: Option<Domain>,

    /// What happens when a time is over: `delete`, or `hold`: nothing is deleted, and conditions, log
    /// and metrics tell what would be. A wrong clock holds by itself.
    #[arg(long, env = "EPHEMERON_EXPIRY", default_value = "delete")]
    pub expiry: ExpiryChoice,

    /// How long before its end the condition Expiring and an Event tell that it is near, where a life
    /// lasts twelve times as long or longer. 0s: never.
    #[arg(long, env = "EPHEMERON_EXPIRING_SOON", default_value = "5m")]
    pub expiring_soon: Lifetime,

    /// In which time after its container's start a service usually becomes ready; later, the condition
    /// says why it is not.
    #[arg(long, env = "EPHEMERON_READY_WITHIN", default_value = "60s")]
    pub ready_within: Lifetime,

    /// The time in which a gateway must have answered a request, as a Gateway API duration such as
    /// 30s. 0s: no limit, so that WebSockets and streams live on.
    #[arg(long, env = "EPHEMERON_REQUEST_TIMEOUT", default_value = "0s", value_parser = duration)]
    pub request_timeout: String,

    /// Where /healthz, /readyz and /metrics are served: ADDRESS:PORT (port 0: one that is free, and
    /// the log says which), or `off`.
    #[arg(long, env = "EPHEMERON_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: Listen,

    /// The longest that an Ephemeron lives, whatever its spec says, such as 24h; those that have lived
    /// longer end at once. Default: no limit.
    #[arg(long, env = "EPHEMERON_MAX_LIFETIME", value_parser = max_lifetime)]
    pub max_lifetime: Option<Lifetime>,

    /// The Lease that decides which of several replicas leads, while the others wait with everything at
    /// hand: NAMESPACE/NAME; or `off`, where only one process runs.
    #[arg(long, env = "EPHEMERON_LEASE", default_value = "off")]
    pub lease: lease::Choice,

    /// How long the others wait for a leader that has fallen silent, 3s to 10m. It renews the Lease every
    /// two fifteenths of that, and stops by itself when it could not for two thirds.
    #[arg(long, env = "EPHEMERON_LEASE_DURATION", default_value = "15s", value_parser = lease_duration)]
    pub lease_duration: Duration,

    /// What the services' Pods may be.
    #[command(flatten)]
    pub pods: Pods,

    /// Where presets come from.
    #[command(flatten)]
    pub presets: Presets,

    /// Look at permissions, definitions, gateway, probe address and DNS, print what is found with
    /// its remedy, and exit: with 0 if services can work, with 1 if not.
    #[arg(long)]
    pub check: bool,
}

/// What is done when a time is over.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ExpiryChoice {
    /// The Ephemeron is deleted.
    Delete,
    /// Nothing is deleted; it is only told what would be.
    Hold,
}

/// What the services' Pods may be.
#[derive(Debug, Args)]
pub struct Pods {
    /// A file with a part of a pod template (YAML) that is laid under every service's: image pull
    /// secrets, node selector, default resources and so on. An entry of `containers` with the name *
    /// is for every container. Default: none.
    #[arg(long, env = "EPHEMERON_POD_TEMPLATE", value_name = "FILE", value_parser = template_file)]
    pub pod_template: Option<TemplateFile>,

    /// The Pod Security Standard that every Pod keeps to: `baseline`, or `restricted`, where images
    /// that run as root do not start.
    #[arg(long, env = "EPHEMERON_POD_SECURITY", default_value = "baseline")]
    pub pod_security: Level,

    /// The images that may run, with commas between them: NAME (any tag), NAME:TAG, NAME@DIGEST, or a
    /// prefix such as registry.example.com/team/*. `nginx` is docker.io/library/nginx.
    #[arg(long, env = "EPHEMERON_IMAGES", default_value = "*")]
    pub images: Images,

    /// The annotations that an Ephemeron may give its Ingress, with commas between them: keys, or
    /// prefixes such as example.com/*; or `none`.
    #[arg(long, env = "EPHEMERON_INGRESS_ANNOTATIONS", default_value = "*")]
    pub ingress_annotations: Keys,

    /// The most that a container may ask for, such as cpu=2,memory=4Gi,ephemeral-storage=10Gi; it is
    /// the limit of one that has none. Default: no limit.
    #[arg(long, env = "EPHEMERON_MAX_RESOURCES")]
    pub max_resources: Option<Caps>,

    /// Seconds that a container may take to stop.
    #[arg(long, env = "EPHEMERON_GRACE_PERIOD", default_value = "5", value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub grace_period: u32,
}

/// Where presets come from, and what they may use.
#[derive(Debug, Args)]
#[command(next_help_heading = "Presets")]
pub struct Presets {
    /// Folders with presets, the files NAME.wasm, with commas between them: of two of one name the one in
    /// the earlier folder counts. Files may come and go at any time. Default: none.
    #[arg(
        id = "presets-folders",
        long = "presets",
        env = "EPHEMERON_PRESETS",
        value_name = "FOLDER",
        value_delimiter = ','
    )]
    pub folders: Vec<PathBuf>,

    /// A private folder in which compiled presets are kept, so that they need not be compiled again at
    /// the next start. Default: nowhere.
    #[arg(long, env = "EPHEMERON_PRESET_CACHE", value_name = "FOLDER")]
    pub preset_cache: Option<PathBuf>,

    /// A file with the secret that compiled presets are authenticated with. Default: one is made in the
    /// cache's folder.
    #[arg(long, env = "EPHEMERON_PRESET_CACHE_KEY", value_name = "FILE", value_parser = key_file)]
    pub preset_cache_key: Option<Key>,

    /// A file with the secret that presets' own secrets (flags, passwords) are derived from: who has it
    /// can compute them. Default: another one at each start.
    #[arg(long, env = "EPHEMERON_PRESET_SEED", value_name = "FILE", value_parser = secret_file)]
    pub preset_seed: Option<SecretFile>,

    /// A file with a YAML mapping that every preset is told, as `values`. Default: nothing.
    #[arg(long, env = "EPHEMERON_PRESET_VALUES", value_name = "FILE", value_parser = values_file)]
    pub preset_values: Option<Values>,

    /// What they may use.
    #[command(flatten)]
    pub limits: Limits,
}

/// The contents of a file with a secret.
#[derive(Clone)]
pub struct SecretFile(Vec<u8>);

impl fmt::Debug for SecretFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretFile")
    }
}

/// What every preset is told.
#[derive(Clone, Debug)]
pub struct Values(Map<String, Value>);

impl Presets {
    fn settings(self) -> io::Result<presets::Settings> {
        Ok(presets::Settings {
            folders: self.folders,
            cache: self.preset_cache,
            cache_key: self.preset_cache_key,
            limits: self.limits,
            is_seed_set: self.preset_seed.is_some(),
            seed: match self.preset_seed {
                Some(file) => file.0,
                None => secret::random()?.into(),
            },
            values: self.preset_values.map(|values| values.0).unwrap_or_default(),
        })
    }
}

/// A partial pod template, and where it is.
#[derive(Clone, Debug)]
pub struct TemplateFile {
    path: String,
    template: Template,
}

/// The pod template of the installation is against its own policy.
#[derive(Debug, thiserror::Error)]
#[error("EPHEMERON_POD_TEMPLATE (or --pod-template) cannot be {path:?}: {why}")]
pub struct ContradictoryTemplate {
    path: String,
    why: Violation,
}

impl Pods {
    /// The policy of these settings.
    ///
    /// # Errors
    ///
    /// The template goes beyond what the others allow.
    pub fn policy(&self) -> Result<Policy, ContradictoryTemplate> {
        let rules = Rules {
            template: self.pod_template.as_ref().map(|file| file.template.clone()),
            level: self.pod_security,
            images: self.images.clone(),
            ingress_annotations: self.ingress_annotations.clone(),
            caps: self.max_resources.clone().unwrap_or_default(),
            grace_period: Duration::from_secs(self.grace_period.into()),
        };
        Policy::new(rules).map_err(|why| {
            let path = self.pod_template.as_ref().map(|file| file.path.clone()).unwrap_or_default();
            ContradictoryTemplate { path, why }
        })
    }
}

impl Run {
    /// The controller's settings; `namespace` is the one to use where none is set, `policy` that of
    /// [`Pods`].
    ///
    /// # Errors
    ///
    /// The system has no random bytes for a seed, and none is set.
    pub fn settings(self, policy: Policy, namespace: &str) -> io::Result<Settings> {
        Ok(Settings {
            domain: self.domain,
            namespace: self.namespace.unwrap_or_else(|| namespace.into()),
            selector: self.selector,
            reserved: Reserved { names: self.reserved_names.into_iter().collect(), api_host: self.api_host },
            routing: self.gateway,
            ingress_class: self.ingress_class,
            probe: self.probe_address.unwrap_or(ProbeChoice::Published),
            expiry: match self.expiry {
                ExpiryChoice::Delete => Expiry::Delete,
                ExpiryChoice::Hold => Expiry::Hold,
            },
            notice: TimeDelta::seconds(self.expiring_soon.as_secs()),
            ready_within: TimeDelta::seconds(self.ready_within.as_secs()),
            request_timeout: self.request_timeout,
            policy,
            presets: self.presets.settings()?,
            max_lifetime: self.max_lifetime,
            lease: match self.lease {
                lease::Choice::Off => None,
                lease::Choice::At(place) => Some(place),
            },
            lease_times: Times::of(self.lease_duration),
        })
    }
}

/// A name as namespaces have it (RFC 1123).
fn dns_label(text: &str) -> Result<String, String> {
    let why = "write 1 to 63 lowercase letters, digits and '-' that begin and end with a letter or digit";
    if labels::is_dns_label(text) { Ok(text.into()) } else { Err(why.into()) }
}

/// A duration of the Gateway API (GEP-2257).
fn duration(text: &str) -> Result<String, String> {
    text.parse::<gateway_api::Duration>().map(|_| text.to_owned())
}

fn max_lifetime(text: &str) -> Result<Lifetime, String> {
    let longest: Lifetime = text.parse().map_err(|error| format!("{error}"))?;
    if longest.as_secs() > 0 { Ok(longest) } else { Err("nothing could live: write more than 0".into()) }
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    let written: Lifetime = text.parse().map_err(|error| format!("{error}"))?;
    match u64::try_from(written.as_secs()) {
        Ok(seconds @ 3..=600) => Ok(Duration::from_secs(seconds)),
        _ => Err("write 3s to 10m".into()),
    }
}

/// Reads the file as a partial pod template.
fn template_file(path: &str) -> Result<TemplateFile, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let template = text.parse().map_err(|error| format!("{error}"))?;
    Ok(TemplateFile { path: path.into(), template })
}

/// Reads a file with a secret of at least 16 bytes.
fn secret_file(path: &str) -> Result<SecretFile, String> {
    let bytes = fs::read(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let bytes = bytes.trim_ascii().to_vec();
    if bytes.len() < 16 {
        return Err("a secret has at least 16 bytes, such as those of `openssl rand -hex 32`".into());
    }
    Ok(SecretFile(bytes))
}

/// Reads a file with a key.
fn key_file(path: &str) -> Result<Key, String> {
    Key::new(secret_file(path)?.0).map_err(|error| error.to_string())
}

/// Reads a file with a YAML mapping.
fn values_file(path: &str) -> Result<Values, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("it cannot be read: {error}"))?;
    let values = serde_saphyr::from_str(&text).map_err(|error| format!("it is no YAML mapping: {error}"))?;
    Ok(Values(values))
}
