//! What is said of a field that is not on the list: why it is not, or which one may have been meant.

use super::{not_on_the_list, shape::Object};
use crate::policy::Violation;

/// The longest name that is compared with others, in bytes.
const LONGEST: usize = 48;

/// An object's fields are listed where they are no more than this.
const FEW: usize = 8;

/// A field that is not among those of the object.
pub fn unknown(field: &str, name: &str, object: &Object) -> Violation {
    if let Some(refused) = object.refused.iter().find(|refused| refused.names.contains(&name)) {
        return not_on_the_list(field, format!("cannot be set by a preset: {}", refused.why));
    }
    let names = object.fields.iter().map(|field| field.name);
    let mut why = String::from("is not a field that a preset can set");
    if let Some(meant) = meant(name, names.clone()) {
        why = format!("{why}: did you mean {meant}?");
    } else if object.fields.len() <= FEW {
        why = format!("{why}: here it can set {}", names.collect::<Vec<_>>().join(", "));
    }
    not_on_the_list(field, why)
}

/// The known name that differs least, if it differs little.
fn meant(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if name.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let name = plain(name);
    let most = (name.chars().count() / 3).min(3);
    known
        .map(|known| (strsim::osa_distance(&name, &plain(known)), known))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}
