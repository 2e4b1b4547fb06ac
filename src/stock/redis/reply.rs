//! What the scripts answer to a write or a take: a word, then what belongs to it.

use redis::{FromRedisValue, ParsingError, Value};

use crate::stock::{
    Written,
    ledger::{Entry, Generation, Sale, Sold},
};

/// Numbers of an entry that follow its generation.
const NUMBERS: usize = 4;

/// The reply of a script.
pub struct Reply {
    word: String,
    rest: Vec<Value>,
}

impl FromRedisValue for Reply {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut parts = Vec::<Value>::from_redis_value(value)?.into_iter();
        let word = String::from_redis_value(parts.next().unwrap_or(Value::Nil))?;
        Ok(Self { word, rest: parts.collect() })
    }
}

/// An item that a reply names counts from 1, as Lua does.
fn item(number: usize) -> usize {
    number.saturating_sub(1)
}

impl Reply {
    /// What it means to items of which so many units were wanted; `read` gives the stock that an item
    /// was read as, if it was read before.
    ///
    /// # Errors
    /// The reply makes no sense.
    pub fn judge(
        self,
        quantities: impl Iterator<Item = u32>,
        read: impl Fn(usize) -> Option<i64>,
    ) -> Result<Written, ParsingError> {
        let mut rest = self.rest.into_iter();
        let mut next = || rest.next().unwrap_or(Value::Nil);
        Ok(match self.word.as_str() {
            "sold" => {
                let mut sales = Vec::new();
                for (item, quantity) in quantities.enumerate() {
                    let generation = Generation(String::from_redis_value(next())?);
                    let mut numbers = [0; NUMBERS];
                    for number in &mut numbers {
                        *number = i64::from_redis_value(next())?;
                    }
                    let [found, stock, sold, initial] = numbers;
                    let entry = Entry { generation, found, stock, sold, initial };
                    sales.push(Sold::new(entry, read(item).unwrap_or(found), quantity));
                }
                Written::Sold(sales)
            }
            "sold_out" => Written::SoldOut {
                item: item(usize::from_redis_value(next())?),
                stock: i64::from_redis_value(next())?,
            },
            "absent" => Written::Absent { item: item(usize::from_redis_value(next())?) },
            "fenced" => Written::Fenced,
            "reset" => Written::Reset,
            "repeated" => {
                let answer = String::from_redis_value(next())?;
                let answer = serde_json::from_str(&answer);
                Written::Repeated(answer.map_err(|error| error.to_string())?)
            }
            word => return Err(format!("{word:?} is no reply").into()),
        })
    }

    /// What became of a write, by the word that its script answered.
    ///
    /// # Errors
    /// The answer makes no sense.
    pub fn judge_write(self, sales: &[Sale<'_>]) -> Result<Written, ParsingError> {
        self.judge(sales.iter().map(|sale| sale.quantity), |item| Some(sales[item].read))
    }
}
