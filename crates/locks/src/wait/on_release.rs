//! Waiting to be told: the loop that tries again when there is something to win.

use std::pin::pin;

use tokio::time::{self, Duration, Instant};

use super::{Patience, Tried, Waitable};
use crate::{name::Name, wires::subscription::Subscription};

/// The shortest time between two looks at a lease.
const LOOK_MIN: Duration = Duration::from_millis(1);

/// Tries when the product may be free: at first, after a release, and when the holder's lease must
/// have ended; until a try wins or fails, or patience is over, as in [`super::retry`].
///
/// The first try comes before the subscription, for whoever finds the product free needs none; the
/// second right after it, for a release between the two was told to nobody. While the lock service
/// does not tell, it is asked every `base` instead.
///
/// Every `cap`, a waiter looks how long the lease will last by now. For the one that it waits for may
/// have been released by a stranger, who tells nobody, or been followed by one that ends sooner.
///
/// # Cancellation
/// As safe as `attempt` is. A wake-up that this waiter does not use goes to the next.
pub async fn on_release<T, E, F: Future<Output = Result<Option<T>, E>>>(
    patience: &Patience,
    lock: &dyn Waitable,
    name: &Name,
    mut attempt: impl FnMut() -> F,
) -> Tried<T, E> {
    let deadline = Instant::now() + patience.wait;
    let interval = patience.base.min(patience.cap);
    let is_over = |tried: &Tried<T, E>| {
        let lost = matches!(tried.result, Ok(None));
        !lost || tried.retries >= patience.retries() || Instant::now() >= deadline
    };
    let mut tried = Tried { result: attempt().await, retries: 0 };
    let subscription = loop {
        if is_over(&tried) {
            return tried;
        }
        let subscribe = time::timeout_at(deadline, lock.subscribe(name));
        match patience.gone.run_until_cancelled(subscribe).await {
            None => return tried,
            Some(Ok(Ok(Some(subscription)))) => break subscription,
            Some(Ok(Err(error))) => tracing::debug!(%name, %error, "no wake-ups"),
            Some(_) => {}
        }
        let pause = time::sleep_until(deadline.min(Instant::now() + interval));
        if patience.gone.run_until_cancelled(pause).await.is_none() {
            return tried;
        }
        tried = Tried { result: attempt().await, retries: tried.retries + 1 };
    };
    let mut wakeup = Wakeup { subscription: &subscription, is_unused: false };
    loop {
        let mut release = pin!(subscription.notified());
        release.as_mut().enable();
        tried = Tried { result: attempt().await, retries: tried.retries + 1 };
        // Who won will release, and so will whoever was faster: either wakes the next. Who failed
        // will not.
        wakeup.is_unused &= tried.result.is_err();
        if is_over(&tried) {
            return tried;
        }
        let lease_ends = async {
            let look = patience.cap.max(LOOK_MIN);
            loop {
                match lock.time_left(name).await {
                    Ok(Some(left)) if left <= look => return time::sleep(left).await,
                    Ok(_) => time::sleep(look).await,
                    Err(_) => return time::sleep(interval).await,
                }
            }
        };
        tokio::select! {
            biased;
            () = patience.gone.cancelled() => return tried,
            () = release => wakeup.is_unused = true,
            () = lease_ends => {}
            () = time::sleep_until(deadline) => {}
        }
    }
}

/// Passes a wake-up on that was not used.
struct Wakeup<'a> {
    subscription: &'a Subscription,
    is_unused: bool,
}

impl Drop for Wakeup<'_> {
    fn drop(&mut self) {
        if self.is_unused {
            self.subscription.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future, sync::Arc};

    use async_trait::async_trait;
    use parking_lot::Mutex;
    use tokio::sync::Notify;

    use super::*;
    use crate::{error::BackendError, wait::Policy};

    const SECOND: Duration = Duration::from_secs(1);

    /// A lock whose holder's lease ends at a given time, and which tells when told to.
    struct Stub {
        releases: Arc<Notify>,
        /// When the product is free. `None`: it is held for ever.
        free_at: Mutex<Option<Instant>>,
        /// How many times subscribing fails.
        refusals: Mutex<u32>,
    }

    impl Stub {
        fn held_for(time: Option<Duration>) -> Self {
            let free_at = Mutex::new(time.map(|time| Instant::now() + time));
            Self { releases: Arc::default(), free_at, refusals: Mutex::new(0) }
        }

        /// Frees the product, tells one waiter or nobody.
        fn free(&self, tell: bool) {
            *self.free_at.lock() = Some(Instant::now());
            if tell {
                self.releases.notify_one();
            }
        }

        /// Takes the product for ever, if it is free.
        fn attempt(&self) -> future::Ready<Result<Option<Instant>, &'static str>> {
            let mut free_at = self.free_at.lock();
            let now = Instant::now();
            let won = free_at.is_some_and(|free_at| free_at <= now);
            if won {
                *free_at = None;
            }
            future::ready(Ok(won.then_some(now)))
        }

        async fn run(&self, patience: &Patience) -> Tried<Instant, &'static str> {
            on_release(patience, self, &Name::default(), || self.attempt()).await
        }
    }

    #[async_trait]
    impl Waitable for Stub {
        async fn subscribe(&self, _: &Name) -> Result<Option<Subscription>, BackendError> {
            let mut refusals = self.refusals.lock();
            if *refusals > 0 {
                *refusals -= 1;
                return Err(BackendError::Unavailable { backend: "stub", cause: "".into() });
            }
            Ok(Some(Subscription::new(Arc::clone(&self.releases), ())))
        }

        async fn time_left(&self, _: &Name) -> Result<Option<Duration>, BackendError> {
            let free_at = *self.free_at.lock();
            Ok(free_at.map(|at| at.saturating_duration_since(Instant::now())))
        }
    }

    fn patience() -> Patience {
        Patience { policy: Policy::Notify, wait: 100 * SECOND, ..Patience::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_it_free_does_not_subscribe() {
        let stub = Stub::held_for(Some(Duration::ZERO));
        *stub.refusals.lock() = 1;
        let tried = stub.run(&patience()).await;
        assert_eq!((tried.result.unwrap().is_some(), tried.retries), (true, 0));
        assert_eq!(*stub.refusals.lock(), 1, "nobody asked");
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_wakes_at_once() {
        let (stub, patience) = (Stub::held_for(None), patience());
        let started = Instant::now();
        let release = async {
            time::sleep(3 * SECOND).await;
            stub.free(true);
        };
        let (tried, ()) = tokio::join!(stub.run(&patience), release);
        // The first try, one after the subscription, one after the release.
        assert_eq!((tried.result, tried.retries), (Ok(Some(started + 3 * SECOND)), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_lease_is_told_by_nobody() {
        let (stub, started) = (Stub::held_for(Some(5 * SECOND)), Instant::now());
        let tried = stub.run(&patience()).await;
        assert_eq!((tried.result, tried.retries), (Ok(Some(started + 5 * SECOND)), 2));
    }

    /// Between two tries the lock can have had other holders.
    #[tokio::test(start_paused = true)]
    async fn a_holder_that_came_later_can_end_sooner() {
        let (stub, patience) = (Stub::held_for(Some(60 * SECOND)), patience());
        let started = Instant::now();
        let successor = async {
            time::sleep(3 * SECOND).await;
            *stub.free_at.lock() = Some(started + 5 * SECOND);
        };
        let (tried, ()) = tokio::join!(stub.run(&patience), successor);
        assert_eq!((tried.result, tried.retries), (Ok(Some(started + 5 * SECOND)), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_during_a_try_is_not_missed() {
        let (stub, started) = (Stub::held_for(None), Instant::now());
        let mut tries = 0;
        let attempt = || {
            tries += 1;
            let (lost, at_try) = (stub.attempt(), tries);
            let stub = &stub;
            async move {
                if at_try == 2 {
                    // After this try was decided, before its answer arrived.
                    stub.free(true);
                    time::sleep(SECOND).await;
                }
                lost.await
            }
        };
        let tried = on_release(&patience(), &stub, &Name::default(), attempt).await;
        assert_eq!((tried.result, tried.retries), (Ok(Some(started + SECOND)), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_release_before_the_subscription_is_found() {
        let (stub, started) = (Stub::held_for(None), Instant::now());
        let mut tries = 0;
        let attempt = || {
            tries += 1;
            let result = stub.attempt();
            if tries == 1 {
                stub.free(false);
            }
            result
        };
        let tried = on_release(&patience(), &stub, &Name::default(), attempt).await;
        assert_eq!((tried.result, tried.retries), (Ok(Some(started)), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let (stub, started) = (Stub::held_for(None), Instant::now());
        let tried = stub.run(&patience()).await;
        assert_eq!((tried.result, tried.retries), (Ok(None), 2), "one last try");
        assert_eq!(started.elapsed(), 100 * SECOND);

        let tried = stub.run(&Patience { max_retries: 1, ..patience() }).await;
        assert_eq!((tried.result, tried.retries), (Ok(None), 1));
        assert_eq!(started.elapsed(), 100 * SECOND, "no pause after the last try");

        let impatient = patience();
        let gone = async { impatient.gone.cancel() };
        let (tried, ()) = tokio::join!(stub.run(&impatient), gone);
        assert_eq!((tried.result, tried.retries), (Ok(None), 1));
        assert_eq!(started.elapsed(), 100 * SECOND, "nobody is waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_told_asks_again() {
        let (stub, patience) = (Stub::held_for(None), patience());
        let started = Instant::now();
        *stub.refusals.lock() = 3;
        let release = async {
            time::sleep(3 * SECOND).await;
            stub.free(true);
        };
        let (tried, ()) = tokio::join!(stub.run(&patience), release);
        // Three times after `base`, then as if nothing had been.
        assert_eq!((tried.result, tried.retries), (Ok(Some(started + 3 * SECOND)), 5));

        *stub.refusals.lock() = u32::MAX;
        let tried = stub.run(&Patience { wait: SECOND, ..patience }).await;
        assert_eq!((tried.result, tried.retries), (Ok(None), 10));
        assert_eq!(started.elapsed(), 4 * SECOND);
    }

    /// However a woken waiter ends without having used its wake-up, the next one is woken.
    #[tokio::test(start_paused = true)]
    async fn an_unused_wakeup_is_passed_on() {
        for end in ["dropped while it waits", "dropped while it tries", "fails", "gone"] {
            let (stub, name) = (Stub::held_for(None), Name::default());
            let (leaving, staying) = (patience(), patience());
            let mut tries = 0;
            let attempt = || {
                tries += 1;
                let is_woken = tries == 3;
                async move {
                    match end {
                        "fails" if is_woken => Err("broken"),
                        _ if is_woken => future::pending().await,
                        _ => Ok(None::<()>),
                    }
                }
            };
            let mut first = Box::pin(on_release(&leaving, &stub, &name, attempt));
            let mut second = Box::pin(stub.run(&staying));
            tokio::select! {
                biased;
                _ = &mut first => panic!("it is held"),
                _ = &mut second => panic!("it is held"),
                () = time::sleep(SECOND) => {}
            }
            stub.free(true);
            match end {
                "dropped while it waits" => {}
                "dropped while it tries" => {
                    assert!(time::timeout(SECOND, &mut first).await.is_err(), "it still tries");
                }
                "fails" => assert_eq!(first.as_mut().await.result, Err("broken")),
                _ => {
                    leaving.gone.cancel();
                    assert_eq!(first.as_mut().await.result, Ok(None));
                }
            }
            drop(first);
            let freed = Instant::now();
            assert_eq!(second.await.result, Ok(Some(freed)), "{end}");
        }
    }
}
