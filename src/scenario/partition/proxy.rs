//! A proxy in front of a server that can stop passing anything on, both ways, and keeps connections
//! open: how a network looks that has lost a machine. What was under way arrives when it is healed.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// A running proxy; ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    passes: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free loopback port, and passes everything on to `target`.
    pub async fn open(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (passes, passing) = watch::channel(true);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(join(client, target, passing.clone()));
            }
        });
        Ok(Self { address, passes, task })
    }

    /// Stops passing anything on, or goes on with it.
    pub fn connect(&self, passes: bool) {
        self.passes.send_replace(passes);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Joins a client to the server until either has gone.
async fn join(client: TcpStream, target: SocketAddr, mut passing: watch::Receiver<bool>) {
    if passing.wait_for(|passes| *passes).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    // Small commands must not wait for each other; a socket that refuses that still works.
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    tokio::select! {
        () = pass(from_client, to_server, passing.clone()) => {}
        () = pass(from_server, to_client, passing) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut passing: watch::Receiver<bool>) {
    let mut chunk = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let is_open = passing.wait_for(|passes| *passes).await.is_ok();
        if !is_open || to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
