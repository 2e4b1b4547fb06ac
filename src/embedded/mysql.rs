//! A private MySQL or MariaDB, whichever is installed.
//!
//! Like the embedded Redis it has no password, and listens on loopback only. What makes it durable
//! is as its makers left it: what that costs is what people shall see.

use sqlx::{Connection, MySqlConnection};

use super::{
    Embedded, EmbeddedError, Ending, account::Account, folder, free_address, installed,
    is_installed, on_free_ports,
};

/// The programs that can serve, each with what fills its folder first, where `$1` is the program.
/// MariaDB is looked for by its own name, for it also goes by the other. Unless told otherwise it
/// knows `root` by the user of the system, and not by a password.
const PROGRAMS: [(&str, &str); 2] = [
    (
        MARIADB,
        "mariadb-install-db --no-defaults --auth-root-authentication-method=normal \
         --skip-name-resolve --skip-test-db",
    ),
    ("mysqld", r#""$1" --no-defaults --initialize-insecure"#),
];
const MARIADB: &str = "mariadbd";
/// What `mariadb-install-db` runs, and distributions count among the clients.
const MARIADB_HELPER: &str = "my_print_defaults";
/// It only runs as root when told to; its package creates this user.
const SYSTEM_USER: &str = "mysql";

const MISSING: &str = "no MySQL or MariaDB: give --mysql-url (MYSQL_URL), or install one for the embedded server \
     (Debian, Ubuntu: apt-get install mariadb-server-core mariadb-client-core; macOS: brew install mariadb)";
const NO_HELPER: &str = "MariaDB is installed without my_print_defaults, which mariadb-install-db needs: give --mysql-url \
     (MYSQL_URL), or install it for the embedded server (Debian, Ubuntu: apt-get install \
     mariadb-server-core mariadb-client-core; macOS: brew install mariadb)";

/// `$0` is the folder for the data, `$1` the command that fills it, the rest is the server. It
/// reads the statements before it takes connections; over TCP `root` comes from an address, for
/// which nobody looks up a name. Both have a folder of their own for temporary tables: a MariaDB
/// that starts removes those that it finds, and in a shared one they are another's, which is being
/// filled and fails.
const START: &str = r#"
cd "${0%/*}" && mkdir tmp && export TMPDIR="$PWD/tmp" && cat >init.sql <<SQL || exit
CREATE DATABASE locklab;
CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';
GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;
SQL
fill=$1
shift
eval "$fill" '--datadir="$0"' && exec "$@"
"#;

/// What keeps a private server small and apart. MySQL and MariaDB ignore what is loose and unknown
/// to them.
const SETTINGS: [&str; 11] = [
    "--bind-address=127.0.0.1",
    // A second port, which nobody asks for.
    "--loose-mysqlx=0",
    "--skip-name-resolve",
    // Several locklabs, with a pool each, and the tests share one.
    "--max-connections=500",
    // A product is one row.
    "--innodb-buffer-pool-size=32M",
    // Its folder may be in memory. MySQL has another name for it.
    "--loose-innodb-log-file-size=32M",
    "--loose-innodb-redo-log-capacity=32M",
    // Its statistics take more memory than all the rest.
    "--performance-schema=0",
    // Nobody replicates it.
    "--skip-log-bin",
    // Names that differ in anything are names of different products.
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_bin",
];

/// Starts a MySQL or MariaDB on a free loopback port, in a temporary folder, with an empty database
/// `locklab`, and waits until it answers.
///
/// # Errors
/// None is installed, or not all of it, or it did not start.
///
/// # Cancellation
/// Dropping the future ends the server.
pub async fn start() -> Result<Embedded, EmbeddedError> {
    let mut found = PROGRAMS
        .into_iter()
        .filter_map(|(program, fill)| Some((program, installed(program)?, fill)));
    let (program, server, fill) = found.next().ok_or(EmbeddedError::NotInstalled(MISSING))?;
    if program == MARIADB && !is_installed(MARIADB_HELPER) {
        return Err(EmbeddedError::NotInstalled(NO_HELPER));
    }
    on_free_ports(|| start_once(program, &server, fill)).await
}

async fn start_once(
    program: &'static str,
    server: &str,
    fill: &str,
) -> Result<Embedded, EmbeddedError> {
    let failed = |source| EmbeddedError::Start { program, source };
    let (address, folder) = (free_address(program)?, folder(program)?);
    // Where a container has no user for it, it runs as root.
    let account = Account::instead_of_root(SYSTEM_USER);
    let as_root = if account.is_none() { vec!["--user=root".to_owned()] } else { Vec::new() };
    let account = account.unwrap_or(Account::Ours);
    let home = account.folder(folder.path()).map_err(failed)?;
    let path = |name: &str| home.join(name).display().to_string();
    let socket = path("socket");
    let fill = [&[fill.to_owned()], as_root.as_slice()].concat().join(" ");
    let mut command = account.through();
    command.extend(["sh", "-c", START, &path("data"), &fill, server].map(str::to_owned));
    command.push("--no-defaults".to_owned());
    command.extend([
        format!("--datadir={}", path("data")),
        format!("--init-file={}", path("init.sql")),
        format!("--pid-file={}", path("pid")),
        format!("--socket={socket}"),
        format!("--port={}", address.port()),
    ]);
    command.extend(SETTINGS.map(str::to_owned));
    command.extend(as_root);
    let url = format!("mysql://root@{address}/locklab");
    let server = Embedded::spawn(program, address, url, Ending::Quit, folder, &command).await?;
    server.answering(async |server| is_ours(server, &socket).await).await
}

/// The port may belong to somebody who was faster. Whoever has a socket in our folder, serves.
async fn is_ours(server: &Embedded, socket: &str) -> bool {
    let ask = async {
        let mut conn = MySqlConnection::connect(&server.url()).await?;
        sqlx::query_scalar::<_, String>("SELECT @@socket").fetch_one(&mut conn).await
    };
    ask.await.is_ok_and(|its| its == socket)
}
