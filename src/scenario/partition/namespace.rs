//! A network of one server's own, joined to ours by a pair of virtual Ethernet devices.
//!
//! A namespace without a name lives as long as the processes in it: a shell that waits for the end
//! of its standard input, of which we hold the other end, and the server, whose guard does the
//! same. So it is gone when we are, `kill -9` included, and the devices with it.

use std::{io, net::Ipv4Addr, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{self, Duration},
};

/// The first of the addresses that are set aside for testing networks (RFC 2544).
const FIRST: u32 = u32::from_be_bytes([198, 18, 0, 0]);
/// Networks of four addresses among them: ours is the second, the server's the third.
const NETWORKS: u32 = 1 << 15;
/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The device inside.
const INSIDE: &str = "node";

/// A namespace with one address, which is reached from ours alone.
#[derive(Debug)]
pub struct Namespace {
    /// Keeps it; ends when dropped.
    keeper: Child,
    /// The address inside.
    pub address: Ipv4Addr,
}

impl Namespace {
    /// Makes one.
    pub async fn open() -> io::Result<Self> {
        let mut keeper = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; read -r _"])
            // A Ctrl-C in the terminal is for us.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| named("unshare", &error))?;
        let stdout = keeper.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (mut line, mut stdout) = (String::new(), BufReader::new(stdout));
        if time::timeout(PATIENCE, stdout.read_line(&mut line)).await?? == 0 {
            return Err(io::Error::other("unshare --net is not permitted: it takes root"));
        }
        let pid = keeper.id().ok_or(io::ErrorKind::NotFound)?.to_string();
        // The name of the device is what nobody else can take at the same time.
        let mut network = rand::random_range(0..NETWORKS);
        let device = loop {
            let device = format!("locklab{network}");
            let pair = ["link", "add", &device, "type", "veth", "peer", "name", INSIDE];
            match run("ip", &[&pair[..], &["netns", &pid]].concat()).await {
                Ok(()) => break device,
                Err(error) if error.to_string().contains("exists") => {
                    network = (network + 1) % NETWORKS;
                }
                Err(error) => return Err(error),
            }
        };
        let first = FIRST + 4 * network;
        let (ours, address) = (Ipv4Addr::from(first + 1), Ipv4Addr::from(first + 2));
        let namespace = Self { keeper, address };
        run("ip", &["address", "add", &format!("{ours}/30"), "dev", &device]).await?;
        run("ip", &["link", "set", "dev", &device, "up"]).await?;
        namespace.ip(&["address", "add", &format!("{address}/30"), "dev", INSIDE]).await?;
        namespace.ip(&["link", "set", "dev", "lo", "up"]).await?;
        namespace.connect(true).await?;
        Ok(namespace)
    }

    /// Takes the device inside down, or up: while it is down, whatever is sent is lost, both ways,
    /// and connections hang.
    pub async fn connect(&self, up: bool) -> io::Result<()> {
        let state = if up { "up" } else { "down" };
        self.ip(&["link", "set", "dev", INSIDE, state]).await
    }

    /// What starts a program in there: the program and its arguments follow.
    pub fn through(&self) -> Vec<String> {
        // A namespace whose keeper has ended is in nobody's list.
        let pid = self.keeper.id().unwrap_or_default();
        vec!["nsenter".to_owned(), format!("--net=/proc/{pid}/ns/net")]
    }

    async fn ip(&self, arguments: &[&str]) -> io::Result<()> {
        let through = self.through();
        let enter = through.get(1).map_or("", String::as_str);
        run("nsenter", &[&[enter, "ip"], arguments].concat()).await
    }
}

/// Runs a program that has nothing to say when it succeeds.
async fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = time::timeout(PATIENCE, command.output()).await?;
    let output = output.map_err(|error| named(program, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} {}: {}", arguments.join(" "), said.trim())))
}

fn named(program: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{program}: {error}"))
}
