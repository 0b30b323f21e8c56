//! What can be against the policy, in words for whoever asked for it.

use super::{quantity, reference::NotAReference, security::Level};

/// What is against the policy: the field, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A container without an image.
    #[error("{field}: there is no image")]
    NoImage {
        /// Where.
        field: String,
    },
    /// An image that is none.
    #[error("{field}: {why}")]
    NotAnImage {
        /// Where.
        field: String,
        /// What it is instead.
        why: NotAReference,
    },
    /// An image that is not on the list.
    #[error("{field}: the image {image} is not allowed here: EPHEMERON_IMAGES lists those that are")]
    ImageNotAllowed {
        /// Where.
        field: String,
        /// The image, with registry and tag.
        image: String,
    },
    /// An amount that is none.
    #[error("{field}: {why}")]
    NotAQuantity {
        /// Where.
        field: String,
        /// What it is instead.
        why: quantity::Malformed,
    },
    /// An amount beyond its cap.
    #[error(
        "{field}: {asked} is more than the {cap} that a container may have here: ask for less, or raise \
         EPHEMERON_MAX_RESOURCES"
    )]
    TooMuch {
        /// Where.
        field: String,
        /// What is asked for.
        asked: String,
        /// The cap.
        cap: String,
    },
    /// A field beyond the Pod Security level.
    #[error("{field} {rule} at the Pod Security level {level}, which EPHEMERON_POD_SECURITY sets")]
    Security {
        /// Where.
        field: String,
        /// What it may or must be.
        rule: &'static str,
        /// The level.
        level: Level,
    },
    /// A label or annotation that only we set.
    #[error("{field}: the key {key:?} is reserved: take it out")]
    Reserved {
        /// Where.
        field: &'static str,
        /// The key.
        key: String,
    },
    /// An annotation that is not on the list.
    #[error(
        "{field}: the annotation {key:?} is not allowed here: EPHEMERON_INGRESS_ANNOTATIONS lists those that are"
    )]
    AnnotationNotAllowed {
        /// Where.
        field: String,
        /// Its key.
        key: String,
    },
    /// A field of what a preset has rendered that it cannot set, or not to this.
    #[error("{field} {why}")]
    FieldNotAllowed {
        /// Where.
        field: String,
        /// Why not, and what to do.
        why: String,
    },
    /// What a preset has rendered is no pod template.
    #[error("{field} {why}")]
    NotATemplate {
        /// Where.
        field: String,
        /// What is wrong there.
        why: String,
    },
    /// What is said of the service is fine; the installation's template, or both together, are not.
    #[error("{0}; it comes of the installation's own template, EPHEMERON_POD_TEMPLATE")]
    ByTemplate(Box<Violation>),
}

impl Violation {
    /// Whether it is this installation's lists, caps and template that forbid it, and not what a Pod may be
    /// at all.
    #[must_use]
    pub fn is_of_this_installation(&self) -> bool {
        matches!(self, Self::ImageNotAllowed { .. } | Self::TooMuch { .. } | Self::ByTemplate(_))
    }

    /// Whether no policy could let it through, since it does not mean anything.
    #[must_use]
    pub fn is_nonsense(&self) -> bool {
        matches!(
            self,
            Self::NoImage { .. }
                | Self::NotAnImage { .. }
                | Self::NotAQuantity { .. }
                | Self::NotATemplate { .. }
        )
    }
}
