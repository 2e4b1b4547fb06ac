//! A private PostgreSQL, from Debian's package or from the path.
//!
//! Like the embedded Redis it has no password, and listens on loopback only. What makes it durable
//! is as its makers left it: what that costs is what people shall see.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use sqlx::{Connection, PgConnection};
use tokio::process::Command;

use super::{
    Embedded, EmbeddedError, Ending, account::Account, folder, free_address, is_installed,
    on_free_ports,
};

const PROGRAM: &str = "postgres";
/// What creates what the server serves.
const CREATOR: &str = "initdb";
/// Where Debian keeps the programs, in a folder for each version, and off the path.
const VERSIONS: &str = "/usr/lib/postgresql";
/// It refuses to run as root; its package creates this user.
const SYSTEM_USER: &str = "postgres";

const MISSING: &str = "no PostgreSQL: give --postgres-url (POSTGRES_URL), or install one for the embedded server \
     (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql)";
const NO_USER: &str = "PostgreSQL does not run as root, and there is no user postgres to run it as: start \
     locklab as another user, or give --postgres-url (POSTGRES_URL)";

/// `$0` is the folder for the data, `$1` what fills it, the rest is the server. Nothing needs to
/// survive a crash before the server is there, so initdb need not wait for the disk.
const START: &str = r#"
cd "${0%/*}" && initdb=$1 && shift &&
"$initdb" --pgdata="$0" --username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync &&
exec "$@"
"#;

/// What keeps a private server small and apart.
const SETTINGS: [&str; 6] = [
    "listen_addresses=127.0.0.1",
    // No socket outside of its folder, and nobody looks for one there.
    "unix_socket_directories=",
    // Several locklabs, with a pool each, and the tests share one.
    "max_connections=500",
    // A product is one row.
    "shared_buffers=32MB",
    // Its folder may be in memory.
    "max_wal_size=256MB",
    // Elsewhere a killed server leaves its shared memory behind.
    "dynamic_shared_memory_type=mmap",
];

/// Starts a PostgreSQL on a free loopback port, in a temporary folder, with an empty database
/// `locklab`, and waits until it answers.
///
/// # Errors
/// None is installed, or it did not start.
///
/// # Cancellation
/// Dropping the future ends the server.
pub async fn start() -> Result<Embedded, EmbeddedError> {
    let programs = programs().ok_or(EmbeddedError::NotInstalled(MISSING))?;
    let account = Account::instead_of_root(SYSTEM_USER);
    let account = account.ok_or(EmbeddedError::NotInstalled(NO_USER))?;
    on_free_ports(|| start_once(&programs, &account)).await
}

/// The folder of the programs, that of the newest version first; empty if they are on the path.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut versions: Vec<(Vec<u32>, PathBuf)> = versions
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version: Result<_, _> = name.split('.').map(str::parse).collect();
            Some((version.ok()?, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    let folders = versions.into_iter().rev().map(|(_, folder)| folder).chain([PathBuf::new()]);
    // Where only the client is installed, there is a folder too.
    let serves =
        |folder: &PathBuf| [PROGRAM, CREATOR].iter().all(|it| is_installed(&path(folder, it)));
    folders.into_iter().find(serves)
}

fn path(folder: &Path, program: &str) -> String {
    folder.join(program).display().to_string()
}

async fn start_once(programs: &Path, account: &Account) -> Result<Embedded, EmbeddedError> {
    let failed = |source| EmbeddedError::Start { program: PROGRAM, source };
    let (address, folder) = (free_address(PROGRAM)?, folder(PROGRAM)?);
    let data = account.folder(folder.path()).map_err(failed)?.join("data").display().to_string();
    let port = format!("port={}", address.port());
    let mut command = account.through();
    command.extend(["sh", "-c", START, &data].map(str::to_owned));
    command.extend([CREATOR, PROGRAM].map(|program| path(programs, program)));
    command.extend(["-D".to_owned(), data]);
    for setting in SETTINGS.into_iter().chain([port.as_str()]) {
        command.extend(["-c", setting].map(str::to_owned));
    }
    let url = format!("postgres://postgres@{address}/locklab");
    let server = Embedded::spawn(PROGRAM, address, url, Ending::Quit, folder, &command).await?;
    let is_ours = async |server: &Embedded| {
        lock_file(server).await.is_ok_and(|file| pid(&file) == Some(server.server.as_raw()))
    };
    let server = server.answering(is_ours).await?;
    prepare(&server).await.map_err(|error| failed(io::Error::other(error)))?;
    Ok(server)
}

/// A connection to the database that is always there.
async fn connect(server: &Embedded) -> sqlx::Result<PgConnection> {
    PgConnection::connect(&format!("postgres://postgres@{}/postgres", server.address)).await
}

/// What it keeps in its folder about itself, which only the one that serves can say.
async fn lock_file(server: &Embedded) -> sqlx::Result<String> {
    let mut conn = connect(server).await?;
    sqlx::query_scalar("SELECT pg_read_file('postmaster.pid')").fetch_one(&mut conn).await
}

/// The port may belong to somebody who was faster: only our child has this pid.
fn pid(lock_file: &str) -> Option<i32> {
    lock_file.lines().next()?.parse().ok()
}

/// The segment of System V's shared memory by which it notices that others serve the same data.
fn segment(lock_file: &str) -> Option<&str> {
    lock_file.lines().nth(6)?.split_whitespace().nth(1)
}

async fn prepare(server: &Embedded) -> sqlx::Result<()> {
    sqlx::query("CREATE DATABASE locklab").execute(&mut connect(server).await?).await?;
    if let Some(segment) = segment(&lock_file(server).await?) {
        // From now on the kernel removes it with the last process that has it. Without that, 56
        // bytes outlive a server that is killed, and nothing else.
        let mut remove = Command::new("ipcrm");
        remove
            .args(["-m", segment])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .await
            .ok();
    }
    Ok(())
}
