//! What the servers of an ensemble say that they are. The protocol of clients does not tell; the four
//! letters `srvr` do, unless they are forbidden.

use std::io;

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{self, Duration},
};

use super::ZooKeeperClient;

/// More than any server answers.
const ANSWER_MAX: u64 = 4_096;
/// What the answer begins with; a comma ends the version.
const PREFIX: &str = "Zookeeper version: ";

impl ZooKeeperClient {
    /// What each server says that it is, if it says so in time.
    ///
    /// # Cancellation
    /// Safe: nothing is changed.
    pub async fn versions(&self, patience: Duration) -> Vec<Option<String>> {
        let ask = self.options.hosts.servers().split(',').map(|server| async move {
            let answer = time::timeout(patience, srvr(server)).await.ok()?.ok()?;
            version(&answer)
        });
        join_all(ask).await
    }
}

async fn srvr(server: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(b"srvr").await?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer).await?;
    Ok(answer)
}

/// The version without the commit that it was built from.
fn version(answer: &str) -> Option<String> {
    let line = answer.lines().find_map(|line| line.strip_prefix(PREFIX))?;
    let version = line.split([',', '-', ' ']).next().filter(|version| !version.is_empty())?;
    Some(format!("ZooKeeper {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_name_their_version() {
        let answer = "Zookeeper version: 3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f, built on \
                      2022-02-25 08:49 UTC\nLatency min/avg/max: 0/0.0/0\n";
        assert_eq!(version(answer).as_deref(), Some("ZooKeeper 3.8.0"));
        let forbidden = "srvr is not executed because it is not in the whitelist.\n";
        assert_eq!(version(forbidden), None);
    }
}
