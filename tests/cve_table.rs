//! The table of past vulnerabilities in `SECURITY.md`: whole, and each test that it names is there.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Every one that the survey of the field named; more may be added.
const SURVEYED: &[&str] = &[
    "CVE-2014-6407",
    "CVE-2014-9356",
    "CVE-2014-9357",
    "CVE-2016-5418",
    "CVE-2016-9962",
    "CVE-2017-14992",
    "CVE-2018-15664",
    "CVE-2018-20482",
    "CVE-2018-20990",
    "CVE-2019-14271",
    "CVE-2019-5736",
    "CVE-2021-20291",
    "CVE-2021-23177",
    "CVE-2021-29136",
    "CVE-2021-31566",
    "CVE-2021-32760",
    "CVE-2021-32803",
    "CVE-2021-38511",
    "CVE-2021-41089",
    "CVE-2021-41091",
    "CVE-2022-24769",
    "CVE-2022-2879",
    "CVE-2022-30631",
    "CVE-2022-36109",
    "CVE-2023-0386",
    "CVE-2024-21626",
    "CVE-2024-25621",
    "CVE-2024-40635",
    "CVE-2024-9676",
    "CVE-2025-4517",
    "CVE-2025-45582",
    "CVE-2025-46394",
    "CVE-2025-47290",
    "CVE-2025-58183",
    "CVE-2025-62518",
    "CVE-2025-8194",
    "CVE-2026-108119",
    "CVE-2026-17106",
    "CVE-2026-26960",
    "CVE-2026-32288",
    "CVE-2026-33055",
    "CVE-2026-33056",
    "CVE-2026-39822",
    "CVE-2026-41567",
    "CVE-2026-41568",
    "CVE-2026-42306",
    "CVE-2026-42497",
    "CVE-2026-46680",
    "CVE-2026-59873",
    "CVE-2026-79699",
    "CVE-2026-79705",
    "RUSTSEC-2025-0141",
    "RUSTSEC-2026-0148",
];

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `module::function` is in one of the files that can have it.
fn is_a_test(name: &str) -> bool {
    let Some((modules, function)) = name.rsplit_once("::") else { return false };
    let file = Path::new(ROOT).join("tests").join(modules.replace("::", "/"));
    let files = [file.with_extension("rs"), file.join("mod.rs")];
    let text = files.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    text.contains(&format!("#[test]\nfn {function}() {{"))
}

fn hostile_archives() -> String {
    let dir = Path::new(ROOT).join("tests/hostile/archives");
    let files: Vec<PathBuf> = fs::read_dir(dir).expect("archives").map(|entry| entry.expect("entry").path()).collect();
    files.iter().map(|path| fs::read_to_string(path).expect("archives")).collect()
}

/// The last column of each row of a table whose rows begin so.
fn tests_of(document: &str, begins: &[&str]) -> Vec<String> {
    let rows = document.lines().filter(|line| begins.iter().any(|begin| line.starts_with(begin)));
    rows.map(|row| row.trim_end_matches('|').rsplit('|').next().expect("a column").trim().to_owned()).collect()
}

/// What stands between these marks.
fn between(text: &str, mark: char) -> impl Iterator<Item = &str> {
    text.split(mark).skip(1).step_by(2)
}

#[test]
fn every_vulnerability_has_a_test_that_exists() {
    let security = read("SECURITY.md");
    let missing: Vec<_> = SURVEYED.iter().filter(|name| !security.contains(**name)).collect();
    assert!(missing.is_empty(), "not in SECURITY.md: {missing:?}");
    let archives = hostile_archives();
    let cells = tests_of(&security, &["| CVE-", "| RUSTSEC-"]);
    assert!(cells.len() >= 40, "{} rows", cells.len());
    for cell in &cells {
        let (functions, names): (Vec<_>, Vec<_>) = (between(cell, '`').collect(), between(cell, '"').collect());
        assert!(!functions.is_empty() || !names.is_empty(), "no test in: {cell}");
        for function in functions {
            assert!(is_a_test(function), "no such test: {function}");
        }
        for name in names {
            assert!(archives.contains(&format!("\"{name}\"")), "no such archive: {name}");
        }
    }
}

#[test]
fn every_fault_has_a_test_that_exists() {
    let faults = read("docs/faults.md");
    let cells: Vec<_> = tests_of(&faults, &["| "]).into_iter().filter(|cell| cell != "test").collect();
    assert!(cells.len() >= 40, "{} rows", cells.len());
    for cell in &cells {
        let functions: Vec<_> = between(cell, '`').collect();
        assert!(!functions.is_empty(), "no test in: {cell}");
        functions.iter().for_each(|function| assert!(is_a_test(function), "no such test: {function}"));
    }
}
