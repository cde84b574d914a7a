//! What deploy/ ships, held against the program: metrics that exist, variables that are settings, units that start.

use std::collections::BTreeMap;
use std::fs;

use futures_util::future::join_all;

use crate::page::{self, OfKind as _, README, blocks};
use crate::program::{FREE, Place};

#[test]
fn dashboards_and_alarms_use_metrics_that_exist() {
    let documented = page::metrics();
    for (file, text) in [("alerts.yml", ALERTS), ("grafana/tidegate.json", DASHBOARD)] {
        let text = text.replace("\\\"", "\"");
        let mut used = 0;
        for (start, prefix) in text.match_indices("tidegate_") {
            used += 1;
            let rest = &text[start + prefix.len()..];
            let end = rest.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap();
            let (name, rest) = rest.split_at(end);
            let histogram =
                name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
            let label = documented.get(name).or_else(|| documented.get(histogram));
            let label = label.unwrap_or_else(|| panic!("{file}: docs/OPERATIONS.md has no metric {name}"));
            if let Some(matcher) = rest.strip_prefix('{') {
                let given = matcher.split(['=', '!']).next();
                assert_eq!(given, *label, "{file}: the label of {name}");
            }
        }
        assert!(used > 10, "{file} uses {used} metrics");
    }
}

#[tokio::test]
async fn composed_processes_lack_nothing_but_their_backends() {
    let place = Place::new();
    let composed = composed();
    let names: Vec<_> = composed.keys().map(String::as_str).collect();
    assert_eq!(names, ["gateway-1", "gateway-2", "pipeline-1", "pipeline-2"]);
    let checks = composed.iter().map(async |(name, (role, variables))| {
        assert!(variables.len() > 5, "{name}: {variables:?}");
        let variables: Vec<_> = variables.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        lacks_backends_only(&place, &format!("tidegate check --role {role}"), &variables).await;
    });
    join_all(checks).await;
}

#[tokio::test]
async fn units_start_what_there_is() {
    let place = Place::new();
    let configuration = place.local(&blocks(&README).of_kind("toml")[0].text);
    let variables: Vec<_> = FREE.into_iter().chain(NOBODY).collect();
    let checks = UNITS.map(async |(role, unit)| {
        let file = place
            .path("etc/tidegate")
            .join(format!("{}.toml", if role == "serve" { "tidegate" } else { role }));
        fs::write(file, &configuration).unwrap();
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).unwrap();
        let options =
            start.strip_prefix(&format!("tidegate {role} ")).unwrap_or_else(|| panic!("{role}: {start}"));
        let check = place.local(&format!("tidegate check --role {role} {options}"));
        if role == "serve" {
            place.program(&check).await;
        } else {
            lacks_backends_only(&place, &check, &variables).await;
        }
    });
    join_all(checks).await;
}

/// A configuration in which nothing is wrong but that nobody is where the backends should be.
async fn lacks_backends_only(place: &Place, check: &str, variables: &[(&str, &str)]) {
    let errors = place.errors(check, variables).await;
    let keys: Vec<_> = errors.iter().map(|line| line.split(": ").nth(1).unwrap_or_default()).collect();
    assert_eq!(keys, ["kafka.brokers", "presence.url", "store.url"], "{check}: {errors:#?}");
}

/// Of each of our processes in compose.yaml its role and its variables, with addresses where nobody is.
fn composed() -> BTreeMap<String, (String, BTreeMap<String, String>)> {
    let mut roles = BTreeMap::new();
    let mut variables: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
    let mut section = "";
    for line in COMPOSE.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let depth = line.len() - line.trim_start().len();
        let Some((key, value)) = line.trim().split_once(':') else { continue };
        let value = value.trim();
        if depth == 0 || (depth == 2 && value.is_empty()) {
            section = key;
        }
        if key == "command" {
            roles.insert(section, value);
        }
        if key.starts_with("TIDEGATE_") {
            variables.entry(section).or_default().push((key.to_owned(), elsewhere(value)));
        }
    }
    let of = |section: &str| variables.get(section).cloned().unwrap_or_default();
    let processes = roles.into_iter().map(|(name, role)| {
        let shared = if role == "gateway" { of("x-gateway") } else { Vec::new() };
        let all = of("x-backends").into_iter().chain(shared).chain(of(name)).collect();
        (name.to_owned(), (role.to_owned(), all))
    });
    processes.collect()
}

/// A value of compose.yaml, for this machine: what is drawn outside is given, and ports are free.
fn elsewhere(value: &str) -> String {
    let value = if value.starts_with("${") { SECRET } else { value };
    let value = value.replace("kafka:9092", "127.0.0.1:1").replace("//redis:6379", "//127.0.0.1:1");
    let value = value.replace("@postgres/", "@127.0.0.1:1/");
    match value.strip_prefix("0.0.0.0:") {
        Some(_) => "0.0.0.0:0".to_owned(),
        None => value,
    }
}

const ALERTS: &str = include_str!("../../deploy/alerts.yml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/tidegate.json");
const COMPOSE: &str = include_str!("../../deploy/compose.yaml");
const UNITS: [(&str, &str); 3] = [
    ("serve", include_str!("../../deploy/systemd/tidegate.service")),
    ("gateway", include_str!("../../deploy/systemd/tidegate-gateway.service")),
    ("pipeline", include_str!("../../deploy/systemd/tidegate-pipeline.service")),
];
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// Backends that are configured, and not there.
const NOBODY: [(&str, &str); 3] = [
    ("TIDEGATE_KAFKA__BROKERS", "127.0.0.1:1"),
    ("TIDEGATE_PRESENCE__URL", "redis://127.0.0.1:1"),
    ("TIDEGATE_STORE__URL", "postgres://tidegate:tidegate@127.0.0.1:1/tidegate"),
];
