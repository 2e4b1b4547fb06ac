//! Files with what became of every purchase of a run, as the PHP lab wrote them.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::show::{folder_of, refused};
use crate::{
    report::{Report, Run},
    scenario::error::ScenarioError,
};

/// Whether files can be written beside this one, which is found out before anything is run.
pub fn check(path: &Path) -> Result<(), ScenarioError> {
    if path.is_dir() || path.file_name().is_none() {
        return Err(refused("--output", path, &"it is no file"));
    }
    let folder = folder_of(path);
    let written = fs::create_dir_all(folder).and_then(|()| tempfile::tempfile_in(folder));
    written.map(drop).map_err(|error| refused("--output", path, &error))
}

/// Writes each run into a file. Its path is told the run, and what names it among several.
pub fn write(report: &Report, path: impl Fn(&Run, String) -> PathBuf) -> Result<(), ScenarioError> {
    let are_several = report.runs.0.iter().any(|run| run.run > 1);
    for run in &report.runs.0 {
        let which = if are_several { format!("run{}_", run.run) } else { String::new() };
        let path = path(run, which);
        let json = serde_json::to_vec_pretty(&report.export(run)).map_err(io::Error::from)?;
        fs::write(&path, json).map_err(|error| refused("--output", &path, &error))?;
    }
    Ok(())
}
