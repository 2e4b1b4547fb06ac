//! The table by which waiters and the task that keeps the connection agree.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// Which channels are wanted.
#[derive(Default)]
pub(super) struct Table {
    rows: Mutex<Rows>,
    /// Wakes the task: there are channels to look at.
    pub(super) changed: Notify,
    /// Why there is no connection; changes each time that one could not be made.
    pub(super) failure: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct Rows {
    /// Bounded by the subscribers: a channel that nobody wants has no row.
    channels: HashMap<Arc<str>, Row>,
    /// Whether there is a connection to bring in line; a new one is told everything.
    is_connected: bool,
    /// Those that came or went since the task last looked, as long as there is a connection.
    changed: HashSet<Arc<str>>,
}

struct Row {
    subscribers: usize,
    wakeup: Arc<Notify>,
    phase: watch::Sender<Phase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not subscribed to yet.
    New,
    /// Redis has confirmed it.
    Confirmed,
    /// The connection was lost since.
    Lost,
}

/// Being counted as a subscriber.
pub(super) struct Membership {
    table: Arc<Table>,
    channel: Arc<str>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.table.leave(&self.channel);
    }
}

impl Table {
    /// Counts one more subscriber, until the membership is dropped.
    pub(super) fn join(
        table: &Arc<Self>,
        name: &str,
    ) -> (Membership, Arc<Notify>, watch::Receiver<Phase>) {
        let mut guard = table.rows.lock();
        let rows = &mut *guard;
        let channel = match rows.channels.get_key_value(name) {
            Some((channel, _)) => Arc::clone(channel),
            None => {
                let channel: Arc<str> = name.into();
                rows.note(&channel);
                table.changed.notify_one();
                channel
            }
        };
        let row = rows.channels.entry(Arc::clone(&channel)).or_insert_with(|| Row {
            subscribers: 0,
            wakeup: Arc::default(),
            phase: watch::Sender::new(Phase::New),
        });
        row.subscribers += 1;
        let (wakeup, phase) = (Arc::clone(&row.wakeup), row.phase.subscribe());
        (Membership { table: Arc::clone(table), channel }, wakeup, phase)
    }

    fn leave(&self, channel: &Arc<str>) {
        let mut rows = self.rows.lock();
        let Some(row) = rows.channels.get_mut(channel) else { return };
        row.subscribers -= 1;
        if row.subscribers == 0 {
            rows.channels.remove(channel);
            rows.note(channel);
            self.changed.notify_one();
        }
    }

    /// How many channels are wanted.
    pub(super) fn len(&self) -> usize {
        self.rows.lock().channels.len()
    }

    /// Waits until a channel is wanted.
    pub(super) async fn wanted(&self) {
        while self.rows.lock().channels.is_empty() {
            self.changed.notified().await;
        }
    }

    /// There is a connection, which knows of no channel.
    pub(super) fn connected(&self) {
        let mut guard = self.rows.lock();
        let rows = &mut *guard;
        rows.is_connected = true;
        rows.changed = rows.channels.keys().cloned().collect();
    }

    /// What to subscribe to and what to unsubscribe from, after which `live` is true. A channel that
    /// was dropped and wanted again meanwhile is subscribed to still.
    pub(super) fn changes(&self, live: &mut HashSet<Arc<str>>) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let mut rows = self.rows.lock();
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for channel in std::mem::take(&mut rows.changed) {
            match rows.channels.get(&channel) {
                Some(row) if live.contains(&channel) => row.confirm(),
                Some(_) => {
                    live.insert(Arc::clone(&channel));
                    wanted.push(channel);
                }
                None if live.remove(&channel) => unwanted.push(channel),
                None => {}
            }
        }
        (wanted, unwanted)
    }

    /// Redis has confirmed these channels.
    pub(super) fn confirm(&self, channels: &[Arc<str>]) {
        // In silence: who waits for the next failure has not seen one.
        self.failure.send_if_modified(|failure| {
            *failure = None;
            false
        });
        let rows = self.rows.lock();
        for channel in channels {
            if let Some(row) = rows.channels.get(channel) {
                row.confirm();
            }
        }
    }

    /// A message has come.
    pub(super) fn wake(&self, channel: &str) {
        if let Some(row) = self.rows.lock().channels.get(channel) {
            row.wakeup.notify_one();
        }
    }

    /// The connection was lost.
    pub(super) fn lost(&self) {
        let mut guard = self.rows.lock();
        let rows = &mut *guard;
        rows.is_connected = false;
        rows.changed.clear();
        for row in rows.channels.values() {
            row.phase.send_if_modified(|phase| {
                let confirmed = *phase == Phase::Confirmed;
                if confirmed {
                    *phase = Phase::Lost;
                }
                confirmed
            });
        }
    }
}

impl Rows {
    fn note(&mut self, channel: &Arc<str>) {
        if self.is_connected {
            self.changed.insert(Arc::clone(channel));
        }
    }
}

impl Row {
    /// Redis has confirmed it. If it had done so before, there may have been a message since.
    fn confirm(&self) {
        if self.phase.send_replace(Phase::Confirmed) == Phase::Lost {
            self.wakeup.notify_one();
        }
    }
}
