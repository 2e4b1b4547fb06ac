//! Answers in Redis: `answer:{generation}:{key}`, so that a reset forgets them.

use async_trait::async_trait;
use redis::{Script, ScriptInvocation};
use tokio::time::Duration;

use super::{RedisStock, scripts};
use crate::stock::answer::{Answer, Answers, Begun, Key};
use locklab_locks::{error::BackendError, wires::metrics::Op};

/// Where the answer is kept.
pub fn answer_key(key: &Key) -> String {
    format!("answer:{}:{}", key.generation.0, key.name)
}

/// How long the answer is kept, in ms.
pub fn ttl_ms(key: &Key) -> u64 {
    key.ttl.as_millis() as u64
}

/// Says who carries the order out. Unlike an answer, it does not begin with a brace.
fn mark(key: &Key) -> String {
    format!("under way: {}", key.claim.as_str())
}

/// The answer as it is kept.
///
/// # Errors
/// None is known: no map has a key that is not text.
pub fn encode(answer: &Answer) -> Result<String, BackendError> {
    serde_json::to_string(answer).map_err(refused)
}

/// The answer that is kept.
///
/// # Errors
/// Somebody else wrote it.
pub fn decode(text: &str) -> Result<Answer, BackendError> {
    serde_json::from_str(text).map_err(refused)
}

fn refused(error: serde_json::Error) -> BackendError {
    BackendError::Refused { backend: "redis", cause: error.into() }
}

fn at<'a>(script: &'a Script, key: &Key) -> ScriptInvocation<'a> {
    script.key(answer_key(key))
}

#[async_trait]
impl Answers for RedisStock {
    async fn begin(&self, key: &Key, ttl: Duration) -> Result<Begun, BackendError> {
        let mut script = at(&scripts::BEGIN, key);
        script.arg(mark(key)).arg(ttl.as_millis().max(1) as u64);
        let there: String = self.redis.script(Op::Answer, &script).await?;
        Ok(match there.as_bytes().first() {
            None => Begun::First,
            Some(b'{') => Begun::Answered(decode(&there)?),
            Some(_) => Begun::UnderWay,
        })
    }

    async fn conclude(&self, key: &Key, answer: Answer) -> Result<Answer, BackendError> {
        let mut script = at(&scripts::CONCLUDE, key);
        script.arg(encode(&answer)?).arg(ttl_ms(key));
        let stands: String = self.redis.script(Op::Answer, &script).await?;
        decode(&stands)
    }

    async fn abandon(&self, key: &Key) -> Result<(), BackendError> {
        let mut script = at(&scripts::ABANDON, key);
        script.arg(mark(key));
        self.redis.script::<i64>(Op::Answer, &script).await.map(|_| ())
    }
}
