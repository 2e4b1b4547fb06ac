//! Style as a test: the rooms stay apart, files stay short, documents stay true.

use self::imports::{Imports, circle, imports};
use locklab::{
    measure::exporter,
    strategy::{Family, table::STRATEGIES},
};
mod imports;

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

/// The sources of both packages.
fn sources() -> Vec<(String, String)> {
    [files("src", "rs"), files("crates/locks/src", "rs")].concat()
}

/// The code without prose, and without imports of our own: a module of ours may share a crate's name.
fn code(text: &str) -> String {
    let mut kept = String::new();
    let mut ours = false;
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let ours_begin = ["crate", "self", "super", "locklab_locks"];
        ours |= ours_begin.iter().any(|root| line.starts_with(&format!("use {root}::")));
        if !ours {
            kept.push_str(line);
            kept.push('\n');
        }
        ours &= !line.ends_with(';');
    }
    kept
}

/// Whether code names a crate: `redis::` or `use redis`, but not `wires::redis::`.
fn names(code: &str, package: &str) -> bool {
    let path = format!("{package}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        !(before == ':' || before == '_' || before.is_alphanumeric())
    })
}

#[test]
fn rooms_stay_apart() {
    let locks = "crates/locks/src";
    let rooms: &[(&str, &[&str])] = &[
        ("axum", &["src/http"]),
        ("metrics_exporter_prometheus", &["src/measure/exporter.rs"]),
        ("redis", &["src/backends", "src/embedded", "src/sell", "src/stock", locks]),
        ("etcd_client", &["src/embedded", locks]),
        ("zookeeper_client", &[locks]),
        ("sqlx", &["src/embedded", "src/stock", locks]),
        ("clap", &["src/cli", "src/main.rs"]),
        ("clap_complete", &["src/cli"]),
        ("clap_mangen", &["src/cli"]),
        // The only one is clap, which `cli/` asks for variables by name.
        ("env::var", &[]),
        ("env::vars", &[]),
    ];
    for (name, text) in sources() {
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

/// The rooms of the house, from the lowest floor up: a file or a folder of modules each. Whoever is in a
/// room imports from it and from the floors below, and from no other room of the same floor.
const FLOORS: &[&[&str]] = &[
    &[
        "crates/locks/src/duration",
        "crates/locks/src/measure",
        "crates/locks/src/name",
        "crates/locks/src/random",
        "crates/locks/src/step",
    ],
    &["crates/locks/src/error", "crates/locks/src/token"],
    &["crates/locks/src/fault", "crates/locks/src/wires"],
    &["crates/locks/src/wait"],
    &["crates/locks/src/lock"],
    &["crates/locks/src/lease"],
    &["crates/locks/src/lib"],
    &["src/client", "src/measure", "src/outcome", "src/product", "src/run", "src/strategy"],
    &["src/backends", "src/embedded", "src/history"],
    &["src/stock"],
    &["src/order", "src/verdict"],
    &["src/cli", "src/report", "src/sell"],
    &["src/shop"],
    &["src/http"],
    &["src/lab"],
    &["src/scenario"],
    &["src/telemetry"],
    &["src/server"],
    &["src/lib", "src/main"],
];

/// The floor and the room of a file.
fn room(file: &str) -> Option<(usize, &'static str)> {
    FLOORS.iter().enumerate().find_map(|(floor, rooms)| {
        let is_here = |room: &&&str| {
            let rest = file.strip_prefix(**room);
            rest.is_some_and(|rest| rest.starts_with(['/', '.']))
        };
        Some((floor, *rooms.iter().find(is_here)?))
    })
}

/// Every import from one file to another that runs upward, or to a room beside.
fn upward(imports: &Imports) -> Vec<String> {
    let is_upward = |from: &str, to: &str| match (room(from), room(to)) {
        (Some((floor, from)), Some((below, to))) => from != to && floor <= below,
        _ => panic!("{from} or {to} is in no room: give it one in FLOORS"),
    };
    let pairs = imports.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    let upward = pairs.filter(|(from, to)| is_upward(from, to));
    upward.map(|(from, to)| format!("{from} imports {to}")).collect()
}

#[test]
fn every_import_runs_downward() {
    let imports = imports(&sources());
    assert_eq!(upward(&imports), Vec::<String>::new());
    assert_eq!(circle(&imports), None, "these files import each other");
}

/// The control: an import that runs upward is seen, and so is a circle.
#[test]
fn an_import_that_runs_upward_is_seen() {
    let mut sources = sources();
    let mut add = |file: &str, text: &str| {
        let (_, there) = sources.iter_mut().find(|(name, _)| name == file).unwrap();
        there.push_str(text);
    };
    add("src/stock/ledger.rs", "use crate::shop::Shop;");
    add("crates/locks/src/token.rs", "fn f() { crate::lock::safe::SafeLock::new(x) }");
    add("src/verdict/pairs.rs", "use super::effects;");
    add("src/verdict/effects.rs", "use crate::verdict::{pairs::{self}};");
    let imports = imports(&sources);
    let expected = [
        "crates/locks/src/token.rs imports crates/locks/src/lock/safe.rs",
        "src/stock/ledger.rs imports src/shop.rs",
    ];
    assert_eq!(upward(&imports), expected);
    assert!(circle(&imports).is_some_and(|files| files.len() > 1));
}

#[test]
fn files_stay_short() {
    for folder in ["src", "crates", "tests"] {
        for (name, text) in files(folder, "rs") {
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{name} has {lines} lines, more than {LINES_MAX}");
        }
    }
    // Its table has a row for each strategy.
    let lines = read("README.md").lines().count() - STRATEGIES.len();
    assert!(lines <= 181, "README.md has {lines} lines beside its table of strategies");
}

/// Every strategy's file begins with the same headings.
#[test]
fn strategies_say_what_they_guarantee() {
    for strategy in STRATEGIES {
        let room = match strategy.family {
            Family::Lock => "crates/locks/src/lock",
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
            let is_path = [
                "src/",
                "crates/",
                "tests/",
                "load-tests/",
                "grafana/",
                "prometheus/",
                "docs/",
                "benches/",
            ];
            if is_path.iter().any(|folder| word.starts_with(folder)) && !word.contains('*') {
                assert!(root().join(word).exists(), "{document} names {word}");
            }
        }
    }
}
