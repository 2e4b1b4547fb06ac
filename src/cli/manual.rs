//! What the command line says of itself: its help, what shells complete, and manual pages.

use std::{fs, io, path::Path, path::PathBuf};

use clap::{Arg, Args, Command, CommandFactory, FromArgMatches};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, LOGS, SERVERS, SERVING};

/// For which shell.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell that is to complete
    shell: Shell,
}

/// Where manual pages go.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Write a page of each subcommand into this folder, which is made if need be; without it, the page
    /// of locklab is printed
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Cli {
    /// Reads the command line.
    ///
    /// # Errors
    /// It is not valid, or it asks for help.
    pub fn read() -> Result<Self, clap::Error> {
        let mut command = command();
        let matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

impl CompletionsArgs {
    /// The script that the shell is to read.
    #[must_use]
    pub fn script(&self) -> Vec<u8> {
        let (mut command, mut script) = (public(), Vec::new());
        let name = command.get_name().to_owned();
        clap_complete::generate(self.shell, &mut command, name, &mut script);
        script
    }
}

impl ManArgs {
    /// Writes the pages; what is to be printed comes back.
    ///
    /// # Errors
    /// A file could not be written.
    pub fn write(&self) -> io::Result<Vec<u8>> {
        let mut page = Vec::new();
        match &self.dir {
            Some(folder) => write_pages(folder).map_err(|error| {
                let text =
                    format!("--dir {}: {error}; name a folder to write to", folder.display());
                io::Error::new(error.kind(), text)
            })?,
            None => Man::new(pages()).render(&mut page)?,
        }
        Ok(page)
    }
}

fn write_pages(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(pages(), folder)
}

/// What has a page. A page is not short: it tells of every flag what help tells only when it is long.
fn pages() -> Command {
    let tell = |arg: Arg| arg.hide_short_help(false);
    let pages = public().disable_help_subcommand(true).mut_args(tell);
    pages.mut_subcommands(|subcommand| subcommand.mut_args(tell))
}

/// The command line. Every flag is accepted everywhere; the short help of a subcommand is about what it
/// uses.
pub(super) fn command() -> Command {
    let command = Cli::command();
    let under = |heading| {
        let global = command.get_arguments().filter(|arg| arg.is_global_set());
        global.filter(move |arg| arg.get_help_heading() == Some(heading))
    };
    // After a subcommand's own, and in this order.
    let global: Vec<Arg> = [SERVERS, SERVING, LOGS].into_iter().flat_map(under).cloned().collect();
    command.mut_subcommands(|subcommand| {
        let name = subcommand.get_name().to_owned();
        let is_own = |arg: &Arg| subcommand.get_arguments().any(|own| own.get_id() == arg.get_id());
        let inherited: Vec<Arg> = global.iter().filter(|arg| !is_own(arg)).cloned().collect();
        let inherited = inherited.into_iter().map(|arg| {
            let is_used = uses(&name, &arg);
            if is_used { arg } else { arg.hide_short_help(true) }
        });
        subcommand.args(inherited)
    })
}

/// Whether a subcommand does anything with a flag that it inherits.
fn uses(subcommand: &str, arg: &Arg) -> bool {
    match subcommand {
        "serve" => true,
        "healthcheck" => arg.get_id() == "listen",
        "completions" | "man" => false,
        _ => arg.get_help_heading() == Some(SERVERS),
    }
}

/// The same without the subcommands that are nobody else's business.
fn public() -> Command {
    let all = command();
    let subcommands = all.get_subcommands().filter(|it| !it.is_hide_set()).cloned();
    let public = Command::new(env!("CARGO_PKG_NAME"))
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(subcommands);
    let public = all.get_about().cloned().into_iter().fold(public, Command::about);
    all.get_after_help().cloned().into_iter().fold(public, Command::after_help)
}
