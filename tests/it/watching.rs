//! `docs/watching.md`: what it says of each panel, and the commands on it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    dashboards::{Dashboard, text},
    tidy::read,
};

/// What the document says of a panel.
#[derive(Debug, PartialEq)]
struct Entry {
    meaning: String,
    /// The headings of the commands that move it.
    moved_by: Vec<String>,
}

/// A command of the document, under the heading that links lead to.
pub struct Recipe {
    pub anchor: String,
    pub script: String,
}

/// Every command, from the top to the bottom: a `sh` block under a third heading.
pub fn recipes() -> Vec<Recipe> {
    let document = read("docs/watching.md");
    let sections = document.split("\n### ").skip(1);
    let recipe = |section: &str| {
        let (heading, rest) = section.split_once('\n').unwrap();
        let (_, script) = rest.split_once("```sh\n")?;
        let (script, _) = script.split_once("```").expect("the block ends");
        let anchor = heading.to_lowercase().replace(' ', "-");
        Some(Recipe { anchor, script: script.to_owned() })
    };
    sections.filter_map(recipe).collect()
}

/// The entries below the heading of a dashboard: `- **Title**: meaning. Moved by [a](#a), [b](#b).`
fn entries(section: &str) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    for item in section.split("\n- **").skip(1) {
        let item = item.split("\n\n").next().unwrap();
        let item = item.split_whitespace().collect::<Vec<_>>().join(" ");
        let (title, rest) = item.split_once("**: ").expect("a title");
        let (meaning, links) = rest.split_once(" Moved by ").expect("what moves it");
        let anchors = links.split("](#").skip(1);
        let moved_by = anchors.map(|it| it.split(')').next().unwrap().to_owned()).collect();
        let entry = Entry { meaning: meaning.to_owned(), moved_by };
        assert!(entries.insert(title.to_owned(), entry).is_none(), "{title} is there twice");
    }
    entries
}

/// Every panel is explained in the words of its own description, and nothing that is not there.
#[test]
fn every_panel_is_explained() {
    let document = read("docs/watching.md");
    let anchors: BTreeSet<_> = recipes().into_iter().map(|it| it.anchor).collect();
    let mut used = BTreeSet::new();
    for dashboard in Dashboard::all() {
        let heading = format!("\n## {}\n", dashboard.title());
        let (_, section) = document.split_once(&heading).unwrap_or_else(|| panic!("{heading}"));
        let mut entries = entries(section.split("\n## ").next().unwrap());
        for panel in dashboard.panels().into_iter().filter(|panel| panel["type"] != "row") {
            let title = text(panel, "title");
            let entry =
                entries.remove(title).unwrap_or_else(|| panic!("docs/watching.md: {title}"));
            assert_eq!(entry.meaning, text(panel, "description"), "docs/watching.md: {title}");
            assert!(!entry.moved_by.is_empty(), "docs/watching.md: {title}: moved by?");
            used.extend(entry.moved_by);
        }
        assert!(entries.is_empty(), "docs/watching.md names what is not there: {entries:?}");
    }
    assert_eq!(used, anchors, "each command moves a panel, and each link leads to a command");
}
