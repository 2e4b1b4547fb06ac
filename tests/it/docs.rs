//! The pages of `docs/` from which people learn: every command that they show is run, and prints
//! what the page says, but for its figures. `make docs` writes down what is printed now.

use std::{fmt::Write, fs, process::Output};

use crate::server::{command, command_of};

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs");
/// What a line of a page begins with that shows a command.
const PROMPT: &str = "$ locklab";
/// If this is set, pages are written instead of compared: by the binary that it names.
const WRITE: &str = "LOCKLAB_DOCS";

/// A command of a page, and what the page says that it prints.
struct Shown {
    command: String,
    printed: String,
}

/// What is printed by a command now, as pages show it.
async fn print(line: &str, binary: Option<&str>) -> String {
    let arguments: Vec<&str> = line.split_whitespace().skip(2).collect();
    let mut command = match binary {
        Some(binary) => command_of(binary, &arguments),
        None => command(&arguments),
    };
    // A busy machine is no fault.
    command.env("LOCKLAB_ETCD_TIMEOUT", "5s").env("LOCKLAB_ZOOKEEPER_TIMEOUT", "5s");
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let Output { status, stdout, stderr } = output;
    let mut printed = String::from_utf8(stdout).unwrap();
    let code = status.code().unwrap();
    if code != 0 {
        writeln!(printed, "(exit code {code})").unwrap();
    }
    assert!([0, 1].contains(&code), "{line}: {printed}{}", String::from_utf8_lossy(&stderr));
    printed
}

/// The commands of a page.
fn shown(page: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        if line.starts_with("```") {
            is_inside = line == "```console";
        } else if is_inside && line.starts_with(PROMPT) {
            shown.push(Shown { command: line.to_owned(), printed: String::new() });
        } else if let (true, Some(last)) = (is_inside, shown.last_mut()) {
            last.printed += line;
            last.printed.push('\n');
        }
    }
    shown
}

/// The same page with what is printed now.
fn rewritten(page: &str, printed: &[String]) -> String {
    let (mut new, mut is_inside, mut printed) = (String::new(), false, printed.iter());
    let mut is_output = false;
    for line in page.lines() {
        if line.starts_with("```") {
            (is_inside, is_output) = (line == "```console", false);
        }
        if is_inside && line.starts_with(PROMPT) {
            writeln!(new, "{line}\n{}", printed.next().unwrap().trim_end()).unwrap();
            is_output = true;
        } else if !is_output {
            writeln!(new, "{line}").unwrap();
        }
    }
    new
}

/// What has to be the same each time. Of tables and pictures, only that they are there; of figures,
/// only what they are of; and who of several equal ones got what differs as well.
fn skeleton(printed: &str) -> String {
    let mut skeleton = String::new();
    for paragraph in printed.split("\n\n") {
        let lines: Vec<&str> = paragraph.lines().filter(|line| !line.is_empty()).collect();
        let is_drawn = |line: &&&str| line.contains("──") || line.trim_end().ends_with('|');
        let kept = match lines.iter().any(|line| is_drawn(&line)) {
            true => &lines[..1],
            false => &lines[..],
        };
        // Where it ran.
        let from =
            kept.iter().position(|line| line.starts_with("seed: ") || line.starts_with("locklab "));
        let until = kept.iter().position(|line| line.contains(" as expected"));
        let words = kept.iter().enumerate().filter(|(index, _)| {
            from.is_none_or(|from| *index < from) || until.is_some_and(|until| *index >= until)
        });
        let text = words.map(|(_, line)| *line).collect::<Vec<_>>().join(" ");
        let mut is_outcome = false;
        for word in text.split_whitespace() {
            let word = if is_outcome { "…".to_owned() } else { without_figures(word) };
            is_outcome = word == "proc_#";
            write!(skeleton, "{word} ").unwrap();
        }
        skeleton.push('\n');
    }
    // One figure, or the least and the most.
    // And how often a race was lost is chance.
    skeleton.replace("# to #", "#").replace(" (after # races)", "")
}

/// A word whose figures are all alike.
fn without_figures(word: &str) -> String {
    let mut plain = String::new();
    for letter in word.chars() {
        match letter {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            '.' if plain.ends_with('#') => {}
            letter => plain.push(letter),
        }
    }
    plain
}

/// Runs what a page shows; it says the same, or is written anew.
async fn check(name: &str) {
    let path = format!("{DOCS}/{name}");
    let page = fs::read_to_string(&path).unwrap();
    let shown = shown(&page);
    assert!(!shown.is_empty(), "{name} shows nothing");
    let binary = std::env::var(WRITE).ok();
    let mut printed = Vec::new();
    for Shown { command, .. } in &shown {
        printed.push(print(command, binary.as_deref()).await);
    }
    if binary.is_some() {
        return fs::write(&path, rewritten(&page, &printed)).unwrap();
    }
    for (shown, printed) in shown.iter().zip(&printed) {
        let (old, new) = (skeleton(&shown.printed), skeleton(printed));
        assert_eq!(
            old, new,
            "{name}: `{}` prints something else now; `make docs`?\n{printed}",
            shown.command
        );
    }
}

#[tokio::test]
async fn race_condition() {
    check("race-condition.md").await;
}

#[tokio::test]
async fn lock_comparison() {
    check("lock-comparison.md").await;
}

#[tokio::test]
async fn ttl_timeline() {
    check("ttl-timeline.md").await;
}

#[tokio::test]
async fn deadlock() {
    check("deadlock.md").await;
}

#[tokio::test]
async fn retry_strategies() {
    check("retry-strategies.md").await;
}

#[tokio::test]
async fn fencing() {
    check("fencing.md").await;
}

#[tokio::test]
async fn redlock_debate() {
    check("redlock-debate.md").await;
}

#[tokio::test]
async fn when_not_to_lock() {
    check("when-not-to-lock.md").await;
}

/// Every page that shows a command of `locklab` and what it prints is one of those above.
#[test]
fn no_page_is_left_out() {
    let source = include_str!("docs.rs");
    for entry in fs::read_dir(DOCS).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.lines().any(|line| line.starts_with(PROMPT)) {
            assert!(source.contains(&format!("check(\"{name}\")")), "{name} is not checked");
        }
    }
}

/// The comparison sees what it has to, and nothing else.
#[test]
fn drift_is_seen_and_figures_are_not() {
    let old = "safe: 5 buyers\n  yes no unit is sold twice: 1 sold of 1\n\n  Who held it\n  proc_1 |██|\n\n\
               seed: 1; locklab 0.1.0\n(abc)\noversell: 1 of 1 as expected\n";
    let other_figures =
        old.replace("1 sold of 1", "12 sold of 12").replace("██", "█ ").replace("abc", "def");
    assert_eq!(skeleton(old), skeleton(&other_figures));
    for drift in [("yes", "NO "), ("Who held it", "Who had it"), ("sold twice", "lost")] {
        assert_ne!(skeleton(old), skeleton(&old.replace(drift.0, drift.1)), "{drift:?}");
    }
    assert_ne!(skeleton(old), skeleton(&format!("{old}(exit code 1)\n")));
}
