//! Where connections come from, and how Redis is greeted on each.

use std::{io, sync::Arc};

use async_trait::async_trait;
use bb8_redis::bb8::ManageConnection;
use futures_util::future::select_ok;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ErrorKind, RedisConnectionInfo, RedisError,
    aio::{MultiplexedConnection, PubSub},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{self, TcpStream},
    time::{self, Duration},
};
use tokio_util::task::AbortOnDropHandle;

use super::InvalidUrl;

/// How long it may take to reach a server and to greet it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What commands and replies go over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Where connections to one Redis come from: the network, or a test.
#[async_trait]
pub trait Connect: Send + Sync + 'static {
    /// A new stream to the server, on which nothing has been sent.
    ///
    /// # Errors
    /// The server cannot be reached.
    async fn connect(&self) -> io::Result<Box<dyn Stream>>;
}

/// Connections over TCP.
pub(super) struct Tcp {
    host: String,
    port: u16,
}

impl Tcp {
    /// Connections to that address.
    pub(super) fn to(address: &ConnectionAddr) -> Result<Self, InvalidUrl> {
        let ConnectionAddr::Tcp(host, port) = address else {
            return Err(InvalidUrl("neither TLS nor Unix sockets are supported".to_owned()));
        };
        Ok(Self { host: host.clone(), port: *port })
    }
}

#[async_trait]
impl Connect for Tcp {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let mut addresses = net::lookup_host((&*self.host, self.port)).await?.peekable();
        if addresses.peek().is_none() {
            return Err(io::Error::other("the host has no address"));
        }
        // The first that answers: at another one, perhaps nobody does.
        let (stream, _) =
            select_ok(addresses.map(|address| Box::pin(TcpStream::connect(address)))).await?;
        // Nagle's algorithm would hold a lock's small commands back for the previous one's ACK.
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// Makes connections of every kind, for bb8 and for whoever waits for messages.
#[derive(Clone)]
pub(super) struct Linker {
    pub(super) connect: Arc<dyn Connect>,
    /// Who we are, and which database is meant.
    pub(super) greeting: RedisConnectionInfo,
    /// The longest wait for the reply to a command.
    pub(super) timeout: Duration,
}

impl Linker {
    /// A connection for messages.
    pub(super) async fn pubsub(&self) -> Result<PubSub, RedisError> {
        PubSub::new(&self.greeting, self.connect.connect().await?).await
    }
}

impl ManageConnection for Linker {
    type Connection = Link;
    type Error = RedisError;

    async fn connect(&self) -> Result<Link, RedisError> {
        let linked = async {
            let stream = self.connect.connect().await?;
            let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.timeout));
            MultiplexedConnection::new_with_config(&self.greeting, stream, config).await
        };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let (connection, driver) = time::timeout(CONNECT_TIMEOUT, linked).await.map_err(late)??;
        Ok(Link { connection, _driver: Arc::new(AbortOnDropHandle::new(tokio::spawn(driver))) })
    }

    async fn is_valid(&self, link: &mut Link) -> Result<(), RedisError> {
        let pong: String = redis::cmd("PING").query_async(&mut link.connection).await?;
        if pong == "PONG" { Ok(()) } else { Err((ErrorKind::Extension, "ping request").into()) }
    }

    fn has_broken(&self, _: &mut Link) -> bool {
        false
    }
}

/// A connection for commands, which is closed when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    /// The task that writes and reads.
    _driver: Arc<AbortOnDropHandle<()>>,
}
