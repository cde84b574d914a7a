//! What is true of the whole tree: the arrows between the crates, one of each heavy library, licences, and the size
//! and first line of every file.

#![expect(clippy::unwrap_used, reason = "in a test it is the verdict")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[test]
fn crates_depend_only_along_the_arrows() {
    let metadata = metadata();
    let found: BTreeMap<&str, BTreeSet<&str>> = members(&metadata)
        .into_iter()
        .map(|member| (text(&member["name"]), dependencies_of_ours(member)))
        .collect();
    let allowed = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
    // DESIGN section 14. A crate that is not named here has no place yet.
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

/// Every .rs and .ts file that people write, by its path in the tree.
fn sources(root: &Path) -> Vec<PathBuf> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.rs", "*.ts"])
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
