//! The repository checks itself: the import table against the manifests, and the rules every file keeps.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which crates of ours each crate may depend on. Tests may use more.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("failpoints", &[]),
    ("telemetry", &[]),
    ("resources", &[]),
    ("store", &[]),
    ("plan", &["resources"]),
    ("engine", &["resources", "plan", "telemetry"]),
    ("auth", &["store", "telemetry"]),
    ("audit", &["store", "auth", "telemetry"]),
    (
        "apiserver",
        &["resources", "store", "auth", "audit", "telemetry"],
    ),
    (
        "controllers",
        &[
            "resources",
            "plan",
            "engine",
            "auth",
            "audit",
            "telemetry",
            "failpoints",
        ],
    ),
    ("sources", &["resources", "telemetry", "failpoints"]),
    (
        "app",
        &[
            "telemetry",
            "resources",
            "store",
            "plan",
            "engine",
            "auth",
            "audit",
            "apiserver",
            "controllers",
            "sources",
            "failpoints",
        ],
    ),
    (
        "cli",
        &[
            "resources",
            "plan",
            "engine",
            "auth",
            "audit",
            "sources",
            "app",
            "telemetry",
        ],
    ),
];

/// Libraries that exactly one crate may know.
const KNOWN_BY_ONE: &[(&str, &str)] = &[
    ("bollard", "engine"),
    ("redb", "store"),
    ("axum", "apiserver"),
    ("rcgen", "auth"),
    ("kube-cel", "apiserver"),
    ("clap", "cli"),
    ("fail", "failpoints"),
];

/// What a pure crate must not be able to reach.
const NOT_IN_PLAN: &[&str] = &["tokio", "futures", "rand", "tracing"];

/// Largest file, in lines with tests and in lines of code without them.
const MOST_LINES: usize = 800;
const MOST_CODE_LINES: usize = 400;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn crates() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(root().join("src"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The names in `[dependencies]` of a crate's manifest.
fn dependencies(name: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("src").join(name).join("Cargo.toml")).unwrap();
    let mut inside = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            found.insert(line.split(['.', ' ', '=']).next().unwrap().to_owned());
        }
    }
    found
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches", "e2e"] {
        if root().join(folder).is_dir() {
            rust_files(&root().join(folder), &mut found);
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

#[test]
fn every_crate_depends_only_on_what_the_import_table_allows() {
    let table: BTreeMap<&str, &[&str]> = MAY_DEPEND_ON.iter().copied().collect();
    for name in crates() {
        let allowed = table
            .get(name.as_str())
            .unwrap_or_else(|| panic!("src/{name} is not in the import table"));
        for dependency in dependencies(&name)
            .iter()
            .filter_map(|dependency| dependency.strip_prefix("clos-"))
        {
            assert!(
                allowed.contains(&dependency),
                "clos-{name} may not depend on clos-{dependency}"
            );
        }
    }
}

#[test]
fn outside_systems_are_known_by_one_crate_each() {
    for (library, owner) in KNOWN_BY_ONE {
        let users: Vec<String> = crates()
            .into_iter()
            .filter(|name| dependencies(name).contains(*library))
            .collect();
        assert_eq!(users, [*owner], "{library} is for clos-{owner} only");
    }
}

#[test]
fn the_planners_cannot_reach_a_runtime_a_clock_or_dice() {
    let reached: Vec<String> = dependencies("plan")
        .into_iter()
        .filter(|name| NOT_IN_PLAN.contains(&name.as_str()))
        .collect();
    assert!(
        reached.is_empty(),
        "clos-plan is pure and must not depend on {reached:?}"
    );
}

#[test]
fn every_file_says_in_its_first_line_what_lives_there() {
    let silent: Vec<String> = all_rust_files()
        .iter()
        .filter(|path| !fs::read_to_string(path).unwrap().starts_with("//!"))
        .map(|path| shown(path))
        .collect();
    assert!(silent.is_empty(), "no //! in the first line of {silent:?}");
}

#[test]
fn no_file_is_larger_than_one_subject() {
    let mut large = Vec::new();
    for path in all_rust_files() {
        let text = fs::read_to_string(&path).unwrap();
        let is_test =
            path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code_lines = code
            .lines()
            .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
            .count();
        if text.lines().count() > MOST_LINES || (!is_test && code_lines > MOST_CODE_LINES) {
            large.push(format!(
                "{}: {} lines, {code_lines} of code",
                shown(&path),
                text.lines().count()
            ));
        }
    }
    assert!(large.is_empty(), "split by noun:\n{}", large.join("\n"));
}

#[test]
fn every_file_is_part_of_its_crate() {
    let mut strays = Vec::new();
    for path in all_rust_files() {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let folder = path.parent().unwrap();
        let is_root = matches!(name.as_str(), "lib" | "main")
            || folder.join("Cargo.toml").exists()
            || folder.ends_with("tests")
            || folder.ends_with("benches");
        if is_root {
            // A module beside lib.rs is declared there; a file right below tests/ or benches/ is a target of its own.
            if folder.join("lib.rs").exists() && name != "lib" {
                let lib = fs::read_to_string(folder.join("lib.rs")).unwrap();
                if !lib.contains(&format!("mod {name};")) {
                    strays.push(shown(&path));
                }
            }
            continue;
        }
        let (parent, module) = if name == "mod" {
            (
                folder.parent().unwrap(),
                folder.file_name().unwrap().to_str().unwrap(),
            )
        } else {
            (folder, name.as_str())
        };
        let declares = |file: PathBuf| {
            fs::read_to_string(file).is_ok_and(|text| text.contains(&format!("mod {module};")))
        };
        let candidates = ["mod.rs", "lib.rs", "main.rs"].map(|file| parent.join(file));
        let sibling_of_folder = parent.with_extension("rs");
        if !candidates
            .into_iter()
            .chain([sibling_of_folder])
            .any(declares)
        {
            strays.push(shown(&path));
        }
    }
    assert!(strays.is_empty(), "declared by no module: {strays:?}");
}
