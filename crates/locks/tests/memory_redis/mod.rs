//! A Redis in memory, for tests with a paused clock: strings that expire by tokio's clock, hashes,
//! messages, transactions, and the scripts that end a lock. Connections are pipes within the process.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::Arc,
};

use async_trait::async_trait;
use locklab_locks::wires::redis::{Connect, Stream};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream},
    sync::mpsc,
    time::{Duration, Instant},
};

/// Looks at a command before it is carried out by itself; commands of a transaction it is not shown.
pub type Meddler = Box<dyn Fn(&mut Store, &[String]) + Send>;

/// The server. Its clones are the same one.
#[derive(Clone, Default)]
pub struct MemoryRedis(Arc<Mutex<Store>>);

/// What the server remembers.
#[derive(Default)]
pub struct Store {
    pub strings: HashMap<String, (String, Option<Instant>)>,
    pub hashes: HashMap<String, HashMap<String, String>>,
    /// Every command that was carried out, in this order.
    pub log: Vec<Vec<String>>,
    pub meddler: Option<Meddler>,
    scripts: HashMap<String, String>,
    listeners: Vec<(String, mpsc::UnboundedSender<String>)>,
}

#[async_trait]
impl Connect for MemoryRedis {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let (ours, theirs) = tokio::io::duplex(4_096);
        tokio::spawn(self.clone().serve(theirs));
        Ok(Box::new(ours))
    }
}

impl MemoryRedis {
    /// Looks at what it remembers, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut Store) -> T) -> T {
        look(&mut self.0.lock())
    }

    async fn serve(self, stream: DuplexStream) {
        let (reader, mut writer) = tokio::io::split(stream);
        let (replies, mut to_send) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            while let Some(reply) = to_send.recv().await {
                if writer.write_all(reply.as_bytes()).await.is_err() {
                    return;
                }
            }
        });
        let (mut reader, mut queued) = (BufReader::new(reader), None);
        while let Ok(command) = read(&mut reader).await {
            let reply = self.0.lock().answer(command, &replies, &mut queued);
            if replies.send(reply).is_err() {
                return;
            }
        }
    }
}

/// One command: an array of strings, each with its length before it.
async fn read(reader: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<VecDeque<String>> {
    let mut words = VecDeque::new();
    for _ in 0..number(reader).await? {
        let mut word = vec![0; number(reader).await?];
        reader.read_exact(&mut word).await?;
        reader.read_exact(&mut [0; 2]).await?;
        words.push_back(String::from_utf8(word).map_err(io::Error::other)?);
    }
    Ok(words)
}

/// A line such as `*3` or `$11`.
async fn number(reader: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let digits = line.get(1..).unwrap_or_default();
    digits.trim_end().parse().map_err(io::Error::other)
}

const OK: &str = "+OK\r\n";
const NIL: &str = "$-1\r\n";

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn maybe(text: Option<&String>) -> String {
    text.map_or_else(|| NIL.to_owned(), |text| bulk(text))
}

fn int(value: impl Into<i128>) -> String {
    format!(":{}\r\n", value.into())
}

fn array(items: &[String]) -> String {
    format!("*{}\r\n{}", items.len(), items.concat())
}

impl Store {
    /// The reply to a command on a connection, on which a transaction may be open.
    fn answer(
        &mut self,
        command: VecDeque<String>,
        replies: &mpsc::UnboundedSender<String>,
        queued: &mut Option<Vec<Vec<String>>>,
    ) -> String {
        let command = Vec::from(command);
        match (command[0].as_str(), queued.as_mut()) {
            ("MULTI", None) => {
                *queued = Some(Vec::new());
                OK.to_owned()
            }
            ("EXEC", Some(commands)) => {
                let commands = std::mem::take(commands);
                *queued = None;
                let answers: Vec<String> =
                    commands.into_iter().map(|command| self.execute(command, replies)).collect();
                self.log.push(command);
                array(&answers)
            }
            (_, Some(commands)) => {
                commands.push(command);
                "+QUEUED\r\n".to_owned()
            }
            (_, None) => {
                if let Some(meddler) = self.meddler.take() {
                    meddler(self, &command);
                    self.meddler = Some(meddler);
                }
                self.execute(command, replies)
            }
        }
    }

    fn execute(&mut self, command: Vec<String>, replies: &mpsc::UnboundedSender<String>) -> String {
        let now = Instant::now();
        self.strings.retain(|_, (_, end)| end.is_none_or(|end| end > now));
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let reply = match words[..] {
            ["PING"] if self.listeners.iter().any(|(_, it)| it.same_channel(replies)) => {
                array(&[bulk("pong"), bulk("")])
            }
            ["PING"] => "+PONG\r\n".to_owned(),
            ["CLIENT", ..] => OK.to_owned(),
            ["INFO", ..] => bulk("evicted_keys:0\r\nmaxmemory_policy:noeviction\r\n"),
            ["GET", key] => maybe(self.strings.get(key).map(|(value, _)| value)),
            ["HGET", key, field] => maybe(self.hashes.get(key).and_then(|hash| hash.get(field))),
            ["SET", key, _, "NX", ..] if self.strings.contains_key(key) => NIL.to_owned(),
            ["SET", key, value, "NX", "PX", ttl] => {
                let ttl = Duration::from_millis(ttl.parse().unwrap());
                self.strings.insert(key.to_owned(), (value.to_owned(), Some(now + ttl)));
                OK.to_owned()
            }
            ["PTTL", key] => match self.strings.get(key) {
                None => int(-2),
                Some((_, None)) => int(-1),
                Some((_, Some(end))) => int((*end - now).as_millis() as u64),
            },
            ["PUBSUB", "NUMSUB", channel] => array(&[bulk(channel), int(self.count(channel))]),
            ["SUBSCRIBE", ref channels @ ..] => {
                let confirm = |channel: &&str| {
                    self.listeners.push(((*channel).to_owned(), replies.clone()));
                    array(&[bulk("subscribe"), bulk(channel), int(1)])
                };
                channels.iter().map(confirm).collect()
            }
            ["UNSUBSCRIBE", ref channels @ ..] => {
                let confirm = |channel: &&str| {
                    self.listeners.retain(|(of, it)| of != channel || !it.same_channel(replies));
                    array(&[bulk("unsubscribe"), bulk(channel), int(0)])
                };
                channels.iter().map(confirm).collect()
            }
            ["SCRIPT", "LOAD", code] => {
                let hash = redis::Script::new(code).get_hash().to_owned();
                self.scripts.insert(hash.clone(), code.to_owned());
                bulk(&hash)
            }
            ["EVALSHA", hash, "1", key, ref arguments @ ..] => match self.scripts.get(hash) {
                None => "-NOSCRIPT No matching script.\r\n".to_owned(),
                Some(code) if code.contains("return -1") => {
                    self.compare_and_delete(key, arguments[0], arguments[1])
                }
                Some(_) => "-ERR this script is not known here\r\n".to_owned(),
            },
            _ => format!("-ERR not known here: {}\r\n", words[0]),
        };
        self.log.push(command);
        reply
    }

    fn compare_and_delete(&mut self, key: &str, token: &str, channel: &str) -> String {
        match self.strings.get(key) {
            None => int(0),
            Some((holder, _)) if holder != token => int(-1),
            Some(_) => {
                self.strings.remove(key);
                let message = array(&[bulk("message"), bulk(channel), bulk("")]);
                for (_, listener) in self.listeners.iter().filter(|(of, _)| of == channel) {
                    listener.send(message.clone()).ok();
                }
                int(1)
            }
        }
    }

    fn count(&self, channel: &str) -> u64 {
        self.listeners.iter().filter(|(of, _)| of == channel).count() as u64
    }
}
