//! A private Redis.

use tokio::time::{self, Duration};

use super::{Embedded, EmbeddedError, folder, free_address, is_installed, on_free_ports};

/// The programs that can serve as Redis, in order of preference.
const PROGRAMS: [&str; 2] = ["redis-server", "valkey-server"];
/// More memory than this and Redis refuses writes: it must neither evict a lock nor eat the host.
const MEMORY_MAX: &str = "512mb";
/// How long one question to it may take, so that another can follow.
const PATIENCE: Duration = Duration::from_secs(1);

const MISSING: &str = "no Redis: give --redis-url (REDIS_URL), or install one for the embedded server \
     (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)";

/// Starts a Redis on a free loopback port, in a temporary folder, without persistence, and waits
/// until it answers.
///
/// # Errors
/// None is installed, or it did not start.
///
/// # Cancellation
/// Dropping the future ends the server.
pub async fn start() -> Result<Embedded, EmbeddedError> {
    let program = PROGRAMS.into_iter().find(|program| is_installed(program));
    let program = program.ok_or(EmbeddedError::NotInstalled(MISSING))?;
    on_free_ports(|| start_once(program)).await
}

async fn start_once(program: &'static str) -> Result<Embedded, EmbeddedError> {
    let (address, folder) = (free_address(program)?, folder(program)?);
    let (port, path) = (address.port().to_string(), folder.path().display().to_string());
    let arguments = [
        ["--bind", "127.0.0.1"],
        ["--port", &port],
        ["--save", ""],
        ["--appendonly", "no"],
        ["--maxmemory", MEMORY_MAX],
        ["--maxmemory-policy", "noeviction"],
        ["--dir", &path],
    ];
    let arguments: Vec<String> = arguments.concat().into_iter().map(str::to_owned).collect();
    let redis = Embedded::spawn(program, address, "redis", folder, &arguments).await?;
    redis.answering(async |redis| time::timeout(PATIENCE, is_ours(redis)).await == Ok(true)).await
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
