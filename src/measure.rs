//! Instruments: what a metric is, and how it becomes series.

pub mod clock;
pub mod cpu;
pub mod definitions;
pub mod exporter;
#[cfg_attr(not(target_os = "linux"), path = "measure/no_proc.rs")]
pub mod proc;
pub mod raised;
pub mod runtime;
pub mod sample;

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::PrometheusRecorder;
use strum::VariantArray;

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

impl Definition {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, help }
    }

    fn key(&self, labels: &[Pair]) -> Key {
        let label = |&(name, value): &Pair| Label::from_static_parts(name, value);
        Key::from_parts(self.name, labels.iter().map(label).collect::<Vec<_>>())
    }

    /// A counter that starts at 0.
    pub fn counter(&self, recorder: &PrometheusRecorder, labels: &[Pair]) -> Counter {
        let counter = recorder.register_counter(&self.key(labels), &METADATA);
        counter.increment(0);
        counter
    }

    /// A gauge that starts at 0.
    pub fn gauge(&self, recorder: &PrometheusRecorder, labels: &[Pair]) -> Gauge {
        let gauge = recorder.register_gauge(&self.key(labels), &METADATA);
        gauge.set(0.0);
        gauge
    }

    /// A histogram without samples.
    pub fn histogram(&self, recorder: &PrometheusRecorder, labels: &[Pair]) -> Histogram {
        recorder.register_histogram(&self.key(labels), &METADATA)
    }

    /// A histogram whose label values are known only at run time.
    pub fn histogram_labelled(
        &self,
        recorder: &PrometheusRecorder,
        labels: Vec<Label>,
    ) -> Histogram {
        recorder.register_histogram(&Key::from_parts(self.name, labels), &METADATA)
    }

    /// One counter for each value of the label `name`, in the order of the values.
    pub fn counters<V>(
        &self,
        recorder: &PrometheusRecorder,
        labels: &[Pair],
        name: &'static str,
    ) -> Vec<Counter>
    where
        V: VariantArray + Copy + Into<&'static str>,
    {
        let each = |&value: &V| self.counter(recorder, &[labels, &[(name, value.into())]].concat());
        V::VARIANTS.iter().map(each).collect()
    }

    /// One histogram for each value of the label `name`, in the order of the values.
    pub fn histograms<V>(
        &self,
        recorder: &PrometheusRecorder,
        labels: &[Pair],
        name: &'static str,
    ) -> Vec<Histogram>
    where
        V: VariantArray + Copy + Into<&'static str>,
    {
        let each =
            |&value: &V| self.histogram(recorder, &[labels, &[(name, value.into())]].concat());
        V::VARIANTS.iter().map(each).collect()
    }
}

const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
