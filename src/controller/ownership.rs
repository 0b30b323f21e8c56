//! Whose an object is: decided by the UID of its controller, never by its name alone.

use kube::{Resource, ResourceExt as _};

use crate::resource::Ephemeron;

/// Whom an object belongs to, seen from one Ephemeron.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// This Ephemeron.
    Ours,
    /// An Ephemeron of the same name that is gone, or is going: the garbage collector follows.
    Predecessor,
    /// Somebody else.
    Foreign,
}

/// Whom the object belongs to.
#[must_use]
pub fn whose(object: &impl Resource, owner: &Ephemeron) -> Whose {
    let Some(controller) =
        object.owner_references().iter().find(|reference| reference.controller == Some(true))
    else {
        return Whose::Foreign;
    };
    let reference = owner.owner_reference();
    match (controller.kind == reference.kind, controller.uid == reference.uid) {
        (true, true) => Whose::Ours,
        (true, false) if controller.name == reference.name => Whose::Predecessor,
        _ => Whose::Foreign,
    }
}
