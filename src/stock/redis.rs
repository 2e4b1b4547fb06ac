//! Stock and ledger in Redis.
//!
//! `inventory:{product}` is the stock, a plain number. `ledger:{product}` is a hash: `initial`,
//! `sold`, the `generation`, which changes with every reset, and the `bar`: the newest fencing token
//! seen since.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use redis::Script;

use crate::{
    backends::{BackendError, redis::RedisClient},
    metrics::Op,
    product::Product,
    stock::{Generation, Sale, Sold, Stock, Tally, Written},
    token::Token,
};

/// KEYS: stock, ledger. ARGV: generation, stock to write, quantity, fencing token or ''.
/// The write is blind on purpose: guarding it is the lock's task. Only the ledger is exact. Once
/// there is a bar, a write without a token is refused as well: it could be anybody's. Tokens are
/// compared as Lua's floats, which are exact up to 2⁵³.
static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if redis.call('HGET', KEYS[2], 'generation') ~= ARGV[1] then return {'reset'} end
        local bar = redis.call('HGET', KEYS[2], 'bar')
        if bar and (ARGV[4] == '' or tonumber(ARGV[4]) < tonumber(bar)) then return {'fenced'} end
        if ARGV[4] ~= '' then redis.call('HSET', KEYS[2], 'bar', ARGV[4]) end
        local found = redis.call('GET', KEYS[1])
        if found and not tonumber(found) then return redis.error_reply('ERR the stock is no number') end
        redis.call('SET', KEYS[1], ARGV[2])
        local sold = redis.call('HINCRBY', KEYS[2], 'sold', ARGV[3])
        return {'sold', found, ARGV[2], sold, redis.call('HGET', KEYS[2], 'initial')}
        ",
    )
});

/// KEYS: ledger. ARGV: fencing token. 1: the bar is there; 0: it was higher already.
static RAISE_BAR: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local bar = tonumber(redis.call('HGET', KEYS[1], 'bar') or 0)
        if tonumber(ARGV[1]) < bar then return 0 end
        if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'bar', ARGV[1]) end
        return 1
        ",
    )
});

/// KEYS: stock, ledger. ARGV: quantity.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        local found = redis.call('GET', KEYS[1])
        local initial = redis.call('HGET', KEYS[2], 'initial')
        if not found or not initial then return {'absent'} end
        if tonumber(found) < tonumber(ARGV[1]) then return {'sold_out', found} end
        local stock = redis.call('DECRBY', KEYS[1], ARGV[1])
        local sold = redis.call('HINCRBY', KEYS[2], 'sold', ARGV[1])
        return {'sold', found, tostring(stock), sold, initial}
        ",
    )
});

/// KEYS: stock, ledger. ARGV: stock, generation, 'always' or 'if absent'.
static RESET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
        if ARGV[3] == 'if absent' and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
        redis.call('SET', KEYS[1], ARGV[1])
        redis.call('DEL', KEYS[2])
        redis.call('HSET', KEYS[2], 'initial', ARGV[1], 'sold', 0, 'generation', ARGV[2])
        return 1
        ",
    )
});

/// Products in one Redis.
pub struct RedisStock {
    redis: Arc<RedisClient>,
}

impl RedisStock {
    /// Products in that Redis.
    #[must_use]
    pub fn new(redis: Arc<RedisClient>) -> Self {
        Self { redis }
    }

    async fn put(&self, product: &Product, stock: u64, when: &str) -> Result<bool, BackendError> {
        let mut script = RESET.key(stock_key(product));
        script.key(ledger_key(product)).arg(stock).arg(Token::random().as_str()).arg(when);
        self.redis.script(Op::Reset, &script).await
    }
}

/// Where the stock is.
#[must_use]
pub fn stock_key(product: &Product) -> String {
    format!("inventory:{product}")
}

/// Where the ledger is.
#[must_use]
pub fn ledger_key(product: &Product) -> String {
    format!("ledger:{product}")
}

#[async_trait]
impl Stock for RedisStock {
    async fn generation(&self, product: &Product) -> Result<Option<Generation>, BackendError> {
        let mut hget = redis::cmd("HGET");
        hget.arg(ledger_key(product)).arg("generation");
        let generation: Option<String> = self.redis.command(Op::Generation, &hget).await?;
        Ok(generation.map(Generation))
    }

    async fn read(&self, product: &Product) -> Result<Option<i64>, BackendError> {
        let stock: Option<String> =
            self.redis.command(Op::Read, redis::cmd("GET").arg(stock_key(product))).await?;
        stock.as_deref().map(number).transpose()
    }

    async fn write(&self, product: &Product, sale: Sale<'_>) -> Result<Written, BackendError> {
        let Sale { generation, read, quantity, fencing_token } = sale;
        let mut script = WRITE.key(stock_key(product));
        script
            .key(ledger_key(product))
            .arg(&generation.0)
            .arg(read - i64::from(quantity))
            .arg(quantity)
            .arg(fencing_token.map_or_else(String::new, |token| token.to_string()));
        let reply: Reply = self.redis.script(Op::Write, &script).await?;
        Ok(reply.judge(read, quantity))
    }

    async fn raise_bar(&self, product: &Product, token: u64) -> Result<bool, BackendError> {
        let mut script = RAISE_BAR.key(ledger_key(product));
        script.arg(token);
        self.redis.script(Op::RaiseBar, &script).await
    }

    async fn take(&self, product: &Product, quantity: u32) -> Result<Written, BackendError> {
        let mut script = TAKE.key(stock_key(product));
        script.key(ledger_key(product)).arg(quantity);
        let reply: Reply = self.redis.script(Op::Take, &script).await?;
        let read = reply.1.unwrap_or_default();
        Ok(reply.judge(read, quantity))
    }

    async fn reset(&self, product: &Product, stock: u64) -> Result<(), BackendError> {
        self.put(product, stock, "always").await.map(|_| ())
    }

    async fn open(&self, product: &Product, stock: u64) -> Result<bool, BackendError> {
        self.put(product, stock, "if absent").await
    }

    async fn tally(&self, product: &Product) -> Result<Option<Tally>, BackendError> {
        let mut both = redis::pipe();
        both.atomic().get(stock_key(product)).hmget(ledger_key(product), &["initial", "sold"]);
        let (stock, (initial, sold)): (Option<String>, (Option<i64>, Option<i64>)) =
            self.redis.pipeline(Op::Tally, &both).await?;
        let (Some(stock), Some(initial), Some(sold)) = (stock, initial, sold) else {
            return Ok(None);
        };
        Ok(Some(Tally { initial, stock: number(&stock)?, sold }))
    }
}

/// The stock as a number.
///
/// # Errors
/// It is none: anybody can write anything to the stock's key.
pub fn number(text: &str) -> Result<i64, BackendError> {
    let refused = |_| BackendError::Refused {
        backend: "redis",
        cause: format!("the stock is no number: {text:?}").into(),
    };
    text.parse().map_err(refused)
}

/// What the scripts answer: a word, then the stock before, the stock after, units sold, initial.
struct Reply(String, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

impl redis::FromRedisValue for Reply {
    fn from_redis_value(value: redis::Value) -> Result<Self, redis::ParsingError> {
        let mut parts = Vec::<redis::Value>::from_redis_value(value)?.into_iter();
        let word = parts.next().unwrap_or(redis::Value::Nil);
        let mut number = || {
            parts.next().map_or(Ok(None), <Option<i64> as redis::FromRedisValue>::from_redis_value)
        };
        Ok(Self(String::from_redis_value(word)?, number()?, number()?, number()?, number()?))
    }
}

impl Reply {
    /// What the reply means to a purchase of `quantity` that had read the stock as `read`.
    fn judge(&self, read: i64, quantity: u32) -> Written {
        match (self.0.as_str(), self.1, self.2, self.3, self.4) {
            ("sold", found, Some(stock), Some(sold), Some(initial)) => {
                let found = found.unwrap_or_default();
                Written::Sold(Sold::new(read, found, stock, sold, initial, quantity))
            }
            ("sold_out", Some(stock), ..) => Written::SoldOut { stock },
            ("absent", ..) => Written::Absent,
            ("fenced", ..) => Written::Fenced,
            _ => Written::Reset,
        }
    }
}
