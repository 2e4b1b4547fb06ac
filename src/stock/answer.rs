//! The answer to an order with an idempotency key: the first one stands, whoever asks again.
//!
//! The store keeps it in the same atomic step as the sale, so that there is no moment at which a
//! sale stands and its answer does not. Whoever carries out the same order a second time, on whatever
//! server, is refused by that step and gets the first answer. Semantics and header are those of the
//! IETF draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header).

use std::{fmt, str::FromStr};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Duration;

use crate::{
    outcome::Outcome,
    stock::ledger::{Generation, Line},
};
use locklab_locks::{error::BackendError, token::Token};

/// How long an answer is kept, unless the product is reset before.
pub const ANSWER_TTL: Duration = Duration::from_secs(3_600);
/// The longest idempotency key, in bytes.
pub const KEY_MAX: usize = 128;
/// What an idempotency key may be.
pub const KEY_VALID: &str = "1 to 128 visible ASCII characters, which may be in double quotes";

/// What a client names one purchase, however often it asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey(String);

impl From<&Token> for IdempotencyKey {
    fn from(token: &Token) -> Self {
        Self(token.as_str().to_owned())
    }
}

impl IdempotencyKey {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text was not an idempotency key; [`KEY_VALID`] says what is.
#[derive(Debug, thiserror::Error)]
#[error("expected {KEY_VALID}")]
pub struct InvalidKey;

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The draft wants a quoted string; most clients send it bare.
        let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let key = quoted.unwrap_or(text);
        let visible = key.bytes().all(|c| c.is_ascii_graphic() && c != b'"');
        if visible && (1..=KEY_MAX).contains(&key.len()) {
            Ok(Self(key.to_owned()))
        } else {
            Err(InvalidKey)
        }
    }
}

/// Where the answer to one order is kept, and as what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    /// What the client named it.
    pub name: IdempotencyKey,
    /// The item whose product it belongs to: the first by name, whichever order they are locked in.
    pub item: usize,
    /// The reset that product was at. A reset forgets its answers.
    pub generation: Generation,
    /// Says who carries the order out.
    pub claim: Token,
    /// What was ordered, so that the key cannot be used for anything else.
    pub order: String,
    /// The name of the sale, if there will be one.
    pub order_id: Token,
    /// How long the answer is kept.
    pub ttl: Duration,
}

/// What an order comes to. Times are not part of it: they belong to each request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What was ordered.
    pub order: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether that was because the product had been reset.
    #[serde(default)]
    pub reset: bool,
    /// The name of the sale, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// Each item; empty while the store has not said.
    pub lines: Vec<Line>,
}

impl Key {
    /// The answer that a sale of these lines is.
    #[must_use]
    pub fn sold(&self, lines: Vec<Line>) -> Answer {
        let (order, order_id) = (self.order.clone(), Some(self.order_id.as_str().to_owned()));
        Answer { order, outcome: Outcome::Sold, reset: false, order_id, lines }
    }

    /// Whether what is kept under a key answers this order.
    #[must_use]
    pub fn is_answered_by(&self, answer: &Answer) -> bool {
        self.order == answer.order
    }
}

/// How an order with a key begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Nobody has carried it out, and nobody is about to.
    First,
    /// Somebody is about to.
    UnderWay,
    /// It was answered.
    Answered(Answer),
}

/// Where answers are kept. Only the first answer of a key is ever kept.
#[async_trait]
pub trait Answers: Send + Sync {
    /// Says that the order is about to be carried out, for `ttl` at most. That only keeps others from
    /// trying for nothing: what they must not do, they cannot do once an answer is kept.
    ///
    /// # Errors
    /// The store did not say.
    async fn begin(&self, key: &Key, ttl: Duration) -> Result<Begun, BackendError>;

    /// Keeps an answer that sold nothing, unless there is one, and returns the one that stands.
    ///
    /// # Errors
    /// [`BackendError::Unknown`]: it may stand.
    async fn conclude(&self, key: &Key, answer: Answer) -> Result<Answer, BackendError>;

    /// The order came to no answer: the next one may try at once.
    ///
    /// # Errors
    /// The store did not say; the `ttl` of [`Self::begin`] has to do.
    async fn abandon(&self, key: &Key) -> Result<(), BackendError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_clients_send_them() {
        for good in ["8e03978e-40d5-43e8-bc93-6894a57f9324", "a", &"x".repeat(128)] {
            assert_eq!(good.parse::<IdempotencyKey>().unwrap().to_string(), good);
            let quoted = format!("\"{good}\"");
            assert_eq!(quoted.parse::<IdempotencyKey>().unwrap().to_string(), good);
        }
        for bad in ["", "\"\"", "a b", "a\n", "ü", "\"a", "a\"b", &"x".repeat(129)] {
            assert!(bad.parse::<IdempotencyKey>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn answers_survive_the_store() {
        let line = Line { stock_before: Some(1), stock_after: Some(0), fencing_token: Some(7) };
        let order = "fenced: 1 p".to_owned();
        let answer = Answer {
            order,
            outcome: Outcome::Sold,
            reset: false,
            order_id: Some("0f".to_owned()),
            lines: vec![line, Line::default()],
        };
        let text = serde_json::to_string(&answer).unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
    }
}
