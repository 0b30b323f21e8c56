//! Every reason that a condition can have: what it means, and what to do about it.
//!
//! docs/reference/conditions.md is made from this list.

use super::conditions::{AVAILABLE, EXPIRING, POD_READY, PRESET_READY};

/// What is to be known of a reason.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The reason.
    pub reason: Reason,
    /// The conditions that can have it.
    pub of: &'static [&'static str],
    /// Whether somebody has to do something, or it may last: it is told by an Event, too.
    pub is_trouble: bool,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

macro_rules! reasons {
    ($($name:ident: $of:expr, $kind:ident, $meaning:literal, $remedy:literal;)*) => {
        /// Why a condition has its status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)*
        }

        impl Reason {
            /// All reasons with their descriptions, in the order in which a life meets them.
            pub const ALL: &[Description] = &[
                $(Description {
                    reason: Self::$name,
                    of: $of,
                    is_trouble: reasons!(@ $kind),
                    meaning: $meaning,
                    remedy: $remedy,
                },)*
            ];

            /// The reason as the condition says it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
    (@ trouble) => { true };
    (@ usual) => { false };
}

const SPEC: &[&str] = &[PRESET_READY, POD_READY, AVAILABLE];
const POD: &[&str] = &[POD_READY, AVAILABLE];
const AVAILABILITY: &[&str] = &[AVAILABLE];

reasons! {
    InvalidSpec: SPEC, trouble,
        "The spec cannot be carried out; the message names the field.",
        "Correct it. What cannot be changed in place needs a new Ephemeron.";
    RefusedByPolicy: SPEC, trouble,
        "This installation does not allow what the spec asks for; the message names the field.",
        "Ask for less, or have the installation's setting changed that the message names.";
    PresetNotFound: SPEC, trouble,
        "There is no preset of this name; the message has those that there are.",
        "Correct spec.preset.name (in a new Ephemeron), or put the preset's file into a folder of EPHEMERON_PRESETS: it goes on by itself then.";
    PresetStarting: SPEC, usual,
        "The controller is still looking at its presets.",
        "Nothing: it goes on by itself.";
    PresetIncompatible: SPEC, trouble,
        "The preset's file cannot be used by this version of the controller; the message says why.",
        "Build the preset as the message says, and replace its file: it goes on by itself then. `preset check FILE` says the same beforehand.";
    PresetUnhealthy: SPEC, trouble,
        "The preset does not keep to its interface: what it answers is malformed, or differs from call to call.",
        "Tell the preset's author; `preset check FILE` shows the fault.";
    InvalidParameters: SPEC, trouble,
        "The preset does not take spec.preset.parameters; the message has each fault with its JSON Pointer.",
        "Correct them in a new Ephemeron.";
    RefusedByPreset: SPEC, trouble,
        "A rule of the preset forbids what the parameters ask for, or the preset has failed by its own account.",
        "Do as the message says.";
    PresetTrapped: SPEC, trouble,
        "The preset's code has trapped, such as by a panic or by running out of stack.",
        "Tell the preset's author; `preset render` with the same parameters shows it.";
    PresetOutOfFuel: SPEC, trouble,
        "The preset has used up the instructions that a call may have: it may loop, or be asked for too much.",
        "Ask for less, or raise EPHEMERON_PRESET_FUEL.";
    PresetOutOfMemory: SPEC, trouble,
        "The preset wants more memory than it may have.",
        "Ask for less, or raise EPHEMERON_PRESET_MEMORY.";
    PresetTimedOut: SPEC, trouble,
        "The preset has not answered in time. It is asked again.",
        "If it happens again, tell the preset's author, or raise EPHEMERON_PRESET_TIME.";
    PresetRecordLost: SPEC, trouble,
        "What the preset has said is needed and is not in the status any more; the preset, or the parameters, have changed since.",
        "Delete this Ephemeron and create another. Find out who has written its status by hand.";
    Rendered: &[PRESET_READY], usual,
        "The preset has said what to run.",
        "Nothing.";
    NameReserved: POD, trouble,
        "The name, or the host that it gives, is kept for the installation itself (EPHEMERON_RESERVED_NAMES, EPHEMERON_API_HOST).",
        "Use another name.";
    NameTaken: POD, trouble,
        "An object that is not the Ephemeron's has the name of a child. It is never touched.",
        "Delete or rename that object, or use another name.";
    WaitingForDeletion: POD, usual,
        "An object of this name, such as the Pod of a predecessor, is still being deleted.",
        "Nothing: it goes on by itself. If it lasts, see what keeps that object (finalizers, a lost node).";
    QuotaExceeded: POD, trouble,
        "A ResourceQuota of the namespace does not admit a child.",
        "Wait until others end, or raise the quota.";
    RefusedByAdmission: POD, trouble,
        "An admission plugin or webhook of the cluster refuses a child; the message has its words.",
        "Do as it says; Pod Security levels are labels of the namespace.";
    Refused: POD, trouble,
        "The API server refuses a child, such as for an invalid field or a missing permission.",
        "Do as the message says; `run --check` finds missing permissions.";
    ChildUnreadable: POD, trouble,
        "A child was changed into something that the controller cannot read. It is made again.",
        "Nothing, unless it happens again: then find out who changes it.";
    Unschedulable: POD, trouble,
        "No node can take the Pod.",
        "Ask for less, or add nodes; the message says what is missing.";
    ImagePullFailed: POD, trouble,
        "The image cannot be pulled.",
        "Check its name, the registry, and the pull secrets of the installation's pod template.";
    ContainerCannotStart: POD, trouble,
        "A container cannot be started: its command does not exist, or its configuration does not fit the image.",
        "Correct spec.service.command or the image; the message has the runtime's words.";
    ContainerCrashed: POD, trouble,
        "A container has ended; the message has its exit code and last words. It is started again with growing pauses.",
        "Correct the program or what it is started with.";
    PodFailed: POD, trouble,
        "The Pod has failed as a whole, such as by eviction. Another one is made.",
        "Nothing, unless it happens again: then see the nodes' memory and disk.";
    PodLost: POD, trouble,
        "The Pod was deleted, or its node is lost. Another one is made.",
        "Nothing, unless it happens again: then find out who deletes it.";
    PortNotListening: POD, trouble,
        "The container runs, but nothing accepts connections on spec.service.port.",
        "Have the program listen there, on all addresses (0.0.0.0), not only on localhost.";
    NotReadyInTime: POD, trouble,
        "The container runs, but has not become ready in the usual time; the message has the probe's words.",
        "Look at the container's log, and whether readinessProbe.path is right.";
    PodNotReady: POD, usual,
        "The Pod is being started, or is not ready at the moment.",
        "Nothing: it goes on by itself.";
    PodReady: &[POD_READY], usual,
        "The Pod is ready.",
        "Nothing.";
    Connecting: AVAILABILITY, usual,
        "The Pod is ready; its endpoint, its route and the gateway follow.",
        "Nothing: it takes a moment. After ten seconds the reason says what is missing.";
    EndpointsNotReady: AVAILABILITY, trouble,
        "The Pod is ready, but its Service has no ready endpoint.",
        "See the cluster's controller manager, which publishes endpoints.";
    NoGateway: AVAILABILITY, trouble,
        "No Gateway or ingress class can serve the host.",
        "Create a Gateway, or name one by EPHEMERON_GATEWAY; `run --check` says what is there.";
    AmbiguousGateway: AVAILABILITY, trouble,
        "More than one Gateway could serve the host, and none was chosen.",
        "Set EPHEMERON_GATEWAY to one of those in the message.";
    HostNotAdmitted: AVAILABILITY, trouble,
        "The listener does not admit the host or the namespace of the route.",
        "Correct the listener's hostname or allowedRoutes, or choose another by EPHEMERON_GATEWAY.";
    HostTaken: AVAILABILITY, trouble,
        "An HTTPRoute or Ingress that is not the Ephemeron's has the host already. It is not fought over.",
        "Take the host out of that object, or use another name.";
    RouteNotAccepted: AVAILABILITY, trouble,
        "The Gateway's controller has not accepted the HTTPRoute; the message has its words.",
        "Do as it says. If it has said nothing, see whether it runs.";
    ProbeAddressUnreachable: AVAILABILITY, trouble,
        "The address at which the URL is probed does not accept connections.",
        "Is the gateway running? If it has another address for the controller, set EPHEMERON_PROBE_ADDRESS.";
    CertificateMismatch: AVAILABILITY, trouble,
        "The gateway answers with a certificate that is not for the host.",
        "Ingress: does the Secret spec.service.tlsSecretName exist, and is it for the host? Gateway: see the listener's certificate.";
    URLNotAnswering: AVAILABILITY, trouble,
        "The Pod is ready, but its URL does not answer with 200 to 399.",
        "Ask for the URL by hand; see the gateway's log.";
    Available: AVAILABILITY, usual,
        "The service can be reached.",
        "Nothing.";
    ExpiringSoon: &[EXPIRING], trouble,
        "The service ends soon.",
        "To keep it, set spec.expirationTime to a later time.";
    ExpiryHeld: &[EXPIRING], trouble,
        "Its time is over, but deletions are held: by EPHEMERON_EXPIRY=hold, or because the controller's clock differs from the API server's.",
        "Correct the clock (NTP), or unset EPHEMERON_EXPIRY: it is deleted at once then.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_words_for_programs() {
        let is_reason = |text: &str| {
            // The pattern of `reason` in metav1.Condition, in CamelCase.
            text.len() < 1024
                && text.starts_with(|char: char| char.is_ascii_uppercase())
                && text.chars().all(char::is_alphanumeric)
        };
        for description in Reason::ALL {
            let word = description.reason.as_str();
            assert!(is_reason(word), "{word}");
            assert!(!description.of.is_empty(), "{word}");
            for sentence in [description.meaning, description.remedy] {
                assert!(sentence.ends_with('.') && !sentence.contains('|'), "{word}: {sentence}");
            }
        }
    }
}
