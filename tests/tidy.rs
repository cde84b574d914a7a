//! What is true of the whole tree: the arrows between the crates, one of each heavy library, licences, and the size
//! and first line of every file.

#![expect(clippy::unwrap_used, reason = "in a test it is the verdict")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fmt, fs};

use serde_json::Value;

#[test]
fn crates_depend_only_along_the_arrows() {
    let metadata = metadata();
    let found: BTreeMap<&str, BTreeSet<&str>> = members(&metadata)
        .into_iter()
        .map(|member| (text(&member["name"]), dependencies_of_ours(member)))
        .collect();
    let allowed = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    // ARCHITECTURE.md "Where things are". A crate that is not named here has no place yet.
    let arrows = BTreeMap::from([
        (
            "tidegate",
            allowed(&[
                "tidegate-gateway",
                "tidegate-pipeline",
                "tidegate-client",
                "tidegate-certs",
                "tidegate-proto",
            ]),
        ),
        ("tidegate-gateway", allowed(&["tidegate-pipeline", "tidegate-certs", "tidegate-proto"])),
        ("tidegate-pipeline", allowed(&["tidegate-proto"])),
        ("tidegate-client", allowed(&["tidegate-proto"])),
        ("tidegate-certs", allowed(&[])),
        ("tidegate-proto", allowed(&[])),
    ]);
    for (name, dependencies) in found {
        let allowed = arrows.get(name).unwrap_or_else(|| panic!("{name} has no place in the arrows"));
        let wrong: Vec<_> = dependencies.difference(allowed).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn one_crypto_provider_and_one_of_each_heavy_library() {
    let built = built();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in &built {
        versions.entry(&package.name).or_default().insert(&package.version);
    }
    for heavy in ["rustls", "tokio", "hyper", "prost", "quinn", "quinn-proto", "aws-lc-rs", "http", "bytes"] {
        let found =
            versions.get(heavy).unwrap_or_else(|| panic!("{heavy} is not used: take it from this list"));
        assert_eq!(found.len(), 1, "more than one {heavy}: {found:?}");
    }
    for banned in ["ring", "openssl", "openssl-sys", "native-tls"] {
        assert!(!versions.contains_key(banned), "{banned}: TLS and crypto are aws-lc-rs only");
    }
}

#[test]
fn licences_are_on_the_list() {
    let refused = built().into_iter().filter(|package| !is_allowed(&package.licence));
    let wrong: Vec<_> = refused.map(|package| format!("{}: {}", package.name, package.licence)).collect();
    assert!(wrong.is_empty(), "not on the list of licences: {wrong:#?}");
}

#[test]
fn files_say_what_they_are_and_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = sources(root);
    assert!(files.len() > 100, "the search finds only {} files", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let content = fs::read_to_string(root.join(&file)).unwrap();
        let name = file.display();
        if file.extension().is_some_and(|extension| extension == "rs") && !content.starts_with("//!") {
            wrong.push(format!("{name} does not begin with //!"));
        }
        let lines = content.lines().count();
        if lines > MAX_LINES && !is_test(&file) {
            wrong.push(format!("{name} has {lines} lines, more than {MAX_LINES}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_comments_cite_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = listed(root, &["*.rs", "*.ts", "*.py", "*.proto", "*.sql"]);
    let mut cited = 0;
    let mut wrong = Vec::new();
    for file in files {
        let content = fs::read_to_string(root.join(&file)).unwrap();
        for text in comments(&content) {
            for citation in citations(&text) {
                cited += 1;
                if !is_there(root, &citation) {
                    wrong.push(format!("{} cites {citation}, which is not there", file.display()));
                }
            }
        }
    }
    assert!(cited > 60, "only {cited} citations are found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn citations_are_found_and_looked_up() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found =
        |text: &str| -> Vec<Citation> { comments(text).iter().flat_map(|text| citations(text)).collect() };
    for good in [
        "//! Says (docs/PROTOCOL.md \"Ids and\n//! limits\") so.",
        "    /// By ARCHITECTURE.md invariant 12, and (invariant 4).",
        "-- docs/OPERATIONS.md has it.",
        "\"\"\"Streams (PROTOCOL sections 6.1, 6.2 and 11).\"\"\"",
        "// See docs/PROTOCOL.md \"Plain `Msg` mode\".",
    ] {
        let citations = found(good);
        assert!(!citations.is_empty(), "{good}");
        assert!(citations.iter().all(|citation| is_there(root, citation)), "{good}: {citations:?}");
    }
    for bad in [
        "/// docs/NOWHERE.md",
        "/// docs/PROTOCOL.md \"No such title\"",
        "// (invariant 13)",
        "//! ARCHITECTURE.md invariant 0.",
        "\"\"\"PROTOCOL section 6.9\"\"\"",
        "/// SOMETHING section 3",
        "/// (SOMETHING, \"Title\")",
    ] {
        let citations = found(bad);
        assert!(citations.iter().any(|citation| !is_there(root, citation)), "{bad}: {citations:?}");
    }
    assert_eq!(found("/// RFC 6455, section 7.4.1; HTTP (RFC 9110 section 5) says \"so\".").len(), 0);
    assert_eq!(found("let name = \"NAME, \\\"Title\\\"\";").len(), 0, "code cites nothing");
}

#[test]
fn the_rules_of_this_file_hold_what_they_should() {
    for good in
        ["MIT", "MIT OR Apache-2.0", "Apache-2.0/MIT", "MIT AND BSD-3-Clause", "(MIT OR GPL-3.0) AND ISC"]
    {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["none", "GPL-3.0", "MIT AND GPL-3.0", "", "GPL-3.0 OR AGPL-3.0"] {
        assert!(!is_allowed(bad), "{bad}");
    }
    for test in [
        "tests/cli.rs",
        "gateway/src/feed/tests.rs",
        "gateway/src/http/tests/mod.rs",
        "web-demo/sdk/a.test.ts",
    ] {
        assert!(is_test(Path::new(test)), "{test}");
    }
    for other in ["src/main.rs", "proto/src/tests_of_time.rs", "web-demo/sdk/client.ts"] {
        assert!(!is_test(Path::new(other)), "{other}");
    }
}

/// What Cargo knows of the workspace's own crates.
fn metadata() -> Value {
    serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1", "--locked"])).unwrap()
}

fn members(metadata: &Value) -> Vec<&Value> {
    metadata["packages"].as_array().unwrap().iter().collect()
}

/// A package that is built.
struct Package {
    name: String,
    version: String,
    licence: String,
}

/// All that is built on this platform, tests included. `cargo metadata` would also tell what is switched off.
fn built() -> Vec<Package> {
    let tree = cargo(&["tree", "--workspace", "--locked", "--prefix", "none", "--format", "{p}|{l}|"]);
    let package = |line: &str| {
        let mut fields = line.split('|');
        let mut words = fields.next()?.split(' ');
        let (name, version) = (words.next()?.to_owned(), words.next()?.to_owned());
        Some(Package { name, version, licence: fields.next()?.to_owned() })
    };
    let lines = tree.lines().filter(|line| !line.is_empty());
    let packages: Vec<_> = lines.map(|line| package(line).unwrap_or_else(|| panic!("{line:?}"))).collect();
    assert!(packages.len() > 100, "{tree}");
    packages
}

fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    let output =
        command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn dependencies_of_ours(package: &Value) -> BTreeSet<&str> {
    let dependencies = package["dependencies"].as_array().unwrap();
    // What only the tests use is theirs: tests may depend on everything.
    let built_in = dependencies.iter().filter(|dependency| dependency["kind"].as_str() != Some("dev"));
    built_in.map(|dependency| text(&dependency["name"])).filter(|name| name.starts_with("tidegate")).collect()
}

/// Whether an SPDX expression can be met by the list: AND of ORs, as crates write them.
fn is_allowed(licence: &str) -> bool {
    let terms = licence.replace('/', " OR ").replace(['(', ')'], " ");
    terms.split(" AND ").all(|term| term.split(" OR ").any(|one| LICENCES.contains(&one.trim())))
}

/// A place in the repository's texts that a comment names.
#[derive(Debug)]
enum Citation {
    /// A text by its path, and a heading in it, without its number.
    Title { path: String, title: Option<String> },
    /// One of ARCHITECTURE.md's invariants.
    Invariant(u32),
    /// A heading of docs/PROTOCOL.md by its number.
    Section(String),
    /// A text that goes by a word in capitals.
    Unknown(String),
}

impl fmt::Display for Citation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Title { path, title: None } => write!(f, "{path}"),
            Self::Title { path, title: Some(title) } => write!(f, "{path} {title:?}"),
            Self::Invariant(number) => write!(f, "invariant {number} of ARCHITECTURE.md"),
            Self::Section(number) => write!(f, "section {number} of docs/PROTOCOL.md"),
            Self::Unknown(name) => write!(f, "a text {name:?}"),
        }
    }
}

/// The comments of a file, each a line of text; in Python the docstrings.
fn comments(content: &str) -> Vec<String> {
    if content.starts_with("\"\"\"") {
        let strings = content.split("\"\"\"").skip(1).step_by(2);
        return strings.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    }
    let mut comments = vec![String::new()];
    for line in content.lines() {
        let line = line.trim_start();
        match ["//!", "///", "//", "--"].iter().find_map(|marker| line.strip_prefix(marker)) {
            Some(text) => *comments.last_mut().unwrap() += text,
            None => comments.push(String::new()),
        }
    }
    comments.retain(|text| !text.is_empty());
    comments
}

fn citations(text: &str) -> Vec<Citation> {
    let words: Vec<&str> = text.split_inclusive(' ').collect();
    let mut before = 0;
    let mut found = Vec::new();
    for (place, word) in words.iter().enumerate() {
        before += word.len();
        let rest = &text[before..];
        let name = word.trim_start_matches(['(', '"']).trim_end();
        let bare = name.trim_end_matches([',', '.', ')', ';', ':']);
        if let Some(path) = bare.strip_suffix(".md") {
            let title = rest.strip_prefix('"').and_then(|rest| Some(rest.split_once('"')?.0.to_owned()));
            found.push(Citation::Title { path: format!("{path}.md"), title });
        } else if bare == "invariant" {
            found.extend(numbers(rest).next().map(|number| Citation::Invariant(number.parse().unwrap())));
        } else if matches!(bare, "section" | "sections") && place > 0 {
            let of = words[place - 1].trim_start_matches(['(', '"']).trim_end();
            match of {
                "PROTOCOL" => found.extend(numbers(rest).map(|number| Citation::Section(number.to_owned()))),
                _ if is_capitals(of) && !word.starts_with('(') => {
                    found.push(Citation::Unknown(of.to_owned()))
                }
                _ => {}
            }
        } else if word.starts_with('(')
            && name.strip_suffix(',').is_some_and(is_capitals)
            && rest.starts_with('"')
        {
            found.push(Citation::Unknown(name.to_owned()));
        }
    }
    found
}

/// The section numbers that an enumeration begins with.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(' ').filter(|word| !matches!(*word, "and" | "to"));
    let words = words.map(|word| word.trim_matches([',', '.', ')', ';', ':', '"']));
    words.take_while(|word| word.starts_with(|first: char| first.is_ascii_digit()))
}

fn is_capitals(word: &str) -> bool {
    word.len() > 3 && word.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')
}

fn is_there(root: &Path, citation: &Citation) -> bool {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    match citation {
        Citation::Unknown(_) => false,
        Citation::Title { path, title: None } => read(path).is_some(),
        Citation::Title { path, title: Some(title) } => {
            read(path).is_some_and(|content| headings(&content).any(|(_, heading)| heading == title))
        }
        Citation::Section(number) => {
            headings(&read("docs/PROTOCOL.md").unwrap()).any(|(heading, _)| heading == number)
        }
        Citation::Invariant(number) => {
            let content = read("ARCHITECTURE.md").unwrap();
            let invariants = content.split_once("## Invariants").unwrap().1.split("\n## ").next().unwrap();
            invariants.lines().any(|line| line.starts_with(&format!("{number}. ")))
        }
    }
}

/// Number, which may be empty, and title of each heading.
fn headings(content: &str) -> impl Iterator<Item = (&str, &str)> {
    let headings = content.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| {
        let line = line.trim_start_matches('#').trim();
        match line.split_once(' ') {
            Some((number, title)) if number.starts_with(|first: char| first.is_ascii_digit()) => {
                (number, title)
            }
            _ => ("", line),
        }
    })
}

/// Every .rs and .ts file that people write, by its path in the tree.
fn sources(root: &Path) -> Vec<PathBuf> {
    listed(root, &["*.rs", "*.ts"])
}

fn listed(root: &Path, patterns: &[&str]) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .args(patterns)
        .current_dir(root)
        .output()
        .expect("git runs");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let names = String::from_utf8(listed.stdout).unwrap();
    let names = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    names.filter(|path| !is_generated(path) && root.join(path).exists()).collect()
}

fn is_generated(path: &Path) -> bool {
    path.components().any(|part| matches!(part.as_os_str().to_str(), Some("dist" | "gen" | "generated")))
}

/// Tests have no limit of length.
fn is_test(path: &Path) -> bool {
    let in_tests = path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "test");
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    in_tests
        || matches!(name, "tests.rs" | "testing.rs")
        || name.ends_with(".test.ts")
        || name.ends_with(".spec.ts")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo's metadata has a text here")
}

const MAX_LINES: usize = 400;
const LICENCES: [&str; 15] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "OpenSSL",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
