//! The layers of a configuration, later ones over earlier ones, and where each value comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::{Config, Error, keys};

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of the file, from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
    /// Nowhere.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What is set so far.
#[derive(Debug, Default)]
pub(super) struct Layers {
    table: Table,
    places: BTreeMap<String, Place>,
}

impl Layers {
    /// Takes the text of a file.
    pub(super) fn file(&mut self, path: &Path, text: &str) -> Result<(), Error> {
        let place = |offset: usize| Place::File(path.to_owned(), line_of(text, offset));
        let rejected = |error: toml::de::Error| {
            let offset = error.span().map_or(0, |span| span.start);
            Error::Rejected { place: place(offset), message: one_line(error.message()) }
        };
        let spanned = DeTable::parse(text).map_err(rejected)?;
        for (key, offset) in dotted_keys(spanned.get_ref()) {
            keys::check(&key, || place(offset))?;
            self.places.insert(key, place(offset));
        }
        toml::from_str::<Config>(text).map_err(rejected)?;
        self.table = toml::from_str(text).map_err(rejected)?;
        Ok(())
    }

    /// Sets one value, given as text: a TOML value, a bare string, or the items of a list with commas between them,
    /// whichever the setting takes.
    pub(super) fn value(&mut self, key: &str, text: &str, place: Place) -> Result<(), Error> {
        keys::check(key, || place.clone())?;
        let mut first = None;
        for value in readings(text) {
            let mut table = self.table.clone();
            insert(&mut table, key, value);
            match table.clone().try_into::<Config>() {
                Ok(_) => {
                    self.table = table;
                    self.places.insert(key.to_owned(), place);
                    return Ok(());
                }
                Err(error) => {
                    first.get_or_insert_with(|| one_line(error.message()));
                }
            }
        }
        let message = format!("{key}: {}", first.unwrap_or_default());
        Err(Error::Rejected { place, message })
    }

    /// The configuration that the layers make.
    pub(super) fn config(&self) -> Result<Config, Error> {
        self.table.clone().try_into().map_err(|error: toml::de::Error| Error::Rejected {
            place: Place::Default,
            message: one_line(error.message()),
        })
    }

    /// Where a setting comes from.
    pub(super) fn place(&self, key: &str) -> Place {
        self.places.get(key).cloned().unwrap_or(Place::Default)
    }
}

fn insert(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((section, rest)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(rest.to_owned(), value);
            }
        }
    }
}

/// What a text may mean, the likeliest first.
fn readings(text: &str) -> Vec<Value> {
    let toml = toml::from_str::<Table>(&format!("value = {text}")).ok();
    // One value, and not the lines of a whole table.
    let one = toml.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    let string = |text: &str| Value::String(text.to_owned());
    let list = text.contains(',').then(|| text.split(',').map(|item| string(item.trim())).collect());
    let list = list.map(Value::Array);
    one.into_iter().chain(list).chain([string(text)]).collect()
}

/// The keys of a document with their offsets; a table inside a section counts as that section's key.
fn dotted_keys(table: &DeTable<'_>) -> Vec<(String, usize)> {
    let mut all = Vec::new();
    for (key, value) in table {
        let DeValue::Table(section) = value.get_ref() else {
            all.push((key.get_ref().to_string(), key.span().start));
            continue;
        };
        if section.is_empty() {
            all.push((key.get_ref().to_string(), key.span().start));
        }
        for inner in section.keys() {
            all.push((format!("{}.{}", key.get_ref(), inner.get_ref()), inner.span().start));
        }
    }
    all
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// In one line, and without the names that only Rust has for numbers.
fn one_line(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    ["u32", "u64", "i64"].iter().fold(line, |line, number| {
        line.replace(&format!("expected {number}"), "expected a whole number, not below 0")
    })
}
