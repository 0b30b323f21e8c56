//! How many reconciles wait for presets at once.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// So many reconciles wait for presets at once, and so many of these for one.
const ASK_AT_ONCE: u32 = 48;
const ASK_ONE: u32 = 16;

/// Who asks a preset at this moment. A reconcile that waits for an answer keeps its place, and there are
/// only so many: what is slow must not take them from what has to be deleted.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<String, u32>>);

impl Turns {
    fn count(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place among those who ask this preset; None while too many do.
    pub fn take(&self, preset: &str) -> Option<Turn<'_>> {
        let mut count = self.count();
        if count.values().sum::<u32>() >= ASK_AT_ONCE
            || count.get(preset).is_some_and(|of_this| *of_this >= ASK_ONE)
        {
            return None;
        }
        *count.entry(preset.into()).or_default() += 1;
        Some(Turn { turns: self, preset: preset.into() })
    }
}

/// A place; it is free again when this is dropped.
pub struct Turn<'a> {
    turns: &'a Turns,
    preset: String,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut count = self.turns.count();
        if let Some(of_this) = count.get_mut(&self.preset) {
            *of_this -= 1;
            if *of_this == 0 {
                count.remove(&self.preset);
            }
        }
    }
}
