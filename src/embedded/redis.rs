//! A private Redis.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Embedded, EmbeddedError, Ending, folder, free_address, is_installed, on_free_ports};

/// The programs that can serve as Redis, in order of preference.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
/// More memory than this and Redis refuses writes: it must neither evict a lock nor eat the host.
const MEMORY_MAX: &str = "512mb";

const MISSING: &str = "no Redis: give --redis-url (REDIS_URL), or install one for the embedded server \
     (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)";

/// Where a Redis is to listen, and what is to start it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where.
    pub address: SocketAddr,
    /// A program with its arguments that becomes the one that follows them, as `env` does.
    pub through: Vec<String>,
}

impl Place {
    /// A loopback port that is free now.
    ///
    /// # Errors
    /// The operating system refused.
    pub fn free() -> Result<Self, EmbeddedError> {
        Ok(Self { address: free_address(PROGRAMS[0])?, through: Vec::new() })
    }
}

/// Starts a Redis on a free loopback port; as [`start_at`].
///
/// # Errors
/// None is installed, or it did not start.
///
/// # Cancellation
/// Dropping the future ends the server.
pub async fn start() -> Result<Embedded, EmbeddedError> {
    on_free_ports(|| async { start_at(&Place::free()?).await }).await
}

/// Starts a Redis, in a temporary folder, without persistence, and waits until it answers.
///
/// # Errors
/// None is installed, or it did not start.
///
/// # Cancellation
/// Dropping the future ends the server.
pub async fn start_at(place: &Place) -> Result<Embedded, EmbeddedError> {
    let program = PROGRAMS.into_iter().find(|program| is_installed(program));
    let program = program.ok_or(EmbeddedError::NotInstalled(MISSING))?;
    let (Place { address, through }, folder) = (place, folder(program)?);
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let path = folder.path().display().to_string();
    // Elsewhere than on loopback, it listens inside of a network of ours.
    let protected = if address.ip() == Ipv4Addr::LOCALHOST { "yes" } else { "no" };
    let arguments = [
        ["--bind", &ip],
        ["--port", &port],
        ["--protected-mode", protected],
        ["--save", ""],
        ["--appendonly", "no"],
        ["--maxmemory", MEMORY_MAX],
        ["--maxmemory-policy", "noeviction"],
        ["--dir", &path],
    ];
    let own = [program].into_iter().chain(arguments.into_iter().flatten()).map(str::to_owned);
    let command: Vec<String> = through.iter().cloned().chain(own).collect();
    let url = format!("redis://{address}");
    let redis = Embedded::spawn(program, *address, url, Ending::Kill, folder, &command).await?;
    redis.answering(is_ours).await
}

/// The port may belong to somebody who was faster: only our child has this pid.
async fn is_ours(server: &Embedded) -> bool {
    let Ok(client) = redis::Client::open(server.url()) else { return false };
    let Ok(mut conn) = client.get_multiplexed_async_connection().await else { return false };
    let info: redis::RedisResult<redis::InfoDict> =
        redis::cmd("INFO").arg("server").query_async(&mut conn).await;
    let pid = info.ok().and_then(|info| info.get::<i32>("process_id"));
    pid == Some(server.server.as_raw())
}
