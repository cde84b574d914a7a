//! Each warning and error that a server logs is explained, and nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::page::OPERATIONS;

/// Whatever a server logs at `warn` and `error` stands in docs/OPERATIONS.md with what to do.
#[test]
fn every_warning_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let section = OPERATIONS.section("## Log");
    let mut found = BTreeSet::new();
    for folder in
        ["gateway/src", "pipeline/src", "certs/src", "src/serve", "src/descriptors.rs", "src/traces.rs"]
    {
        for file in rust_files(&root.join(folder)) {
            for message in warnings(&fs::read_to_string(&file).unwrap()) {
                assert!(section.contains(&format!("`{message}`")), "{}: {message:?}", file.display());
                found.insert(message);
            }
        }
    }
    let table = section.split("\n\n").find(|part| part.starts_with("| at `warn`")).unwrap();
    let cells = table.lines().skip(2).map(|line| line.split('|').nth(1).unwrap());
    for message in cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        assert!(found.contains(message), "nothing logs {message:?}, which docs/OPERATIONS.md explains");
    }
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| !path.ends_with("tests") && !path.ends_with("tests.rs"));
    entries
        .flat_map(|path| rust_files(&path))
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// The texts of `warn!` and `error!`: the last string of each.
fn warnings(code: &str) -> Vec<String> {
    let calls = ["warn!(", "error!("]
        .into_iter()
        .flat_map(|name| code.match_indices(name).map(move |(start, _)| &code[start + name.len()..]));
    calls.filter_map(|call| strings_of_call(call).pop()).collect()
}

/// The strings up to the parenthesis that closes a call. None of ours holds an escaped quote.
fn strings_of_call(call: &str) -> Vec<String> {
    let mut strings = Vec::new();
    let mut depth = 1;
    for (place, part) in call.split('"').enumerate() {
        if place % 2 == 1 {
            strings.push(part.to_owned());
            continue;
        }
        for letter in part.chars() {
            depth += i32::from(letter == '(') - i32::from(letter == ')');
            if depth == 0 {
                return strings;
            }
        }
    }
    strings
}
