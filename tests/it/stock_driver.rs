//! A store that is driven directly: operations, and in a few words what it answers.

use locklab::{
    history::{Event, EventKind, Record},
    outcome::Outcome,
    product::{Item, Product},
    stock::{
        Note, Stock, Written,
        answer::{ANSWER_TTL, Answer, Begun, Key},
        ledger::{Generation, Sale},
    },
    strategy::server::Store,
};
use locklab_locks::{error::BackendError, token::Token};
use tokio::time::Duration;

use crate::server::until;

const LONG: Duration = Duration::from_secs(60);

/// A generation: as it is now, as it was when it was last kept, or none that ever was.
#[derive(Debug, Clone, Copy)]
pub enum At {
    Now,
    Kept,
    Never,
}

/// An operation. Products are `a` and `b`; of a sale: the product, the stock that was read, how
/// many.
#[derive(Debug, Clone, Copy)]
pub enum Do {
    Open(&'static str, u64),
    Reset(&'static str, u64),
    Close(&'static str),
    /// Remembers which reset the product is at.
    Keep(&'static str),
    Read(&'static str),
    Tally(&'static str),
    Raise(&'static str, u64),
    Write(&'static [(&'static str, i64, u32)], At, Option<u64>),
    Take(&'static [(&'static str, u32)]),
    /// With a key, by its name.
    WriteOnce(&'static str, &'static [(&'static str, i64, u32)], At),
    TakeOnce(&'static str, &'static [(&'static str, u32)], At),
    Begin(&'static str),
    /// Is outlived at once.
    BeginBriefly(&'static str),
    /// When what was begun is outlived.
    BeginAgain(&'static str),
    Conclude(&'static str, Outcome),
    Abandon(&'static str),
    /// So many records, of the generation.
    Add(&'static str, u32, Option<At>),
    Evidence(&'static str),
}

/// A store, and what is remembered of it.
pub struct Driven {
    pub stock: Box<dyn Stock>,
    pub store: Store,
    kept: Generation,
    /// Says who carries orders with a key out, and what they are called.
    claim: Token,
}

pub fn product(name: &str) -> Product {
    name.parse().unwrap()
}

fn answered(answer: &Answer) -> String {
    match answer.lines.first() {
        Some(line) if answer.outcome == Outcome::Sold => {
            format!("sold {}-{}", line.stock_before.unwrap(), line.stock_after.unwrap())
        }
        _ => <&str>::from(answer.outcome).to_owned(),
    }
}

fn written(written: Written) -> String {
    match written {
        Written::Sold(sales) => sales.iter().fold("sold".to_owned(), |all, sold| {
            let over = match sold.oversold {
                0 => String::new(),
                units => format!(" over {units}"),
            };
            let lost = match sold.lost_updates {
                0 => String::new(),
                units => format!(" lost {units}"),
            };
            format!("{all} {}-{}:{}{over}{lost}", sold.found, sold.stock, sold.sold)
        }),
        Written::SoldOut { item, stock } => format!("sold out {item} of {stock}"),
        Written::Absent { item } => format!("absent {item}"),
        Written::Fenced => "fenced".to_owned(),
        Written::Reset => "reset".to_owned(),
        Written::Repeated(answer) => format!("repeated {}", answered(&answer)),
    }
}

fn begun(begun: Begun) -> String {
    match begun {
        Begun::First => "first".to_owned(),
        Begun::UnderWay => "under way".to_owned(),
        Begun::Answered(answer) => format!("answered {}", answered(&answer)),
    }
}

impl Driven {
    pub fn new(stock: Box<dyn Stock>, store: Store) -> Self {
        let kept = Generation("of nobody".to_owned());
        Self { stock, store, kept, claim: Token::random() }
    }

    async fn at(&self, name: &str, at: At) -> Generation {
        match at {
            At::Now => self.stock.generation(&product(name)).await.unwrap().unwrap(),
            At::Kept => self.kept.clone(),
            At::Never => Generation("of nobody".to_owned()),
        }
    }

    async fn key(&self, name: &str, at: At) -> Key {
        Key {
            name: name.parse().unwrap(),
            item: 0,
            generation: self.at("a", at).await,
            claim: self.claim.clone(),
            order: "an order".to_owned(),
            order_id: self.claim.clone(),
            ttl: ANSWER_TTL,
        }
    }

    async fn write(
        &self,
        wanted: &[(&str, i64, u32)],
        at: At,
        fencing_token: Option<u64>,
        key: Option<&Key>,
    ) -> Result<String, BackendError> {
        let mut places = Vec::new();
        for (name, ..) in wanted {
            places.push((product(name), self.at(name, at).await));
        }
        let sales = places.iter().zip(wanted).map(|((product, generation), wanted)| {
            let (_, read, quantity) = *wanted;
            Sale { product, generation, read, quantity, fencing_token }
        });
        let sales: Vec<Sale<'_>> = sales.collect();
        self.stock.write(&Token::random(), &sales, key).await.map(written)
    }

    async fn take(
        &self,
        wanted: &[(&str, u32)],
        key: Option<&Key>,
    ) -> Result<String, BackendError> {
        let item = |&(name, quantity): &(&str, u32)| Item { product: product(name), quantity };
        let items: Vec<Item> = wanted.iter().map(item).collect();
        self.stock.take(&Token::random(), &items, key).await.map(written)
    }

    async fn begin(&self, name: &str, ttl: Duration) -> Result<String, BackendError> {
        self.stock.begin(&self.key(name, At::Now).await, ttl).await.map(begun)
    }

    async fn tally(&self, name: &str) -> Result<String, BackendError> {
        let tally = self.stock.tally(&product(name)).await?;
        Ok(tally
            .map_or("none".to_owned(), |it| format!("{} - {} = {}", it.initial, it.sold, it.stock)))
    }

    async fn evidence(&self, name: &str) -> Result<String, BackendError> {
        let Some(evidence) = self.stock.evidence(&product(name)).await? else {
            return Ok("none".to_owned());
        };
        let mut all = self.tally(name).await?;
        let tally = evidence.tally;
        assert_eq!(all, format!("{} - {} = {}", tally.initial, tally.sold, tally.stock));
        all += &format!(", {} of {}:", evidence.history.len(), evidence.recorded);
        let numbers = evidence.history.iter().map(|record| record.events[0].at_ns);
        Ok(numbers.fold(all, |all, number| format!("{all} {number}")))
    }

    pub fn notes(&self, name: &str, many: u32, generation: Option<&Generation>) -> Vec<Note> {
        // Each time another one: of the same, the same would be the same record.
        let server = Token::random().as_str().to_owned();
        let note = |number| Note {
            store: self.store,
            product: product(name),
            generation: generation.cloned(),
            record: Record {
                order_id: format!("o{number}"),
                server: server.clone(),
                clock: "c".to_owned(),
                lock: "safe".to_owned(),
                run_id: None,
                events: vec![Event { at_ns: number, kind: EventKind::Ok }],
            },
        };
        (0..many.into()).map(note).collect()
    }

    /// Carries an operation out, and says what the store answered.
    pub async fn carry_out(&mut self, what: Do) -> Result<String, BackendError> {
        let (stock, done) = (&self.stock, |()| "done".to_owned());
        match what {
            Do::Open(name, units) => {
                stock.open(&product(name), units).await.map(|did| did.to_string())
            }
            Do::Reset(name, units) => stock.reset(&product(name), units).await.map(done),
            Do::Close(name) => stock.close(&product(name)).await.map(done),
            Do::Keep(name) => {
                let Some(now) = stock.generation(&product(name)).await? else {
                    return Ok("none".to_owned());
                };
                let how = if now.0.is_empty() { "empty" } else { "some" };
                self.kept = now;
                Ok(how.to_owned())
            }
            Do::Read(name) => {
                let seen = stock.read(&product(name)).await?;
                Ok(seen
                    .map_or("none".to_owned(), |it| format!("{} left, {} sold", it.stock, it.sold)))
            }
            Do::Tally(name) => self.tally(name).await,
            Do::Raise(name, bar) => {
                stock.raise_bar(&product(name), bar).await.map(|raised| raised.to_string())
            }
            Do::Write(wanted, at, token) => self.write(wanted, at, token, None).await,
            Do::Take(wanted) => self.take(wanted, None).await,
            Do::WriteOnce(key, wanted, at) => {
                self.write(wanted, at, None, Some(&self.key(key, at).await)).await
            }
            Do::TakeOnce(key, wanted, at) => {
                self.take(wanted, Some(&self.key(key, at).await)).await
            }
            Do::Begin(key) => self.begin(key, LONG).await,
            Do::BeginBriefly(key) => self.begin(key, Duration::from_millis(1)).await,
            Do::BeginAgain(key) => {
                let mut again = String::new();
                until("what was begun is outlived", async || {
                    again = self.begin(key, LONG).await.unwrap();
                    again != "under way"
                })
                .await;
                Ok(again)
            }
            Do::Conclude(key, outcome) => {
                let key = self.key(key, At::Now).await;
                let answer = Answer { outcome, order_id: None, ..key.sold(Vec::new()) };
                stock.conclude(&key, answer).await.map(|stands| answered(&stands))
            }
            Do::Abandon(key) => stock.abandon(&self.key(key, At::Now).await).await.map(done),
            Do::Add(name, many, at) => {
                let generation = match at {
                    Some(at) => Some(self.at(name, at).await),
                    None => None,
                };
                stock.record(&self.notes(name, many, generation.as_ref())).await.map(done)
            }
            Do::Evidence(name) => self.evidence(name).await,
        }
    }
}
