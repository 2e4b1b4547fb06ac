//! Style as a test: the rooms stay apart, files stay short, documents stay true.

use locklab::{
    measure::exporter,
    strategy::{Family, table::STRATEGIES},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Past this, readers pay.
const LINES_MAX: usize = 370;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project, by its path from the root.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder with that extension, by its path from the root.
pub fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let (mut folders, mut found) = (vec![root().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no {extension} files in {folder}");
    found
}

/// The code without prose, and without `use crate::{…}`: a module of ours may share a crate's name.
fn code(text: &str) -> String {
    let mut kept = String::new();
    let mut ours = false;
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        ours |= line.starts_with("use crate::") || line.starts_with("use self::");
        if !ours {
            kept.push_str(line);
            kept.push('\n');
        }
        ours &= !line.ends_with(';');
    }
    kept
}

/// Whether code names a crate: `redis::` or `use redis`, but not `backends::redis::`.
fn names(code: &str, package: &str) -> bool {
    let path = format!("{package}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        !(before == ':' || before == '_' || before.is_alphanumeric())
    })
}

#[test]
fn rooms_stay_apart() {
    let rooms: &[(&str, &[&str])] = &[
        ("axum", &["src/http"]),
        (
            "redis",
            &["src/backends", "src/embedded", "src/lock", "src/sell", "src/stock", "src/wires"],
        ),
        ("etcd_client", &["src/embedded", "src/lock", "src/wires"]),
        ("zookeeper_client", &["src/lock", "src/wires"]),
        ("sqlx", &["src/embedded", "src/stock", "src/wires"]),
        ("clap", &["src/cli", "src/main.rs"]),
        ("clap_complete", &["src/cli"]),
        ("clap_mangen", &["src/cli"]),
        // The only one is clap, which `cli.rs` asks for variables by name.
        ("env::var", &[]),
        ("env::vars", &[]),
    ];
    for (name, text) in files("src", "rs") {
        let code = code(&text);
        for (package, allowed) in rooms {
            let here = allowed.iter().any(|room| {
                let rest = name.strip_prefix(room);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
            });
            assert!(here || !names(&code, package), "{name} names {package}");
        }
    }
}

#[test]
fn files_stay_short() {
    for folder in ["src", "tests"] {
        for (name, text) in files(folder, "rs") {
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{name} has {lines} lines, more than {LINES_MAX}");
        }
    }
    let lines = read("README.md").lines().count();
    assert!(lines <= 200, "README.md has {lines} lines");
}

/// Every strategy's file begins with the same headings.
#[test]
fn strategies_say_what_they_guarantee() {
    for strategy in STRATEGIES {
        let room = match strategy.family {
            Family::Lock => "src/lock",
            Family::LockFree => "src/sell",
        };
        let text = read(&format!("{room}/{}.rs", strategy.name.replace('-', "_")));
        for heading in [
            "Algorithm",
            "Guarantees",
            "Does not guarantee",
            "Clock",
            "Cancellation",
            "Commands sent",
        ] {
            assert!(text.contains(&format!("//! - {heading}: ")), "{}: {heading}", strategy.name);
        }
    }
}

/// The README's table of strategies is the registry.
#[test]
fn the_readme_knows_the_strategies() {
    let row = |strategy: &locklab::strategy::Strategy| {
        format!(
            "| `{}` | {} | {} | {} | {} | {} |",
            strategy.name,
            strategy.family,
            strategy.store.name(),
            strategy.summary,
            strategy.expected,
            strategy.fails
        )
    };
    let expected: Vec<String> = STRATEGIES.iter().map(row).collect();
    let readme = read("README.md");
    let table: Vec<&str> = readme
        .lines()
        .skip_while(|line| !line.starts_with("| strategy |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(table, expected);
}

/// Metric names follow the conventions that promtool does not check.
#[test]
fn metrics_are_named_alike() {
    for definition in exporter::definitions() {
        let name = definition.name;
        let prefixes = ["locklab_", "http_server_", "process_", "tokio_"];
        assert!(prefixes.iter().any(|prefix| name.starts_with(prefix)), "{name}");
        assert!(definition.help.ends_with('.'), "{name}: help is a sentence");
    }
}

/// What documents mention is there.
#[test]
fn documents_name_real_files() {
    for document in [
        "README.md",
        "CONTRIBUTING.md",
        "docs/alerts.md",
        "docs/anomalies.md",
        "docs/choosing.md",
        "docs/metrics.md",
        "docs/watching.md",
        "load-tests/README.md",
    ] {
        let text = read(document);
        for word in text.split(|c: char| c.is_whitespace() || "`()[],;|'\"<".contains(c)) {
            let word = word.trim_end_matches(['.', ':']);
            let is_path =
                ["src/", "tests/", "load-tests/", "grafana/", "prometheus/", "docs/", "benches/"];
            if is_path.iter().any(|folder| word.starts_with(folder)) && !word.contains('*') {
                assert!(root().join(word).exists(), "{document} names {word}");
            }
        }
    }
}
