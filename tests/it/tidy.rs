//! Style as a test: the rooms stay apart, files stay short, documents stay true.

use std::{
    fs,
    path::{Path, PathBuf},
};

use locklab::{lock::STRATEGIES, metrics::DEFINITIONS};

/// Past this, readers pay.
const LINES_MAX: usize = 370;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder with that extension, by its path from the root.
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let (mut folders, mut found) = (vec![root().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                let name = path
                    .strip_prefix(root())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no {extension} files in {folder}");
    found
}

/// Whether code (not prose) names a crate.
fn names(text: &str, package: &str) -> bool {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.into_iter().any(|line| {
        line.contains(&format!("{package}::")) || line.contains(&format!("use {package}"))
    })
}

#[test]
fn rooms_stay_apart() {
    let rooms: &[(&str, &[&str])] = &[
        ("axum", &["src/http", "src/lab.rs"]),
        (
            "redis",
            &[
                "src/backends",
                "src/lock",
                "src/stock",
                "src/lab.rs",
                "src/cli.rs",
            ],
        ),
        (
            "clap",
            &["src/cli.rs", "src/main.rs", "src/backends/redis.rs"],
        ),
        ("std::env", &["src/cli.rs"]),
    ];
    for (name, text) in files("src", "rs") {
        for (package, allowed) in rooms {
            let here = allowed.iter().any(|room| {
                name.strip_prefix(room)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '.']))
            });
            // Our own module of the same name is not the crate.
            let text = text
                .replace("stock::redis", "")
                .replace("backends::redis", "");
            assert!(here || !names(&text, package), "{name} names {package}");
        }
    }
}

#[test]
fn files_stay_short() {
    for folder in ["src", "tests"] {
        for (name, text) in files(folder, "rs") {
            let lines = text.lines().count();
            assert!(
                lines <= LINES_MAX,
                "{name} has {lines} lines, more than {LINES_MAX}"
            );
        }
    }
    let lines = read("README.md").lines().count();
    assert!(lines <= 200, "README.md has {lines} lines");
}

/// Every strategy's file begins with the same headings.
#[test]
fn strategies_say_what_they_guarantee() {
    for strategy in STRATEGIES {
        let text = read(&format!("src/lock/{}.rs", strategy.name.replace('-', "_")));
        for heading in [
            "Algorithm",
            "Guarantees",
            "Does not guarantee",
            "Clock",
            "Cancellation",
            "Commands sent",
        ] {
            assert!(
                text.contains(&format!("//! - {heading}: ")),
                "{}: {heading}",
                strategy.name
            );
        }
    }
}

/// The README's table of strategies is the registry.
#[test]
fn the_readme_knows_the_strategies() {
    let row = |strategy: &&locklab::strategy::Strategy| {
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
    for definition in DEFINITIONS {
        let name = definition.name;
        assert!(
            name.starts_with("locklab_") || name.starts_with("http_server_"),
            "{name}"
        );
        assert!(definition.help.ends_with('.'), "{name}: help is a sentence");
    }
}

/// What documents mention is there.
#[test]
fn documents_name_real_files() {
    for document in ["README.md", "CONTRIBUTING.md", "load-tests/README.md"] {
        let text = read(document);
        for word in text.split(|c: char| c.is_whitespace() || "`()[],;|'\"<".contains(c)) {
            let word = word.trim_end_matches(['.', ':']);
            let is_path = ["src/", "tests/", "load-tests/", "grafana/"].iter();
            if is_path.clone().any(|folder| word.starts_with(folder)) && !word.contains('*') {
                assert!(root().join(word).exists(), "{document} names {word}");
            }
        }
    }
}
