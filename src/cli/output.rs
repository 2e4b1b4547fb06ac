//! How a scenario's report is shown.

use std::path::PathBuf;

use clap::Args;

/// How a report is shown.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Report")]
pub struct OutputArgs {
    /// Print the report as JSON, with everything that was recorded
    #[arg(long)]
    pub json: bool,

    /// Write the report to this file as well, as a page with pictures that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// Print no more than what was expected and whether it is so
    #[arg(long, conflicts_with = "json")]
    pub quiet: bool,
}
