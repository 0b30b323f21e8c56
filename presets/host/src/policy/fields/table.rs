//! What a preset's template may hold: everything that is not in here is refused.
//!
//! `may` and `must` say whether a field has to be there. The fields are those of Kubernetes'
//! PodTemplateSpec (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/>).

mod container;
mod security;

use super::{
    shape::{Choice, List, Map, Object, Refused, Shape, may, must, of, up_to},
    text,
};
use container::{CONTAINER, INIT_CONTAINER};
use security::POD_SECURITY;

/// The longest that a Pod may take to stop, in seconds.
pub const LONGEST_GRACE: i64 = 300;

const ANY: Shape = Shape::Text(&text::ANY);
const NAME: Shape = Shape::Text(&text::NAME);
const KEY: Shape = Shape::Text(&text::KEY);

pub const TEMPLATE: Object = Object {
    fields: &[may("metadata", Shape::Object(&METADATA)), must("spec", Shape::Object(&SPEC))],
    choice: Choice::Any,
    refused: &[Refused {
        names: &["apiVersion", "kind", "status"],
        why: "a template has metadata and spec, and is no object by itself",
    }],
};

const METADATA: Object = Object {
    fields: &[may("labels", Shape::Map(&LABELS)), may("annotations", Shape::Map(&ANNOTATIONS))],
    choice: Choice::Any,
    refused: &[Refused {
        names: &[
            "name",
            "generateName",
            "namespace",
            "ownerReferences",
            "finalizers",
            "uid",
            "resourceVersion",
            "generation",
            "selfLink",
            "managedFields",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ],
        why: "whose a Pod is and what it is called is for the controller to say",
    }],
};

const LABELS: Map = Map { objection: text::label, value: &text::LABEL, most: 32 };
const ANNOTATIONS: Map = Map { objection: text::annotation, value: &text::NOTE, most: 32 };

const SPEC: Object = Object {
    fields: &[
        must("containers", Shape::List(&CONTAINERS)),
        may("initContainers", Shape::List(&INIT_CONTAINERS)),
        may("volumes", Shape::List(&VOLUMES)),
        may("securityContext", Shape::Object(&POD_SECURITY)),
        may("terminationGracePeriodSeconds", Shape::Whole(0, LONGEST_GRACE)),
        // A service runs until the Ephemeron's end.
        may("restartPolicy", Shape::OneOf(&["Always"])),
    ],
    choice: Choice::Any,
    refused: &[
        Refused {
            names: &[
                "serviceAccountName",
                "serviceAccount",
                "automountServiceAccountToken",
                "imagePullSecrets",
            ],
            why: "a service gets no credentials but what the installation gives it",
        },
        Refused {
            names: &[
                "nodeName",
                "nodeSelector",
                "affinity",
                "tolerations",
                "topologySpreadConstraints",
                "schedulerName",
                "schedulingGates",
                "readinessGates",
                "priority",
                "priorityClassName",
                "preemptionPolicy",
                "runtimeClassName",
                "overhead",
                "os",
                "resourceClaims",
                "resources",
            ],
            why: "where a Pod runs, on what and before whom is for the installation to say, in \
                  EPHEMERON_POD_TEMPLATE",
        },
        Refused {
            names: &["hostNetwork", "hostPID", "hostIPC", "hostUsers"],
            why: "a service stays within namespaces of its own, and which is for the installation to say",
        },
        Refused {
            names: &["shareProcessNamespace"],
            why: "its containers would look into those that the installation puts beside them",
        },
        Refused {
            names: &["ephemeralContainers"],
            why: "these are for people who look into a Pod that runs",
        },
        Refused {
            names: &[
                "hostname",
                "subdomain",
                "setHostnameAsFQDN",
                "hostAliases",
                "dnsPolicy",
                "dnsConfig",
                "enableServiceLinks",
            ],
            why: "a Pod's name, and what it finds by name, is for the controller and the installation to say",
        },
        Refused { names: &["activeDeadlineSeconds"], why: "the end is the Ephemeron's" },
    ],
};

const CONTAINERS: List = List { of: Shape::Object(&CONTAINER), least: 1, most: 10, key: Some("name") };
const INIT_CONTAINERS: List =
    List { of: Shape::Object(&INIT_CONTAINER), least: 0, most: 10, key: Some("name") };
const VOLUMES: List = List { of: Shape::Object(&VOLUME), least: 0, most: 20, key: Some("name") };

const VOLUME: Object = Object {
    fields: &[
        must("name", NAME),
        may("emptyDir", Shape::Object(&EMPTY_DIR)),
        may("configMap", Shape::Object(&CONFIG_MAP)),
    ],
    choice: Choice::ExactlyOne(&["emptyDir", "configMap"]),
    refused: &[
        Refused {
            names: &["secret", "projected", "downwardAPI"],
            why: "values that are secret go into `secrets` of what is rendered, and are read as environment \
                  variables by secretKeyRef",
        },
        Refused {
            names: &["hostPath", "image", "persistentVolumeClaim", "ephemeral", "csi"],
            why: "a service has no storage but emptyDir and configMap, unless the installation gives it some",
        },
        Refused {
            names: &[
                "awsElasticBlockStore",
                "azureDisk",
                "azureFile",
                "cephfs",
                "cinder",
                "fc",
                "flexVolume",
                "flocker",
                "gcePersistentDisk",
                "gitRepo",
                "glusterfs",
                "iscsi",
                "nfs",
                "photonPersistentDisk",
                "portworxVolume",
                "quobyte",
                "rbd",
                "scaleIO",
                "storageos",
                "vsphereVolume",
            ],
            why: "a service has no storage but emptyDir and configMap",
        },
    ],
};

const EMPTY_DIR: Object =
    of(&[may("medium", Shape::OneOf(&["", "Memory"])), may("sizeLimit", Shape::Amount)]);

const CONFIG_MAP: Object = of(&[
    must("name", Shape::Text(&text::OBJECT_NAME)),
    may("items", Shape::List(&ITEMS)),
    may("defaultMode", MODE),
    may("optional", Shape::Flag),
]);
const ITEMS: List = List { of: Shape::Object(&ITEM), least: 0, most: 64, key: Some("path") };
const ITEM: Object = of(&[must("key", KEY), must("path", Shape::Text(&text::INNER_PATH)), may("mode", MODE)]);
/// A file's permissions, 0 to 0777.
const MODE: Shape = Shape::Whole(0, 0o777);
