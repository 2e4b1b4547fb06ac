//! Parses the command line and does what it says.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use locklab::{
    cli::{Cli, Command, EXIT_USAGE},
    healthcheck, scenario, server,
};

#[tokio::main]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
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
        Command::Leader(args) => {
            let run = scenario::leader::run(&cli.config, &args);
            match scenario::tell(&args.output, run).await {
                Ok(code) => return code.into(),
                Err(error) => (error.to_string(), error.exit().into()),
            }
        }
        Command::Anomaly(args) => {
            let run = scenario::anomaly::run(&cli.config, &args);
            match scenario::tell(&args.output, run).await {
                Ok(code) => return code.into(),
                Err(error) => (error.to_string(), error.exit().into()),
            }
        }
        Command::Candidate(candidacy) => {
            match scenario::leader::candidate::run(&cli.config, &candidacy).await {
                Ok(()) => return ExitCode::SUCCESS,
                Err(error) => (error.to_string(), error.exit().into()),
            }
        }
        Command::Healthcheck => match healthcheck::check(cli.config.listen).await {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (error.to_string(), ExitCode::FAILURE),
        },
        Command::Partition(args) => {
            let run = scenario::partition::run(&cli.config, &args);
            match scenario::tell(&args.output, run).await {
                Ok(code) => return code.into(),
                Err(error) => (error.to_string(), error.exit().into()),
            }
        }
    };
    writeln!(io::stderr(), "locklab: {message}").ok();
    code
}
