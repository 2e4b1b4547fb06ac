//! Parses the command line and does what it says.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use locklab::{
    cli::{Cli, Command, EXIT_USAGE},
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
    let (message, code) = match command {
        Command::Serve => match server::run(&config).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) if error.is_usage() => (error.to_string(), EXIT_USAGE.into()),
            Err(error) => (error.to_string(), ExitCode::FAILURE),
        },
        Command::Completions(args) => match print(&args.script(&Cli::command_line())) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (error.to_string(), ExitCode::FAILURE),
        },
        Command::Man(args) => {
            match args.write(&Cli::command_line()).and_then(|page| print(&page)) {
                Ok(()) => return ExitCode::SUCCESS,
                Err(error) => (error.to_string(), ExitCode::FAILURE),
            }
        }
        Command::Healthcheck => match client::check(config.listen).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (error.to_string(), ExitCode::FAILURE),
        },
        Command::Scenario(scenario) => match scenario::run(&config, &scenario).await {
            Ok(code) => return code.into(),
            Err(error) => (error.to_string(), error.exit().into()),
        },
    };
    writeln!(io::stderr(), "locklab: {message}").ok();
    code
}

/// Whoever asked for it need not read to the end.
fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
