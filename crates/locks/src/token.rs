//! The owner id of one attempt.

use std::fmt;

use rand::{SeedableRng, rngs::SmallRng};
use serde::{Deserialize, Serialize};

use crate::random::Source;

/// 128 random bits, as 32 hexadecimal digits: nobody else can hold, guess or repeat it.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Token(String);

impl Token {
    /// A new token, which nobody can foretell.
    #[must_use]
    pub fn random() -> Self {
        Self::drawn_from(&Source::default())
    }

    /// A new token, from that source.
    #[must_use]
    pub fn drawn_from(source: &Source) -> Self {
        Self(format!("{:032x}", source.draw::<u128>()))
    }

    /// What its owner may draw from where nothing depends on who foretells it, such as a pause.
    #[must_use]
    pub fn rng(&self) -> SmallRng {
        let bits = u128::from_str_radix(&self.0, 16).unwrap_or_default();
        SmallRng::seed_from_u64(bits as u64)
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
    fn a_seed_gives_the_same_tokens_again() {
        let token = |seed| Token::drawn_from(&Source::seeded(seed));
        assert_eq!(token(1), token(1));
        assert_ne!(token(1), token(2));
        assert_eq!(token(1).rng(), token(1).rng());
        assert_ne!(token(1).rng(), token(2).rng());
    }

    #[test]
    fn tokens_are_long_different_and_not_logged() {
        let (one, two) = (Token::random(), Token::random());
        assert_eq!(one.as_str().len(), 32);
        assert_ne!(one, two);
        assert!(!format!("{one:?}").contains(one.as_str()));
    }
}
