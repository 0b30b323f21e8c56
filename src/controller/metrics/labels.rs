//! The labels of the metrics: enums, so that there is a bounded number of series.

use chrono::{DateTime, Utc};
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

use crate::resource::{Ephemeron, conditions::Reason, phase};

/// An enum that is a label's value, its values as they are written, and all of them.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
        pub enum $name { $($(#[$each])* $value,)+ }

        impl $name {
            /// Every value.
            pub const ALL: [Self; [$($text),+].len()] = [$(Self::$value),+];

            /// The value as the label says it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
                self.as_str().encode(encoder)
            }
        }
    };
}

label! {
    /// How a reconcile ended.
    Outcome {
        /// As it should.
        Success = "success",
        /// It failed, and is tried again.
        Error = "error",
    }
}

label! {
    /// What failed in a reconcile.
    Failure {
        /// A child could not be written.
        Apply = "apply",
        /// The Secret of a preset, or the record of what it has said, could not be written or read.
        Preset = "preset",
        /// The status could not be written.
        Publish = "publish",
        /// What is over could not be deleted.
        Expire = "expire",
        /// The API server did not answer in time.
        Timeout = "timeout",
        /// A defect of the controller.
        Defect = "defect",
    }
}

label! {
    /// Why an Ephemeron's life ended.
    Ended {
        /// Its time was over.
        Expired = "expired",
        /// Somebody deleted it before.
        Deleted = "deleted",
    }
}

label! {
    /// Why nothing is deleted at its end.
    Held {
        /// The installation asks for it.
        Configured = "configured",
        /// This clock and the API server's are too far apart.
        Clock = "clock",
    }
}

label! {
    /// What has come of a preset's file.
    PresetFile {
        /// It is served.
        Serving = "serving",
        /// It is bad; the last good one of its name may be served.
        Failing = "failing",
    }
}

label! {
    /// What has come of asking a preset.
    Asked {
        /// It has said what to run.
        Rendered = "rendered",
        /// There is no such preset, or none that can be used.
        Absent = "absent",
        /// It has said no.
        Refused = "refused",
        /// Its template is against the policy.
        RefusedByPolicy = "refused_by_policy",
        /// It has trapped, used up what it may use, or answered what is no answer.
        Failed = "failed",
    }
}

impl Asked {
    /// What a reason that nothing is to be run counts as.
    #[must_use]
    pub fn without(reason: Reason) -> Self {
        match reason {
            Reason::PresetNotFound | Reason::PresetStarting | Reason::PresetIncompatible => Self::Absent,
            Reason::InvalidParameters | Reason::RefusedByPreset => Self::Refused,
            Reason::RefusedByPolicy => Self::RefusedByPolicy,
            _ => Self::Failed,
        }
    }
}

label! {
    /// Where an Ephemeron is in its life.
    Phase {
        /// Its service is being brought about.
        Pending = "Pending",
        /// Its service can be reached.
        Available = "Available",
        /// Its service cannot become available until somebody does something.
        Failing = "Failing",
        /// Its time is over, or it is being deleted.
        Expiring = "Expiring",
    }
}

label! {
    /// What is watched.
    Kind {
        /// `qualified.io`.
        Ephemeron = "Ephemeron",
        /// Of the core.
        Pod = "Pod",
        /// Of the core.
        Service = "Service",
        /// `discovery.k8s.io`.
        EndpointSlice = "EndpointSlice",
        /// `gateway.networking.k8s.io`.
        HTTPRoute = "HTTPRoute",
        /// `gateway.networking.k8s.io`.
        Gateway = "Gateway",
        /// `gateway.networking.k8s.io`.
        GatewayClass = "GatewayClass",
        /// `networking.k8s.io`.
        Ingress = "Ingress",
        /// `networking.k8s.io`.
        IngressClass = "IngressClass",
        /// Of the core.
        Namespace = "Namespace",
        /// Any other.
        Other = "other",
    }
}

impl Kind {
    /// The kind of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or(Self::Other)
    }
}

impl Phase {
    /// The phase that an Ephemeron is in at a time; `end` is when its time is over.
    #[must_use]
    pub fn of(ephemeron: &Ephemeron, end: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        match phase::Phase::of(ephemeron, end, now) {
            phase::Phase::Pending => Self::Pending,
            phase::Phase::Available => Self::Available,
            phase::Phase::Failing => Self::Failing,
            phase::Phase::Expiring => Self::Expiring,
        }
    }
}

/// One label: its key, and one of its values.
pub type By<V> = [(&'static str, V); 1];
