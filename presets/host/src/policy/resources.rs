//! How much a container may use: caps on its limits and requests.

use std::{collections::BTreeMap, str::FromStr};

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};

use super::{
    Violation,
    quantity::{Malformed, Quantity},
};

/// Resources that every container uses, whether it asks for them or not. Of others, such as GPUs, it
/// gets none without asking.
const USED_BY_ALL: &[&str] = &["cpu", "memory", "ephemeral-storage"];

/// The most that a container may ask for, by the resource's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caps(BTreeMap<String, Cap>);

/// An amount, and as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cap {
    amount: Quantity,
    text: String,
}

/// The text is not a list of caps.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCaps {
    /// A part of it has another form.
    #[error("{0:?} is not a resource with an amount: write such as cpu=2,memory=4Gi,ephemeral-storage=10Gi")]
    Form(String),
    /// An amount is no quantity.
    #[error(transparent)]
    Amount(#[from] Malformed),
    /// An amount is below zero.
    #[error("the cap of {0} is below zero")]
    Negative(String),
    /// An amount is zero, of what every container uses.
    #[error("the cap of {0} is zero, and Kubernetes takes that for no limit: write more, or leave it out")]
    Zero(String),
    /// A resource is named more than once.
    #[error("{0} is named twice")]
    Twice(String),
}

impl FromStr for Caps {
    type Err = NotCaps;

    fn from_str(text: &str) -> Result<Self, NotCaps> {
        let mut caps = BTreeMap::new();
        for part in text.split(',') {
            let form = || NotCaps::Form(part.trim().chars().take(200).collect());
            let (name, amount) = part.split_once('=').ok_or_else(form)?;
            let (name, text) = (name.trim(), amount.trim());
            let is_name = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
            if !is_name {
                return Err(form());
            }
            let amount: Quantity = text.parse()?;
            if amount.is_negative() {
                return Err(NotCaps::Negative(name.into()));
            }
            if !amount.is_positive() && USED_BY_ALL.contains(&name) {
                return Err(NotCaps::Zero(name.into()));
            }
            if caps.insert(name.to_owned(), Cap { amount, text: text.into() }).is_some() {
                return Err(NotCaps::Twice(name.into()));
            }
        }
        Ok(Self(caps))
    }
}

impl Caps {
    /// Checks what a Pod's containers ask for, and gives them the caps as limits where they have none.
    ///
    /// # Errors
    ///
    /// The first amount that is no quantity or is more than its cap.
    pub(super) fn apply(&self, spec: &mut PodSpec) -> Result<(), Violation> {
        if let Some(resources) = &spec.resources {
            self.check("spec.resources", resources)?;
        }
        let init = spec.init_containers.iter_mut().flatten().enumerate();
        let containers = spec.containers.iter_mut().enumerate();
        let all = init
            .map(|(index, container)| (format!("spec.initContainers[{index}]"), container))
            .chain(containers.map(|(index, container)| (format!("spec.containers[{index}]"), container)));
        for (field, container) in all {
            if let Some(resources) = &container.resources {
                self.check(&format!("{field}.resources"), resources)?;
            }
            for (name, cap) in self.0.iter().filter(|(name, _)| USED_BY_ALL.contains(&name.as_str())) {
                let limits = container.resources.get_or_insert_default().limits.get_or_insert_default();
                let limit = limits.entry(name.clone()).or_default();
                // To the kubelet, zero is no limit.
                if limit.0.parse::<Quantity>().is_ok_and(Quantity::is_positive) {
                    continue;
                }
                limit.0.clone_from(&cap.text);
            }
        }
        Ok(())
    }

    fn check(&self, field: &str, resources: &ResourceRequirements) -> Result<(), Violation> {
        for (list, amounts) in [("limits", &resources.limits), ("requests", &resources.requests)] {
            for (name, asked) in amounts.iter().flatten() {
                let field = format!("{field}.{list}[{name}]");
                let amount: Quantity = match asked.0.parse() {
                    Ok(amount) => amount,
                    Err(why) => return Err(Violation::NotAQuantity { field, why }),
                };
                if let Some(cap) = self.0.get(name).filter(|cap| amount > cap.amount) {
                    let (asked, cap) = (asked.0.clone(), cap.text.clone());
                    return Err(Violation::TooMuch { field, asked, cap });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn applied(caps: &str, resources: &Value) -> Result<Value, String> {
        let mut spec: PodSpec =
            serde_json::from_value(json!({"containers": [{"name": "a", "resources": resources}]}))
                .expect("a spec");
        caps.parse::<Caps>().expect("caps").apply(&mut spec).map_err(|violation| violation.to_string())?;
        Ok(serde_json::to_value(&spec.containers[0].resources).expect("json"))
    }

    #[test]
    fn what_has_no_limit_gets_the_cap() {
        let caps = "cpu=2, memory=4Gi,example.com/gpu=1";
        let rows = [
            (json!({}), json!({"limits": {"cpu": "2", "memory": "4Gi"}})),
            (
                json!({"limits": {"cpu": "2000m"}, "requests": {"memory": "4096Mi", "ephemeral-storage": "1Ti"}}),
                json!({
                    "limits": {"cpu": "2000m", "memory": "4Gi"},
                    "requests": {"memory": "4096Mi", "ephemeral-storage": "1Ti"},
                }),
            ),
            // Nothing as a limit is no limit to the kubelet.
            (
                json!({"limits": {"cpu": 0, "memory": "0Gi", "example.com/gpu": "0"}}),
                json!({"limits": {"cpu": "2", "memory": "4Gi", "example.com/gpu": "0"}}),
            ),
            (
                json!({"limits": {"cpu": "1", "memory": "1", "example.com/gpu": "1"}}),
                json!({"limits": {"cpu": "1", "memory": "1", "example.com/gpu": "1"}}),
            ),
        ];
        for (resources, wanted) in rows {
            assert_eq!(applied(caps, &resources), Ok(wanted), "{resources}");
        }
    }

    #[test]
    fn more_than_the_cap_is_refused() {
        let rows = [
            (
                json!({"limits": {"cpu": "2001m"}}),
                "spec.containers[0].resources.limits[cpu]: 2001m is more than",
            ),
            (json!({"requests": {"cpu": "2.0000000001"}}), "spec.containers[0].resources.requests[cpu]"),
            (json!({"limits": {"memory": "4.1Gi"}}), "4.1Gi is more than the 4Gi"),
            (json!({"limits": {"memory": "1E"}}), "EPHEMERON_MAX_RESOURCES"),
            (json!({"limits": {"example.com/gpu": "2"}}), "limits[example.com/gpu]"),
            (json!({"limits": {"cpu": "much"}}), "\"much\" is not a quantity"),
            (json!({"limits": {"other": "much"}}), "\"much\" is not a quantity"),
        ];
        for (resources, wanted) in rows {
            let said = applied("cpu=2,memory=4Gi,example.com/gpu=1", &resources).expect_err("it is refused");
            assert!(said.contains(wanted), "{resources}: {said}");
        }
    }

    #[test]
    fn the_whole_pod_and_init_containers_are_capped_too() {
        let rows = [
            (json!({"resources": {"limits": {"cpu": "3"}}, "containers": []}), "spec.resources.limits[cpu]"),
            (
                json!({"initContainers": [{"name": "a", "resources": {"limits": {"cpu": "3"}}}], "containers": []}),
                "spec.initContainers[0].resources.limits[cpu]",
            ),
        ];
        for (spec, wanted) in rows {
            let mut spec: PodSpec = serde_json::from_value(spec).expect("a spec");
            let said = "cpu=2".parse::<Caps>().expect("caps").apply(&mut spec).expect_err("it is refused");
            assert!(said.to_string().contains(wanted), "{said}");
        }
    }

    #[test]
    fn what_are_no_caps_is_refused() {
        let texts = [
            "",
            "cpu",
            "=1",
            "cpu=",
            "cpu=much",
            "cpu=-1",
            "cpu=0",
            "memory=0Gi",
            "cpu=1,cpu=2",
            "cpu=1,",
            "c pu=1",
            "cpu=1=2",
        ];
        for text in texts {
            assert!(text.parse::<Caps>().is_err(), "{text}");
        }
        assert!("example.com/gpu=0".parse::<Caps>().is_ok(), "none at all");
    }
}
