//! Instruments: what a metric is, and how it becomes series.
//!
//! Handles are made once, for every value that a label can take. That keeps the hot path free of
//! look-ups, and starts every series at 0: a counter that first appears at 1 never fires
//! `increase(…) > 0`.

pub mod raised;

use std::sync::Arc;

use enum_map::{EnumArray, EnumMap};
use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, NoopRecorder, Recorder};

/// Where series are registered: an exporter, or nowhere ([`metrics::NoopRecorder`]).
pub type Registry = dyn Recorder + Send + Sync;

/// Where nothing is registered.
#[must_use]
pub fn nowhere() -> Arc<Registry> {
    Arc::new(NoopRecorder)
}

/// How a metric is recorded.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts samples by their size; holds the upper bounds of the buckets.
    Histogram(&'static [f64]),
}

/// One metric.
#[derive(Debug)]
pub struct Definition {
    /// Its name, unit included.
    pub name: &'static str,
    /// How it is recorded.
    pub kind: Kind,
    /// The HELP text.
    pub help: &'static str,
}

/// A label and its value.
pub type Pair = (&'static str, &'static str);

const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

impl Definition {
    fn key(&self, labels: &[Pair]) -> Key {
        let label = |&(name, value): &Pair| Label::from_static_parts(name, value);
        Key::from_parts(self.name, labels.iter().map(label).collect::<Vec<_>>())
    }

    /// A counter that starts at 0.
    pub fn counter(&self, registry: &Registry, labels: &[Pair]) -> Counter {
        let counter = registry.register_counter(&self.key(labels), &METADATA);
        counter.increment(0);
        counter
    }

    /// A gauge that starts at 0.
    pub fn gauge(&self, registry: &Registry, labels: &[Pair]) -> Gauge {
        let gauge = registry.register_gauge(&self.key(labels), &METADATA);
        gauge.set(0.0);
        gauge
    }

    /// A histogram without samples.
    pub fn histogram(&self, registry: &Registry, labels: &[Pair]) -> Histogram {
        registry.register_histogram(&self.key(labels), &METADATA)
    }

    /// A histogram whose label values are known only at run time.
    pub fn histogram_labelled(&self, registry: &Registry, labels: Vec<Label>) -> Histogram {
        registry.register_histogram(&Key::from_parts(self.name, labels), &METADATA)
    }

    /// One counter for each value of the label `name`.
    pub fn counters<V>(
        &self,
        registry: &Registry,
        labels: &[Pair],
        name: &'static str,
    ) -> EnumMap<V, Counter>
    where
        V: EnumArray<Counter> + Into<&'static str>,
    {
        EnumMap::from_fn(|value: V| self.counter(registry, &with(labels, name, value)))
    }

    /// One gauge for each value of the label `name`.
    pub fn gauges<V>(
        &self,
        registry: &Registry,
        labels: &[Pair],
        name: &'static str,
    ) -> EnumMap<V, Gauge>
    where
        V: EnumArray<Gauge> + Into<&'static str>,
    {
        EnumMap::from_fn(|value: V| self.gauge(registry, &with(labels, name, value)))
    }

    /// One histogram for each value of the label `name`.
    pub fn histograms<V>(
        &self,
        registry: &Registry,
        labels: &[Pair],
        name: &'static str,
    ) -> EnumMap<V, Histogram>
    where
        V: EnumArray<Histogram> + Into<&'static str>,
    {
        EnumMap::from_fn(|value: V| self.histogram(registry, &with(labels, name, value)))
    }
}

fn with(labels: &[Pair], name: &'static str, value: impl Into<&'static str>) -> Vec<Pair> {
    [labels, &[(name, value.into())]].concat()
}

/// Declares metrics: a constant each, and the list of them.
#[macro_export]
macro_rules! definitions {
    ($($constant:ident: $name:literal, $kind:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: $crate::measure::Definition =
                $crate::measure::Definition { name: $name, kind: $kind, help: $help };
        )*

        /// Every metric that is declared here.
        pub const DEFINITIONS: &[&$crate::measure::Definition] = &[$(&$constant),*];
    };
}
