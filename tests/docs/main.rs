//! What the README and docs/ tell people to type, what they say there is, and what deploy/ ships, held against the
//! program. Python and the browser have theirs in tests/foreign and web-demo/sdk.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "in a test it is the verdict")]

mod deploy;
mod limits;
mod page;
mod program;
mod served;
mod socket;
mod warnings;

use std::collections::BTreeMap;
use std::fs;

use page::{Block, OfKind as _, PAGES, blocks, inline_code};
use program::Place;

#[test]
fn every_snippet_is_of_a_kind_that_is_tested() {
    let tested = ["sh", "toml", "json", "frames"];
    let elsewhere = ["python", "html", "hex", "proto"];
    let no_code = "text";
    for block in PAGES.iter().flat_map(blocks) {
        let kind = block.kind.split(' ').next().unwrap();
        let known = tested.contains(&kind) || elsewhere.contains(&kind) || kind == no_code;
        assert!(known, "{block}: nothing tests a block of the kind {kind:?}");
    }
}

#[tokio::test]
async fn configurations_pass_the_check() {
    let place = Place::new();
    let configurations: Vec<Block> = PAGES.iter().flat_map(blocks).of_kind("toml");
    assert!(!configurations.is_empty());
    for block in configurations {
        fs::write(place.path("tidegate.toml"), place.local(&block.text)).unwrap();
        let printed = place.run(&block, "tidegate check --config tidegate.toml").await;
        let whose = if block.text.contains("[auth]") { "# users are verified" } else { "# development mode" };
        assert!(printed.starts_with(whose), "{block}: {printed}");
    }
}

#[tokio::test]
async fn flags_exist_that_pages_and_help_mention() {
    let place = Place::new();
    let helps = helps(&place).await;
    assert!(helps.len() > 14, "{:?}", helps.keys());
    let examples = helps.values().flat_map(|help| help.split("Examples:").nth(1)).flat_map(str::lines);
    let examples = examples.filter_map(|line| Some(&line[line.find("tidegate ")?..])).map(str::to_owned);
    let typed = PAGES.iter().flat_map(blocks).of_kind("sh").into_iter();
    let typed = typed.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>());
    let code = PAGES.iter().flat_map(inline_code).chain(typed).filter(|code| code.starts_with("tidegate "));
    let mentioned: Vec<String> = examples.chain(code).collect();
    assert!(mentioned.len() > 30, "{mentioned:?}");
    for line in mentioned {
        // The longest command that the line begins with.
        let command = helps.keys().filter(|command| format!("{line} ").starts_with(&format!("{command} ")));
        let command =
            command.max_by_key(|command| command.len()).unwrap_or_else(|| panic!("no command: {line}"));
        for flag in line.split_whitespace().filter(|word| word.starts_with("--")) {
            let name = flag.split('=').next().unwrap();
            let is_known = helps[command].split_whitespace().any(|word| word == name);
            assert!(is_known, "{line:?}: {command} has no {name}");
        }
    }
}

/// The program and all its subcommands, as the help lists them, with the help of each.
async fn helps(place: &Place) -> BTreeMap<String, String> {
    let mut helps = BTreeMap::new();
    let mut due = vec!["tidegate".to_owned()];
    while let Some(command) = due.pop() {
        let help = place.program(&format!("{command} --help")).await;
        assert!(help.contains("Usage:"), "{command}: {help}");
        let list = help.split("Commands:\n").nth(1).unwrap_or_default();
        let names = list
            .lines()
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_whitespace().next());
        due.extend(names.filter(|name| *name != "help").map(|name| format!("{command} {name}")));
        helps.insert(command, help);
    }
    helps
}
