//! The queues in Redis: `queue:{product}` is a list of tickets, each with the time at which it ends.

use std::sync::{Arc, LazyLock};

use redis::Script;
use serde::{Deserialize, Serialize};
use tokio::time::{Duration, Instant};

use crate::{
    order::Order,
    product::Product,
    run::RunId,
    stock::{
        answer::{Answer, Key},
        redis::{answer_key, decode},
    },
};
use locklab_locks::{
    error::BackendError,
    fault::{Fault, FaultMetrics, Faults},
    wires::{metrics::Op, redis::RedisClient},
};

/// KEYS: queue. ARGV: ticket, the most tickets, how long the buyer waits and works, in ms. How many
/// wait before it, and when it ends; or only how many do: it is not let in.
/// A queue that nobody serves ends with its last ticket.
static ENQUEUE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local now, wait = redis.call('TIME'), tonumber(ARGV[3])
        local ms = now[1] * 1000 + math.floor(now[2] / 1000)
        while true do
            local head = redis.call('LINDEX', KEYS[1], 0)
            if not head or tonumber(string.match(head, '^%d+') or ms) >= ms then break end
            redis.call('LPOP', KEYS[1])
        end
        local length = redis.call('LLEN', KEYS[1])
        local is_late = length * tonumber(ARGV[4]) > wait
        if length >= tonumber(ARGV[2]) or is_late then return {length, false} end
        local ends = string.format('%.0f', ms + wait)
        local left = redis.call('PTTL', KEYS[1])
        redis.call('RPUSH', KEYS[1], ends .. ' ' .. ARGV[1])
        redis.call('PEXPIRE', KEYS[1], math.max(wait + 1000, left))
        return {length, ends}
        ",
    )
});

/// KEYS: queue. ARGV: the ticket that was answered, or '', and the channel of its buyer. The ticket
/// that is the head now, and how much of its time is left, in ms; those whose time is over are taken
/// off.
static NEXT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if ARGV[1] ~= '' then
            redis.call('LREM', KEYS[1], 1, ARGV[1])
            redis.pcall('PUBLISH', ARGV[2], '')
        end
        local now = redis.call('TIME')
        local ms = now[1] * 1000 + math.floor(now[2] / 1000)
        while true do
            local head = redis.call('LINDEX', KEYS[1], 0)
            if not head then return {false, false} end
            local left = (tonumber(string.match(head, '^%d+')) or ms) - ms
            if left >= 0 then return {head, left} end
            redis.call('LPOP', KEYS[1])
        end
        ",
    )
});

/// A place in the queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ticket {
    /// Where its answer is kept.
    pub key: Key,
    /// How many units.
    pub quantity: u32,
    /// The load test that it belongs to, if its client named one.
    pub run_id: Option<RunId>,
    delay_us: u64,
    faults: Vec<String>,
}

impl Ticket {
    /// The ticket of an order.
    #[must_use]
    pub fn new(key: Key, order: &Order) -> Self {
        let quantity = order.items[0].quantity;
        let faults = order.faults.iter().map(ToString::to_string).collect();
        let (run_id, delay_us) = (order.run_id.clone(), order.delay.as_micros() as u64);
        Self { key, quantity, run_id, delay_us, faults }
    }

    /// How long its work takes.
    #[must_use]
    pub fn delay(&self) -> Duration {
        Duration::from_micros(self.delay_us)
    }
}

/// A ticket as it is in the list.
#[derive(Debug)]
pub struct Entry(String);

/// A ticket at the head of its queue.
#[derive(Debug)]
pub struct Head {
    entry: Entry,
    /// The ticket.
    pub ticket: Ticket,
    /// When its buyer gives up: it must not be sold after.
    pub ends: Instant,
}

/// Whether a ticket was let in.
#[derive(Debug)]
pub enum Enqueued {
    /// It is in the queue.
    Waiting(Entry),
    /// So many wait already.
    Full(u64),
}

/// The channel on which a buyer is told that its ticket was answered.
#[must_use]
pub fn channel(key: &Key) -> String {
    format!("answered:{}:{}", key.generation.0, key.name)
}

fn queue_key(product: &Product) -> String {
    format!("queue:{product}")
}

/// The queues of one Redis.
#[derive(Clone)]
pub struct Tickets {
    redis: Arc<RedisClient>,
    /// Tickets that may wait for one product.
    most: u32,
    faults: Arc<FaultMetrics>,
}

impl Tickets {
    /// The queues of a Redis, in each of which so many tickets may wait.
    #[must_use]
    pub fn new(redis: Arc<RedisClient>, most: u32, faults: Arc<FaultMetrics>) -> Self {
        Self { redis, most, faults }
    }

    /// Lines up, unless too many do: more than may, or, if each works as long as this one, more than
    /// can be served before its wait is over.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may be in the queue.
    pub async fn enqueue(
        &self,
        product: &Product,
        ticket: &Ticket,
        wait: Duration,
    ) -> Result<Enqueued, BackendError> {
        let refused = |error: serde_json::Error| BackendError::Refused {
            backend: "redis",
            cause: error.into(),
        };
        let ticket_text = serde_json::to_string(ticket).map_err(refused)?;
        let mut script = ENQUEUE.key(queue_key(product));
        script.arg(&ticket_text).arg(self.most);
        script.arg(wait.as_millis() as u64).arg(ticket.delay_us as f64 / 1_000.0);
        let (before, ends): (u64, Option<String>) = self.redis.script(Op::Enqueue, &script).await?;
        Ok(match ends {
            Some(ends) => Enqueued::Waiting(Entry(format!("{ends} {ticket_text}"))),
            None => Enqueued::Full(before),
        })
    }

    /// Takes a ticket off that is not to be served.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may have happened. Its time will be over.
    pub async fn leave(&self, product: &Product, entry: &Entry) -> Result<(), BackendError> {
        let mut lrem = redis::cmd("LREM");
        lrem.arg(queue_key(product)).arg(1).arg(&entry.0);
        self.redis.command(Op::Next, &lrem).await
    }

    /// Takes the ticket off that was answered, tells its buyer, and says which is next.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may have happened. Then it comes as the head again.
    pub async fn next(
        &self,
        product: &Product,
        done: Option<&Head>,
    ) -> Result<Option<Head>, BackendError> {
        loop {
            let mut script = NEXT.key(queue_key(product));
            script.arg(done.map_or("", |head| &head.entry.0));
            script.arg(done.map_or_else(String::new, |head| channel(&head.ticket.key)));
            let asked = Instant::now();
            let (entry, left): (Option<String>, Option<u64>) =
                self.redis.script(Op::Next, &script).await?;
            let (Some(entry), Some(left)) = (entry, left) else { return Ok(None) };
            let ends = asked + Duration::from_millis(left);
            let ticket = entry.split_once(' ').map(|(_, ticket)| serde_json::from_str(ticket));
            let entry = Entry(entry);
            if let Some(Ok(ticket)) = ticket {
                return Ok(Some(Head { entry, ticket, ends }));
            }
            // Somebody else wrote that. Whatever it is, it must not block the queue.
            self.leave(product, &entry).await?;
        }
    }

    /// The answer to a ticket, if there is one.
    ///
    /// # Errors
    /// Redis could not be read.
    pub async fn answer(&self, key: &Key) -> Result<Option<Answer>, BackendError> {
        let get: Option<String> =
            self.redis.command(Op::Answer, redis::cmd("GET").arg(answer_key(key))).await?;
        get.filter(|text| text.starts_with('{')).map(|text| decode(&text)).transpose()
    }

    /// What is to go wrong with a ticket: only at its first delivery, or it would never be served.
    ///
    /// # Errors
    /// Redis did not say whether this is the first.
    pub async fn faults(&self, ticket: &Ticket) -> Result<Faults, BackendError> {
        if ticket.faults.is_empty() {
            return Ok(Faults::default());
        }
        let mut set = redis::cmd("SET");
        let Key { generation, name, .. } = &ticket.key;
        set.arg(format!("delivered:{}:{name}", generation.0)).arg(1).arg("NX");
        set.arg("PX").arg(ticket.key.ttl.as_millis() as u64);
        let first: Option<String> = self.redis.command(Op::Next, &set).await?;
        let faults = ticket.faults.iter().filter_map(|text| text.parse::<Fault>().ok());
        let faults: Vec<Fault> = if first.is_some() { faults.collect() } else { Vec::new() };
        Ok(Faults::new(faults, Arc::clone(&self.faults)))
    }
}
