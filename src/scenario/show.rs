//! Showing a report: as text or JSON, and as a page.

use std::{
    fmt::Display,
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::NamedTempFile;

use crate::{
    cli::OutputArgs,
    report::{Met, Report, html, text::Text},
    scenario::error::{EXIT_NOT_AS_EXPECTED, EXIT_NOT_MEASURED, ScenarioError},
};

/// Runs a scenario and shows its report; gives the exit code that says how it ended.
pub async fn tell(
    output: &OutputArgs,
    scenario: impl Future<Output = Result<Report, ScenarioError>>,
) -> Result<u8, ScenarioError> {
    check(output)?;
    Ok(show(&scenario.await?, output))
}

/// Whether a report can be shown so.
fn check(output: &OutputArgs) -> Result<(), ScenarioError> {
    let Some(path) = &output.html else { return Ok(()) };
    if fs::metadata(path).is_ok_and(|it| !it.is_file()) {
        return Err(refused("--html", path, &"it is there, and no file"));
    }
    page_in(path).map(drop).map_err(|error| refused("--html", path, &error))
}

/// Says that a flag names a file that cannot be written.
pub(super) fn refused(flag: &str, path: &Path, why: &dyn Display) -> ScenarioError {
    let (path, valid) = (path.display(), "expected a file in a folder that can be written to");
    ScenarioError::Usage(format!("{flag} {path}: {why}; {valid}"))
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Prints a report, and gives the exit code that says how the scenario ended.
fn show(report: &Report, output: &OutputArgs) -> u8 {
    // Whoever started this need not read it.
    if output.json {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, report).ok();
        writeln!(out).ok();
    } else {
        write!(anstream::stdout(), "{}", Text { report, quiet: output.quiet }).ok();
    }
    let code = match report.met() {
        Met::Yes => 0,
        Met::No => EXIT_NOT_AS_EXPECTED,
        Met::Unknown => EXIT_NOT_MEASURED,
    };
    let Some(path) = &output.html else { return code };
    match write_page(report, path) {
        Ok(()) => code,
        Err(error) => {
            writeln!(io::stderr(), "locklab: --html {}: {error}", path.display()).ok();
            if code == 0 { EXIT_NOT_MEASURED } else { code }
        }
    }
}

/// Nobody ever sees half a page.
fn write_page(report: &Report, path: &Path) -> io::Result<()> {
    let mut file = page_in(path)?;
    file.write_all(html::page(report).as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// A file beside a page, which is to become that.
fn page_in(path: &Path) -> io::Result<NamedTempFile> {
    // As readable as any other file.
    let permissions = Permissions::from_mode(0o666);
    tempfile::Builder::new()
        .prefix(".locklab-")
        .permissions(permissions)
        .tempfile_in(folder_of(path))
}
