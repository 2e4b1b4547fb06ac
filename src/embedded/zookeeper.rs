//! A private ZooKeeper, from Debian's package.

use std::path::Path;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Embedded, EmbeddedError, Ending, folder, free_address, is_installed, on_free_ports};

const PROGRAM: &str = "java";
/// The server, which names the libraries that it needs.
const SERVER: &str = "/usr/share/java/zookeeper.jar";
/// Where it logs to: standard error.
const LOG: &str = "/usr/share/java/slf4j-simple.jar";
/// The class that serves.
const CLASS: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
/// Milliseconds; a session may last for two to twenty of them.
const TICK_TIME: u32 = 500;

const MISSING: &str = "no ZooKeeper: give --zookeeper-hosts (ZOOKEEPER_HOSTS), or install one for the embedded \
     servers (Debian, Ubuntu: apt-get install zookeeper default-jre-headless)";

/// Starts a ZooKeeper of one server on a free loopback port, in a temporary folder, and waits until
/// it answers.
///
/// # Errors
/// It, or Java, is not installed, or it did not start.
///
/// # Cancellation
/// Dropping the future ends the server.
pub async fn start() -> Result<Embedded, EmbeddedError> {
    if ![SERVER, LOG].iter().all(|jar| Path::new(jar).exists()) || !is_installed(PROGRAM) {
        return Err(EmbeddedError::NotInstalled(MISSING));
    }
    on_free_ports(start_once).await
}

async fn start_once() -> Result<Embedded, EmbeddedError> {
    let (address, folder) = (free_address(PROGRAM)?, folder(PROGRAM)?);
    let data = folder.path().join("data").display().to_string();
    let (config, port) = (folder.path().join("zoo.cfg"), address.port());
    // It has its clients on one address, ours, which would be allowed sixty connections.
    let lines = format!(
        "tickTime={TICK_TIME}\n\
         dataDir={data}\n\
         clientPort={port}\n\
         clientPortAddress={}\n\
         maxClientCnxns=0\n\
         admin.enableServer=false\n\
         4lw.commands.whitelist=conf,wchs\n",
        address.ip()
    );
    let failed = |source| EmbeddedError::Start { program: PROGRAM, source };
    std::fs::write(&config, lines).map_err(failed)?;
    let arguments = [
        "-Xmx128m",
        // Less memory, and sooner there, for a server that does little.
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        &format!("{SERVER}:{LOG}"),
        CLASS,
        &config.display().to_string(),
    ];
    let command: Vec<String> = [PROGRAM].into_iter().chain(arguments).map(str::to_owned).collect();
    let url = format!("zookeeper://{address}");
    let server = Embedded::spawn(PROGRAM, address, url, Ending::Kill, folder, &command).await?;
    server.answering(async |server| is_ours(server, &data).await).await
}

/// The port may belong to somebody who was faster. Whoever says where its data is, serves.
async fn is_ours(server: &Embedded, data: &str) -> bool {
    let ask = async {
        let mut socket = TcpStream::connect(server.address).await?;
        socket.write_all(b"conf").await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    ask.await.is_ok_and(|answer| answer.contains(data))
}
