//! What a preset may say of a container.

use super::{
    ANY, Choice, KEY, LONGEST_GRACE, List, NAME, Object, Refused, Shape, may, must, of, security::SECURITY,
    up_to,
};
use crate::policy::fields::{shape::Field, text};

/// What runs beside the others until the end.
pub const CONTAINER: Object = Object {
    fields: &[
        must("name", NAME),
        must("image", IMAGE),
        may("imagePullPolicy", PULL),
        may("command", ARGUMENTS),
        may("args", ARGUMENTS),
        may("workingDir", ANY),
        may("env", VARIABLES),
        may("ports", PORTS),
        may("resources", RESOURCES),
        may("volumeMounts", MOUNTS),
        may("securityContext", Shape::Object(&SECURITY)),
        LIVENESS,
        READINESS,
        STARTUP,
        LIFECYCLE,
    ],
    choice: Choice::Any,
    refused: &[
        ENV_FROM,
        TERMINAL,
        LAST_WORDS,
        DEVICES,
        Refused { names: &["restartPolicy"], why: "it is for init containers; others run until the end" },
    ],
};

/// What runs before the others or, with `restartPolicy: Always`, from then on beside them.
pub const INIT_CONTAINER: Object = Object {
    fields: &[
        must("name", NAME),
        must("image", IMAGE),
        may("restartPolicy", Shape::OneOf(&["Always"])),
        may("imagePullPolicy", PULL),
        may("command", ARGUMENTS),
        may("args", ARGUMENTS),
        may("workingDir", ANY),
        may("env", VARIABLES),
        may("ports", PORTS),
        may("resources", RESOURCES),
        may("volumeMounts", MOUNTS),
        may("securityContext", Shape::Object(&SECURITY)),
        LIVENESS,
        READINESS,
        STARTUP,
        LIFECYCLE,
    ],
    choice: Choice::Any,
    refused: &[ENV_FROM, TERMINAL, LAST_WORDS, DEVICES],
};

const ENV_FROM: Refused =
    Refused { names: &["envFrom"], why: "list the variables in env, so that it shows what a container gets" };
const TERMINAL: Refused = Refused { names: &["stdin", "stdinOnce", "tty"], why: "nobody is there to type" };
const LAST_WORDS: Refused = Refused {
    names: &["terminationMessagePath", "terminationMessagePolicy"],
    why: "where the last words of a container are found is for the controller to say",
};
const DEVICES: Refused = Refused {
    names: &["volumeDevices", "resizePolicy"],
    why: "a service has no storage but emptyDir and configMap, and keeps its resources",
};

const IMAGE: Shape = Shape::Text(&text::IMAGE);
const PULL: Shape = Shape::OneOf(&["Always", "IfNotPresent", "Never"]);
const ARGUMENTS: Shape = Shape::List(&up_to(256, ANY));

const VARIABLES: Shape =
    Shape::List(&List { of: Shape::Object(&VARIABLE), least: 0, most: 256, key: Some("name") });
const VARIABLE: Object = Object {
    fields: &[
        must("name", Shape::Text(&text::VARIABLE)),
        may("value", ANY),
        may("valueFrom", Shape::Object(&SOURCE)),
    ],
    choice: Choice::AtMostOne(&["value", "valueFrom"]),
    refused: &[],
};
const SOURCE: Object = Object {
    fields: &[
        may("secretKeyRef", Shape::Object(&SECRET_KEY)),
        may("fieldRef", Shape::Object(&FIELD)),
        may("resourceFieldRef", Shape::Object(&RESOURCE_FIELD)),
    ],
    choice: Choice::ExactlyOne(&["secretKeyRef", "fieldRef", "resourceFieldRef"]),
    refused: &[
        Refused { names: &["configMapKeyRef"], why: "mount the ConfigMap as a volume" },
        Refused { names: &["fileKeyRef"], why: "not every node knows it" },
    ],
};
const SECRET_KEY: Object =
    of(&[must("name", Shape::Text(&text::OWN_SECRET)), must("key", KEY), may("optional", Shape::Flag)]);
/// What a Pod may know of itself. Of its node it learns nothing.
const FIELD: Object = of(&[
    may("apiVersion", Shape::OneOf(&["v1"])),
    must(
        "fieldPath",
        Shape::OneOf(&[
            "metadata.name",
            "metadata.namespace",
            "metadata.uid",
            "status.podIP",
            "status.podIPs",
        ]),
    ),
]);
const RESOURCE_FIELD: Object = of(&[
    must(
        "resource",
        Shape::OneOf(&[
            "limits.cpu",
            "limits.memory",
            "limits.ephemeral-storage",
            "requests.cpu",
            "requests.memory",
            "requests.ephemeral-storage",
        ]),
    ),
    may("containerName", NAME),
    may("divisor", Shape::Amount),
]);

/// Told apart by number, also where the protocol differs: so they are merged.
const PORTS: Shape =
    Shape::List(&List { of: Shape::Object(&PORT), least: 0, most: 32, key: Some("containerPort") });
const PORT: Object = Object {
    fields: &[
        must("containerPort", Shape::Whole(1, 65_535)),
        may("name", Shape::Text(&text::PORT_NAME)),
        may("protocol", Shape::OneOf(&["TCP", "UDP"])),
    ],
    choice: Choice::Any,
    refused: &[Refused {
        names: &["hostPort", "hostIP"],
        why: "a service has no port of its node: it is reached through its URL",
    }],
};

const RESOURCES: Shape = Shape::Object(&Object {
    fields: &[may("limits", Shape::Object(&AMOUNTS)), may("requests", Shape::Object(&AMOUNTS))],
    choice: Choice::Any,
    refused: &[Refused {
        names: &["claims"],
        why: "devices are for the installation to give, in EPHEMERON_POD_TEMPLATE",
    }],
});
const AMOUNTS: Object =
    of(&[may("cpu", Shape::Amount), may("memory", Shape::Amount), may("ephemeral-storage", Shape::Amount)]);

const MOUNTS: Shape =
    Shape::List(&List { of: Shape::Object(&MOUNT), least: 0, most: 40, key: Some("mountPath") });
const MOUNT: Object = Object {
    fields: &[
        must("name", NAME),
        must("mountPath", Shape::Text(&text::MOUNT_PATH)),
        may("readOnly", Shape::Flag),
        may("subPath", Shape::Text(&text::INNER_PATH)),
    ],
    choice: Choice::Any,
    refused: &[
        Refused {
            names: &["mountPropagation"],
            why: "what is mounted in a container stays there, and nothing of the node comes in",
        },
        Refused { names: &["subPathExpr"], why: "write the path itself into subPath" },
        Refused { names: &["recursiveReadOnly"], why: "not every node knows it: readOnly is enough here" },
    ],
};

const LIVENESS: Field = may("livenessProbe", Shape::Object(&STOPPING_PROBE));
const STARTUP: Field = may("startupProbe", Shape::Object(&STOPPING_PROBE));
const READINESS: Field = may("readinessProbe", Shape::Object(&READINESS_PROBE));
const ASKING: Choice = Choice::ExactlyOne(&["httpGet", "tcpSocket", "exec", "grpc"]);

/// A probe that ends the container where it fails.
const STOPPING_PROBE: Object = Object {
    fields: &[
        HTTP_GET,
        TCP_SOCKET,
        EXEC,
        GRPC,
        INITIAL_DELAY,
        PERIOD,
        TIMEOUT,
        FAILURES,
        may("successThreshold", Shape::Whole(1, 1)),
        may("terminationGracePeriodSeconds", Shape::Whole(1, LONGEST_GRACE)),
    ],
    choice: ASKING,
    refused: &[],
};
const READINESS_PROBE: Object = Object {
    fields: &[
        HTTP_GET,
        TCP_SOCKET,
        EXEC,
        GRPC,
        INITIAL_DELAY,
        PERIOD,
        TIMEOUT,
        FAILURES,
        may("successThreshold", Shape::Whole(1, 100)),
    ],
    choice: ASKING,
    refused: &[Refused {
        names: &["terminationGracePeriodSeconds"],
        why: "a container that is not ready is not stopped",
    }],
};

const INITIAL_DELAY: Field = may("initialDelaySeconds", Shape::Whole(0, 3_600));
const PERIOD: Field = may("periodSeconds", Shape::Whole(1, 3_600));
const TIMEOUT: Field = may("timeoutSeconds", Shape::Whole(1, 300));
const FAILURES: Field = may("failureThreshold", Shape::Whole(1, 1_000));

const EXEC: Field = may("exec", Shape::Object(&of(&[may("command", ARGUMENTS)])));
const GRPC: Field =
    may("grpc", Shape::Object(&of(&[must("port", Shape::Whole(1, 65_535)), may("service", ANY)])));
const HOST: Refused =
    Refused { names: &["host"], why: "the node would ask somebody else: without it, it asks the Pod" };
const HTTP_GET: Field = may(
    "httpGet",
    Shape::Object(&Object {
        fields: &[
            must("port", Shape::Port),
            may("path", ANY),
            may("scheme", Shape::OneOf(&["HTTP", "HTTPS"])),
            may("httpHeaders", Shape::List(&up_to(16, Shape::Object(&HEADER)))),
        ],
        choice: Choice::Any,
        refused: &[HOST],
    }),
);
const HEADER: Object = of(&[must("name", Shape::Text(&text::HEADER)), must("value", ANY)]);
const TCP_SOCKET: Field = may(
    "tcpSocket",
    Shape::Object(&Object { fields: &[must("port", Shape::Port)], choice: Choice::Any, refused: &[HOST] }),
);

const LIFECYCLE: Field = may(
    "lifecycle",
    Shape::Object(&Object {
        fields: &[may("postStart", Shape::Object(&HOOK)), may("preStop", Shape::Object(&HOOK))],
        choice: Choice::Any,
        refused: &[Refused { names: &["stopSignal"], why: "not every node knows it" }],
    }),
);
const HOOK: Object = Object {
    fields: &[EXEC],
    choice: Choice::ExactlyOne(&["exec"]),
    refused: &[Refused {
        names: &["httpGet", "tcpSocket", "sleep"],
        why: "a hook is a command in the container: exec",
    }],
};
