//! Records what purchases do, and brings it to the store: there, the records of all servers that
//! share the store come together, and outlive the servers.
//!
//! A purchase never waits for it. Records pile up in a bounded queue, and a task sends them in
//! batches; when the queue is full, they are dropped and counted.

use std::sync::Arc;

use futures_util::future::join_all;
use metrics::Counter;
use strum::VariantArray;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{self, Duration, Instant},
};

use crate::{
    history::{Event, EventKind, Record},
    measure::{clock, definitions::HISTORY_DROPPED, proc},
    order::Order,
    product::{Item, Product},
    run::RunId,
    stock::{Note, Stock, ledger::Generation, stocks::Stocks},
    strategy::{StrategyId, server::Store},
};
use locklab_locks::{measure::Registry, token::Token};

/// Records that may wait to be sent.
const QUEUE_MAX: usize = 16_384;
/// Records that are sent at once.
const BATCH_MAX: usize = 256;
/// How long records are gathered before they are sent.
const GATHER: Duration = Duration::from_millis(5);
/// Pause before the store is tried again.
const PAUSE: Duration = Duration::from_millis(250);
/// Digits of an owner id that are recorded: enough to tell leases apart, too few to release one.
const TOKEN_DIGITS: usize = 12;

enum Message {
    Note(Note),
    /// Asks for an answer once everything before it has been sent.
    Flush(oneshot::Sender<()>),
}

/// The way to the tasks. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    /// One per store; none when nothing is to be recorded.
    ways: Arc<[Way]>,
    here: Arc<Here>,
    dropped: Counter,
}

/// The way to one store.
struct Way {
    store: Store,
    sender: mpsc::Sender<Message>,
    /// Whether the store fails at present.
    failing: watch::Receiver<bool>,
}

/// Which process records, and by which clock.
struct Here {
    server: String,
    clock: String,
    /// One instant told twice: as tokio tells it, and as the machine's monotonic clock does.
    started: Instant,
    started_ns: u64,
}

impl Here {
    fn new() -> Self {
        // One clock per machine and start. Without Linux's name for it, times are not comparable
        // with those of any other process, so a random one is right.
        let boot = proc::boot_id().unwrap_or_default();
        let clock = match &boot[..] {
            "" => format!("{:08x}", rand::random::<u32>()),
            boot => boot.chars().take(8).collect(),
        };
        Self {
            server: format!("{}-{:04x}", std::process::id(), rand::random::<u16>()),
            clock,
            started: Instant::now(),
            started_ns: clock::now_ns(),
        }
    }
}

/// The task that sends records to one store; see the module.
pub struct RecorderTask {
    store: Store,
    receiver: mpsc::Receiver<Message>,
    failing: watch::Sender<bool>,
    dropped: Counter,
}

/// A recorder and its tasks, one per store: one that is away must not keep the others' records.
/// Without `recording`, nothing is recorded.
#[must_use]
pub fn channel(recording: bool, registry: &Registry) -> (Recorder, Vec<RecorderTask>) {
    let dropped = HISTORY_DROPPED.counter(registry, &[]);
    let way = |&store: &Store| {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let (failing, is_failing) = watch::channel(false);
        let task = RecorderTask { store, receiver, failing, dropped: dropped.clone() };
        (Way { store, sender, failing: is_failing }, task)
    };
    let stores = if recording { Store::VARIANTS } else { &[] };
    let (ways, tasks): (Vec<Way>, _) = stores.iter().map(way).unzip();
    (Recorder { ways: ways.into(), here: Arc::new(Here::new()), dropped }, tasks)
}

impl Recorder {
    /// Starts to record an order.
    #[must_use]
    pub fn begin(&self, order: &Order) -> Trail {
        let is_recording = !self.ways.is_empty();
        let path = |item: &Item| Path {
            product: item.product.clone(),
            generation: None,
            events: Vec::with_capacity(8),
            holds: false,
        };
        let mut trail = Trail {
            recorder: self.clone(),
            order_id: order.id.as_str().to_owned(),
            lock: order.strategy.row().name,
            run_id: order.run_id.clone(),
            store: order.strategy.row().store,
            paths: order.items.iter().filter(|_| is_recording).map(path).collect(),
            gives_up: true,
        };
        for (index, item) in order.items.iter().enumerate() {
            trail.note(index, EventKind::Invoke { quantity: item.quantity });
        }
        trail
    }

    /// Goes on recording an order of one item that another process has begun.
    #[must_use]
    pub fn join(
        &self,
        order_id: &Token,
        run_id: Option<RunId>,
        strategy: StrategyId,
        product: &Product,
    ) -> Trail {
        let path = || Path {
            product: product.clone(),
            generation: None,
            events: Vec::new(),
            holds: false,
        };
        Trail {
            recorder: self.clone(),
            order_id: order_id.as_str().to_owned(),
            lock: strategy.row().name,
            run_id,
            store: strategy.row().store,
            paths: self.ways.first().map(|_| path()).into_iter().collect(),
            gives_up: false,
        }
    }

    /// A time by the machine's clock, in nanoseconds.
    #[must_use]
    pub fn ns(&self, instant: Instant) -> u64 {
        let Here { started, started_ns, .. } = &*self.here;
        started_ns.saturating_add_signed(match instant.checked_duration_since(*started) {
            Some(later) => later.as_nanos() as i64,
            None => -(started.duration_since(instant).as_nanos() as i64),
        })
    }

    fn send(&self, note: Note) {
        let Some(way) = self.way(note.store) else { return };
        if way.sender.try_send(Message::Note(note)).is_err() {
            self.dropped.increment(1);
        }
    }

    fn way(&self, store: Store) -> Option<&Way> {
        self.ways.iter().find(|way| way.store == store)
    }

    /// Waits until what was recorded before has come to the store, or until that has failed:
    /// whoever asks the store next will see.
    pub async fn flush(&self, store: Store) {
        let Some(Way { sender, failing, .. }) = self.way(store) else { return };
        let (done, flushed) = oneshot::channel();
        let flushed = async {
            if sender.send(Message::Flush(done)).await.is_ok() {
                flushed.await.ok();
            }
        };
        let mut failing = failing.clone();
        tokio::select! {
            () = flushed => {}
            _ = failing.wait_for(|failing| *failing) => {}
        }
    }

    /// Waits until what was recorded before has come to every store, or until that has failed.
    pub async fn flush_all(&self) {
        join_all(self.ways.iter().map(|way| self.flush(way.store))).await;
    }
}

impl RecorderTask {
    /// Sends records until the last recorder is gone.
    pub async fn run(mut self, stocks: Arc<Stocks>) {
        // Orders that find no such store are not recorded.
        let Ok(stock) = stocks.of(self.store) else { return };
        let mut messages = Vec::with_capacity(BATCH_MAX);
        while self.receiver.recv_many(&mut messages, BATCH_MAX).await > 0 {
            let is_awaited = messages.iter().any(|message| matches!(message, Message::Flush(_)));
            if !is_awaited && messages.len() < BATCH_MAX {
                time::sleep(GATHER).await;
                let more = std::iter::from_fn(|| self.receiver.try_recv().ok());
                messages.extend(more.take(BATCH_MAX));
            }
            let (mut notes, mut waiting) = (Vec::<Note>::new(), Vec::new());
            for message in messages.drain(..) {
                match message {
                    Message::Note(note) => notes.push(note),
                    Message::Flush(done) => waiting.push(done),
                }
            }
            // Those of one product travel together; each product's stay in their order.
            notes.sort_by(|one, next| one.product.cmp(&next.product));
            if !notes.is_empty() {
                self.deliver(&notes, stock).await;
            }
            for done in waiting {
                // Fails only when whoever waited has gone.
                done.send(()).ok();
            }
        }
    }

    /// Sends records, until the store has them or refuses them.
    async fn deliver(&self, notes: &[Note], stock: &dyn Stock) {
        while let Err(error) = stock.record(notes).await {
            tracing::debug!(%error, "the history could not be recorded");
            if !error.is_passing() {
                self.dropped.increment(notes.len() as u64);
                break;
            }
            self.failing.send_replace(true);
            time::sleep(PAUSE).await;
        }
        self.failing.send_replace(false);
    }
}

/// What one order does, as far as it has got.
///
/// Dropping it sends what there is: an order without an end is one whose fate is unknown.
pub struct Trail {
    recorder: Recorder,
    order_id: String,
    lock: &'static str,
    run_id: Option<RunId>,
    store: Store,
    /// One per item; none when nothing is recorded.
    paths: Vec<Path>,
    /// Whether leases are given up when it is dropped without an end.
    gives_up: bool,
}

struct Path {
    product: Product,
    generation: Option<Generation>,
    events: Vec<Event>,
    /// Whether a lease was granted and not released.
    holds: bool,
}

impl Trail {
    /// A time by the machine's clock, in nanoseconds.
    #[must_use]
    pub fn ns(&self, instant: Instant) -> u64 {
        self.recorder.ns(instant)
    }

    /// Now, by the machine's clock, in nanoseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.ns(Instant::now())
    }

    /// The digits of an owner id that are recorded.
    #[must_use]
    pub fn token(token: &Token) -> String {
        token.as_str()[..TOKEN_DIGITS].to_owned()
    }

    /// The order has learned which reset an item is at.
    pub fn learn(&mut self, item: usize, generation: &Generation) {
        if let Some(path) = self.paths.get_mut(item) {
            path.generation = Some(generation.clone());
        }
    }

    /// Something has happened to an item just now.
    pub fn note(&mut self, item: usize, kind: EventKind) {
        let at_ns = self.now();
        if let Some(path) = self.paths.get_mut(item) {
            match kind {
                EventKind::Granted { .. } => path.holds = true,
                EventKind::Released { .. } => path.holds = false,
                _ => {}
            }
            path.events.push(Event { at_ns, kind });
        }
    }

    /// The order has ended.
    pub fn end(mut self, kind: &EventKind) {
        self.gives_up = false;
        for item in 0..self.paths.len() {
            self.note(item, kind.clone());
        }
    }

    /// Sends what there is: the order is about to take its time.
    pub fn flush(&mut self) {
        let Here { server, clock, .. } = &*self.recorder.here;
        for path in &mut self.paths {
            if path.events.is_empty() {
                continue;
            }
            let record = Record {
                order_id: self.order_id.clone(),
                server: server.clone(),
                clock: clock.clone(),
                lock: self.lock.to_owned(),
                run_id: self.run_id.clone(),
                events: std::mem::take(&mut path.events),
            };
            let (product, generation) = (path.product.clone(), path.generation.clone());
            self.recorder.send(Note { store: self.store, product, generation, record });
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        for item in 0..self.paths.len() {
            if self.gives_up && self.paths[item].holds {
                // The release task ends it, at any time from now on.
                let (since_ns, how) = (self.now(), "unknown".to_owned());
                self.note(item, EventKind::Released { since_ns, until_ns: None, how });
            }
        }
        self.flush();
    }
}
