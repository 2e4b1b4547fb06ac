//! A real etcd for tests, with everything needed to break it. Every test has a cluster of its own, so
//! that their products do not meet.

use locklab::{
    embedded::{self, Embedded},
    measure::exporter::Exporter,
};
use locklab_locks::wires::{etcd::EtcdClient, metrics::Wire};
use std::sync::Arc;

use etcd_client::{Client, GetOptions};
use nix::sys::signal::Signal;
use tokio::time::Duration;

/// The members of a private cluster.
#[derive(Clone)]
pub struct Etcd(Arc<Vec<Embedded>>);

impl Etcd {
    /// One member answers as three do, and is there sooner.
    pub async fn start(members: usize) -> Self {
        let members = embedded::etcd::start(members).await;
        Self(Arc::new(members.expect("the tests need a real etcd; `make test` installs it")))
    }

    /// None, for a test that needs none.
    pub fn absent() -> Self {
        Self(Arc::default())
    }

    /// Where the members are, as a flag takes it.
    pub fn endpoints(&self) -> String {
        self.0.iter().map(Embedded::url).collect::<Vec<_>>().join(",")
    }

    /// Sends a member a signal: STOP hangs it, CONT ends that, KILL is a crash.
    pub fn signal(&self, member: usize, signal: Signal) {
        self.0[member].signal(signal).expect("the member runs");
    }

    /// What Locklab's strategies use.
    pub async fn client(&self, metrics: &Exporter) -> Arc<EtcdClient> {
        let urls: Vec<String> = self.0.iter().map(Embedded::url).collect();
        let client =
            EtcdClient::connect(&urls, Duration::from_secs(5), metrics.backend(Wire::Etcd, "etcd"))
                .await;
        Arc::new(client.unwrap())
    }

    /// A connection of our own, to the last member.
    pub async fn connect(&self) -> Client {
        Client::connect([self.0.last().unwrap().url()], None).await.unwrap()
    }

    /// The keys of those who hold or want the product's lock, the oldest first.
    pub async fn keys(&self, product: &str) -> Vec<String> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let options = GetOptions::new().with_prefix();
        let found = self.connect().await.get(format!("locklab/{product}/"), Some(options)).await;
        let mut found = found.unwrap().take_kvs();
        found.sort_by_key(|kv| kv.create_revision());
        found.iter().map(|kv| kv.key_str().unwrap().to_owned()).collect()
    }

    /// How many leases there are.
    pub async fn leases(&self) -> usize {
        self.connect().await.leases().await.unwrap().leases().len()
    }
}
