//! Real processes that a scenario starts from this very program: they read lines from their
//! standard input, tell on their standard output what becomes of them, and end when their input
//! does.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::Stdio,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::{self, Duration},
};

use crate::{
    cli::Config,
    lab::Lab,
    scenario::{error::ScenarioError, ground::AGAIN},
};

/// How long anything may take: several times what the slowest lock needs to be free again.
const PATIENCE: Duration = Duration::from_secs(60);

/// Processes over the servers of a lab, and what they tell.
pub struct Processes<T> {
    program: PathBuf,
    /// What they all are told.
    environment: Vec<(&'static str, String)>,
    /// How long anything may take that is waited for.
    patience: Duration,
    children: Vec<(Child, Pid)>,
    sender: mpsc::Sender<(usize, Option<T>)>,
    told: mpsc::Receiver<(usize, Option<T>)>,
}

impl<T: DeserializeOwned + Send + 'static> Processes<T> {
    /// None yet.
    pub fn new(lab: &Lab, config: &Config) -> Result<Self, ScenarioError> {
        let (sender, told) = mpsc::channel(1_024);
        Ok(Self {
            program: std::env::current_exe()?,
            // The last of a name counts: the lab may have started servers that nobody has named.
            environment: [config.environment().as_slice(), lab.reach()].concat(),
            patience: PATIENCE,
            children: Vec::new(),
            sender,
            told,
        })
    }

    /// Starts another one; its number.
    pub fn start(&mut self, arguments: &[String]) -> Result<usize, ScenarioError> {
        let mut command = Command::new(&self.program);
        command.args(arguments).envs(self.environment.iter().cloned());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A Ctrl-C in the terminal is for us; they end when their standard input does.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn()?;
        let stdout =
            child.stdout.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = Pid::from_raw(pid.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?);
        let (index, sender) = (self.children.len(), self.sender.clone());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(told) = serde_json::from_str(&line) else { continue };
                if sender.send((index, Some(told))).await.is_err() {
                    return;
                }
            }
            sender.send((index, None)).await.ok();
        });
        self.children.push((child, pid));
        Ok(index)
    }

    /// What they do takes so long by itself.
    pub fn allow(&mut self, longer: Duration) {
        self.patience = PATIENCE + longer;
    }

    /// How many were started.
    pub fn count(&self) -> usize {
        self.children.len()
    }

    /// What the operating system calls one.
    pub fn pid(&self, index: usize) -> Pid {
        self.children[index].1
    }

    /// Does to one what a signal does.
    pub fn signal(&self, index: usize, signal: Signal) -> Result<(), ScenarioError> {
        signal::kill(self.pid(index), signal).map_err(io::Error::from)?;
        Ok(())
    }

    /// Says something to one, in a line.
    pub async fn say(&mut self, index: usize, what: &impl Serialize) -> Result<(), ScenarioError> {
        let mut line = serde_json::to_vec(what).map_err(io::Error::from)?;
        line.push(b'\n');
        if let Some(stdin) = &mut self.children[index].0.stdin {
            stdin.write_all(&line).await?;
        }
        Ok(())
    }

    /// Tells one to end.
    pub fn dismiss(&mut self, index: usize) {
        drop(self.children[index].0.stdin.take());
    }

    /// Waits until one of them tells something, as `see` sees it. `None` is told by one that tells
    /// nothing more.
    pub async fn until<S>(
        &mut self,
        what: &str,
        mut see: impl FnMut(usize, Option<T>) -> Option<S>,
    ) -> Result<S, ScenarioError> {
        let told = async {
            loop {
                // There is a sender here, so this does not end.
                let Some((by, told)) = self.told.recv().await else { continue };
                if let Some(seen) = see(by, told) {
                    return seen;
                }
            }
        };
        let seen = time::timeout(self.patience, told).await;
        seen.map_err(|_| {
            let seconds = self.patience.as_secs();
            ScenarioError::NotMeasured(format!("waited {seconds} s in vain until {what}; {AGAIN}"))
        })
    }

    /// Tells all to end, and waits until what they recorded has come to the store.
    pub async fn end(mut self) -> Result<(), ScenarioError> {
        (0..self.children.len()).for_each(|index| self.dismiss(index));
        // Whoever waits for its output to be read would not end.
        let drain = tokio::spawn(async move { while self.told.recv().await.is_some() {} });
        for (mut child, pid) in self.children {
            let ended = time::timeout(PATIENCE, child.wait()).await;
            ended
                .map_err(|_| ScenarioError::NotMeasured(format!("{pid} did not end; {AGAIN}")))??;
        }
        drain.abort();
        Ok(())
    }
}

/// Tells whoever started this process something, in a line: whoever reads it acts at once.
pub fn tell(what: &impl Serialize) {
    let mut out = io::stdout().lock();
    // Nobody may be there any more, which standard input says as well.
    if let Ok(line) = serde_json::to_string(what) {
        writeln!(out, "{line}").and_then(|()| out.flush()).ok();
    }
}
