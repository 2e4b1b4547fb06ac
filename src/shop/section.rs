//! The critical section: acquire, read, work, write, release, for every item of one order.

use futures_util::future::select_all;
use tokio::time::{self, Duration, Instant};
use tracing::Instrument;

use super::{acquire::is_past_deadline, till::Till};
use crate::{
    history::EventKind,
    order::{
        Order,
        receipt::{Failure, Receipt, at},
        span,
    },
    outcome::Violation,
    product::Item,
    sell::note_sales,
    shop::{
        presence::Inside,
        visit::{Held, Visit},
    },
    stock::{
        Stock, Written,
        ledger::Sale,
        sql::{Reading, SqlStock},
    },
};
use locklab_locks::{error::BackendError, step::Step};

/// Work that takes longer is worth recording that it has begun.
const LONG_WORK: Duration = Duration::from_millis(20);

impl Visit<'_> {
    /// Carries the order out; the receipt says how far it came.
    ///
    /// # Cancellation
    /// Dropping the future leaves leases that may be held to the release task, and does not recall
    /// a write that has been sent.
    pub async fn sell(mut self) {
        let started = Instant::now();
        let acquired = self.acquire_all().await;
        self.receipt.wait = started.elapsed();
        let Some(mut held) = acquired else { return };
        let (granted, paused) = (Instant::now(), self.order.faults.paused());
        self.receipt.degraded =
            held.iter().find_map(|held| held.leased.lease.forgone()).map(str::to_owned);
        self.receipt.lock_acquired = self.receipt.degraded.is_none();
        if let Err(failure) = self.critical(&mut held).await {
            self.receipt.fail(failure);
        }
        if !matches!(self.receipt.failure, Some(Failure::Backend { .. }))
            && let Err(crash) = self.order.faults.strike(Step::Release).await
        {
            self.receipt.fail(at(Step::Release)(crash));
        }
        self.release_all(held).await;
        self.receipt.hold = granted.elapsed();
        self.receipt.paused = self.order.faults.paused() - paused;
    }

    /// Read, work, write. Whether the leases still stand is observed, not enforced: enforcing it is
    /// what distinguishes strategies.
    async fn critical(&mut self, held: &mut [Held]) -> Result<(), Failure> {
        let order = self.order;
        let Order { items, faults, .. } = order;
        let presence = &self.metrics.presence;
        let enter = |item: &Item| presence.enter(order.strategy, &item.product);
        let _inside: Vec<Inside<'_>> = items.iter().map(enter).collect();
        faults.strike(Step::AfterAcquire).await.map_err(at(Step::AfterAcquire))?;
        if !self.raise_bars(held).await? {
            return Err(Failure::Fenced);
        }
        let mut till = till(order, self.stock, self.rows).await?;
        faults.strike(Step::Read).await.map_err(at(Step::Read))?;
        let mut read = Vec::with_capacity(items.len());
        for (item, Item { product, .. }) in items.iter().enumerate() {
            let since_ns = self.trail.now();
            let seen = till.read(product).instrument(span::read());
            let seen = seen.await.map_err(at(Step::Read))?;
            let seen = seen.ok_or_else(|| Failure::Absent(product.clone()))?;
            self.trail.note(item, EventKind::Read { since_ns, stock: seen.stock, sold: seen.sold });
            self.receipt.lines[item].stock_before = Some(seen.stock);
            read.push(seen.stock);
        }
        if items.iter().zip(&read).any(|(item, &read)| read < i64::from(item.quantity)) {
            self.receipt.sold_out();
            till.close().await;
            return Ok(());
        }
        faults.strike(Step::Work).await.map_err(at(Step::Work))?;
        let done = self.work(held).instrument(span::work()).await;
        faults.strike(Step::BeforeWrite).await.map_err(at(Step::BeforeWrite))?;
        if is_past_deadline(held) {
            self.violate(Violation::Write);
        }
        if !done || !are_held(held).await {
            till.close().await;
            return Err(Failure::Lost);
        }
        let since_ns = self.trail.now();
        let written = self.write(till, held, &read).instrument(span::write());
        let written = written.await.map_err(at(Step::Write))?;
        self.receipt.settle(written, order);
        note_sales(order, self.receipt, self.trail, since_ns);
        faults.strike(Step::AfterWrite).await.map_err(at(Step::AfterWrite))?;
        if is_past_deadline(held) {
            self.violate(Violation::Write);
        }
        Ok(())
    }

    /// Lets the store refuse older holders, before anything is read: from then on, none of them can
    /// change what is read. False if the store refuses this one already.
    async fn raise_bars(&mut self, held: &[Held]) -> Result<bool, Failure> {
        let Order { items, faults, .. } = self.order;
        for (item, held) in held.iter().enumerate() {
            let Some(token) = held.leased.lease.fencing_token() else { continue };
            self.receipt.lines[item].fencing_token = Some(token);
            if held.leased.hand_overs > 0 {
                // It was raised to this very token before.
                continue;
            }
            faults.strike(Step::RaiseBar).await.map_err(at(Step::RaiseBar))?;
            let raised = self.stock.raise_bar(&items[item].product, token).await;
            if !faults.reply(Step::RaiseBar, raised).map_err(at(Step::RaiseBar))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The work, unless a renewed lease is lost meanwhile; says whether it was done. A lease that
    /// nobody renews may run out: that is seen when it happens, and the work goes on.
    async fn work(&mut self, held: &[Held]) -> bool {
        if self.order.delay.max(self.order.faults.longest_pause()) >= LONG_WORK {
            self.trail.flush();
        }
        let started = Instant::now();
        let work = Receipt::work(self.order.delay);
        let lost = held.iter().filter_map(|held| held.leased.lease.lost()).map(Box::pin);
        let lost: Vec<_> = lost.collect();
        let lost = async {
            match lost.is_empty() {
                true => std::future::pending().await,
                false => drop(select_all(lost).await),
            }
        };
        let ends = held.iter().filter_map(|held| held.leased.lease.fixed_deadline()).min();
        tokio::pin!(work, lost);
        let mut is_watched = ends.is_some();
        let done = loop {
            tokio::select! {
                biased;
                () = &mut work => break true,
                () = &mut lost => break false,
                () = time::sleep_until(ends.unwrap_or(started)), if is_watched => {
                    is_watched = false;
                    self.violate(Violation::Work);
                }
            }
        };
        self.receipt.work = started.elapsed();
        done
    }

    /// Writes under leases, which know meanwhile that the write may be under way.
    async fn write(
        &self,
        till: Till<'_>,
        held: &mut [Held],
        read: &[i64],
    ) -> Result<Written, BackendError> {
        let Order { id, items, key, faults, .. } = self.order;
        faults.strike(Step::Write).await?;
        if let Some(key) = key
            && held[key.item].leased.generation != key.generation
        {
            return Ok(Written::Reset);
        }
        for held in held.iter_mut() {
            held.leased.lease.write_begins();
        }
        let mut sales = Vec::with_capacity(items.len());
        for ((Item { product, quantity }, held), &read) in items.iter().zip(&*held).zip(read) {
            let (generation, quantity) = (&held.leased.generation, *quantity);
            let fencing_token = held.leased.lease.fencing_token();
            sales.push(Sale { product, generation, read, quantity, fencing_token });
        }
        let written = till.write(id, &sales, key.as_ref()).await;
        let written = faults.reply(Step::Write, written);
        if !written.as_ref().is_err_and(BackendError::is_unknown) {
            for held in held {
                held.leased.lease.write_ended();
            }
        }
        written
    }
}

/// Where to read and to write.
async fn till<'a>(
    order: &Order,
    stock: &'a dyn Stock,
    rows: Option<&SqlStock>,
) -> Result<Till<'a>, Failure> {
    let Some(rows) = rows.filter(|_| order.strategy.row().locks_rows()) else {
        return Ok(Till::Plain(stock));
    };
    order.faults.strike(Step::LockRow).await.map_err(at(Step::LockRow))?;
    let is_locked = !order.faults.skips(Step::LockRow);
    let reading = if is_locked { Reading::ForUpdate } else { Reading::Plain };
    Till::of_rows(rows, order, reading).await.map_err(at(Step::LockRow))
}

/// Whether nobody has taken a lease over, as far as can be known.
async fn are_held(held: &[Held]) -> bool {
    for Held { leased, .. } in held {
        if leased.lease.is_lost() || !leased.lease.confirm().await {
            return false;
        }
    }
    true
}
