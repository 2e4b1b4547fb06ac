//! A private etcd: members of one cluster.

use etcd_client::{Client, ConnectOptions};
use futures_util::future::{join_all, try_join_all};

use super::{
    Embedded, EmbeddedError, Ending, QUESTION, folder, free_address, is_installed, on_free_ports,
};
use locklab_locks::token::Token;

const PROGRAM: &str = "etcd";

const MISSING: &str = "no etcd: give --etcd-endpoints (ETCD_ENDPOINTS), or install one for the embedded servers \
     (Debian, Ubuntu: apt-get install etcd-server; macOS: brew install etcd)";

/// Starts a cluster of so many members on free loopback ports, in temporary folders, and waits
/// until every member answers.
///
/// # Errors
/// etcd is not installed, or did not start.
///
/// # Cancellation
/// Dropping the future ends the members.
pub async fn start(members: usize) -> Result<Vec<Embedded>, EmbeddedError> {
    if !is_installed(PROGRAM) {
        return Err(EmbeddedError::NotInstalled(MISSING));
    }
    on_free_ports(|| start_once(members)).await
}

async fn start_once(members: usize) -> Result<Vec<Embedded>, EmbeddedError> {
    // Nobody else's cluster has members of these names.
    let (token, mut places) = (Token::random(), Vec::with_capacity(members));
    for member in 0..members {
        let name = format!("{}-{member}", token.as_str());
        places.push((name, free_address(PROGRAM)?, free_address(PROGRAM)?));
    }
    let cluster: Vec<String> =
        places.iter().map(|(name, _, peer)| format!("{name}=http://{peer}")).collect();
    let cluster = cluster.join(",");
    let spawned = places.iter().map(|(name, address, peer)| {
        let (cluster, token) = (cluster.clone(), token.as_str());
        async move {
            let folder = folder(PROGRAM)?;
            let data = folder.path().join("data").display().to_string();
            let (client, peer) = (format!("http://{address}"), format!("http://{peer}"));
            let arguments = [
                ["--name", name],
                ["--data-dir", &data],
                ["--listen-client-urls", &client],
                ["--advertise-client-urls", &client],
                ["--listen-peer-urls", &peer],
                ["--initial-advertise-peer-urls", &peer],
                ["--initial-cluster", &cluster],
                ["--initial-cluster-token", token],
            ];
            let command = [PROGRAM].into_iter().chain(arguments.into_iter().flatten());
            let command: Vec<_> = command.map(str::to_owned).collect();
            Embedded::spawn(PROGRAM, *address, client, Ending::Kill, folder, &command).await
        }
    });
    let spawned = try_join_all(spawned).await?;
    // Every one is waited for, or those that came up would be killed unheard.
    let answering = spawned.into_iter().zip(&places).map(|(member, (name, ..))| {
        member.answering(async move |member| is_ours(member, name).await)
    });
    join_all(answering).await.into_iter().collect()
}

/// The port may belong to somebody who was faster. Whoever answers a read has a leader.
async fn is_ours(member: &Embedded, name: &str) -> bool {
    let options = ConnectOptions::new().with_connect_timeout(QUESTION);
    let Ok(mut client) = Client::connect([member.url()], Some(options)).await else { return false };
    let has_leader = client.get("locklab/", None).await.is_ok();
    let members = client.member_list().await;
    has_leader
        && members.is_ok_and(|list| list.members().iter().any(|member| member.name() == name))
}
