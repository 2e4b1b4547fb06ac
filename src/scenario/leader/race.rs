//! The candidates: real processes, and what is done to them.

use std::{io, process::Stdio};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::mpsc,
    time::{self, Duration},
};

use super::{
    Blow, Late, Struck,
    candidate::{News, Told},
};
use crate::{
    cli::{Config, LeaderArgs},
    clock,
    lab::Lab,
    product::Product,
    report::timeline::Mark,
    scenario::{AGAIN, ScenarioError},
    strategy::StrategyId,
};

/// How long anything may take: several times what the slowest lock needs to be free again.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a leader is stopped until it is stopped in the middle of its work.
const STOPS_MAX: u32 = 3;

/// A process that stands for election.
struct Candidate {
    child: Child,
    pid: Pid,
    marks: Vec<Mark>,
}

/// Candidates of one product.
pub(super) struct Race {
    candidates: Vec<Candidate>,
    /// How another one is started.
    command: Box<dyn Fn() -> Command + Send>,
    sender: mpsc::Sender<(usize, Told)>,
    told: mpsc::Receiver<(usize, Told)>,
    leader: usize,
    from_ns: u64,
}

/// What is left of a race: who there was, and what was done to them.
pub(super) struct Ended {
    pub from_ns: u64,
    pub until_ns: u64,
    pub lanes: Vec<(Pid, Vec<Mark>)>,
}

impl Race {
    /// Starts candidates, and waits until one of them leads.
    pub async fn start(
        lab: &Lab,
        config: &Config,
        args: &LeaderArgs,
        strategy: StrategyId,
        product: &Product,
    ) -> Result<Self, ScenarioError> {
        let program = std::env::current_exe()?;
        let (ttl, work) = (args.ttl.as_micros(), args.work.as_micros());
        let arguments = [
            "candidate".to_owned(),
            format!("--lock={}", strategy.row().name),
            format!("--product={product}"),
            format!("--ttl={ttl}us"),
            format!("--work={work}us"),
        ];
        let (reach, waits) = (lab.reach().to_vec(), config.waits());
        let command = move || {
            let mut command = Command::new(&program);
            // Not among the arguments, which everybody can see: they may hold passwords.
            command.args(&arguments).args(&waits).envs(reach.iter().cloned());
            command.env_remove("LOCKLAB_EMBED").env("LOCKLAB_STOCK", "0");
            command.env("LOCKLAB_HISTORY", "10000");
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            // A Ctrl-C in the terminal is for us; they end when their standard input does.
            command.process_group(0).kill_on_drop(true);
            command
        };
        let (sender, told) = mpsc::channel(1_024);
        let mut race = Self {
            candidates: Vec::new(),
            command: Box::new(command),
            sender,
            told,
            leader: 0,
            from_ns: clock::now_ns(),
        };
        for _ in 0..args.candidates {
            race.join().await?;
        }
        race.elected().await?;
        Ok(race)
    }

    /// One more candidate, which stands when this returns; there may be a leader by then.
    async fn join(&mut self) -> Result<(), ScenarioError> {
        let mut child = (self.command)().spawn()?;
        let stdout =
            child.stdout.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = Pid::from_raw(pid.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?);
        let (index, sender) = (self.candidates.len(), self.sender.clone());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(told) = serde_json::from_str(&line) else { continue };
                if sender.send((index, told)).await.is_err() {
                    return;
                }
            }
            sender.send((index, Told { at_ns: clock::now_ns(), news: News::Ends })).await.ok();
        });
        self.candidates.push(Candidate { child, pid, marks: Vec::new() });
        self.until("a candidate stands", |by, told| by == index && told.news == News::Stands)
            .await?;
        Ok(())
    }

    /// Waits until a candidate tells something.
    async fn until(
        &mut self,
        what: &str,
        mut is_it: impl FnMut(usize, &Told) -> bool,
    ) -> Result<(usize, Told), ScenarioError> {
        let told = async {
            loop {
                // There is a sender here, so this does not end.
                let Some((by, told)) = self.told.recv().await else { continue };
                if matches!(told.news, News::Elected(_)) {
                    self.leader = by;
                }
                if is_it(by, &told) {
                    return (by, told);
                }
            }
        };
        let told = time::timeout(PATIENCE, told).await;
        told.map_err(|_| ScenarioError::NotMeasured(format!("never came about: {what}; {AGAIN}")))
    }

    /// Waits until the leader has done a piece of work.
    async fn elected(&mut self) -> Result<(), ScenarioError> {
        self.until("a leader has done a piece of work", |_, told| told.news == News::Done).await?;
        Ok(())
    }

    fn mark(&mut self, letter: char) -> u64 {
        let at_ns = clock::now_ns();
        self.candidates[self.leader].marks.push(Mark { at_ns, letter });
        at_ns
    }

    fn signal(&self, candidate: usize, signal: Signal) -> Result<(), ScenarioError> {
        signal::kill(self.candidates[candidate].pid, signal).map_err(io::Error::from)?;
        Ok(())
    }

    /// Does something to the leader, and waits until another one leads and has done some work.
    pub async fn strike(&mut self, blow: Blow) -> Result<Struck, ScenarioError> {
        match blow {
            Blow::Kill => {
                let at_ns = self.mark('K');
                self.signal(self.leader, Signal::SIGKILL)?;
                let gap = self.followed(at_ns).await?;
                self.join().await?;
                Ok(Struck { blow, gap, late: None })
            }
            Blow::Resign => {
                let at_ns = self.mark('R');
                drop(self.candidates[self.leader].child.stdin.take());
                let gap = self.followed(at_ns).await?;
                self.join().await?;
                Ok(Struck { blow, gap, late: None })
            }
            Blow::Stop => {
                let mut stops = 1;
                loop {
                    let (gap, late) = self.stop().await?;
                    if late != Late::Missed || stops == STOPS_MAX {
                        return Ok(Struck { blow, gap, late: Some(late) });
                    }
                    stops += 1;
                }
            }
        }
    }

    /// Stops the leader in the middle of its work, until another one has done some.
    async fn stop(&mut self) -> Result<(Duration, Late), ScenarioError> {
        let seen_ns = clock::now_ns();
        let begins = |by: usize, told: &Told, leader: usize| {
            by == leader && told.news == News::Begun && told.at_ns > seen_ns
        };
        let leader = self.leader;
        self.until("the leader begins a piece of work", |by, told| begins(by, told, leader))
            .await?;
        let at_ns = self.mark('S');
        self.signal(leader, Signal::SIGSTOP)?;
        let followed = self.followed(at_ns).await;
        let resumed_ns = clock::now_ns();
        self.candidates[leader].marks.push(Mark { at_ns: resumed_ns, letter: 'C' });
        self.signal(leader, Signal::SIGCONT)?;
        let gap = followed?;
        let is_late = |by: usize, told: &Told| {
            let ends = matches!(told.news, News::Done | News::Fenced | News::Deposed);
            by == leader && ends && told.at_ns > resumed_ns
        };
        let (_, told) = self.until("the stopped leader goes on", is_late).await?;
        let late = match told.news {
            News::Done => Late::Accepted,
            News::Fenced => Late::Fenced,
            _ => Late::Missed,
        };
        Ok((gap, late))
    }

    /// Waits until somebody was elected after an instant; how long that took.
    async fn followed(&mut self, since_ns: u64) -> Result<Duration, ScenarioError> {
        let is_next =
            |_: usize, told: &Told| matches!(told.news, News::Elected(_)) && told.at_ns > since_ns;
        let (_, told) = self.until("somebody else is elected", is_next).await?;
        let leader = self.leader;
        let works = |by: usize, told: &Told| by == leader && told.news == News::Done;
        self.until("the new leader works", works).await?;
        Ok(Duration::from_nanos(told.at_ns - since_ns))
    }

    /// Has everybody resign, and waits until what they recorded has come to the store.
    pub async fn end(mut self) -> Result<Ended, ScenarioError> {
        let until_ns = clock::now_ns();
        for candidate in &mut self.candidates {
            drop(candidate.child.stdin.take());
        }
        // Whoever waits for its output to be read would not end.
        let drain = tokio::spawn(async move { while self.told.recv().await.is_some() {} });
        let mut lanes = Vec::new();
        for mut candidate in self.candidates {
            let ended = time::timeout(PATIENCE, candidate.child.wait()).await;
            ended.map_err(|_| {
                ScenarioError::NotMeasured(format!("a candidate did not end; {AGAIN}"))
            })??;
            lanes.push((candidate.pid, candidate.marks));
        }
        drain.abort();
        Ok(Ended { from_ns: self.from_ns, until_ns, lanes })
    }
}
