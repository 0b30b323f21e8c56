//! Many values of one thing in a few: smallest, middle, largest, and the one that few exceed.

use serde::Serialize;

/// The spread of some values.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The one that one in a hundred exceeds (nearest rank).
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        let rank = (values.len() * 99).div_ceil(100);
        Self { min: values[0], median, p99: values[rank - 1], max: values[values.len() - 1] }
    }

    /// Middle, smallest and largest as text.
    pub fn told(self, unit: &str) -> String {
        let Self { min, median, max, .. } = self;
        format!("median {median:.3}{unit}, from {min:.3} to {max:.3}")
    }
}
