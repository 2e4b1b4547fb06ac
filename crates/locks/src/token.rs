//! The owner id of one attempt.

use std::fmt;

use serde::{Deserialize, Serialize};

/// 128 random bits, as 32 hexadecimal digits: nobody else can hold, guess or repeat it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Token(String);

impl Token {
    /// A new token.
    #[must_use]
    pub fn random() -> Self {
        // rand's thread generator is a cryptographic one, seeded by the operating system.
        Self(format!("{:032x}", rand::random::<u128>()))
    }

    /// The digits, as the lock service stores them.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Only the first digits: whoever reads a log must not be able to release a lock with it.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}…)", &self.0[..6])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_different_and_not_logged() {
        let (one, two) = (Token::random(), Token::random());
        assert_eq!(one.as_str().len(), 32);
        assert_ne!(one, two);
        assert!(!format!("{one:?}").contains(one.as_str()));
    }
}
