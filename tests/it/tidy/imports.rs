//! Which files of both packages import which: read from `use` items, and from paths in the code.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    ItemMod, ItemUse, UseTree,
    visit::{self, Visit},
};

/// The folders of sources, and what their packages are called in paths.
const PACKAGES: [(&str, &str); 2] = [("src/", "locklab"), ("crates/locks/src/", "locklab_locks")];

/// Every file, and the files that it imports. A parent that names its own child imports nothing.
pub type Imports = BTreeMap<String, BTreeSet<String>>;

/// Reads them from sources: the name and the text of each.
pub fn imports(sources: &[(String, String)]) -> Imports {
    let modules: BTreeMap<Vec<String>, &str> =
        sources.iter().filter_map(|(file, _)| Some((module(file)?, file.as_str()))).collect();
    let of = |(file, text): &(String, String)| {
        let place = module(file).unwrap_or_else(|| vec!["locklab".to_owned()]);
        let mut reader = Reader { place: place.clone(), paths: Vec::new() };
        reader.visit_file(&syn::parse_file(text).unwrap_or_else(|it| panic!("{file}: {it}")));
        let found = reader.paths.iter().filter_map(|path| {
            let longest = (2..=path.len())
                .rev()
                .find_map(|end| modules.get(&path[..end]).map(|file| (&path[..end], *file)));
            let (to, imported) = longest?;
            let is_own_child = to.len() == place.len() + 1 && to.starts_with(&place);
            (imported != file && !is_own_child).then(|| imported.to_owned())
        });
        (file.clone(), found.collect())
    };
    sources.iter().map(of).collect()
}

/// Files that import each other, each by way of the next; none if there are none.
pub fn circle(imports: &Imports) -> Option<Vec<&str>> {
    let mut open = imports.clone();
    // Whoever imports nobody who is left is in no circle.
    while let Some(done) = open.iter().find(|(_, to)| to.is_empty()).map(|(file, _)| file.clone()) {
        open.remove(&done);
        open.values_mut().for_each(|to| to.retain(|it| *it != done));
    }
    let mut file = imports.get_key_value(open.keys().next()?)?.0.as_str();
    let mut way = Vec::new();
    while !way.contains(&file) {
        way.push(file);
        file = imports[file].iter().find(|to| open.contains_key(*to))?;
    }
    Some(way)
}

/// The path of a file's module; the roots of packages are in nobody's way.
fn module(file: &str) -> Option<Vec<String>> {
    let (path, package) =
        PACKAGES.iter().find_map(|(folder, name)| Some((file.strip_prefix(folder)?, name)))?;
    let path = path.strip_suffix(".rs")?;
    let is_root = matches!(path, "lib" | "main");
    let path = path.split('/').filter(|_| !is_root).map(str::to_owned);
    Some(std::iter::once((*package).to_owned()).chain(path).collect())
}

/// Gathers the paths that begin in one of our packages, from its root.
struct Reader {
    place: Vec<String>,
    paths: Vec<Vec<String>>,
}

impl Reader {
    fn note(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else { return };
        let mut from = match first.as_str() {
            "crate" => self.place[..1].to_vec(),
            "self" => self.place.clone(),
            "super" => self.place[..self.place.len().saturating_sub(1)].to_vec(),
            name if PACKAGES.iter().any(|(_, package)| *package == name) => vec![name.to_owned()],
            _ => return,
        };
        for segment in rest {
            match segment.as_str() {
                "super" => drop(from.pop()),
                "self" => {}
                name => from.push(name.to_owned()),
            }
        }
        self.paths.push(from);
    }

    fn note_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.note_tree(&with(&path.ident), &path.tree),
            UseTree::Name(name) => self.note(&with(&name.ident)),
            UseTree::Rename(rename) => self.note(&with(&rename.ident)),
            UseTree::Glob(_) => self.note(before),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.note_tree(before, tree));
            }
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.note_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|it| it.ident.to_string()).collect();
        if names.len() > 1 {
            self.note(&names);
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.place.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.place.pop();
    }
}
