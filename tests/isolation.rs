//! What the NetworkPolicies in `k8s/isolation` select and admit, worked out on the documents: the network of the test
//! cluster does not enforce any.

#![expect(clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

use std::{collections::BTreeMap, net::IpAddr};

use ephemeron::resource::{MANAGED_BY_LABEL, MANAGER, NAME_LABEL};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use serde_json::Value;

const POLICIES: [&str; 2] =
    [include_str!("../k8s/isolation/services.yaml"), include_str!("../k8s/isolation/system.yaml")];
const PROGRAMS: [&str; 2] =
    [include_str!("../k8s/controller/deployment.yaml"), include_str!("../k8s/api/deployment.yaml")];

/// Some end of a connection: a Pod with its namespace and labels, or an address outside of the cluster.
#[derive(Clone, Debug)]
struct End {
    namespace: Option<&'static str>,
    labels: BTreeMap<String, String>,
    address: IpAddr,
}

fn outside(address: &str) -> End {
    End { namespace: None, labels: BTreeMap::new(), address: address.parse().expect(address) }
}

fn pod(namespace: &'static str, labels: &[(&str, &str)]) -> End {
    let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    // An address of Pods' own ranges, which no rule on addresses may admit.
    End { namespace: Some(namespace), labels, ..outside("10.244.0.7") }
}

fn service(name: &str) -> End {
    pod("ephemerons", &[(MANAGED_BY_LABEL, MANAGER), (NAME_LABEL, name)])
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).expect("YAML")
}

fn policies() -> Vec<NetworkPolicy> {
    let all = POLICIES.iter().flat_map(|text| documents(text));
    all.map(|document| serde_json::from_value(document).expect("a NetworkPolicy")).collect()
}

/// The numbers of the programs' ports, by name of the program and of the port.
fn named_ports() -> BTreeMap<(String, String), i32> {
    let mut ports = BTreeMap::new();
    for document in PROGRAMS.iter().flat_map(|text| documents(text)) {
        if document["kind"] == "Deployment" {
            let deployment: Deployment = serde_json::from_value(document).expect("a Deployment");
            let name = deployment.metadata.name.expect("a name");
            let pod = deployment.spec.and_then(|spec| spec.template.spec).expect("a Pod");
            for port in pod.containers.into_iter().flat_map(|container| container.ports.unwrap_or_default()) {
                ports.insert((name.clone(), port.name.expect("a name")), port.container_port);
            }
        }
    }
    ports
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let expressions = selector.match_expressions.iter().flatten().all(|expression| {
        let value = labels.get(&expression.key);
        match &*expression.operator {
            "In" => value.is_some_and(|value| expression.values.iter().flatten().any(|one| one == value)),
            "Exists" => value.is_some(),
            other => panic!("the operator {other} is not known here"),
        }
    });
    expressions && selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether an address lies in a range such as 10.0.0.0/8. An address of IPv4 lies in none of IPv6.
fn contains(range: &str, address: IpAddr) -> bool {
    let (start, length) = range.split_once('/').expect("a range");
    let length: u32 = length.parse().expect("a length");
    let bits = |address: IpAddr| match address {
        IpAddr::V4(four) => (u128::from(u32::from(four)) << 96, true),
        IpAddr::V6(six) => (u128::from(six), false),
    };
    let ((start, is_four), (address, also)) = (bits(start.parse().expect(range)), bits(address));
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    assert_eq!(start & !mask, 0, "{range} begins elsewhere");
    is_four == also && start == address & mask
}

fn block_admits(block: &IPBlock, address: IpAddr) -> bool {
    contains(&block.cidr, address) && !block.except.iter().flatten().any(|except| contains(except, address))
}

fn peer_admits(peer: &NetworkPolicyPeer, policy: &NetworkPolicy, end: &End) -> bool {
    if let Some(block) = &peer.ip_block {
        return block_admits(block, end.address);
    }
    let Some(namespace) = end.namespace else { return false };
    // Kubernetes gives every namespace this label.
    let labels = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), namespace.to_owned())]);
    let namespace_fits = match &peer.namespace_selector {
        Some(selector) => selects(selector, &labels),
        None => policy.metadata.namespace.as_deref() == Some(namespace),
    };
    namespace_fits && peer.pod_selector.as_ref().is_none_or(|selector| selects(selector, &end.labels))
}

fn port_admits(port: &NetworkPolicyPort, target: &End, (protocol, number): (&str, i32)) -> bool {
    let wanted = match port.port.as_ref() {
        None => number,
        Some(IntOrString::Int(wanted)) => *wanted,
        Some(IntOrString::String(name)) => {
            let program = target.labels.get("app").cloned().unwrap_or_default();
            named_ports().get(&(program, name.clone())).copied().unwrap_or(0)
        }
    };
    port.end_port.is_none() && port.protocol.as_deref().unwrap_or("TCP") == protocol && wanted == number
}

/// Whether the policies let one end reach a port of another.
fn admitted(from: &End, to: &End, port: (&str, i32)) -> bool {
    direction("Egress", from, to, to, port) && direction("Ingress", to, from, to, port)
}

fn direction(which: &str, subject: &End, peer: &End, target: &End, port: (&str, i32)) -> bool {
    let mut is_restricted = false;
    for policy in policies() {
        let spec = policy.spec.clone().expect("a spec");
        let here = policy.metadata.namespace.as_deref() == subject.namespace;
        let selector = spec.pod_selector.unwrap_or_default();
        let types = spec.policy_types.expect("policyTypes are written out");
        if !here || !types.iter().any(|one| one == which) || !selects(&selector, &subject.labels) {
            continue;
        }
        is_restricted = true;
        let rules: Vec<(Vec<NetworkPolicyPeer>, Vec<NetworkPolicyPort>)> = if which == "Egress" {
            spec.egress
                .into_iter()
                .flatten()
                .map(|rule| (rule.to.unwrap_or_default(), rule.ports.unwrap_or_default()))
                .collect()
        } else {
            spec.ingress
                .into_iter()
                .flatten()
                .map(|rule| (rule.from.unwrap_or_default(), rule.ports.unwrap_or_default()))
                .collect()
        };
        for (peers, ports) in rules {
            let peer_fits = peers.is_empty() || peers.iter().any(|one| peer_admits(one, &policy, peer));
            let port_fits = ports.is_empty() || ports.iter().any(|one| port_admits(one, target, port));
            if peer_fits && port_fits {
                return true;
            }
        }
    }
    !is_restricted
}

const WEB: (&str, i32) = ("TCP", 443);

#[test]
fn a_service_reaches_the_public_internet_and_no_other_address() {
    let rows = [
        ("1.1.1.1", true),
        ("9.255.255.255", true),
        ("11.0.0.1", true),
        ("100.63.255.255", true),
        ("100.128.0.1", true),
        ("169.253.0.1", true),
        ("172.15.255.255", true),
        ("172.32.0.1", true),
        ("192.167.255.255", true),
        ("223.255.255.255", true),
        ("0.0.0.0", false),
        ("10.96.0.1", false),
        ("10.255.255.255", false),
        ("100.64.0.1", false),
        ("100.100.100.200", false),
        ("127.0.0.1", false),
        ("169.254.169.254", false),
        ("168.63.129.16", false),
        ("169.254.20.10", false),
        ("172.16.0.1", false),
        ("172.31.255.255", false),
        ("192.0.0.192", false),
        ("192.168.0.1", false),
        ("198.18.0.1", false),
        ("198.19.255.255", false),
        ("224.0.0.1", false),
        ("240.0.0.1", false),
        ("255.255.255.255", false),
        ("2606:4700:4700::1111", true),
        ("2a00:1450:4001::1", true),
        ("::", false),
        ("::1", false),
        ("::10.0.0.1", false),
        ("::ffff:10.0.0.1", false),
        ("64:ff9b::10.0.0.1", false),
        ("64:ff9b:1::1", false),
        ("100::1", false),
        ("2001::1", false),
        ("2001:db8::1", false),
        ("2002:a00:1::1", false),
        ("3fff::1", false),
        ("fc00::1", false),
        ("fd00:ec2::254", false),
        ("fe80::1", false),
        ("fec0::1", false),
        ("ff02::1", false),
    ];
    for (address, wanted) in rows {
        assert_eq!(admitted(&service("a"), &outside(address), WEB), wanted, "{address}");
    }
}

#[test]
fn a_service_reaches_the_cluster_s_dns_and_no_other_pod() {
    let dns = pod("kube-system", &[("k8s-app", "kube-dns")]);
    for (to, port, wanted) in [
        (&dns, ("UDP", 53), true),
        (&dns, ("TCP", 53), true),
        (&dns, ("TCP", 9153), false),
        (&pod("kube-system", &[("k8s-app", "metrics-server")]), ("UDP", 53), false),
        (&pod("default", &[("k8s-app", "kube-dns")]), ("UDP", 53), false),
        (&pod("ephemerons", &[("k8s-app", "kube-dns")]), ("UDP", 53), false),
        (&service("b"), WEB, false),
        (&pod("gateways", &[]), WEB, false),
        (&pod("ephemeron-system", &[("app", "ephemeron-api")]), ("TCP", 3030), false),
        (&pod("ephemeron-system", &[("app", "ephemeron-controller")]), ("TCP", 8081), false),
        (&pod("default", &[]), WEB, false),
    ] {
        assert_eq!(admitted(&service("a"), to, port), wanted, "{to:?} {port:?}");
    }
}

#[test]
fn a_service_is_reached_from_the_gateway_only() {
    for (from, wanted) in [
        (pod("gateways", &[("app", "any")]), true),
        (outside("192.0.2.1"), true),
        (outside("192.0.2.2"), false),
        (outside("1.1.1.1"), false),
        (service("b"), false),
        (pod("ephemerons", &[("app", "other")]), false),
        (pod("default", &[]), false),
        (pod("kube-system", &[("k8s-app", "kube-dns")]), false),
    ] {
        assert_eq!(admitted(&from, &service("a"), ("TCP", 8080)), wanted, "{from:?}");
    }
}

#[test]
fn other_pods_of_the_namespace_are_left_alone() {
    let other = pod("ephemerons", &[("app", "other")]);
    assert!(admitted(&other, &outside("10.0.0.1"), WEB));
    assert!(admitted(&pod("default", &[]), &other, WEB));
}

#[test]
fn the_api_is_reached_from_the_gateway_and_the_metrics_from_the_cluster() {
    let (api, controller) = (
        pod("ephemeron-system", &[("app", "ephemeron-api")]),
        pod("ephemeron-system", &[("app", "ephemeron-controller")]),
    );
    let (gateway, monitoring) = (pod("gateways", &[]), pod("monitoring", &[("app", "prometheus")]));
    for (from, to, number, wanted) in [
        (&gateway, &api, 3030, true),
        (&outside("192.0.2.1"), &api, 3030, true),
        (&monitoring, &api, 3030, false),
        (&outside("1.1.1.1"), &api, 3030, false),
        (&monitoring, &api, 8082, true),
        (&monitoring, &controller, 8081, true),
        (&outside("1.1.1.1"), &controller, 8081, false),
        (&gateway, &controller, 3030, false),
        (&service("a"), &controller, 8081, false),
        (&service("a"), &api, 8082, false),
    ] {
        assert_eq!(admitted(from, to, ("TCP", number)), wanted, "{from:?} {to:?} {number}");
    }
    // Its way to the API server is not restricted.
    assert!(admitted(&controller, &outside("10.96.0.1"), WEB));
}
