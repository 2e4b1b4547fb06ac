//! Lines: first come, first served, among the buyers of one server.
//!
//! Who has the turn is the only one of its line at the lock service: the others of this server neither
//! compete there nor load it. The turn goes to the next when it is dropped, or by
//! [`Turn::hand_over`], with what the next one would otherwise have to get for itself: the lease.
//!
//! A turn is never lost. It is a value that passes itself on when it is dropped, wherever it is: with
//! a purchase that panics, or on its way to a waiter that has just left. So dead waiters block nobody;
//! that is where fair locks got stuck (Redisson's threads 1104, 3730, 4323, 4595).

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::Hash,
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

/// The lines of one server, by what is waited for (`K`). A waiter says what it wants (`W`); an item
/// (`T`) may be handed over with the turn.
///
/// Bounded by those who are in it: a line lives as long as somebody has its turn.
pub struct Lines<K: Clone + Eq + Hash, W, T>(Arc<Shared<K, W, T>>);

struct Shared<K: Clone + Eq + Hash, W, T> {
    state: Mutex<State<K, W, T>>,
    /// Whether an item may go to who wants this.
    suits: fn(&T, &W) -> bool,
}

struct State<K: Clone + Eq + Hash, W, T> {
    /// Every line whose turn somebody has, and who waits for it, in the order of arrival.
    lines: HashMap<K, BTreeMap<Ticket, Waiter<K, W, T>>>,
    /// Never given twice, so that an old ticket cannot be mistaken for one of a later line.
    next_ticket: Ticket,
}

type Ticket = u64;

struct Waiter<K: Clone + Eq + Hash, W, T> {
    wants: W,
    call: oneshot::Sender<Turn<K, W, T>>,
}

impl<K: Clone + Eq + Hash, W, T> Lines<K, W, T> {
    /// No lines yet. `suits` says whether an item may go to a waiter; it is called under a lock.
    #[must_use]
    pub fn new(suits: fn(&T, &W) -> bool) -> Self {
        let state = State { lines: HashMap::new(), next_ticket: 0 };
        Self(Arc::new(Shared { state: Mutex::new(state), suits }))
    }

    /// Waits for the turn; not at all when the line is empty. `None`: the deadline passed, or nobody
    /// wants it any more.
    ///
    /// # Cancellation
    /// Dropping the future leaves the line; a turn that had been given goes to the next. The place in
    /// the line is taken when the future is first polled.
    pub async fn turn(
        &self,
        key: K,
        wants: W,
        deadline: Instant,
        gone: &CancellationToken,
    ) -> Option<Turn<K, W, T>> {
        let (_place, called) = match self.join(key, wants) {
            Joined::First(turn) => return Some(turn),
            Joined::Waiting(place, called) => (place, called),
        };
        tokio::select! {
            biased;
            turn = called => turn.ok(),
            () = gone.cancelled() => None,
            () = time::sleep_until(deadline) => None,
        }
    }

    fn join(&self, key: K, wants: W) -> Joined<K, W, T> {
        let shared = Arc::clone(&self.0);
        let mut state = self.0.state.lock();
        let ticket = state.next_ticket;
        let Some(line) = state.lines.get_mut(&key) else {
            state.lines.insert(key.clone(), BTreeMap::new());
            return Joined::First(Turn { shared, key, item: None, is_over: false });
        };
        let (call, called) = oneshot::channel();
        line.insert(ticket, Waiter { wants, call });
        state.next_ticket += 1;
        Joined::Waiting(Place { shared, key, ticket }, called)
    }

    /// How many wait, in all lines.
    #[cfg(test)]
    pub fn waiting(&self) -> usize {
        self.0.state.lock().lines.values().map(BTreeMap::len).sum()
    }

    /// How many lines there are: turns that somebody has.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.state.lock().lines.len()
    }

    /// Whether nobody has a turn.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

enum Joined<K: Clone + Eq + Hash, W, T> {
    First(Turn<K, W, T>),
    Waiting(Place<K, W, T>, oneshot::Receiver<Turn<K, W, T>>),
}

/// A place in a line; left when dropped.
struct Place<K: Clone + Eq + Hash, W, T> {
    shared: Arc<Shared<K, W, T>>,
    key: K,
    ticket: Ticket,
}

impl<K: Clone + Eq + Hash, W, T> Drop for Place<K, W, T> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        // Not there any more when it was called.
        let left = state.lines.get_mut(&self.key).and_then(|line| line.remove(&self.ticket));
        drop(state);
        drop(left);
    }
}

/// Being the one whose turn it is. Dropping it passes it on.
#[must_use = "a turn that is dropped is over"]
pub struct Turn<K: Clone + Eq + Hash, W, T> {
    shared: Arc<Shared<K, W, T>>,
    key: K,
    item: Option<T>,
    /// Whether it is somebody else's by now.
    is_over: bool,
}

impl<K: Clone + Eq + Hash, W, T> Turn<K, W, T> {
    /// What the one before handed over. What is not taken goes on to the next with the turn, or is
    /// dropped.
    pub fn take(&mut self) -> Option<T> {
        self.item.take()
    }

    /// Whether somebody waits, and the first who does is like this.
    #[cfg(test)]
    pub fn next_matches(&self, is_like: impl FnOnce(&W) -> bool) -> bool {
        let state = self.shared.state.lock();
        let next = state.lines.get(&self.key).and_then(BTreeMap::first_key_value);
        next.is_some_and(|(_, waiter)| is_like(&waiter.wants))
    }

    /// Gives the turn, and the item with it, to the next.
    ///
    /// # Errors
    /// Nobody waits, or the item does not suit the first who does: both come back, so that the item
    /// can be disposed of before the turn is passed on.
    pub fn hand_over(mut self, item: T) -> Result<(), (Self, T)> {
        match self.shared.call_next(&self.key, Some(item)) {
            Ok(()) => {
                self.is_over = true;
                Ok(())
            }
            Err(item) => Err((self, item)),
        }
    }
}

impl<K: Clone + Eq + Hash, W, T> Drop for Turn<K, W, T> {
    fn drop(&mut self) {
        let mut item = self.item.take();
        while !self.is_over {
            let called = self.shared.call_next(&self.key, item.take());
            // An item that came back is dropped here, before anybody has the turn.
            self.is_over = called.is_ok();
        }
    }
}

impl<K: Clone + Eq + Hash, W, T: fmt::Debug> fmt::Debug for Turn<K, W, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("item", &self.item).finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash, W, T> Shared<K, W, T> {
    /// Gives the turn to the first waiter that is still there, or ends the line when there is none.
    /// An item that cannot be given comes back; the turn then stays where it is.
    fn call_next(self: &Arc<Self>, key: &K, mut item: Option<T>) -> Result<(), T> {
        loop {
            // No waker is called and nothing of others' is dropped under the lock: either could come
            // back here.
            let waiter = {
                let mut state = self.state.lock();
                let line = state.lines.get_mut(key);
                match (line.and_then(|line| line.first_entry()), item.take()) {
                    (None, Some(item)) => return Err(item),
                    (None, None) => {
                        state.lines.remove(key);
                        return Ok(());
                    }
                    (Some(next), Some(item)) if !(self.suits)(&item, &next.get().wants) => {
                        return Err(item);
                    }
                    (Some(next), given) => {
                        item = given;
                        next.remove()
                    }
                }
            };
            let (shared, key) = (Arc::clone(self), key.clone());
            let turn = Turn { shared, key, item: item.take(), is_over: false };
            match waiter.call.send(turn) {
                Ok(()) => return Ok(()),
                Err(mut turn) => {
                    turn.is_over = true;
                    item = turn.item.take();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
