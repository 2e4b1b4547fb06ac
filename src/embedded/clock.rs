//! A wall clock that only one server sees, and that can be stepped while it runs: libfaketime,
//! which is loaded into the server. Its monotonic clock is left alone, as a step of the real one
//! would.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use tempfile::NamedTempFile;
use tokio::time::Duration;

/// Below these, and one folder further down, distributions keep libraries.
const FOLDERS: [&str; 5] =
    ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/opt/homebrew/lib"];
const LIBRARY: &str = "faketime/libfaketime.so.1";
/// glibc's own malloc, as a library: jemalloc asks for the time before libfaketime is ready.
const MALLOC: &str = "libc_malloc_debug.so.0";

/// What to do where there is no such clock.
pub const MISSING: &str = "no libfaketime, so no clock can be stepped: install it (Debian, Ubuntu: apt-get install libfaketime)";

/// A clock; it is right until it is stepped.
#[derive(Debug)]
pub struct Clock {
    library: PathBuf,
    /// How far it is ahead, as libfaketime reads it.
    file: NamedTempFile,
    ahead: Duration,
}

impl Clock {
    /// A clock that is right.
    ///
    /// # Errors
    /// libfaketime is not installed, or there is no room for a file.
    pub fn new() -> io::Result<Self> {
        let library = library().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, MISSING))?;
        let file = NamedTempFile::with_prefix("locklab-clock-")?;
        let clock = Self { library, file, ahead: Duration::ZERO };
        clock.write()?;
        Ok(clock)
    }

    /// What starts a server that sees this clock: the server and its arguments follow.
    #[must_use]
    pub fn through(&self) -> Vec<String> {
        let variables = [
            format!("LD_PRELOAD={MALLOC}:{}", self.library.display()),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.path().display()),
            "FAKETIME_NO_CACHE=1".to_owned(),
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        ];
        std::iter::once("env".to_owned()).chain(variables).collect()
    }

    /// Steps it forward, for a server that runs.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn step(&mut self, by: Duration) -> io::Result<()> {
        self.ahead += by;
        self.write()
    }

    /// In one step: a server that reads half of it would see a wrong time.
    fn write(&self) -> io::Result<()> {
        let mut next = NamedTempFile::with_prefix("locklab-clock-")?;
        writeln!(next, "+{:.3}", self.ahead.as_secs_f64())?;
        next.flush()?;
        next.persist(self.file.path())?;
        Ok(())
    }
}

fn library() -> Option<PathBuf> {
    let below = |folder: &str| {
        let inner = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        std::iter::once(PathBuf::from(folder)).chain(inner).collect::<Vec<_>>()
    };
    let folders = FOLDERS.into_iter().flat_map(below);
    folders.map(|folder| folder.join(LIBRARY)).find(|library| library.is_file())
}
