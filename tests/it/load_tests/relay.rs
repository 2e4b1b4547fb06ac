//! A TCP relay in front of servers, one after the other: a load balancer, which keeps what it
//! heard.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

/// A running relay.
pub struct Relay {
    pub url: String,
    /// By connection.
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Relay {
    /// Listens on a free port. Each connection goes to the next of the servers.
    pub async fn start(urls: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let servers: Vec<String> =
            urls.iter().map(|url| url.trim_start_matches("http://").to_owned()).collect();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        tokio::spawn(async move {
            for next in 0.. {
                let Ok((client, _)) = listener.accept().await else { return };
                let server = TcpStream::connect(&servers[next % servers.len()]).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let heard = Arc::clone(&kept);
                heard.lock().push(Vec::new());
                tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
                tokio::spawn(async move {
                    let mut chunk = vec![0; 64 * 1024];
                    while let Ok(length @ 1..) = from_client.read(&mut chunk).await {
                        heard.lock()[next].extend(&chunk[..length]);
                        if to_server.write_all(&chunk[..length]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, heard }
    }

    /// All requests so far, one connection after the other.
    pub fn heard(&self) -> String {
        String::from_utf8(self.heard.lock().concat()).unwrap()
    }
}
