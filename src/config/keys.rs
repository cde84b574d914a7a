//! The names of all settings, and what somebody meant who wrote another.

use super::layers::Place;
use super::{Config, Error};

/// All dotted names.
pub(super) fn all() -> impl Iterator<Item = String> {
    let inside = |(section, keys): &(&str, &[&str])| -> Vec<String> {
        keys.iter().map(|key| format!("{section}.{key}")).collect()
    };
    Config::TOP.iter().map(|key| (*key).to_owned()).chain(Config::SECTIONS.iter().flat_map(inside))
}

/// Refuses a name that is no setting and no section.
pub(super) fn check(key: &str, place: impl FnOnce() -> Place) -> Result<(), Error> {
    if Config::SECTIONS.iter().any(|(section, _)| *section == key) || all().any(|known| known == key) {
        return Ok(());
    }
    let place = place();
    let spell = |key: &str| match place {
        Place::Variable(_) => variable(key),
        _ => key.to_owned(),
    };
    let nearest = spell(&nearest(key));
    Err(Error::UnknownKey { key: spell(key), nearest, place })
}

/// The variable that sets `key`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase())
}

/// The setting that the variable `name` sets, if it is meant for this program.
pub(super) fn of_variable(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PREFIX)?;
    if name == FILE_VARIABLE || is_service_link(rest) {
        return None;
    }
    if name == LEVEL_VARIABLE {
        return Some("log.level".to_owned());
    }
    Some(rest.to_ascii_lowercase().replace("__", "."))
}

/// Kubernetes gives every container such variables for a Service that is called tidegate.
fn is_service_link(rest: &str) -> bool {
    rest == "PORT" || ["PORT_", "SERVICE_HOST", "SERVICE_PORT"].iter().any(|start| rest.starts_with(start))
}

fn nearest(key: &str) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    let score = |known: &str| {
        let whole = strsim::normalized_damerau_levenshtein(key, known);
        // A good name in the wrong section.
        whole.max(0.9 * strsim::normalized_damerau_levenshtein(&last(key), &last(known)))
    };
    all().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or_default()
}

/// Names the configuration file where no `--config` does.
pub(crate) const FILE_VARIABLE: &str = "TIDEGATE_CONFIG";
/// The short name of the one setting that is changed for a single run most often.
const LEVEL_VARIABLE: &str = "TIDEGATE_LOG";
const PREFIX: &str = "TIDEGATE_";
