//! What a preset may say of rights: what Pod Security judges afterwards.

use crate::policy::fields::{
    shape::{Choice, List, Object, Refused, Shape, may, must, of, up_to},
    text,
};

/// Users and groups are positive and have 31 bits (Kubernetes' own bounds).
const ID: Shape = Shape::Whole(0, (1 << 31) - 1);

const WINDOWS: Refused = Refused { names: &["windowsOptions"], why: "services run on Linux" };
const SE_LINUX: Refused = Refused {
    names: &["seLinuxOptions", "seLinuxChangePolicy"],
    why: "SELinux keeps the Pods of a node apart, and its labels are for the installation to choose",
};

/// `spec.securityContext`.
pub const POD_SECURITY: Object = Object {
    fields: &[
        may("runAsNonRoot", Shape::Flag),
        may("runAsUser", ID),
        may("runAsGroup", ID),
        may("fsGroup", ID),
        may("fsGroupChangePolicy", Shape::OneOf(&["OnRootMismatch", "Always"])),
        may("supplementalGroups", Shape::List(&up_to(16, ID))),
        may("seccompProfile", Shape::Object(&PROFILE)),
        may("appArmorProfile", Shape::Object(&PROFILE)),
        may("sysctls", Shape::List(&SYSCTLS)),
    ],
    choice: Choice::Any,
    refused: &[
        SE_LINUX,
        WINDOWS,
        Refused { names: &["supplementalGroupsPolicy"], why: "not every node knows it" },
    ],
};

/// `securityContext` of a container.
pub const SECURITY: Object = Object {
    fields: &[
        may("runAsNonRoot", Shape::Flag),
        may("runAsUser", ID),
        may("runAsGroup", ID),
        may("readOnlyRootFilesystem", Shape::Flag),
        may("allowPrivilegeEscalation", Shape::Flag),
        may("privileged", Shape::Flag),
        may("procMount", Shape::OneOf(&["Default", "Unmasked"])),
        may("capabilities", Shape::Object(&CAPABILITIES)),
        may("seccompProfile", Shape::Object(&PROFILE)),
        may("appArmorProfile", Shape::Object(&PROFILE)),
    ],
    choice: Choice::Any,
    refused: &[SE_LINUX, WINDOWS],
};

const CAPABILITIES: Object = of(&[
    may("add", Shape::List(&up_to(64, Shape::Text(&text::CAPABILITY)))),
    may("drop", Shape::List(&up_to(64, Shape::Text(&text::CAPABILITY)))),
]);

/// The profiles that a node has for some of its Pods may allow more than the runtime's own.
const PROFILE: Object = Object {
    fields: &[must("type", Shape::OneOf(&["RuntimeDefault"]))],
    choice: Choice::Any,
    refused: &[Refused {
        names: &["localhostProfile"],
        why: "which Pods have the profiles of a node is for the installation to say; the runtime's own is \
              RuntimeDefault",
    }],
};

const SYSCTLS: List = List { of: Shape::Object(&SETTING), least: 0, most: 16, key: Some("name") };
const SETTING: Object =
    of(&[must("name", Shape::Text(&text::SYSCTL)), must("value", Shape::Text(&text::ANY))]);
