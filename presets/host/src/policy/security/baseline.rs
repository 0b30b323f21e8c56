//! The level `baseline`: what would lead out of the container is forbidden.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, LifecycleHandler, PodSpec, PodTemplateSpec, SELinuxOptions, SeccompProfile,
    WindowsSecurityContextOptions,
};

use super::{Excess, has_own_users, must};
use crate::policy::containers::{View, views};

const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
const SELINUX_TYPES: &[&str] =
    &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
const SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];
/// What AppArmor's profiles were chosen by before Kubernetes 1.30; still heeded.
const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

pub fn check(pod: &PodTemplateSpec, spec: &PodSpec) -> Result<(), Excess> {
    let shared = [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)];
    for (name, value) in shared {
        must(value != Some(true), || format!("spec.{name}"), "must not be true")?;
    }
    for (index, volume) in spec.volumes.iter().flatten().enumerate() {
        must(volume.host_path.is_none(), || format!("spec.volumes[{index}].hostPath"), "must not be used")?;
    }
    annotations(pod.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref()))?;
    if let Some(security) = &spec.security_context {
        let field = "spec.securityContext";
        app_armor(field, security.app_armor_profile.as_ref())?;
        se_linux(field, security.se_linux_options.as_ref())?;
        seccomp(field, security.seccomp_profile.as_ref())?;
        windows(field, security.windows_options.as_ref())?;
        for (index, sysctl) in security.sysctls.iter().flatten().enumerate() {
            must(
                SYSCTLS.contains(&sysctl.name.as_str()),
                || format!("{field}.sysctls[{index}].name"),
                "must be one of the safe sysctls",
            )?;
        }
    }
    views(spec).try_for_each(|view| container(&view, has_own_users(spec)))
}

fn container(view: &View<'_>, has_own_users: bool) -> Result<(), Excess> {
    for (index, port) in view.ports.iter().enumerate() {
        let is_free = matches!(port.host_port, None | Some(0));
        must(is_free, || format!("{}.ports[{index}].hostPort", view.field), "must not be set")?;
    }
    hosts(view)?;
    let Some(security) = view.security else { return Ok(()) };
    let field = format!("{}.securityContext", view.field);
    must(security.privileged != Some(true), || format!("{field}.privileged"), "must not be true")?;
    let added = security.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
    for capability in added {
        must(
            CAPABILITIES.contains(&capability.as_str()),
            || format!("{field}.capabilities.add"),
            "must only have capabilities that containers have anyway",
        )?;
    }
    must(
        has_own_users || security.proc_mount.as_deref().is_none_or(|mount| mount == "Default"),
        || format!("{field}.procMount"),
        "must be Default",
    )?;
    app_armor(&field, security.app_armor_profile.as_ref())?;
    se_linux(&field, security.se_linux_options.as_ref())?;
    seccomp(&field, security.seccomp_profile.as_ref())?;
    windows(&field, security.windows_options.as_ref())
}

/// The kubelet asks from the node's network: with a host, a Pod could have it ask anybody.
fn hosts(view: &View<'_>) -> Result<(), Excess> {
    let no_host = |host: Option<&String>, field: String| {
        must(host.is_none_or(String::is_empty), || format!("{field}.host"), "must not be set")
    };
    for (name, probe) in view.probes {
        let Some(probe) = probe else { continue };
        let field = format!("{}.{name}", view.field);
        no_host(probe.http_get.as_ref().and_then(|get| get.host.as_ref()), format!("{field}.httpGet"))?;
        no_host(
            probe.tcp_socket.as_ref().and_then(|socket| socket.host.as_ref()),
            format!("{field}.tcpSocket"),
        )?;
    }
    let handlers: [(&str, Option<&LifecycleHandler>); 2] = [
        ("postStart", view.lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref())),
        ("preStop", view.lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref())),
    ];
    for (name, handler) in handlers {
        let Some(handler) = handler else { continue };
        let field = format!("{}.lifecycle.{name}", view.field);
        no_host(handler.http_get.as_ref().and_then(|get| get.host.as_ref()), format!("{field}.httpGet"))?;
        no_host(
            handler.tcp_socket.as_ref().and_then(|socket| socket.host.as_ref()),
            format!("{field}.tcpSocket"),
        )?;
    }
    Ok(())
}

fn annotations(annotations: Option<&BTreeMap<String, String>>) -> Result<(), Excess> {
    for (key, value) in annotations.into_iter().flatten() {
        let fits = value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
        must(
            fits || !key.starts_with(APP_ARMOR_ANNOTATION),
            || format!("metadata.annotations[{key}]"),
            "must be runtime/default or localhost/*",
        )?;
    }
    Ok(())
}

fn app_armor(field: &str, profile: Option<&AppArmorProfile>) -> Result<(), Excess> {
    must(
        profile.is_none_or(|profile| is_profile(&profile.type_)),
        || format!("{field}.appArmorProfile.type"),
        "must be RuntimeDefault or Localhost",
    )
}

fn seccomp(field: &str, profile: Option<&SeccompProfile>) -> Result<(), Excess> {
    must(
        profile.is_none_or(|profile| is_profile(&profile.type_)),
        || format!("{field}.seccompProfile.type"),
        "must be RuntimeDefault or Localhost",
    )
}

fn is_profile(kind: &str) -> bool {
    matches!(kind, "RuntimeDefault" | "Localhost")
}

fn se_linux(field: &str, options: Option<&SELinuxOptions>) -> Result<(), Excess> {
    let Some(options) = options else { return Ok(()) };
    let empty = |text: Option<&String>| text.is_none_or(String::is_empty);
    let kind = options.type_.as_deref().unwrap_or_default();
    let field = |name| move || format!("{field}.seLinuxOptions.{name}");
    must(SELINUX_TYPES.contains(&kind), field("type"), "must be one of the types for containers")?;
    must(empty(options.user.as_ref()), field("user"), "must not be set")?;
    must(empty(options.role.as_ref()), field("role"), "must not be set")
}

fn windows(field: &str, options: Option<&WindowsSecurityContextOptions>) -> Result<(), Excess> {
    must(
        options.is_none_or(|options| options.host_process != Some(true)),
        || format!("{field}.windowsOptions.hostProcess"),
        "must not be true",
    )
}
