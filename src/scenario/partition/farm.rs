//! The servers of one part: five nodes of Redlock that can be made to go away, a Redis for the
//! stock, and two Locklabs over them.

use std::{io, net::SocketAddr};

use futures_util::future::{join_all, try_join_all};
use nix::sys::signal::Signal;
use tokio::time::{self, Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{namespace::Namespace, proxy::Proxy};
use crate::{
    cli::{Config, Embed, How, Via},
    embedded::{Embedded, clock::Clock, redis as server},
    lab::Lab,
    scenario::{
        error::ScenarioError,
        ground::{PATIENCE, poll},
    },
    strategy::server::Backend,
};

/// How many nodes there are.
const NODES: usize = 5;
/// How many servers sell.
const LABS: usize = 2;
/// The longest wait for a node. A busy machine is no fault.
const NODE_TIMEOUT: Duration = Duration::from_millis(500);
/// Records that are kept of a product: buyers whose locks are away come back often.
const HISTORY: u32 = 10_000;
/// The port of a server that has a network of its own.
const PORT: u16 = 6379;
/// How long buyers may finish what is under way at the end.
const DRAIN: Duration = Duration::from_secs(2);

/// What the servers are to be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What nodes are behind.
    pub via: Via,
    /// How long a node that has lost its memory does not vote.
    pub restart_delay: Duration,
    /// Whether the stock and the third node have clocks that can be stepped.
    pub clocks: bool,
    /// Whether the servers of every other strategy are started as well.
    pub all: bool,
}

/// The servers.
pub struct Farm {
    /// The nodes of Redlock.
    pub nodes: Vec<Node>,
    /// The Redis of the stock; ends when dropped.
    _stock: Embedded,
    /// Its clock, if that can be stepped.
    pub clock: Option<Clock>,
    /// Servers that sell; all but the first are given those that the first has started.
    pub labs: Vec<Lab>,
    /// What another Locklab is told that sells over the same servers.
    pub environment: Vec<(&'static str, String)>,
    /// Why there are no namespaces, if there are none.
    pub without_namespaces: Option<String>,
}

/// A node of Redlock.
pub struct Node {
    link: Link,
    place: server::Place,
    server: Option<Embedded>,
    /// Its clock, if that can be stepped.
    pub clock: Option<Clock>,
}

/// What a node is behind.
enum Link {
    Namespace(Namespace),
    Proxy(Proxy),
}

impl Farm {
    /// Starts everything.
    pub async fn open(config: &Config, wanted: Wanted) -> Result<Self, ScenarioError> {
        let clock = wanted.clocks.then(Clock::new).transpose()?;
        let mut place = server::Place::free()?;
        place.through.extend(clock.iter().flat_map(Clock::through));
        let stock = server::start_at(&place).await?;
        let (links, without_namespaces) = links(wanted.via).await?;
        let nodes = links.into_iter().enumerate().map(|(index, link)| async move {
            let clock = (wanted.clocks && index == 2).then(Clock::new).transpose()?;
            Node::start(link, clock).await
        });
        let nodes = try_join_all(nodes).await?;
        let urls: Vec<String> = nodes.iter().map(Node::url).collect();
        let mut servers = vec![(Backend::Redis, stock.url()), (Backend::Redlock, urls.join(","))];
        let mut config = config.clone();
        config.redlock_timeout = NODE_TIMEOUT;
        config.redlock_restart_delay = wanted.restart_delay;
        config.redlock_new = true;
        config.history = HISTORY;
        config.stock = 0;
        let mut labs = Vec::with_capacity(LABS);
        for index in 0..LABS {
            let mut config = config.with_servers(&servers);
            if wanted.all && index == 0 {
                config = config.embedding(vec![Embed::All]);
            }
            let lab = Lab::open(&config, CancellationToken::new()).await?;
            let named = |backend| servers.iter().any(|(it, _)| *it == backend);
            let started: Vec<_> =
                lab.servers().iter().filter(|(it, _)| !named(*it)).cloned().collect();
            servers.extend(started);
            labs.push(lab);
        }
        let environment = config.with_servers(&servers).environment();
        let farm = Self { nodes, _stock: stock, clock, labs, environment, without_namespaces };
        farm.until_back().await?;
        Ok(farm)
    }

    /// Makes the first so many nodes go away.
    pub async fn break_first(&mut self, away: usize, how: How) -> Result<Instant, ScenarioError> {
        join_all(self.nodes[..away].iter_mut().map(|node| node.go(how)))
            .await
            .into_iter()
            .collect::<io::Result<()>>()?;
        Ok(Instant::now())
    }

    /// Brings the first so many nodes back.
    pub async fn heal_first(&mut self, away: usize, how: How) -> Result<Instant, ScenarioError> {
        let healed = Instant::now();
        try_join_all(self.nodes[..away].iter_mut().map(|node| node.come_back(how))).await?;
        Ok(healed)
    }

    /// Waits until every lab sees a node so.
    pub async fn until_seen(&self, node: usize, up: bool) -> Result<(), ScenarioError> {
        let what = format!("node {} is seen {}", node + 1, if up { "again" } else { "no more" });
        let is_up = |lab: &Lab| {
            let nodes = lab.backends().redlock.as_ref().ok();
            nodes.and_then(|nodes| nodes.clients().get(node)).is_some_and(|node| node.is_up())
        };
        self.until(&what, |lab| is_up(lab) == up).await
    }

    /// Waits until every lab sees all nodes, and all vote.
    pub async fn until_back(&self) -> Result<(), ScenarioError> {
        for node in 0..NODES {
            self.until_seen(node, true).await?;
        }
        self.until("all nodes vote", |lab| voters(lab) == NODES).await
    }

    /// Waits until something is so of every lab.
    async fn until(&self, what: &str, is_so: impl Fn(&Lab) -> bool) -> Result<(), ScenarioError> {
        poll(what, async || Ok(self.labs.iter().all(&is_so).then_some(()))).await
    }

    /// Ends everything.
    pub async fn close(self) {
        join_all(self.labs.into_iter().map(|lab| lab.close(Instant::now() + DRAIN))).await;
    }
}

fn voters(lab: &Lab) -> usize {
    lab.backends().redlock.as_ref().map_or(0, |nodes| nodes.voters())
}

/// A link per node, and why they are no namespaces if they are none.
async fn links(via: Via) -> Result<(Vec<Option<Namespace>>, Option<String>), ScenarioError> {
    let proxies = || (0..NODES).map(|_| None).collect();
    if via == Via::Proxy {
        return Ok((proxies(), Some("--via proxy asks for none".to_owned())));
    }
    match try_join_all((0..NODES).map(|_| Namespace::open())).await {
        Ok(namespaces) => Ok((namespaces.into_iter().map(Some).collect(), None)),
        Err(error) if via == Via::Auto => Ok((proxies(), Some(error.to_string()))),
        Err(error) => Err(error.into()),
    }
}

impl Node {
    async fn start(
        namespace: Option<Namespace>,
        clock: Option<Clock>,
    ) -> Result<Self, ScenarioError> {
        let mut place = match &namespace {
            Some(namespace) => server::Place {
                address: SocketAddr::from((namespace.address, PORT)),
                through: namespace.through(),
            },
            None => server::Place::free()?,
        };
        place.through.extend(clock.iter().flat_map(Clock::through));
        let server = Some(server::start_at(&place).await?);
        let link = match namespace {
            Some(namespace) => Link::Namespace(namespace),
            None => Link::Proxy(Proxy::open(place.address).await?),
        };
        Ok(Self { link, place, server, clock })
    }

    /// Where clients find it.
    fn url(&self) -> String {
        let address = match &self.link {
            Link::Namespace(_) => self.place.address,
            Link::Proxy(proxy) => proxy.address,
        };
        format!("redis://{address}")
    }

    /// Makes it go away.
    pub async fn go(&mut self, how: How) -> io::Result<()> {
        match how {
            How::Stop => self.signal(Signal::SIGSTOP),
            How::Kill => {
                self.signal(Signal::SIGKILL)?;
                if let Some(server) = self.server.take() {
                    time::timeout(PATIENCE, server.ended()).await?;
                }
                Ok(())
            }
            How::Cut => self.connect(false).await,
        }
    }

    /// Brings it back from there.
    pub async fn come_back(&mut self, how: How) -> Result<(), ScenarioError> {
        match how {
            How::Stop => self.signal(Signal::SIGCONT)?,
            How::Kill => self.server = Some(server::start_at(&self.place).await?),
            How::Cut => self.connect(true).await?,
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let server = self.server.as_ref().ok_or(io::ErrorKind::NotFound)?;
        Ok(server.signal(signal)?)
    }

    async fn connect(&self, up: bool) -> io::Result<()> {
        match &self.link {
            Link::Namespace(namespace) => namespace.connect(up).await,
            Link::Proxy(proxy) => {
                proxy.connect(up);
                Ok(())
            }
        }
    }
}
