//! Prints the custom resource definition as YAML; `k8s/ephemerons.yaml` is its output.

use kube::CustomResourceExt as _;

fn main() -> anyhow::Result<()> {
    print!("{}", serde_saphyr::to_string(&ephemeron::resource::Ephemeron::crd())?);
    Ok(())
}
