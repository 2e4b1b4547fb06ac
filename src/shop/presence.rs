//! Who is where at this server: who waits for the lock of a product, and who is in its critical
//! section. A gauge that is scraped misses what lasts a millisecond, so overlaps are counted when
//! they begin.

use enum_map::EnumMap;
use std::collections::HashMap;

use metrics::{Counter, Gauge, Histogram};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    measure::definitions as def,
    product::Product,
    strategy::{Family, StrategyId},
};
use locklab_locks::measure::Registry;

/// The lock of a product under a strategy.
type Place = (StrategyId, Product);

/// Handles, and what they are computed from.
pub struct Presence {
    /// By strategy; `None` for one that grants no lease.
    strategies: EnumMap<StrategyId, Option<Handles>>,
    /// Only places where somebody is: bounded by the purchases in flight.
    places: Mutex<HashMap<Place, Here>>,
}

struct Handles {
    waiters: Gauge,
    inside: Gauge,
    peak: Gauge,
    overlaps: Counter,
    handoff: Histogram,
    /// The most in one critical section since the last scrape.
    most: Mutex<u32>,
}

/// Who is at a place.
#[derive(Default)]
struct Here {
    waiting: u32,
    inside: u32,
    /// When a holder began to release, if somebody waited then and nobody was granted the lock since.
    freed: Option<Instant>,
}

impl Presence {
    /// Starts every series at 0; nobody is anywhere.
    #[must_use]
    pub fn new(registry: &Registry) -> Self {
        let handles = |id: StrategyId| {
            let lock = [("lock", id.row().name)];
            (id.row().family == Family::Lock).then(|| Handles {
                waiters: def::LOCK_WAITERS.gauge(registry, &lock),
                inside: def::CRITICAL_SECTIONS.gauge(registry, &lock),
                peak: def::CRITICAL_SECTIONS_PEAK.gauge(registry, &lock),
                overlaps: def::CRITICAL_SECTION_OVERLAPS.counter(registry, &lock),
                handoff: def::LOCK_HANDOFF.histogram(registry, &lock),
                most: Mutex::default(),
            })
        };
        Self { strategies: EnumMap::from_fn(handles), places: Mutex::default() }
    }

    /// Somebody wants a lock, until the result is dropped.
    pub fn wait(&self, strategy: StrategyId, product: &Product) -> Waiting<'_> {
        let place = (strategy, product.clone());
        if let Some(handles) = &self.strategies[strategy] {
            self.places.lock().entry(place.clone()).or_default().waiting += 1;
            handles.waiters.increment(1);
        }
        Waiting { presence: self, place }
    }

    /// A holder begins to release a lock, or to hand it over.
    pub fn free(&self, strategy: StrategyId, product: &Product) {
        if let Some(here) = self.places.lock().get_mut(&(strategy, product.clone()))
            && here.waiting > 0
        {
            here.freed = Some(Instant::now());
        }
    }

    /// Somebody enters the critical section, until the result is dropped.
    pub fn enter(&self, strategy: StrategyId, product: &Product) -> Inside<'_> {
        let place = (strategy, product.clone());
        if let Some(handles) = &self.strategies[strategy] {
            let mut places = self.places.lock();
            let here = places.entry(place.clone()).or_default();
            here.inside += 1;
            if here.inside > 1 {
                handles.overlaps.increment(1);
            }
            let mut most = handles.most.lock();
            *most = here.inside.max(*most);
            handles.inside.increment(1);
        }
        Inside { presence: self, place }
    }

    /// Shows the peaks, and begins anew.
    pub fn show_peaks(&self) {
        let places = self.places.lock();
        for (strategy, handles) in &self.strategies {
            let Some(handles) = handles else { continue };
            let inside = places.iter().filter(|((of, _), _)| *of == strategy);
            let inside = inside.map(|(_, here)| here.inside).max().unwrap_or(0);
            handles.peak.set(std::mem::replace(&mut *handles.most.lock(), inside));
        }
    }

    /// Changes who is at a place, and forgets it when nobody is left.
    fn change<T>(&self, place: &Place, change: impl FnOnce(&mut Here) -> T) -> Option<T> {
        let mut places = self.places.lock();
        let here = places.get_mut(place)?;
        let result = change(here);
        if here.waiting == 0 && here.inside == 0 {
            places.remove(place);
        }
        Some(result)
    }
}

/// One who wants a lock.
#[must_use = "whoever waits does so until this is dropped"]
pub struct Waiting<'a> {
    presence: &'a Presence,
    place: Place,
}

impl Waiting<'_> {
    /// The lock was granted, or handed over.
    pub fn granted(self) {
        let freed = self.presence.change(&self.place, |here| here.freed.take());
        if let (Some(Some(freed)), Some(handles)) = (freed, &self.presence.strategies[self.place.0])
        {
            handles.handoff.record(freed.elapsed());
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(handles) = &self.presence.strategies[self.place.0] {
            handles.waiters.decrement(1);
            self.presence.change(&self.place, |here| {
                here.waiting -= 1;
                // Nobody is left whom the lock could be handed to.
                here.freed = here.freed.filter(|_| here.waiting > 0);
            });
        }
    }
}

/// One who is in a critical section.
#[must_use = "whoever is inside is so until this is dropped"]
pub struct Inside<'a> {
    presence: &'a Presence,
    place: Place,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if let Some(handles) = &self.presence.strategies[self.place.0] {
            handles.inside.decrement(1);
            self.presence.change(&self.place, |here| here.inside -= 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::exporter::Exporter;

    fn presence() -> (Exporter, Presence) {
        let exporter = Exporter::default();
        let presence = Presence::new(exporter.registry());
        (exporter, presence)
    }

    fn value(exporter: &Exporter, series: &str) -> String {
        let text = exporter.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.expect("the series is there").trim().to_owned()
    }

    #[test]
    fn overlaps_and_peaks_are_seen_however_short() {
        let (recorder, presence) = presence();
        let (safe, product) = (StrategyId::default(), Product::default());
        let other: Product = "other".parse().unwrap();
        let first = presence.enter(safe, &product);
        let elsewhere = presence.enter(safe, &other);
        let overlaps = "locklab_critical_section_overlaps_total{lock=\"safe\"}";
        assert_eq!(value(&recorder, overlaps), "0", "another product's is another section");
        drop([presence.enter(safe, &product), presence.enter(safe, &product)]);
        assert_eq!(value(&recorder, overlaps), "2");
        assert_eq!(value(&recorder, "locklab_critical_sections{lock=\"safe\"}"), "2");
        let peak = "locklab_critical_sections_peak{lock=\"safe\"}";
        for expected in ["3", "1"] {
            presence.show_peaks();
            assert_eq!(value(&recorder, peak), expected);
        }
        drop((first, elsewhere));
        presence.show_peaks();
        assert_eq!(value(&recorder, peak), "1", "somebody was inside since the last time");
        presence.show_peaks();
        assert_eq!(value(&recorder, peak), "0");
        assert!(presence.places.lock().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_handoff_is_measured_when_somebody_waited() {
        use tokio::time::{Duration, advance};
        let (recorder, presence) = presence();
        let (safe, product) = (StrategyId::default(), Product::default());
        let count = "locklab_lock_handoff_seconds_count{lock=\"safe\"}";
        presence.free(safe, &product);
        presence.wait(safe, &product).granted();
        assert_eq!(value(&recorder, count), "0", "nobody waited");
        let (next, gives_up) = (presence.wait(safe, &product), presence.wait(safe, &product));
        presence.free(safe, &product);
        advance(Duration::from_millis(250)).await;
        drop(gives_up);
        next.granted();
        assert_eq!(value(&recorder, count), "1");
        assert_eq!(value(&recorder, "locklab_lock_handoff_seconds_sum{lock=\"safe\"}"), "0.25");
        assert_eq!(value(&recorder, "locklab_lock_waiters{lock=\"safe\"}"), "0");
        assert!(presence.places.lock().is_empty());
    }
}
