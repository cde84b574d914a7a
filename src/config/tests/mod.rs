//! Settings from every layer, and what is wrong with them.

mod channels;
mod shared;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

const EXAMPLE: &str = include_str!("../../../docs/tidegate.example.toml");
const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Loads the text as a file, with variables and `--set` flags over it.
fn load_with(text: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, String> {
    load_for(Role::Serve, text, variables, flags)
}

fn load_for(
    role: Role,
    text: &str,
    variables: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    fs::write(&file, text).unwrap();
    let sources = Sources {
        file: Some(file),
        variables: variables.iter().map(|(name, text)| (name.into(), text.into())).collect(),
        flags: flags.iter().map(|(k, v)| (format!("--set {k}"), (*k).into(), (*v).into())).collect(),
    };
    let prefix = format!("{}/", folder.path().display());
    Config::load_for(role, &sources)
        .map_err(|error| format!("{:#}", anyhow::Error::new(error)).replace(&prefix, ""))
}

fn load(text: &str) -> Result<Config, String> {
    load_with(text, &[], &[])
}

fn assert_refused(result: Result<Config, String>, expected: &str) {
    let message = result.expect_err(expected);
    assert!(message.contains(expected), "expected {expected:?} in {message:?}");
    assert!(!message.contains('\n'), "{message:?} is more than one line");
}

/// The example's lines with the settings that it comments out.
fn uncommented() -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            setting.to_owned()
        }
        _ => line.to_owned(),
    };
    EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_says_the_defaults() {
    assert_eq!(load(EXAMPLE).unwrap(), Config::default());
    assert_eq!(load("").unwrap(), Config::default());
}

#[test]
fn the_operators_page_has_every_setting() {
    for key in keys::all() {
        assert!(OPERATIONS.contains(&format!("`{key}`")), "{key} is not in docs/OPERATIONS.md");
    }
}

#[test]
fn the_pages_name_no_setting_that_is_none() {
    let is_section = |name: &str| Config::SECTIONS.iter().any(|(section, _)| *section == name);
    let mut found = 0;
    for page in [OPERATIONS, include_str!("../../../README.md"), include_str!("../../../docs/PROTOCOL.md")] {
        let words = page.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/' | '-')));
        // Called like settings are the database's files, configurations, and what Kafka sets for a topic.
        let others = |word: &&str| {
            word.starts_with("store.sqlite")
                || word.ends_with(".toml")
                || ["retention.ms", "retention.bytes"].contains(word)
        };
        let words = words.map(|word| word.trim_end_matches('.')).filter(|word| !others(word));
        for name in words.filter(|word| word.split_once('.').is_some_and(|(first, _)| is_section(first))) {
            found += 1;
            assert!(keys::all().any(|known| known == name), "{name} is no setting");
        }
    }
    assert!(found > 40, "only {found} are found");
}

#[test]
fn the_example_has_every_setting() {
    let table: toml::Table = toml::from_str(&uncommented()).unwrap();
    let mut found = BTreeSet::new();
    for (key, value) in &table {
        match value {
            toml::Value::Table(inner) => found.extend(inner.keys().map(|inner| format!("{key}.{inner}"))),
            _ => drop(found.insert(key.clone())),
        }
    }
    assert_eq!(found, keys::all().collect());
    // Each has the right type, too.
    toml::from_str::<Config>(&uncommented()).unwrap();
}

#[test]
fn later_layers_go_over_earlier_ones() {
    let file = "[limits]\nmessages_burst = 2\nsignals_burst = 2\noutbox_bytes = 100000\n";
    let variables = [("TIDEGATE_LIMITS__SIGNALS_BURST", "3"), ("TIDEGATE_LIMITS__OUTBOX_BYTES", "200000")];
    let config = load_with(file, &variables, &[("limits.outbox_bytes", "300000")]).unwrap();
    let limits = &config.limits;
    assert_eq!((limits.messages_burst, limits.signals_burst, limits.outbox_bytes), (2, 3, 300_000));
    assert_eq!(limits.sessions_per_user, 16);
}

#[test]
fn text_becomes_what_the_setting_takes() {
    let set = |key, text| load_with("", &[], &[(key, text)]).unwrap();
    assert_eq!(set("data", "1").data, Path::new("1"));
    assert_eq!(set("data", "\"a b\"").data, Path::new("a b"));
    assert_eq!(set("log.level", "debug").log.level, "debug");
    assert_eq!(set("log.level", "info,tidegate=trace").log.level, "info,tidegate=trace");
    assert_eq!(set("log.format", "json").log.format, log::Format::Json);
    assert_eq!(set("retention.max_entries", "5").retention.max_entries, Some(5));
    let url = "postgres://u:p@h:1/d?sslmode=require";
    assert_eq!(set("store.url", url).store.url.unwrap().reveal(), url);
    assert_eq!(set("listen.http", "[]").listen.http.len(), 0);
    assert_eq!(set("listen.http", "[::1]:80").listen.http[0].to_string(), "[::1]:80");
    for text in ["https://a, https://b", r#"["https://a", "https://b"]"#] {
        let origins = set("listen.allowed_origins", text).listen.allowed_origins;
        assert_eq!(
            origins.iter().map(origin::Origin::as_str).collect::<Vec<_>>(),
            ["https://a", "https://b"]
        );
    }
    let digits = "12345678901234567890123456789012";
    let keys = set("api.keys", digits).api.all_keys().unwrap();
    assert_eq!(keys.iter().map(secret::Secret::reveal).collect::<Vec<_>>(), [digits]);
    // A text cannot bring a second setting along.
    assert_refused(load_with("", &[], &[("stop.grace_ms", "5\nx=1")]), "--set stop.grace_ms: stop.grace_ms:");
}

#[test]
fn an_unknown_name_is_an_error_that_names_the_nearest() {
    let cases = [
        ("dtaa = 1", "tidegate.toml:1: unknown setting dtaa; the nearest known one is data"),
        (
            "\n[limits]\nmax_connection = 1",
            "tidegate.toml:3: unknown setting limits.max_connection; the nearest known one is limits.max_connections",
        ),
        (
            "[limit]\noutbox_bytes = 1",
            "tidegate.toml:2: unknown setting limit.outbox_bytes; the nearest known one is limits.outbox_bytes",
        ),
        ("[log]\naudience = \"a\"", "the nearest known one is auth.audience"),
        ("listen.htpp = 1", "the nearest known one is listen.http"),
        ("[auth.secret]\nx = 1", "tidegate.toml:1: expected a string in quotes"),
        ("[lsiten]", "unknown setting lsiten"),
        ("[data]\nx = 1", "unknown setting data.x"),
    ];
    for (text, expected) in cases {
        assert_refused(load(text), expected);
    }
    assert_refused(
        load_with("", &[("TIDEGATE_LISTEN__HTPP", "1")], &[]),
        "TIDEGATE_LISTEN__HTPP: unknown setting TIDEGATE_LISTEN__HTPP; the nearest known one is TIDEGATE_LISTEN__HTTP",
    );
    assert_refused(load_with("", &[], &[("log.levle", "1")]), "--set log.levle: unknown setting log.levle");
}

#[test]
fn variables_that_are_not_meant_as_settings_are_left_alone() {
    let others = [
        ("PATH", "x"),
        ("TIDEGATE", "x"),
        ("TIDEGATE_CONFIG", "elsewhere.toml"),
        ("TIDEGATE_PORT", "tcp://10.0.0.1:4433"),
        ("TIDEGATE_PORT_4433_TCP_ADDR", "10.0.0.1"),
        ("TIDEGATE_SERVICE_HOST", "10.0.0.1"),
        ("TIDEGATE_SERVICE_PORT_HTTPS", "4433"),
    ];
    assert_eq!(load_with("", &others, &[]).unwrap(), Config::default());
    assert_eq!(load_with("", &[("TIDEGATE_LOG", "warn")], &[]).unwrap().log.level, "warn");
    assert_eq!(load_with("", &[("TIDEGATE_LOG__LEVEL", "warn")], &[]).unwrap().log.level, "warn");
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let sources = Sources {
        variables: vec![("TIDEGATE_DATA".into(), OsString::from_vec(vec![0xff]))],
        ..Sources::default()
    };
    assert_eq!(Config::load(&sources).unwrap_err().to_string(), "TIDEGATE_DATA: is not UTF-8");
}

#[test]
fn wrong_forms_and_types_say_where() {
    let cases = [
        ("a = ", "tidegate.toml:1: "),
        ("\n\n[listen\n", "tidegate.toml:3: "),
        ("data = 1\ndata = 2", "tidegate.toml:2: duplicate key"),
        ("listen = 5", "tidegate.toml:1: invalid type"),
        ("[limits]\noutbox_bytes = \"1 KB\"", "\"1 KB\", expected a whole number, not below 0"),
        ("[limits]\noutbox_bytes = -1", "tidegate.toml:2: invalid value"),
        ("[log]\nformat = \"xml\"", "tidegate.toml:2: unknown variant `xml`, expected `text` or `json`"),
        ("[auth]\nalgorithm = \"none\"", "tidegate.toml:2: unknown variant `none`"),
        ("[auth]\nalgorithm = \"HS512\"", "tidegate.toml:2: unknown variant `HS512`"),
        ("[listen]\nquic = \"example.org:1\"", "tidegate.toml:2: \"example.org:1\" is no address"),
        ("[listen]\nquic = 4433", "tidegate.toml:2: expected a string or a list of strings"),
        ("[listen]\nallowed_origins = [\"*\"]", "tidegate.toml:2: \"*\" is no origin"),
    ];
    for (text, expected) in cases {
        assert_refused(load(text), expected);
    }
    let missing = Sources { file: Some("no/such/file.toml".into()), ..Sources::default() };
    let error = Config::load(&missing).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration no/such/file.toml");
}

#[test]
fn wrong_values_say_where_and_what_to_do() {
    let off = "[listen]\nhttp = \"0.0.0.0:8080\"";
    let quic = "[listen]\nquic = [\"127.0.0.1:1\", \"192.0.2.1:4433\"]";
    let cases = [
        (
            off,
            "tidegate.toml:2: listen.http: 0.0.0.0:8080 is not on loopback, so users must be verified: configure [auth]",
        ),
        (quic, "tidegate.toml:2: listen.quic: 192.0.2.1:4433 is not on loopback"),
        ("[listen]\nadmin = \"[::]:1\"", "listen.admin: [::]:1 is not on loopback"),
        ("[listen]\nquic = []\nhttp = []", "no client could come in"),
        (
            "[listen]\nadmin = \"127.0.0.1:8080\"",
            "tidegate.toml:2: listen.admin: listen.http has 127.0.0.1:8080 already",
        ),
        ("[listen]\npublic_urls = \"http://a\"", "http://a must begin with https://"),
        (
            "[limits]\noutbox_bytes = 5",
            "tidegate.toml:2: limits.outbox_bytes: 5 is out of range, it must be 81920 to",
        ),
        ("[limits]\nmax_connections = 0", "limits.max_connections: 0 is out of range"),
        (
            "[limits]\nmax_connections_per_address = 10000001",
            "limits.max_connections_per_address: 10000001 is out of range",
        ),
        ("[retention]\nmax_age_days = 0", "retention.max_age_days: 0 is out of range"),
        ("[retention]\nremember_days = 0", "retention.remember_days: 0 is out of range"),
        (
            "[store]\nurl = \"redis://user:secret@h/0\"",
            "tidegate.toml:2: store.url: it must begin with postgres:// or postgresql:// or mysql:// or mariadb://",
        ),
        ("[store]\nconnections = 0", "store.connections: 0 is out of range"),
        ("[stop]\ngrace_ms = 4000000000", "stop.grace_ms: 4000000000 is out of range"),
        ("[tls]\ncert_file = \"a\"", "tidegate.toml:2: tls.cert_file: set tls.key_file too"),
        ("[tls]\nkey_file = \"a\"", "tidegate.toml:2: tls.key_file: set tls.cert_file too"),
        ("[log]\nlevel = \"a=b=c\"", "tidegate.toml:2: log.level: "),
        ("[auth]\naudience = \"a\"", "auth.audience: set auth.algorithm too"),
        ("[auth]\nsecret = \"a\"", "auth.secret: set auth.algorithm too"),
        ("[auth]\nalgorithm = \"HS256\"", "HS256 needs auth.secret or auth.secret_file"),
        ("[auth]\nalgorithm = \"ES256\"", "ES256 needs auth.public_key_file"),
        ("[auth]\nalgorithm = \"HS256\"\nsecret = \"a\"\nsecret_file = \"b\"", "auth.secret is set too"),
        ("[auth]\nalgorithm = \"HS256\"\npublic_key_file = \"a\"", "HS256 has a secret and no public key"),
        ("[auth]\nalgorithm = \"RS256\"\nsecret = \"a\"", "RS256 has a public key and no secret"),
        (
            "[auth]\nalgorithm = \"HS256\"\nsecret = \"short\"",
            "tidegate.toml:3: auth.secret: a secret for HS256 has at least 32 bytes, this one has 5",
        ),
        (
            "[auth]\nalgorithm = \"RS256\"\npublic_key_file = \"no/such\"",
            "auth.public_key_file: cannot read no/such: ",
        ),
        (
            "[api]\nkeys = [\"long enough to be a key\"]",
            "api.keys: key 1: an API key has at least 16 printable",
        ),
        ("[api]\nkeys_file = \"no/such\"", "api.keys_file: cannot read no/such: "),
        ("data = \"\"", "data: give the path of a folder"),
    ];
    for (text, expected) in cases {
        assert_refused(load(text), expected);
    }
    assert_refused(
        load_with("[stop]\ngrace_ms = 1", &[("TIDEGATE_STOP__GRACE_MS", "700000")], &[]),
        "TIDEGATE_STOP__GRACE_MS: stop.grace_ms: 700000 is out of range",
    );
    assert_refused(
        load_with("", &[], &[("listen.http", "1.2.3.4:5")]),
        "--set listen.http: listen.http: 1.2.3.4:5",
    );
}

#[test]
fn with_auth_a_listener_may_be_anywhere_and_development_mode_is_off() {
    let auth = format!("[auth]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"\n");
    let config = load(&format!("{auth}[listen]\nquic = \"0.0.0.0:4433\"\n")).unwrap();
    assert!(!config.is_development());
    let rules = format!("{:?}", config.auth.verifier().unwrap().unwrap());
    assert!(rules.contains("Hs256") && rules.contains("leeway_ms: 10000"), "{rules}");
    assert!(Config::default().is_development());
    assert!(Config::default().auth.verifier().unwrap().is_none());
}

#[test]
fn keys_come_from_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, format!("  {SECRET}\n\n")).unwrap();
    let config = format!("[auth]\nalgorithm = \"HS256\"\nsecret_file = {file:?}");
    assert!(load(&config).unwrap().auth.verifier().unwrap().is_some());

    fs::write(&file, "# backends\n\nthe-first-of-the-keys\n  the-second-of-the-keys  \n").unwrap();
    let config = load(&format!("[api]\nkeys = \"the-key-in-the-config\"\nkeys_file = {file:?}")).unwrap();
    let keys = config.api.all_keys().unwrap();
    let keys: Vec<_> = keys.iter().map(secret::Secret::reveal).collect();
    assert_eq!(keys, ["the-key-in-the-config", "the-first-of-the-keys", "the-second-of-the-keys"]);
    fs::write(&file, "the-first-of-the-keys\nshort\n").unwrap();
    assert_refused(load(&format!("[api]\nkeys_file = {file:?}")), ":2: an API key has at least 16");
}

#[test]
fn no_secret_is_shown() {
    let secret = "sEcReT-sEcReT-sEcReT-sEcReT-sEcReT";
    let text =
        format!("[auth]\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n[api]\nkeys = [\"{secret}\"]\n");
    let config = load(&text).unwrap();
    let printed = toml::to_string(&config).unwrap();
    assert!(!printed.contains(secret) && printed.matches("********").count() == 2, "{printed}");
    assert!(!format!("{config:?}").contains(secret));
    let urls = format!(
        "store.url = \"postgres://u:{secret}@h/d\"\npresence.url = \"redis://u:{secret}@h\"\n\
         [kafka]\nproperties = [\"client.rack={secret}\"]\n[rpc]\ntoken = \"{secret}\"\n"
    );
    let config = load(&urls).unwrap();
    let printed = toml::to_string(&config).unwrap();
    assert!(!printed.contains(secret) && printed.matches("********").count() == 4, "{printed}");
    assert!(!format!("{config:?}").contains(secret));
    // Nor in an error.
    let wrong = [
        format!("[api]\nkeys = [\"{secret} \"]"),
        format!("[api]\nkeys = [[\"{secret}\"]]"),
        format!("[api]\nkeys = {{ a = \"{secret}\" }}"),
        format!("[auth]\nsecret = [\"{secret}\"]"),
        format!("[auth]\nsecret = \"{secret}\""),
        format!("[auth]\nsecret = {secret}"),
        format!("[kafka]\nproperties = [\"{secret}\"]"),
        format!("[presence]\nurl = \"http://{secret}\""),
        format!("[rpc]\ntoken = \"{secret} \""),
        "[auth]\nsecret = 4711471147114711".to_owned(),
        "[api]\nkeys = [4711471147114711]".to_owned(),
    ];
    for text in wrong {
        let message = load(&text).unwrap_err();
        assert!(!message.contains("sEcReT") && !message.contains("4711"), "{message}");
    }
}

#[test]
fn what_is_printed_reads_back() {
    let text =
        "data = \"x\"\n[listen]\nhttp = []\nallowed_origins = \"https://a\"\n[retention]\nmax_entries = 5\n";
    let config = load(text).unwrap();
    assert_eq!(load(&toml::to_string(&config).unwrap()).unwrap(), config);
}
