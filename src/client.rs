//! How the programs find the API server.

use std::{error::Error as _, time::Duration};

use http::{HeaderValue, header::USER_AGENT};

/// There is no usable configuration.
#[derive(Debug, thiserror::Error)]
#[error(
    "no way to the API server: {0}; set KUBECONFIG to a kubeconfig file, or run in a cluster with a ServiceAccount"
)]
pub struct NoConfiguration(String);

/// After which a watch that shows nothing is made anew.
const SILENCE: Duration = Duration::from_secs(150);

/// Whether this process runs in a Pod: the kubelet tells every container where the API server is.
#[must_use]
pub fn is_in_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// The configuration of the kubeconfig (`KUBECONFIG`, else ~/.kube/config) or of the cluster that
/// this process runs in. Requests carry the program's name, so that audit logs tell programs apart.
///
/// # Errors
///
/// There is neither, or the kubeconfig cannot be read.
pub async fn config(program: &str) -> Result<kube::Config, NoConfiguration> {
    let mut config = kube::Config::infer().await.map_err(|error| {
        // Outside of a cluster the kubeconfig is what was meant: do not tell of the ServiceAccount.
        let kubeconfig = error.source().filter(|_| !is_in_pod()).map(ToString::to_string);
        NoConfiguration(kubeconfig.unwrap_or_else(|| error.to_string()))
    })?;
    let agent = format!("{program}/{}", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = HeaderValue::try_from(agent) {
        config.headers.push((USER_AGENT, agent));
    }
    Ok(config)
}

/// The same for watches: the API server sends a bookmark every minute, so that silence means a dead connection.
#[must_use]
pub fn watching(mut config: kube::Config) -> kube::Config {
    config.read_timeout = Some(SILENCE);
    config
}

/// The innermost message of an error: the outer ones only repeat that a request failed.
pub fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
