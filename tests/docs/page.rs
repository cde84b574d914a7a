//! The pages and what is in them.

use std::collections::BTreeMap;
use std::fmt;

/// A page by its path in the repository.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) path: &'static str,
    pub(crate) text: &'static str,
}

/// A fenced block: what stands after the fence, and the lines between.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    path: &'static str,
    line: usize,
    pub(crate) kind: String,
    pub(crate) text: String,
}

pub(crate) const README: Page = Page { path: "README.md", text: include_str!("../../README.md") };
pub(crate) const PROTOCOL: Page =
    Page { path: "docs/PROTOCOL.md", text: include_str!("../../docs/PROTOCOL.md") };
pub(crate) const OPERATIONS: Page =
    Page { path: "docs/OPERATIONS.md", text: include_str!("../../docs/OPERATIONS.md") };
pub(crate) const GRPC: Page = Page { path: "docs/GRPC.md", text: include_str!("../../docs/GRPC.md") };
pub(crate) const PAGES: [Page; 4] = [README, PROTOCOL, OPERATIONS, GRPC];

impl Page {
    /// From a heading to the next of its level.
    pub(crate) fn section(&self, heading: &str) -> &'static str {
        let start = self.text.find(&format!("\n{heading}\n")).expect(heading) + 1;
        let rest = &self.text[start..];
        &rest[..rest.find("\n## ").unwrap_or(rest.len())]
    }
}

/// The metrics of docs/OPERATIONS.md, without the prefix, each with its label if it has one.
pub(crate) fn metrics() -> BTreeMap<&'static str, Option<&'static str>> {
    let section = OPERATIONS.section("## Metrics");
    let table =
        section.split("\n\n").find(|part| part.starts_with("| metric |")).expect("the table of metrics");
    let cells = table.lines().skip(2).filter_map(|line| line.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names
        .map(|name| match name.split_once('{') {
            Some((name, label)) => (name, Some(label.trim_end_matches('}'))),
            None => (name, None),
        })
        .collect()
}

/// The fenced blocks of a page, in order.
pub(crate) fn blocks(page: &Page) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in page.text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(kind), None) => {
                let (path, line) = (page.path, number + 1);
                open = Some(Block { path, line, kind: kind.to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text += line;
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a block does not end", page.path);
    blocks
}

/// What stands between backticks outside of the blocks.
pub(crate) fn inline_code(page: &Page) -> Vec<String> {
    let text = page.text.split("```").step_by(2);
    text.flat_map(|text| text.split('`').skip(1).step_by(2)).map(|code| code.replace('\n', " ")).collect()
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path, self.line)
    }
}

/// The blocks of one kind.
pub(crate) trait OfKind {
    fn of_kind(self, kind: &str) -> Vec<Block>;
}

impl<T: IntoIterator<Item = Block>> OfKind for T {
    fn of_kind(self, kind: &str) -> Vec<Block> {
        self.into_iter().filter(|block| block.kind == kind).collect()
    }
}
