//! The level `restricted`: beyond `baseline`, what a Pod does not need is forbidden.

use k8s_openapi::api::core::v1::{PodSpec, SecurityContext, Volume};

use super::{Excess, has_own_users, is_windows, must};
use crate::policy::containers::{View, views};

pub fn check(spec: &PodSpec) -> Result<(), Excess> {
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        must(
            is_harmless(volume),
            || format!("spec.volumes[{index}]"),
            "must be a configMap, csi, downwardAPI, emptyDir, ephemeral, image, persistentVolumeClaim, projected \
             or secret",
        )?;
    }
    if let Some(security) = &spec.security_context {
        let field = |name| move || format!("spec.securityContext.{name}");
        let may_be_root = has_own_users(spec);
        must(may_be_root || security.run_as_non_root != Some(false), field("runAsNonRoot"), "must be true")?;
        must(may_be_root || security.run_as_user != Some(0), field("runAsUser"), "must not be 0")?;
    }
    views(spec).try_for_each(|view| container(&view, spec))
}

fn container(view: &View<'_>, spec: &PodSpec) -> Result<(), Excess> {
    let (nothing, for_all) = (SecurityContext::default(), spec.security_context.as_ref());
    let security = view.security.unwrap_or(&nothing);
    let field = |name: &'static str| move || format!("{}.securityContext.{name}", view.field);
    must(
        security.proc_mount.as_deref().is_none_or(|mount| mount == "Default"),
        field("procMount"),
        "must be Default",
    )?;
    if !has_own_users(spec) {
        let non_root = security.run_as_non_root.or(for_all.and_then(|pod| pod.run_as_non_root));
        must(non_root == Some(true), field("runAsNonRoot"), "must be true, here or for the whole Pod")?;
        must(security.run_as_user != Some(0), field("runAsUser"), "must not be 0")?;
    }
    if is_windows(spec) {
        return Ok(());
    }
    must(
        security.allow_privilege_escalation == Some(false),
        field("allowPrivilegeEscalation"),
        "must be false",
    )?;
    let list = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
    let capabilities = security.capabilities.as_ref();
    let dropped = list(capabilities.and_then(|capabilities| capabilities.drop.as_ref()));
    must(dropped.iter().any(|one| one == "ALL"), field("capabilities.drop"), "must have ALL")?;
    let added = list(capabilities.and_then(|capabilities| capabilities.add.as_ref()));
    must(
        added.iter().all(|one| one == "NET_BIND_SERVICE"),
        field("capabilities.add"),
        "must have nothing but NET_BIND_SERVICE",
    )?;
    // Which profiles there may be is checked with `baseline`.
    must(
        security.seccomp_profile.is_some() || for_all.is_some_and(|pod| pod.seccomp_profile.is_some()),
        field("seccompProfile"),
        "must be RuntimeDefault or Localhost, here or for the whole Pod",
    )
}

fn is_harmless(volume: &Volume) -> bool {
    // One without a source becomes an emptyDir.
    let is_empty_dir = *volume == Volume { name: volume.name.clone(), ..Volume::default() };
    is_empty_dir
        || volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some()
}
