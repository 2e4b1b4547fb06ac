//! Clients that hang up, at every step of every lock and at every command that it sends: the
//! purchase goes on in its own task, no lock is left behind, and nobody else is kept out.

use futures_util::future::join_all;
use locklab::strategy::{
    Expected, Family, Strategy,
    server::{Backend, Store},
    table::STRATEGIES,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    proxy::Proxy,
    redis_server::Redis,
    server::{Server, until},
};

const IN_FLIGHT: &str = "locklab_requests_in_flight";
/// More commands than any purchase sends.
const COMMANDS_MAX: usize = 50;

fn locks() -> impl Iterator<Item = &'static Strategy> {
    STRATEGIES
        .iter()
        .filter(|it| it.family == Family::Lock)
        .filter(|it| (it.backend, it.store) == (Backend::Redis, Store::Redis))
}

/// The locks that keep anybody out.
fn real_locks() -> impl Iterator<Item = &'static Strategy> {
    locks().filter(|it| it.expected != Expected::Oversells)
}

/// A purchase over a connection of its own.
struct Client(TcpStream);

impl Client {
    async fn send(server: &Server, path: &str) -> Self {
        let address = server.url.trim_start_matches("http://");
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        Self(socket)
    }

    /// Waits for the end of the reply.
    async fn served(&mut self) {
        let mut reply = String::new();
        self.0.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
    }

    /// Hangs up, and returns once the server has noticed: it has closed its side without a reply.
    async fn hang_up(mut self) {
        self.0.shutdown().await.unwrap();
        let mut reply = String::new();
        self.0.read_to_string(&mut reply).await.unwrap();
        assert_eq!(reply, "", "it was answered before it hung up");
    }
}

async fn idle(server: &Server) {
    until("nothing is under way", async || server.metric(IN_FLIGHT).await == 0.0).await;
}

/// No lock is left, the next buyer is served, and every unit is accounted for.
async fn assert_unharmed(redis: &Redis, server: &Server, lock: &str, product: &str) {
    until("no lock is left", async || !redis.is_locked(product).await).await;
    let sold = server.audit(product).await["sold"].as_i64().unwrap();
    let next = server.post(&format!("/purchase?product={product}&lock={lock}")).await;
    assert_eq!(next.outcome(), "sold", "the buyer after {product}: {}", next.text);
    assert!(!redis.is_locked(product).await, "{product}");
    let audit = server.audit(product).await;
    assert_eq!((&audit["sold"], &audit["ok"]), (&(sold + 1).into(), &true.into()), "{product}");
}

/// At every named step: whoever has come so far buys, and leaves nothing behind. Neither does
/// `naive`, not even between its two commands: hanging up does not end a task.
#[tokio::test]
async fn at_every_step() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    let steps = locks().flat_map(|lock| lock.steps.iter().map(|step| (lock.name, step.name())));
    let at = |(lock, step)| (lock, step, format!("{lock}-{step}"));
    let places: Vec<(&str, &str, String)> = steps.map(at).collect();
    for (_, _, product) in &places {
        server.reset(product, 2).await;
    }
    let mut ghosts = Vec::new();
    for (lock, step, product) in &places {
        let fault = format!("fault=pause:8s@{step}");
        let path = format!("/purchase?product={product}&lock={lock}&ttl=600s&{fault}");
        ghosts.push(Client::send(&server, &path).await);
    }
    let many = ghosts.len() as f64;
    let paused = "locklab_faults_injected_total{fault=\"pause\"}";
    until("each is at its step", async || server.metric(paused).await == many).await;
    join_all(ghosts.into_iter().map(Client::hang_up)).await;
    assert_eq!(server.metric(IN_FLIGHT).await, many, "each goes on without its client");
    idle(&server).await;
    for (lock, _, product) in &places {
        assert_eq!(server.audit(product).await["sold"], 1, "{product}");
        assert_unharmed(&redis, &server, lock, product).await;
    }
}

/// A lock of the registry, and a server that reaches Redis through a proxy.
struct Delayed {
    lock: &'static Strategy,
    redis: Redis,
    proxy: Proxy,
    server: Server,
}

impl Delayed {
    async fn start(lock: &'static Strategy, command_timeout: &str) -> Self {
        let redis = Redis::start().await;
        let proxy = Proxy::start(&redis.url()).await;
        // The history is recorded when the purchase is over: those commands are none of its own.
        let server = Server::start(&[
            "--redis-url",
            &proxy.url,
            "--command-timeout",
            command_timeout,
            "--history",
            "0",
        ]);
        Self { lock, redis, proxy, server }
    }

    fn buy(&self, product: &str) -> String {
        format!("/purchase?product={product}&lock={}&ttl=600s", self.lock.name)
    }

    async fn is_busy(&self, product: &str) -> bool {
        self.server.post(&self.buy(product)).await.json["outcome"] == "busy"
    }

    async fn is_unharmed(&self, product: &str) {
        assert_unharmed(&self.redis, &self.server, self.lock.name, product).await;
    }

    /// Sends a purchase for each command that one sends, lets it come to that command, and gives it
    /// away. Says how many commands that were.
    async fn at_every_command(&self, mut held: impl AsyncFnMut(&str, Client)) -> usize {
        // Redis has to know the scripts, or these would only be answered with NOSCRIPT.
        self.server.reset("first", 1).await;
        assert_eq!(self.server.post(&self.buy("first")).await.outcome(), "sold");
        for sent in 0..COMMANDS_MAX {
            let product = format!("p{sent}.");
            self.server.reset(&product, 2).await;
            self.proxy.hold_after(sent, &product);
            let mut ghost = Client::send(&self.server, &self.buy(&product)).await;
            tokio::select! {
                () = self.proxy.held() => held(&product, ghost).await,
                () = ghost.served() => return sent,
            }
        }
        panic!("{} sends more than {COMMANDS_MAX} commands", self.lock.name);
    }
}

/// While any one of its commands is delayed in the network, which then delivers it.
#[tokio::test(flavor = "multi_thread")]
async fn while_any_command_is_delayed() {
    let each = locks().map(async |lock| {
        let it = Delayed::start(lock, "30s").await;
        let hang_up = async |product: &str, ghost: Client| {
            ghost.hang_up().await;
            assert_eq!(it.server.metric(IN_FLIGHT).await, 1.0, "{product} goes on");
            it.proxy.drain().await;
            idle(&it.server).await;
            assert_eq!(it.server.audit(product).await["sold"], 1, "{product}");
            it.is_unharmed(product).await;
        };
        let sent = it.at_every_command(hang_up).await;
        // To know the reset, to read and to write; and most locks send commands of their own.
        assert!(sent >= 3, "{} sent {sent} commands", lock.name);
    });
    join_all(each).await;
}

/// While any one of its commands is delayed beyond its timeout, and is delivered after that: what
/// an acquire locks for nobody is freed; but while a write may still land, nobody else is let in.
#[tokio::test(flavor = "multi_thread")]
async fn while_any_command_is_lost() {
    let each = real_locks().filter(|it| it.expected != Expected::OversellsOrSticks);
    let each = each.map(async |lock| {
        let it = Delayed::start(lock, "1s").await;
        let other = Server::start(&["--redis-url", &it.redis.url()]);
        let name = lock.name;
        let unknown =
            format!("locklab_lock_orphans_total{{lock=\"{name}\",cause=\"write_unknown\"}}");
        let mut writes = 0.0;
        let hang_up = async |product: &str, ghost: Client| {
            ghost.hang_up().await;
            idle(&it.server).await;
            if it.server.metric(&unknown).await > writes {
                writes += 1.0;
                it.proxy.pass();
                let sold = async || other.audit(product).await["sold"] == 1;
                until("the late write lands", sold).await;
                until("the next buyer is kept out", async || it.is_busy(product).await).await;
                return;
            }
            it.proxy.drain().await;
            let ready = async || it.server.get("/readyz").await.status.is_success();
            until("Redis is reached again", ready).await;
            it.is_unharmed(product).await;
        };
        it.at_every_command(hang_up).await;
        assert_eq!(writes, 1.0, "{name}: one of the commands is the write");
    });
    join_all(each).await;
}

/// The control: a buyer under `naive` whose second command is lost has gone, and the lock that its
/// first one made never ends. Nothing can tell it from a stranger's.
#[tokio::test]
async fn naive_leaks_when_its_second_command_is_lost() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(&redis.url()).await;
    let server = Server::start(&["--redis-url", &proxy.url, "--command-timeout", "1s"]);
    let other = Server::start(&["--redis-url", &redis.url()]);
    other.reset("p", 1).await;
    proxy.hold_at("PEXPIRE");
    let ghost = Client::send(&server, "/purchase?product=p&lock=naive&ttl=1s").await;
    proxy.held().await;
    ghost.hang_up().await;
    idle(&server).await;
    let orphans = "locklab_lock_orphans_total{lock=\"naive\",cause=\"unknown\"}";
    assert_eq!(server.metric(orphans).await, 1.0);
    let ttl: i64 = redis.send(&["TTL", "lock:p"]).await;
    assert_eq!(ttl, -1, "naive was not caught leaking");
    assert_eq!(other.post("/purchase?product=p&lock=naive").await.outcome(), "busy");
    assert_eq!(other.audit("p").await["sold"], 0);
}

/// While it waits: it does not buy later, and nobody waits for it.
#[tokio::test]
async fn while_it_waits() {
    let redis = Redis::start().await;
    let server = Server::start(&["--redis-url", &redis.url()]);
    for name in real_locks().map(|lock| lock.name) {
        server.reset(name, 2).await;
        let buy = format!("/purchase?product={name}&lock={name}&ttl=600s");
        // Holds the lock until a reset forgets it.
        let _holder = Client::send(&server, &format!("{buy}&fault=pause:60s@after-acquire")).await;
        let attempts = async |outcome: &str| {
            let labels = format!("lock=\"{name}\",outcome=\"{outcome}\"");
            server.metric(&format!("locklab_lock_attempts_total{{{labels}}}")).await
        };
        until("the lock is held", async || attempts("acquired").await == 1.0).await;
        let wait = "retry=fixed&base=100ms&max_retries=1000&wait=60s";
        let ghost = Client::send(&server, &format!("{buy}&{wait}")).await;
        until("it has come back", async || attempts("contended").await >= 3.0).await;
        ghost.hang_up().await;
        let waiters = format!("locklab_lock_waiters{{lock=\"{name}\"}}");
        until("nobody waits", async || server.metric(&waiters).await == 0.0).await;
        server.reset(name, 2).await;
        assert_eq!(server.audit(name).await["sold"], 0, "{name}");
        assert_unharmed(&redis, &server, name, name).await;
    }
}

/// While any command of its tries is delayed, and the lock becomes free meanwhile: it may still
/// buy, and leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn while_a_try_is_delayed() {
    let each = real_locks().map(async |lock| {
        let it = Delayed::start(lock, "30s").await;
        // Two or three commands are a try, so that this comes to the third.
        for sent in 0..6 {
            let product = format!("p{sent}.");
            let key = format!("lock:{product}");
            it.server.reset(&product, 2).await;
            let () = it.redis.send(&["SET", &key, "a stranger"]).await;
            if !it.is_busy(&product).await {
                // Its lock is elsewhere: no command of its tries could be delayed here.
                return None;
            }
            it.proxy.hold_after(sent, &product);
            let wait = "retry=fixed&base=5ms&max_retries=9";
            let path = format!("{}&{wait}", it.buy(&product));
            let ghost = Client::send(&it.server, &path).await;
            it.proxy.held().await;
            ghost.hang_up().await;
            let () = it.redis.send(&["DEL", &key]).await;
            it.proxy.drain().await;
            idle(&it.server).await;
            it.is_unharmed(&product).await;
        }
        Some(lock.name)
    });
    let waited: Vec<_> = join_all(each).await.into_iter().flatten().collect();
    for name in ["naive", "safe", "watchdog", "fenced"] {
        assert!(waited.contains(&name), "{name} waited for nobody");
    }
}
