//! What the command line says of itself: its help, what shells complete, and manual pages.

use std::{fs, io, path::Path, path::PathBuf};

use clap::{Arg, Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::config::{LOGS, SERVERS, SERVING};

/// For which shell.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArgs {
    /// The shell that is to complete
    shell: Shell,
}

/// Where manual pages go.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// Write a page of each subcommand into this folder, which is made if need be; without it, the
    /// page of locklab is printed
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl CompletionsArgs {
    /// The script that the shell is to read.
    #[must_use]
    pub fn script(&self, command_line: &Command) -> Vec<u8> {
        let (mut command, mut script) = (public(command_line), Vec::new());
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
    pub fn write(&self, command_line: &Command) -> io::Result<Vec<u8>> {
        let pages = pages(command_line);
        let mut page = Vec::new();
        match &self.dir {
            Some(folder) => write_pages(folder, pages).map_err(|error| {
                let text =
                    format!("--dir {}: {error}; name a folder to write to", folder.display());
                io::Error::new(error.kind(), text)
            })?,
            None => Man::new(pages).render(&mut page)?,
        }
        Ok(page)
    }
}

fn write_pages(folder: &Path, pages: Command) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    clap_mangen::generate_to(pages, folder)
}

/// What has a page. A page is not short: it tells of every flag what help tells only when it is
/// long.
fn pages(command_line: &Command) -> Command {
    let tell = |arg: Arg| arg.hide_short_help(false);
    let pages = public(command_line).disable_help_subcommand(true).mut_args(tell);
    pages.mut_subcommands(|subcommand| subcommand.mut_args(tell))
}

/// Gives every subcommand the flags of the configuration. Its short help is about those that it
/// uses.
pub fn with_inherited_flags(command: Command) -> Command {
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

/// A command line without the subcommands that only scenarios use.
fn public(all: &Command) -> Command {
    let subcommands = all.get_subcommands().filter(|it| !it.is_hide_set()).cloned();
    let public = Command::new(env!("CARGO_PKG_NAME"))
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(subcommands);
    let public = all.get_about().cloned().into_iter().fold(public, Command::about);
    all.get_after_help().cloned().into_iter().fold(public, Command::after_help)
}
