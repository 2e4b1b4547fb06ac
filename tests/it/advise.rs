//! `locklab advise`: what fits a case, no lock first, and what was recorded of it.

use std::{
    fs::File,
    io::{Read, Write},
    process::{Output, Stdio},
};

use nix::pty::openpty;
use serde_json::Value;

use crate::server::command;

/// A case without what is changed, what that costs, and what there is.
const LOAD: [&str; 6] = ["--work", "2ms", "--worst", "500ms", "--buyers", "4"];

async fn advise(arguments: &[&str]) -> Output {
    let mut command = command(&[&["advise"], arguments].concat());
    // A busy machine is no fault.
    command.env("LOCKLAB_SQL_TIMEOUT", "10s");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn parse(output: &Output) -> Value {
    let report = serde_json::from_slice(&output.stdout);
    report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

/// The advice on a case, in which everything is as expected.
async fn report(case: &[&str]) -> Value {
    let output = advise(&[&["--json"], &LOAD[..], case].concat()).await;
    let report = parse(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    report
}

/// The first cells of the rows of a part's table.
fn names(part: &Value) -> Vec<&str> {
    let rows = list(part, "tables").first().map_or(&[][..], |table| list(table, "rows"));
    rows.iter().map(|row| row[0].as_str().unwrap()).collect()
}

fn titles(report: &Value) -> Vec<&str> {
    list(report, "parts").iter().map(|part| part["title"].as_str().unwrap()).collect()
}

/// A number at Redis: one step comes first, and every strategy that fits is really raced and really
/// paused.
#[tokio::test]
async fn a_counter_needs_no_lock_and_that_is_shown() {
    let case = ["--change", "counter", "--double-sale", "forbidden"];
    let report =
        report(&[&case[..], &["--processes", "many", "--servers", "redis"]].concat()).await;
    let parts = list(&report, "parts");
    assert_eq!(parts[0]["title"], "First: you need no lock");
    assert_eq!(names(&parts[1]), ["atomic", "optimistic", "queue", "fenced"]);
    assert!(names(&parts[2]).contains(&"safe"));
    let (side_by_side, shown) = parts[3..].split_last().unwrap();
    assert_eq!(shown.len(), 4);
    assert_eq!(list(&parts[0], "evidence")[0]["double_sale"], "forbidden");
    for part in shown {
        let [race, pause, ..] = list(part, "evidence") else { panic!("{part:#}") };
        assert!(race["sold"].as_i64().unwrap() > 0 && race["ok"] == true, "{race:#}");
        assert_eq!((&race["lost_updates"], &race["oversold"]), (&0.into(), &0.into()));
        assert_eq!(list(race, "units").len(), 4, "as many buyers as in the case");
        assert!(pause["audit"]["ok"] == true && pause["audit"]["sold"] == 1, "{pause:#}");
    }
    for row in list(&list(side_by_side, "tables")[0], "rows") {
        assert_eq!((&row[2], &row[5]), (&"0".into(), &"sold once".into()), "{row}");
    }
}

/// A row: what the database does by itself comes before any lock, and no lock without fencing or
/// layers fits.
#[tokio::test]
async fn a_row_is_guarded_by_its_database() {
    let case = ["--change", "row", "--double-sale", "costly", "--processes", "one"];
    let report = report(&[&case[..], &["--servers", "postgres"]].concat()).await;
    let parts = list(&report, "parts");
    assert_eq!(parts[0]["title"], "First: you need no lock");
    let fits = ["postgres-atomic", "mutex", "postgres-row", "postgres-optimistic"];
    assert_eq!(names(&parts[1]), fits);
    let out = ["safe", "watchdog", "redlock", "postgres-advisory", "mysql-row"];
    assert!(out.iter().all(|name| names(&parts[2]).contains(name)));
}

/// What is outside cannot refuse a write: no lock can guarantee anything, and a write that lands
/// late is shown.
#[tokio::test]
async fn what_no_lock_can_do_is_said_and_shown() {
    let case = ["--change", "outside", "--double-sale", "forbidden", "--processes", "many"];
    let report = report(&case).await;
    let parts = list(&report, "parts");
    assert_eq!(parts[0]["title"], "First: it may be that you need no lock");
    assert!(names(&parts[0]).iter().any(|line| line.starts_with("No lock can guarantee it")));
    assert_eq!(titles(&report)[1], "Nothing fits");
    let [.., control] = parts else { panic!("{report:#}") };
    assert!(list(control, "checks")[0]["claim"].as_str().unwrap().starts_with("control: "));
    assert_eq!(list(control, "evidence")[0]["audit"]["oversold"], 1);
}

/// Work that may outlast a lease rules out leases that nobody renews. Longer work than can be
/// waited for is scaled, and that is said.
#[tokio::test]
async fn long_work_needs_a_lease_that_is_renewed() {
    let case = ["--change", "outside", "--double-sale", "annoying", "--processes", "many"];
    let load = ["--work", "2s", "--worst", "10s", "--buyers", "500", "--servers", "redis"];
    let output = advise(&[&["--json"], &case[..], &load].concat()).await;
    let report = parse(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    let parts = list(&report, "parts");
    assert_eq!(names(&parts[1]), ["watchdog"]);
    assert!(["safe", "fenced"].iter().all(|name| names(&parts[2]).contains(name)));
    let title = titles(&report)[3];
    assert!(title.contains("work of 20ms instead of 2s, 50 buyers instead of 500"), "{title}");
    assert_eq!(list(&parts[3], "evidence").len(), 1, "it does not promise to survive a pause");
}

/// A server that is not there: what needs it fits, is not measured, and how to get it is said.
#[tokio::test]
async fn what_is_not_there_is_not_measured() {
    let case = ["--change", "outside", "--double-sale", "annoying", "--processes", "many"];
    let closed = ["--redlock-urls", "redis://127.0.0.1:1,redis://127.0.0.1:2,redis://127.0.0.1:3"];
    let servers = ["--servers", "redlock"];
    let output = advise(&[&["--json"], &LOAD[..], &case, &servers, &closed].concat()).await;
    let report = parse(&output);
    assert_eq!(output.status.code(), Some(2), "{report:#}");
    let [_, fitting, _, redlock, side_by_side] = list(&report, "parts") else {
        panic!("{report:#}")
    };
    assert_eq!(names(fitting), ["redlock"]);
    let check = &list(redlock, "checks")[0];
    assert_eq!(check["met"], "unknown");
    assert!(check["seen"].as_str().unwrap().contains("--redlock-urls"), "{check:#}");
    assert!(list(redlock, "evidence").is_empty());
    assert_eq!(list(&list(side_by_side, "tables")[0], "rows")[0][3], "–");
}

#[tokio::test]
async fn text_fits_a_terminal() {
    let case = ["--change", "counter", "--double-sale", "annoying", "--processes", "one"];
    let output = advise(&[&LOAD[..], &case, &["--servers", "redis"]].concat()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("First: you need no lock"), "{text}");
    assert!(text.contains("atomic"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

/// Without a terminal nobody is asked: every flag that is missing is named, with what is valid.
#[tokio::test]
async fn without_a_terminal_flags_are_named() {
    let said = async |arguments: &[&str]| {
        let output = advise(arguments).await;
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let all = said(&[]).await;
    for flag in ["--work", "--worst", "--buyers", "--processes one|many", "counter|row|outside"] {
        assert!(all.contains(flag), "{flag}: {all}");
    }
    let some = said(&[&LOAD[..], &["--change", "row", "--processes", "one"]].concat()).await;
    assert!(some.contains("--double-sale annoying|costly|forbidden"), "{some}");
    assert!(!some.contains("--work"), "{some}");
    let less = ["--work", "2s", "--worst", "1s", "--buyers", "1", "--change", "row"];
    let less =
        said(&[&less[..], &["--double-sale", "costly", "--processes", "one"]].concat()).await;
    assert!(less.contains("--worst"), "{less}");
    assert!(said(&["--change", "mail"]).await.contains("outside"));
    assert!(said(&["--servers", "oracle"]).await.contains("zookeeper"));
}

/// On a terminal, whatever is missing is asked for, and nothing else.
#[tokio::test]
async fn on_a_terminal_what_is_missing_is_asked() {
    let case = ["--change", "counter", "--processes", "one", "--servers", "redis"];
    let load = ["--work", "1ms", "--buyers", "2", "--json"];
    let mut command = command(&[&["advise"], &case[..], &load].concat());
    let output = tokio::task::spawn_blocking(move || {
        let terminal = openpty(None, None).unwrap();
        let (mut hears, says) = (File::from(terminal.master), terminal.slave);
        command.env("TERM", "xterm").stdout(Stdio::piped());
        command.stdin(says.try_clone().unwrap()).stderr(says);
        let child = command.spawn().unwrap();
        let mut seen = String::new();
        for (question, answer) in
            [("longest", "500us\r"), ("more", "\u{15}100ms\r"), ("cost", "\r")]
        {
            let mut bytes = [0; 1_024];
            while !seen.contains(question) {
                let read = hears.read(&mut bytes).unwrap();
                seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
            seen.clear();
            hears.write_all(answer.as_bytes()).unwrap();
        }
        // Somebody has to read what is shown, or its writer waits.
        std::thread::spawn(move || std::io::copy(&mut hears, &mut std::io::sink()));
        child.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    let report = parse(&output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    let fits = names(&list(&report, "parts")[1]);
    assert!(fits.starts_with(&["atomic"]) && fits.contains(&"safe"), "it only annoys: {fits:?}");
}
