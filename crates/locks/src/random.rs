//! Where randomness comes from.

use std::sync::Arc;

use parking_lot::Mutex;
use rand::{
    Rng, RngExt, SeedableRng,
    distr::{Distribution, StandardUniform},
    rngs::StdRng,
};

/// Where randomness comes from: the operating system, unless it is a [seed](Self::seeded), which
/// gives the same values again. Its clones draw from one sequence.
#[derive(Clone, Default)]
pub struct Source(Option<Arc<Mutex<dyn Rng + Send>>>);

impl Source {
    /// The sequence of a seed. Whoever knows the seed knows every token: for tests only.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(StdRng::seed_from_u64(seed)))))
    }

    /// The next value.
    pub fn draw<T>(&self) -> T
    where
        StandardUniform: Distribution<T>,
    {
        match &self.0 {
            // The thread's generator is a cryptographic one, seeded by the operating system.
            None => rand::rng().random(),
            Some(sequence) => sequence.lock().random(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three(source: &Source) -> [u64; 3] {
        [(); 3].map(|()| source.draw())
    }

    #[test]
    fn a_seed_gives_the_same_values_again() {
        let first = three(&Source::seeded(1));
        assert_eq!(three(&Source::seeded(1)), first);
        assert_ne!(three(&Source::seeded(2)), first);
        assert_ne!(three(&Source::default()), three(&Source::default()));
        let (one, clone) = (Source::seeded(1), Source::seeded(1));
        let (sequence, shared) = (clone.clone(), clone);
        assert_eq!([one.draw::<u64>(), one.draw()], [sequence.draw::<u64>(), shared.draw()]);
    }
}
