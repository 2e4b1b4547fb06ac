//! Private servers for those who gave no URL: real ones, started as children, ended with us.
//!
//! Each child runs under a small shell that waits for the end of its standard input. We hold the
//! other end, so when this process ends in any way, `kill -9` included, the shell ends the server
//! and removes its folder. That needs neither `unsafe` nor Linux.

mod account;
pub mod clock;
#[cfg(feature = "etcd")]
pub mod etcd;
pub mod locklab;
pub mod mysql;
pub mod pgbouncer;
pub mod postgres;
pub mod redis;
#[cfg(feature = "zookeeper")]
pub mod zookeeper;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Stdio,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::watch,
    time::{self, Duration, Instant},
};

use crate::measure::proc;

/// How long a server may take to answer: that of Java takes a second, and ten on a busy machine.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one question to a server may take, so that another can follow.
const QUESTION: Duration = Duration::from_secs(1);
/// How long a server may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a port may turn out to be taken between finding it free and using it.
const PORT_TRIES: u32 = 5;

/// `$0` is the folder, `$1` what ends the server, the rest is the server. The folder goes when we
/// are gone, of which the reader is told, and when the server was killed (status 137), by a
/// scenario; any other end is a failure whose log we want to read. HUP is what the kernel sends to
/// a group that has lost its parent while a member is stopped.
const GUARD: &str = r#"
trap "" HUP
exec 3<&0
end=$1
shift
"$@" >"$0/log" 2>&1 </dev/null 3<&- &
server=$!
echo $server
{ read -r _; trap "exit 0" TERM; eval "$end"; } <&3 >/dev/null 2>&1 &
reader=$!
wait $server
status=$?
kill $reader 2>/dev/null
if wait $reader || [ $status -eq 137 ]; then rm -rf "$0"; fi
"#;

/// How a server is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It is killed: it is one process with nothing to clear up.
    Kill,
    /// It is told to quit until it does: it ends processes of its own, and until it has been set up
    /// it is deaf. What is stopped has to go on first.
    Quit,
}

impl Ending {
    /// What the guard does.
    fn script(self) -> &'static str {
        match self {
            Self::Kill => "kill -KILL $server",
            Self::Quit => {
                r#"
n=0
while kill -QUIT $server && [ $n -lt 600 ]; do
    kill -CONT $(cat /proc/$server/task/$server/children) $server
    n=$((n + 1))
    sleep 0.1
done
kill -KILL $server
"#
            }
        }
    }
}

/// Why an embedded server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No program that can serve is installed.
    #[error("{0}")]
    NotInstalled(&'static str),
    /// The operating system refused.
    #[error(
        "could not start {program}: {source}; see whether it runs by itself and whether temporary files have \
         room, or name a server that runs"
    )]
    Start {
        /// What was to be started.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// It ended, or never answered.
    #[error(
        "{program} did not answer on port {port}; it said: {}; put right what it names, or name a server \
         that runs",
        said(log)
    )]
    Silent {
        /// What was started.
        program: &'static str,
        /// Where it should have answered.
        port: u16,
        /// The last lines of its output.
        log: String,
    },
}

/// A private server; ends when dropped.
#[derive(Debug)]
pub struct Embedded {
    /// Becomes true when the server, and the shell that guards it, has ended.
    ended: watch::Receiver<bool>,
    /// Held open; the guard acts when it closes.
    alive: Option<ChildStdin>,
    server: Pid,
    ending: Ending,
    folder: TempDir,
    address: SocketAddr,
    url: String,
    program: &'static str,
}

impl Embedded {
    /// Starts a program that will listen on `address`, by its command. It need not answer yet.
    async fn spawn(
        program: &'static str,
        address: SocketAddr,
        url: String,
        ending: Ending,
        folder: TempDir,
        command: &[String],
    ) -> Result<Self, EmbeddedError> {
        Self::spawn_with([], program, address, url, ending, folder, command).await
    }

    /// Starts a program that will listen on `address`, by its command and with these variables.
    async fn spawn_with(
        environment: impl IntoIterator<Item = (&'static str, String)>,
        program: &'static str,
        address: SocketAddr,
        url: String,
        ending: Ending,
        folder: TempDir,
        command: &[String],
    ) -> Result<Self, EmbeddedError> {
        let failed = |source| EmbeddedError::Start { program, source };
        let mut guard = Command::new("sh")
            .args(["-c", GUARD])
            .arg(folder.path())
            .arg(ending.script())
            .args(command)
            .envs(environment)
            // A Ctrl-C in the terminal is for us: we drain first, then end the server.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let alive = guard.stdin.take();
        let server = read_pid(&mut guard).await.map_err(failed)?;
        let (sender, ended) = watch::channel(false);
        tokio::spawn(async move {
            guard.wait().await.ok();
            sender.send_replace(true);
        });
        Ok(Self { ended, alive, server, ending, folder, address, url, program })
    }

    /// Waits until the server answers, as `answers` finds out; ends it if it does not.
    async fn answering(
        self,
        mut answers: impl AsyncFnMut(&Self) -> bool,
    ) -> Result<Self, EmbeddedError> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline && self.is_running() {
            if time::timeout(QUESTION, answers(&self)).await == Ok(true) {
                return Ok(self);
            }
            time::sleep(Duration::from_millis(10)).await;
        }
        let (program, port, log) = (self.program, self.address.port(), self.last_words());
        self.stop().await;
        Err(EmbeddedError::Silent { program, port, log })
    }

    /// Where it listens, as a URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Which program serves.
    #[must_use]
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// The processor time that it has used so far, as far as the operating system tells.
    #[must_use]
    pub fn cpu(&self) -> Option<Duration> {
        proc::cpu(self.server)
    }

    /// Sends the server a signal: STOP and CONT hang and wake it, KILL crashes it.
    ///
    /// # Errors
    /// It is no longer running.
    pub fn signal(&self, signal: Signal) -> Result<(), nix::Error> {
        if self.ending == Ending::Quit {
            // Stopped, it starts no more processes while those that it has are reached: Postgres
            // has one for each connection, in groups of their own. Where nobody says which, a
            // signal reaches the server alone, which then takes no connections.
            signal::kill(self.server, Signal::SIGSTOP)?;
            for process in proc::children(self.server) {
                // An error says that it has ended by itself.
                signal::kill(process, signal).ok();
            }
        }
        signal::kill(self.server, signal)
    }

    /// Whether the server runs (or is stopped by a signal, but not ended).
    fn is_running(&self) -> bool {
        !*self.ended.borrow()
    }

    /// Waits until the server has ended; returns what it said last.
    pub async fn ended(&self) -> String {
        // An error means that nobody watches any more, which is as good as ended.
        self.ended.clone().wait_for(|ended| *ended).await.ok();
        self.last_words()
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(5).collect();
        last.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// Ends the server and waits until it is gone.
    pub async fn stop(mut self) {
        drop(self.alive.take());
        if time::timeout(STOP_TIMEOUT, self.ended()).await.is_err() {
            tracing::warn!(pid = self.server.as_raw(), "the embedded server did not end in time");
        }
    }
}

fn said(log: &str) -> &str {
    if log.is_empty() { "nothing" } else { log }
}

async fn read_pid(guard: &mut Child) -> io::Result<Pid> {
    let stdout = guard.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await?;
    line.trim().parse().map(Pid::from_raw).map_err(io::Error::other)
}

/// Starts something again while another program takes the port that was just found free.
async fn on_free_ports<T, F: Future<Output = Result<T, EmbeddedError>>>(
    mut start: impl FnMut() -> F,
) -> Result<T, EmbeddedError> {
    let mut tries = 1;
    loop {
        match start().await {
            Err(EmbeddedError::Silent { log, .. })
                if tries < PORT_TRIES && log.contains("already in use") =>
            {
                tries += 1;
            }
            result => return result,
        }
    }
}

fn folder(program: &'static str) -> Result<TempDir, EmbeddedError> {
    let failed = |source| EmbeddedError::Start { program, source };
    TempDir::with_prefix("locklab-").map_err(failed)
}

fn is_installed(program: &str) -> bool {
    std::process::Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// What starts a server: its name, or where Debian keeps some, off the path of those who are not
/// root.
fn installed(program: &str) -> Option<String> {
    let places = [program.to_owned(), format!("/usr/sbin/{program}")];
    places.into_iter().find(|place| is_installed(place))
}

fn free_address(program: &'static str) -> Result<SocketAddr, EmbeddedError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address.map_err(|source| EmbeddedError::Start { program, source })
}
