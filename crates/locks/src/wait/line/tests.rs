//! No turn is lost, doubled or out of order, whoever leaves when; no item is lost either.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use futures_util::{FutureExt, future::join_all};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task, time::Duration};

use super::*;

/// An item that knows how many of its kind there are, and whom it suits.
#[derive(Debug)]
struct Item {
    alive: Arc<AtomicUsize>,
    kind: u32,
}

impl Item {
    fn new(alive: &Arc<AtomicUsize>, kind: u32) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { alive: Arc::clone(alive), kind }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

type TestLines = Lines<&'static str, u32, Item>;
type TestTurn = Turn<&'static str, u32, Item>;
type Waiting<'a> = Pin<Box<dyn Future<Output = Option<TestTurn>> + 'a>>;

fn lines() -> TestLines {
    Lines::new(|item, wanted| item.kind == *wanted)
}

/// Somebody in the line for "p", for as long as it takes.
fn waiter<'a>(lines: &'a TestLines, wants: u32) -> Waiting<'a> {
    // Polled by hand, far more often than the runtime lets a task be.
    Box::pin(task::unconstrained(async move {
        let (later, gone) = (Instant::now() + Duration::from_secs(600), CancellationToken::new());
        lines.turn("p", wants, later, &gone).await
    }))
}

/// The turn, if it has been given by now.
fn now(waiting: &mut Waiting<'_>) -> Option<TestTurn> {
    waiting.now_or_never().map(|turn| turn.expect("long before its deadline"))
}

#[tokio::test(start_paused = true)]
async fn lines_do_not_touch_each_other() {
    let lines = lines();
    let (later, gone) = (Instant::now() + Duration::from_secs(1), CancellationToken::new());
    let one = lines.turn("p", 0, later, &gone).await.unwrap();
    let other = lines.turn("q", 0, later, &gone).await.unwrap();
    assert_eq!((lines.len(), lines.waiting()), (2, 0));
    drop((one, other));
    assert!(lines.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_or_for_nobody_leaves() {
    let (lines, gone) = (lines(), CancellationToken::new());
    let mut first = waiter(&lines, 0);
    let turn = now(&mut first).unwrap();
    let deadline = Instant::now() + Duration::from_secs(1);
    assert!(lines.turn("p", 0, deadline, &gone).await.is_none());
    assert_eq!(Instant::now(), deadline);
    gone.cancel();
    assert!(lines.turn("p", 0, deadline + Duration::from_secs(1), &gone).await.is_none());
    assert_eq!((Instant::now(), lines.waiting()), (deadline, 0));
    let mut next = waiter(&lines, 0);
    assert!(now(&mut next).is_none());
    drop(turn);
    assert!(now(&mut next).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_item_goes_to_whom_it_suits() {
    let (lines, alive) = (lines(), Arc::default());
    let turn = now(&mut waiter(&lines, 0)).unwrap();
    let (turn, item) = turn.hand_over(Item::new(&alive, 1)).expect_err("nobody waits");
    let (mut second, mut third) = (waiter(&lines, 2), waiter(&lines, 1));
    assert!(now(&mut second).is_none() && now(&mut third).is_none());
    assert!(turn.next_matches(|wants| *wants == 2));
    let (turn, item) = turn.hand_over(item).expect_err("it does not suit the second");
    assert!(now(&mut second).is_none(), "it is not its turn yet");
    drop(item);
    drop(turn);
    let mut turn = now(&mut second).unwrap();
    assert!(turn.take().is_none());
    assert!(turn.next_matches(|wants| *wants == 1));
    turn.hand_over(Item::new(&alive, 1)).unwrap();
    let mut turn = now(&mut third).unwrap();
    assert_eq!(turn.take().unwrap().kind, 1);
    assert!(!turn.next_matches(|_| true));
    drop(turn);
    assert!(lines.is_empty());
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

/// What reached a waiter that left before it looked goes on: to the next, if it suits, or nowhere.
#[tokio::test(start_paused = true)]
async fn an_item_for_the_dead_comes_back() {
    for (next_wants, inherits) in [(Some(1), true), (Some(2), false), (None, false)] {
        let (lines, alive) = (lines(), Arc::default());
        let turn = now(&mut waiter(&lines, 0)).unwrap();
        let mut dead = waiter(&lines, 1);
        assert!(now(&mut dead).is_none());
        let mut next = next_wants.map(|wants| waiter(&lines, wants));
        if let Some(next) = &mut next {
            assert!(now(next).is_none());
        }
        turn.hand_over(Item::new(&alive, 1)).unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 1, "on its way");
        drop(dead);
        assert_eq!(alive.load(Ordering::SeqCst), usize::from(inherits));
        if let Some(next) = &mut next {
            assert_eq!(now(next).unwrap().take().is_some(), inherits);
        }
        assert!(lines.is_empty());
    }
}

/// Random arrivals, departures and turns, against a queue that is simple enough to be right.
#[tokio::test(start_paused = true)]
async fn the_order_is_that_of_arrival() {
    for seed in 0..300 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (lines, alive) = (lines(), Arc::default());
        let mut queue: VecDeque<(u32, Waiting)> = VecDeque::new();
        // Whose turn it is: known to the model before it is known to the waiter.
        let mut turn: Option<TestTurn> = None;
        let mut is_taken = false;
        for step in 0..200 {
            match rng.random_range(0..4) {
                0 | 1 => {
                    let wants = rng.random_range(0..2);
                    let mut arrival = waiter(&lines, wants);
                    let at_once = now(&mut arrival);
                    assert_eq!(at_once.is_some(), !is_taken, "seed {seed}, step {step}");
                    match at_once {
                        Some(first) => turn = Some(first),
                        None => queue.push_back((wants, arrival)),
                    }
                    is_taken = true;
                }
                2 if !queue.is_empty() => {
                    // Also the one who has been called and has not looked.
                    drop(queue.remove(rng.random_range(0..queue.len())));
                    is_taken = turn.is_some() || !queue.is_empty();
                }
                3 => {
                    let kind = rng.random_range(0..2);
                    match turn.take() {
                        Some(held) if rng.random_bool(0.5) => {
                            let next = queue.front().map(|(wants, _)| *wants);
                            match held.hand_over(Item::new(&alive, kind)) {
                                Ok(()) => assert_eq!(next, Some(kind)),
                                Err(_both) => assert_ne!(next, Some(kind)),
                            }
                        }
                        held => drop(held),
                    }
                    is_taken = !queue.is_empty();
                }
                _ => {}
            }
            // The first looks sometimes; the others always, and must find nothing.
            if turn.is_none()
                && rng.random_bool(0.7)
                && let Some((wants, mut first)) = queue.pop_front()
            {
                let mut given = now(&mut first).expect("the first has the turn");
                if let Some(item) = given.take() {
                    assert_eq!(item.kind, wants);
                }
                turn = Some(given);
            }
            let others = usize::from(turn.is_none());
            for (_, other) in queue.iter_mut().skip(others) {
                assert!(now(other).is_none(), "seed {seed}, step {step}: not its turn");
            }
            assert_eq!(lines.len(), usize::from(is_taken), "seed {seed}, step {step}");
        }
        drop((turn, queue));
        assert!(lines.is_empty());
        assert_eq!(alive.load(Ordering::SeqCst), 0, "seed {seed}");
    }
}

/// The same on two threads, where everything meets everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_between_threads() {
    const KEYS: [&str; 2] = ["p", "q"];
    let (lines, alive) = (Arc::new(lines()), Arc::<AtomicUsize>::default());
    let inside: Arc<[AtomicBool; 2]> = Arc::default();
    let tasks = (0..16).map(|seed| {
        let (lines, alive, inside) = (Arc::clone(&lines), Arc::clone(&alive), Arc::clone(&inside));
        tokio::spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut turns = 0;
            for _ in 0..2_000 {
                let (at, wants) = (rng.random_range(0..2), rng.random_range(0..2));
                let now = Instant::now();
                let patience = match rng.random_range(0..3) {
                    0 => Duration::ZERO,
                    1 => Duration::from_micros(rng.random_range(0..2_000)),
                    _ => Duration::from_secs(600),
                };
                let gone = CancellationToken::new();
                let turn = lines.turn(KEYS[at], wants, now + patience, &gone);
                let yields = rng.random_range(0..40);
                let given = if rng.random_bool(0.3) {
                    let leave = async {
                        for _ in 0..yields {
                            task::yield_now().await;
                        }
                    };
                    tokio::select! { biased; () = leave => None, turn = turn => turn }
                } else {
                    turn.await
                };
                let Some(mut given) = given else { continue };
                turns += 1;
                assert!(!inside[at].swap(true, Ordering::SeqCst), "two have the turn");
                if rng.random_bool(0.2) {
                    task::yield_now().await;
                }
                if rng.random_bool(0.1) {
                    // Goes with what it was given.
                    inside[at].store(false, Ordering::SeqCst);
                    continue;
                }
                let item = given.take().unwrap_or_else(|| Item::new(&alive, wants));
                assert_eq!(item.kind, wants, "it does not suit");
                inside[at].store(false, Ordering::SeqCst);
                if rng.random_bool(0.7)
                    && let Err((turn, item)) = given.hand_over(item)
                {
                    drop(item);
                    drop(turn);
                }
            }
            turns
        })
    });
    let turns = time::timeout(Duration::from_secs(300), join_all(tasks)).await;
    let turns: u32 = turns.expect("a turn was lost").into_iter().map(Result::unwrap).sum();
    assert!(turns > 5_000, "{turns}");
    assert!(lines.is_empty());
    assert_eq!((lines.waiting(), alive.load(Ordering::SeqCst)), (0, 0));
}
