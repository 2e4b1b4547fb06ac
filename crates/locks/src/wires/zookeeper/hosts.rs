//! Where an ensemble is, as ZooKeeper's own clients take it.

use std::str::FromStr;

use url::Url;

/// The text does not say where an ensemble is.
#[derive(Debug, thiserror::Error)]
#[error("expected host:port of each server, separated by commas, and at the end perhaps /root")]
pub struct InvalidHosts;

/// The servers of an ensemble, and the node below which everything is to be, if it is not the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts {
    servers: String,
    root: Option<String>,
}

impl Hosts {
    /// host:port of each server, separated by commas.
    #[must_use]
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// The node below which everything is to be.
    #[must_use]
    pub fn root(&self) -> Option<&str> {
        self.root.as_deref()
    }
}

impl FromStr for Hosts {
    type Err = InvalidHosts;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (servers, root) = match text.find('/') {
            Some(at) => (&text[..at], Some(text[at..].to_owned())),
            None => (text, None),
        };
        let is_node = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(',');
        let is_path = |path: &String| path[1..].split('/').all(is_node);
        if servers.split(',').all(is_server) && root.iter().all(is_path) {
            Ok(Self { servers: servers.to_owned(), root })
        } else {
            Err(InvalidHosts)
        }
    }
}

fn is_server(text: &str) -> bool {
    // A URL may be surrounded by spaces.
    if text.contains(char::is_whitespace) {
        return false;
    }
    Url::parse(&format!("zookeeper://{text}")).is_ok_and(|url| {
        let is_plain = url.username().is_empty() && url.password().is_none();
        let has_no_more =
            url.path().is_empty() && url.query().is_none() && url.fragment().is_none();
        is_plain && has_no_more && url.has_host() && url.port().is_some_and(|port| port > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_as_people_write_them() {
        let of = |text: &str| text.parse::<Hosts>().unwrap();
        for (text, servers, root) in [
            ("a:2181", "a:2181", None),
            ("a:2181,10.0.0.1:1,[::1]:65535", "a:2181,10.0.0.1:1,[::1]:65535", None),
            ("a:1,b:2/lab", "a:1,b:2", Some("/lab")),
            ("a:1/lab/two", "a:1", Some("/lab/two")),
        ] {
            assert_eq!((of(text).servers(), of(text).root()), (servers, root));
        }
        for bad in [
            "",
            "a",
            "a:",
            ":2181",
            "a:0",
            "a:65536",
            "a:b",
            "a:1,",
            ",a:1",
            "a:1 ,b:1",
            "a:1,b:2/",
            "a:1/lab,b:1",
            "a:1/x//y",
            "a:1/..",
            "zk://a:1",
            "user@a:1",
            "u:p@a:1",
            "a:1?x",
            "a:1#x",
        ] {
            assert!(bad.parse::<Hosts>().is_err(), "{bad:?}");
        }
    }
}
