//! What is never printed.

use std::{fmt, str::FromStr};

use url::Url;

/// A text that may hold a password: it is never printed, not even in an error.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(super) String);

impl Secret {
    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text itself; empty if there is none.
    pub(super) fn text(secret: Option<&Self>) -> String {
        secret.map(|it| it.0.clone()).unwrap_or_default()
    }

    /// The text as a URL without its password.
    #[must_use]
    pub fn redacted_url(&self) -> String {
        let Ok(mut url) = Url::parse(&self.0) else {
            return "(not a URL)".to_owned();
        };
        url.set_query(None);
        url.set_fragment(None);
        let hidden = url.password().is_none() || url.set_password(Some("***")).is_ok();
        if hidden { url.to_string() } else { "(hidden)".to_owned() }
    }
}

impl FromStr for Secret {
    // Anything goes here. Whoever uses it validates it, for clap would print what it refuses.
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_printed() {
        let secret: Secret = "redis://user:hunter2@host:6379/1".parse().unwrap();
        assert_eq!(secret.redacted_url(), "redis://user:***@host:6379/1");
        let in_query: Secret = "redis://host/?pass=hunter2#hunter2".parse().unwrap();
        assert_eq!(in_query.redacted_url(), "redis://host/");
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
