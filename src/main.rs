//! Parses the command line and does what it says.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use locklab::{
    cli::{Cli, Command, EXIT_USAGE},
    healthcheck, scenario, server,
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
    let (message, code) = match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => match server::run(&cli.config).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) if error.is_usage() => (error.to_string(), EXIT_USAGE.into()),
            Err(error) => (error.to_string(), ExitCode::FAILURE),
        },
        Command::Leader(args) => match scenario::leader::run(&cli.config, &args).await {
            Ok(report) => return scenario::show(&report, &args.output).into(),
            Err(error) => (error.to_string(), error.exit().into()),
        },
        Command::Anomaly(args) => match scenario::anomaly::run(&cli.config, &args).await {
            Ok(report) => return scenario::show(&report, &args.output).into(),
            Err(error) => (error.to_string(), error.exit().into()),
        },
        Command::Candidate(candidacy) => {
            match scenario::leader::candidate::run(&cli.config, &candidacy).await {
                Ok(()) => return ExitCode::SUCCESS,
                Err(error) => (error.to_string(), error.exit().into()),
            }
        }
        Command::Completions(args) => match print(&args.script()) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (error.to_string(), ExitCode::FAILURE),
        },
        Command::Man(args) => match args.write().and_then(|page| print(&page)) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (error.to_string(), ExitCode::FAILURE),
        },
        Command::Healthcheck => match healthcheck::check(cli.config.listen).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (error.to_string(), ExitCode::FAILURE),
        },
        Command::Partition(args) => match scenario::partition::run(&cli.config, &args).await {
            Ok(report) => return scenario::show(&report, &args.output).into(),
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
