//! How the programs find the API server.

use http::{HeaderValue, header::USER_AGENT};

/// There is no usable configuration.
#[derive(Debug, thiserror::Error)]
#[error("no way to the API server: {0}; set KUBECONFIG to a kubeconfig file, or run in a cluster with a ServiceAccount")]
pub struct NoConfiguration(String);

/// The configuration of the kubeconfig (`KUBECONFIG`, else ~/.kube/config) or of the cluster that
/// this process runs in. Requests carry the program's name, so that audit logs tell programs apart.
///
/// # Errors
///
/// There is neither, or the kubeconfig cannot be read.
pub async fn config(program: &str) -> Result<kube::Config, NoConfiguration> {
    let mut config = kube::Config::infer().await.map_err(|error| {
        // In a cluster there is no kubeconfig, beside it no ServiceAccount: say what was looked for first.
        NoConfiguration(error.to_string())
    })?;
    let agent = format!("{program}/{}", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = HeaderValue::try_from(agent) {
        config.headers.push((USER_AGENT, agent));
    }
    Ok(config)
}
