//! A private PgBouncer, in front of an embedded PostgreSQL: the pooler that shares its sessions out
//! for one transaction at a time.

use std::io;

use sqlx::{Connection, PgConnection, Row, postgres::PgRow};

use super::{
    Embedded, EmbeddedError, Ending, account::Account, folder, free_address, installed,
    on_free_ports,
};

const PROGRAM: &str = "pgbouncer";
/// It refuses to run as root; its package creates this user.
const SYSTEM_USER: &str = "postgres";

const MISSING: &str = "no PgBouncer to put in front of PostgreSQL (Debian, Ubuntu: apt-get install pgbouncer; macOS: \
     brew install pgbouncer)";
const NO_USER: &str = "PgBouncer does not run as root, and there is no user postgres to run it as: start \
     locklab as another user";

/// `$0` is the file for `$1`, the configuration, and `$2` the program.
const START: &str = r#"printf %s "$1" >"$0" && exec "$2" "$0""#;

/// Starts a PgBouncer on a free loopback port, with at most so many sessions of each database of
/// that PostgreSQL, and waits until it answers. It knows the same databases, by the same names.
///
/// # Errors
/// It is not installed, or did not start.
///
/// # Cancellation
/// Dropping the future ends the pooler.
pub async fn start(postgres: &Embedded, sessions: u32) -> Result<Embedded, EmbeddedError> {
    let program = installed(PROGRAM).ok_or(EmbeddedError::NotInstalled(MISSING))?;
    let account = Account::instead_of_root(SYSTEM_USER);
    let account = account.ok_or(EmbeddedError::NotInstalled(NO_USER))?;
    on_free_ports(|| start_once(postgres, sessions, &program, &account)).await
}

async fn start_once(
    postgres: &Embedded,
    sessions: u32,
    program: &str,
    account: &Account,
) -> Result<Embedded, EmbeddedError> {
    let failed = |source| EmbeddedError::Start { program: PROGRAM, source };
    let (address, folder) = (free_address(PROGRAM)?, folder(PROGRAM)?);
    let file = account.folder(folder.path()).map_err(failed)?.join("pgbouncer.ini");
    let file = file.display().to_string();
    // Whoever comes is the user of the embedded server, who has no password. Clients ask for a
    // precision of numbers that is no property of a shared session.
    let configuration = format!(
        "[databases]\n\
         * = host={} port={} user=postgres\n\
         [pgbouncer]\n\
         listen_addr = {}\n\
         listen_port = {}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         pool_mode = transaction\n\
         default_pool_size = {sessions}\n\
         max_client_conn = 500\n\
         ignore_startup_parameters = extra_float_digits\n",
        postgres.address().ip(),
        postgres.address().port(),
        address.ip(),
        address.port(),
    );
    let mut command = account.through();
    command.extend(["sh", "-c", START, &file, &configuration, program].map(str::to_owned));
    let url = format!("postgres://postgres@{address}/locklab");
    let pooler = Embedded::spawn(PROGRAM, address, url, Ending::Kill, folder, &command).await?;
    pooler.answering(async |pooler| is_ours(pooler, &file).await).await
}

/// How many connections of clients it has, apart from that of whoever asks.
///
/// # Errors
/// It did not answer.
pub async fn clients(pooler: &Embedded) -> io::Result<usize> {
    let rows = console(pooler, "SHOW CLIENTS").await.map_err(io::Error::other)?;
    let is_asking = |row: &&PgRow| says(row, "database", "pgbouncer");
    Ok(rows.len() - rows.iter().filter(is_asking).count())
}

/// What its console answers, which knows the simple protocol alone.
async fn console(pooler: &Embedded, command: &str) -> sqlx::Result<Vec<PgRow>> {
    let console = format!("postgres://postgres@{}/pgbouncer", pooler.address);
    let mut conn = PgConnection::connect(&console).await?;
    sqlx::raw_sql(command).fetch_all(&mut conn).await
}

fn says(row: &PgRow, column: &str, text: &str) -> bool {
    row.try_get::<&str, _>(column).is_ok_and(|found| found == text)
}

/// The port may belong to somebody who was faster. Whoever has our file, serves.
async fn is_ours(pooler: &Embedded, file: &str) -> bool {
    let is_file = |row: &PgRow| says(row, "key", "conffile") && says(row, "value", file);
    console(pooler, "SHOW CONFIG").await.is_ok_and(|rows| rows.iter().any(is_file))
}
