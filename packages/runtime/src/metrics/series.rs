//! The metrics of one pod or container while they are gathered. It must not read anything.

use lepton_cri::v1::{Metric, UInt64Value};

use super::table::Family;

/// Metrics with the same first labels.
pub(super) struct Series {
    labels: Vec<String>,
    metrics: Vec<Metric>,
}

impl Series {
    pub(super) fn new(labels: Vec<String>) -> Self {
        Self { labels, metrics: Vec::new() }
    }

    /// Adds a value, if there is one.
    pub(super) fn add(&mut self, family: &Family, value: Option<u64>) {
        self.add_with(family, &[], value);
    }

    /// Adds a value with the labels that this family has beyond the others'.
    pub(super) fn add_with(&mut self, family: &Family, labels: &[&str], value: Option<u64>) {
        let Some(value) = value else { return };
        debug_assert_eq!(labels.len(), family.labels.len(), "{}", family.name);
        let mut label_values = self.labels.clone();
        label_values.extend(labels.iter().map(|label| (*label).to_owned()));
        self.metrics.push(Metric {
            name: family.name.to_owned(),
            // Nothing is kept from earlier, which CRI says by none.
            timestamp: 0,
            metric_type: family.kind.into(),
            label_values,
            value: Some(UInt64Value { value }),
        });
    }

    /// All that there is.
    pub(super) fn done(self) -> Vec<Metric> {
        self.metrics
    }

    /// For tests: the values of a family with the labels of its own.
    #[cfg(test)]
    pub(super) fn of(&self, family: &Family) -> Vec<(Vec<&str>, u64)> {
        let own = |metric: &Metric| metric.name == family.name;
        let shown = self.metrics.iter().filter(|metric| own(metric)).map(|metric| {
            let labels = metric.label_values[self.labels.len()..].iter().map(String::as_str).collect();
            (labels, metric.value.as_ref().map_or(0, |value| value.value))
        });
        shown.collect()
    }
}
