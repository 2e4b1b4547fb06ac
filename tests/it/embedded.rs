//! Private SQL servers, really ended: they leave no process, no folder and no shared memory behind,
//! whoever runs them and however they end.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use locklab::embedded;
use nix::{
    sys::signal::{self, Signal},
    unistd::{Pid, Uid},
};
use procfs::{
    Current, SharedMemorySegments,
    process::{Process, all_processes},
};
use sqlx::{Connection, Executor, PgConnection};
use tokio::time::{self, Duration};

use crate::{
    server::until,
    sql_servers::{MySql, Postgres},
};

/// Names the server with which a process of this very test waits to be killed.
const HOLD: &str = "LOCKLAB_TEST_HOLD";
/// Before what it then says about the server.
const MARK: &str = "what there is: ";

/// What there is of a server while it runs.
#[derive(Debug)]
struct Traces {
    folder: PathBuf,
    /// Its segment of System V's shared memory, if it has one.
    segment: Option<String>,
}

impl Traces {
    async fn of_postgres(server: &Postgres) -> Self {
        let data: String = server.fetch("SHOW data_directory").await;
        let lock_file = fs::read_to_string(Path::new(&data).join("postmaster.pid")).unwrap();
        let segment = lock_file.lines().nth(6).unwrap().split_whitespace().nth(1).unwrap();
        Self::new(&data, Some(segment.to_owned()))
    }

    async fn of_mysql(server: &MySql) -> Self {
        Self::new(&server.fetch::<String>("SELECT @@pid_file").await, None)
    }

    /// By something that the server keeps in its home below the folder.
    fn new(kept: &str, segment: Option<String>) -> Self {
        let folder = Path::new(kept).parent().unwrap().parent().unwrap().to_owned();
        let traces = Self { folder, segment };
        traces.assert_complete();
        traces
    }

    /// The processes that work in the folder, also after it has gone.
    fn processes(&self) -> Vec<Pid> {
        let works_here =
            |process: &Process| process.cwd().is_ok_and(|cwd| cwd.starts_with(&self.folder));
        let processes = all_processes().unwrap().flatten().filter(works_here);
        processes.map(|process| Pid::from_raw(process.pid)).collect()
    }

    fn has_segment(&self) -> bool {
        let ids = SharedMemorySegments::current().unwrap().0.into_iter().map(|it| it.shmid);
        ids.into_iter().any(|id| self.segment.as_deref() == Some(&id.to_string()))
    }

    fn assert_complete(&self) {
        assert!(!self.processes().is_empty(), "{self:?}");
        assert!(self.folder.exists(), "{self:?}");
        assert_eq!(self.has_segment(), self.segment.is_some(), "{self:?}");
    }

    /// Whether every thread of every process stands still: a signal comes to one after the other.
    fn are_stopped(&self) -> bool {
        let processes = self.processes().into_iter();
        let processes = processes.filter_map(|process| Process::new(process.as_raw()).ok());
        let tasks = processes.filter_map(|process| process.tasks().ok()).flatten().flatten();
        // A thread that has ended meanwhile has no state.
        tasks.filter_map(|task| task.stat().ok()).all(|stat| stat.state == 'T')
    }

    fn are_gone(&self) -> bool {
        self.processes().is_empty() && !self.folder.exists() && !self.has_segment()
    }
}

/// Waits to be killed, if this process has been started for that.
async fn hold(name: &str, traces: &Traces) {
    if std::env::var(HOLD).is_ok_and(|held| held == name) {
        let segment = traces.segment.as_deref().unwrap_or_default();
        eprintln!("{MARK}{} {segment}", traces.folder.display());
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn postgres_answers() {
    let server = Postgres::start().await;
    assert_eq!(server.fetch::<String>("SELECT current_database()::text").await, "locklab");
    assert_eq!(server.fetch::<String>("SHOW server_encoding").await, "UTF8");
    assert_eq!(server.fetch::<String>("SHOW fsync").await, "on");
    assert_eq!(server.fetch::<String>("SHOW synchronous_commit").await, "on");
    let runs_as_root = "SELECT pg_read_file('/etc/shadow', 0, 1, true)";
    let read = sqlx::raw_sql(runs_as_root).execute(&mut server.connect().await).await;
    assert!(read.is_err(), "it is not root");
    let traces = Traces::of_postgres(&server).await;
    hold("postgres", &traces).await;
    drop(server);
    until("it is gone", async || traces.are_gone()).await;
}

#[tokio::test]
async fn mysql_answers() {
    let server = MySql::start().await;
    assert_eq!(server.fetch::<String>("SELECT DATABASE()").await, "locklab");
    assert_eq!(server.fetch::<String>("SELECT @@collation_database").await, "utf8mb4_bin");
    assert_eq!(server.fetch::<u64>("SELECT @@innodb_flush_log_at_trx_commit").await, 1);
    let traces = Traces::of_mysql(&server).await;
    hold("mysql", &traces).await;
    drop(server);
    until("it is gone", async || traces.are_gone()).await;
}

/// A process that starts a server and waits to be killed, and what there is of that server.
fn start_owner(mut command: Command, name: &str) -> (Child, Traces) {
    let test = format!("embedded::{name}_answers");
    command.args(["--exact", &test, "--nocapture"]).env(HOLD, name);
    let mut owner = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(owner.stderr.take().unwrap()).lines();
    let mut said = lines.map(Result::unwrap);
    let line = said.find(|line| line.contains(MARK)).expect("the server runs");
    let (folder, segment) = line.split_once(MARK).unwrap().1.split_once(' ').unwrap();
    let segment = Some(segment.to_owned()).filter(|segment| !segment.is_empty());
    let traces = Traces { folder: folder.into(), segment };
    traces.assert_complete();
    (owner, traces)
}

async fn kill(mut owner: Child, traces: &Traces) {
    owner.kill().unwrap();
    owner.wait().unwrap();
    until("all of it is gone", async || traces.are_gone()).await;
}

/// `kill -9` of a process leaves nothing of its servers behind.
#[tokio::test]
async fn a_killed_owner_leaves_nothing_behind() {
    for name in ["postgres", "mysql"] {
        let (owner, traces) = start_owner(Command::new(std::env::current_exe().unwrap()), name);
        kill(owner, &traces).await;
    }
}

/// Nor when they hang at that moment.
#[tokio::test]
async fn a_killed_owner_of_hanging_servers_leaves_nothing_behind() {
    for name in ["postgres", "mysql"] {
        let (owner, traces) = start_owner(Command::new(std::env::current_exe().unwrap()), name);
        for process in traces.processes() {
            signal::kill(process, Signal::SIGSTOP).ok();
        }
        kill(owner, &traces).await;
    }
}

/// Whoever is not root runs them as who they are: there, other rights apply.
#[tokio::test]
async fn nobody_in_particular_can_run_them() {
    let folder = tempfile::Builder::new().prefix("locklab-test-").tempdir().unwrap();
    let program = folder.path().join("it");
    let own = std::env::current_exe().unwrap();
    fs::hard_link(&own, &program).or_else(|_| fs::copy(&own, &program).map(drop)).unwrap();
    for name in ["postgres", "mysql"] {
        let command = if Uid::effective().is_root() {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
            let mut command = Command::new("setpriv");
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        let (owner, traces) = start_owner(command, name);
        kill(owner, &traces).await;
    }
}

/// STOP reaches also the process that serves a session that is there already, and KILL all of them.
#[tokio::test]
async fn postgres_hangs_and_crashes() {
    let server = Postgres::start().await;
    let mut conn = server.connect().await;
    let traces = Traces::of_postgres(&server).await;
    server.signal(Signal::SIGSTOP);
    until("it stands still", async || traces.are_stopped()).await;
    let mut asked = Box::pin(conn.execute("SELECT 1"));
    assert!(time::timeout(Duration::from_millis(200), &mut asked).await.is_err(), "it hangs");
    server.signal(Signal::SIGCONT);
    asked.await.expect("it goes on");
    server.signal(Signal::SIGKILL);
    conn.execute("SELECT 1").await.expect_err("it crashed");
    until("it is gone", async || traces.are_gone()).await;
}

#[tokio::test]
async fn mysql_hangs_and_crashes() {
    let server = MySql::start().await;
    let mut conn = server.connect().await;
    let traces = Traces::of_mysql(&server).await;
    server.signal(Signal::SIGSTOP);
    until("it stands still", async || traces.are_stopped()).await;
    let mut asked = Box::pin(conn.execute("SELECT 1"));
    assert!(time::timeout(Duration::from_millis(200), &mut asked).await.is_err(), "it hangs");
    server.signal(Signal::SIGCONT);
    asked.await.expect("it goes on");
    server.signal(Signal::SIGKILL);
    conn.execute("SELECT 1").await.expect_err("it crashed");
    until("it is gone", async || traces.are_gone()).await;
}

/// A server that hangs when it is no longer needed ends all the same.
#[tokio::test]
async fn a_hanging_server_is_dropped() {
    let (postgres, mysql) = (Postgres::start().await, MySql::start().await);
    let traces = [Traces::of_postgres(&postgres).await, Traces::of_mysql(&mysql).await];
    postgres.signal(Signal::SIGSTOP);
    mysql.signal(Signal::SIGSTOP);
    drop((postgres, mysql));
    for traces in traces {
        until("it is gone", async || traces.are_gone()).await;
    }
}

/// The ways in which tests break sessions.
#[tokio::test]
async fn sessions_are_ended() {
    let (postgres, mysql) = (Postgres::shared().await, MySql::shared().await);
    let mut holder = postgres.connect().await;
    holder.execute("SELECT pg_advisory_lock(1)").await.unwrap();
    let holds = "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')";
    assert_eq!(postgres.end_sessions(holds).await, 1);
    holder.execute("SELECT 1").await.expect_err("it was ended");
    assert!(postgres.fetch::<bool>("SELECT pg_try_advisory_lock(1)").await);

    let mut holder = mysql.connect().await;
    holder.execute("SELECT GET_LOCK('sessions_are_ended', 0)").await.unwrap();
    assert_eq!(mysql.end_sessions("id = IS_USED_LOCK('sessions_are_ended')").await, 1);
    holder.execute("SELECT 1").await.expect_err("it was ended");
    assert_eq!(mysql.fetch::<i64>("SELECT GET_LOCK('sessions_are_ended', 0)").await, 1);
}

/// A pooler that shares out sessions by transaction: the lock stays with a session, not with its
/// client.
#[tokio::test]
async fn pgbouncer_shares_sessions_out() {
    let postgres = Postgres::start().await;
    let pooler = embedded::pgbouncer::start(postgres.embedded(), 1).await;
    let pooler = pooler.expect("the tests need a real PgBouncer; `make test` installs it");
    let mut first = PgConnection::connect(&pooler.url()).await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_lock(1)").execute(&mut first).await.unwrap();
    first.close().await.unwrap();
    let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(postgres.fetch::<i64>(held).await, 1, "its client has gone, and it is held");
    let mut second = PgConnection::connect(&pooler.url()).await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_unlock(1)").execute(&mut second).await.unwrap();
    assert_eq!(postgres.fetch::<i64>(held).await, 0, "somebody else had the same session");
}
