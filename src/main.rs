//! Parses the command line and does what it says.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use locklab::{
    cli::{Cli, Command, EXIT_FAILURE, EXIT_USAGE},
    client, scenario, server,
};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(shown) => {
            shown.print().ok();
            return if shown.use_stderr() { EXIT_USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let (config, command) = (cli.config, cli.command.unwrap_or(Command::Serve));
    let done = match command {
        Command::Serve => {
            let served = server::run(&config).await.map(|()| 0);
            served.map_err(|error| (error.to_string(), error.exit()))
        }
        Command::Completions(args) => succeeded(print(&args.script(&Cli::command_line()))),
        Command::Man(args) => {
            succeeded(args.write(&Cli::command_line()).and_then(|page| print(&page)))
        }
        Command::Healthcheck => succeeded(client::check(config.listen).await),
        Command::Scenario(asked) => {
            scenario::run(&config, &asked).await.map_err(|error| (error.to_string(), error.exit()))
        }
    };
    let code = done.unwrap_or_else(|(message, code)| {
        writeln!(io::stderr(), "locklab: {message}").ok();
        code
    });
    code.into()
}

/// The exit code of whatever fails in one way only, and what it says then.
fn succeeded(done: Result<(), impl ToString>) -> Result<u8, (String, u8)> {
    done.map(|()| 0).map_err(|error| (error.to_string(), EXIT_FAILURE))
}

/// Whoever asked for it need not read to the end.
fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
