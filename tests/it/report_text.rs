//! How a report is printed, and where colours and progress are shown.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::server::command;

/// A scenario that has soon found out that it cannot be done, for there is no such database.
const SCENARIO: [&str; 4] =
    ["anomaly", "late-advisory-lock", "--postgres-url", "postgres://nobody@127.0.0.1:1/nothing"];
/// The check that says so, in yellow.
const COLOURED: &str = "\x1b[33m?\x1b[0m";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = command(&[&SCENARIO, arguments].concat());
    command.envs(variables.iter().copied()).env("TERM", "xterm");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    output
}

/// The same on a terminal: what is seen there.
fn run_on_terminal(variables: &[(&str, &str)]) -> String {
    let line = [&[env!("CARGO_BIN_EXE_locklab")], &SCENARIO[..]].concat().join(" ");
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    script.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied());
    let output = script.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn a_pipe_gets_no_colours_unless_it_asks_for_them() {
    for variables in [&[][..], &[("NO_COLOR", "1")]] {
        let output = run(&[], variables);
        let shown = text(&output.stdout);
        assert!(shown.contains("\n  ?   it was shown to its end: "), "{shown}");
        assert!(!shown.contains('\x1b'), "{variables:?}: {shown:?}");
        assert!(output.stderr.is_empty(), "no progress: {:?}", text(&output.stderr));
    }
    let shown = text(&run(&[], &[("CLICOLOR_FORCE", "1")]).stdout);
    assert!(shown.contains(COLOURED), "{shown:?}");
    let json = text(&run(&["--json"], &[("CLICOLOR_FORCE", "1")]).stdout);
    assert!(!json.contains('\x1b'), "{json:?}");
}

#[test]
fn a_terminal_gets_colours_and_progress() {
    let shown = run_on_terminal(&[]);
    assert!(shown.contains(COLOURED), "{shown:?}");
    let (progress, report) = shown.split_once("\x1b[1mlate-advisory-lock").unwrap();
    assert!(progress.contains("anomaly: servers are started"), "{shown:?}");
    assert!(progress.ends_with("\x1b[2K"), "cleared before the report: {progress:?}");
    assert!(!report.contains("\x1b[2K") && report.contains("locklab 0."), "{report:?}");
    // Without colours, there are still sequences that clear the line of the progress.
    let plain = run_on_terminal(&[("NO_COLOR", "1")]);
    assert!(plain.contains("anomaly: servers are started"), "{plain:?}");
    let colours = plain.split("\x1b[").skip(1).filter(|it| {
        it.find(|c: char| c.is_ascii_alphabetic()).is_some_and(|at| it[at..].starts_with('m'))
    });
    assert_eq!(colours.count(), 0, "{plain:?}");
}

#[test]
fn quiet_is_what_was_expected_of_what_and_the_last_line() {
    let whole = text(&run(&[], &[]).stdout);
    assert!(
        whole.starts_with("late-advisory-lock: ") && whole.contains("\nseed: none; "),
        "{whole}"
    );
    let quiet = text(&run(&["--quiet"], &[]).stdout);
    assert!(quiet.starts_with("late-advisory-lock: "), "{quiet}");
    assert!(quiet.contains("\n  ?   it was shown to its end: "), "{quiet}");
    assert!(!quiet.contains("seed: "), "{quiet}");
    assert!(quiet.ends_with("\nanomaly: 0 of 1 as expected\n"), "{quiet}");
    assert!(whole.lines().all(|line| line.chars().count() <= 80), "{whole}");
    assert!(quiet.lines().all(|line| whole.lines().any(|it| it == line)), "{quiet}");
}

/// Refused before anything is run: nobody waits for a report that is lost.
#[test]
fn a_page_that_cannot_be_written_is_refused_first() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/page.html");
    for path in [folder.path(), &missing, Path::new("/dev/null"), Path::new("")] {
        let output = command(&[&SCENARIO[..], &["--html", path.to_str().unwrap()]].concat());
        let output = { output }.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(output.stdout.is_empty(), "it was run: {}", text(&output.stdout));
        assert!(said.contains("--html") && said.contains(path.to_str().unwrap()), "{said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

/// A page takes the place of an older one, and nothing else is left in its folder.
#[test]
fn a_page_is_written_beside_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html");
    fs::write(&page, "an older one").unwrap();
    let output = run(&["--html", page.to_str().unwrap()], &[]);
    assert!(text(&output.stdout).ends_with("anomaly: 0 of 1 as expected\n"));
    let written = fs::read_to_string(&page).unwrap();
    assert!(written.starts_with("<!DOCTYPE html>") && written.ends_with("</html>"), "{written}");
    assert!(written.contains("<strong>not measured</strong>"), "{written}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
