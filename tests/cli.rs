//! The program as a person uses it: what it prints, and with which code it ends.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;

/// The program in `folder`, with nothing of this process's environment that it would look at.
fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command
}

fn tidegate(folder: &Path, arguments: &[&str]) -> Output {
    program(folder, arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("all that it prints is UTF-8")
}

fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = tidegate(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text(&output.stdout).to_owned()
}

/// Expects the code and one line on standard error that contains `part`, and nothing on standard output.
fn fails(folder: &Path, arguments: &[&str], code: i32, part: &str) {
    let output = tidegate(folder, arguments);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    assert!(message.starts_with("tidegate: ") && message.contains(part), "{part:?} is not in {message:?}");
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

/// Flags that make every port one that is free.
const FREE: [&str; 8] = [
    "--set",
    "listen.quic=localhost:0",
    "--set",
    "listen.http=localhost:0",
    "--set",
    "listen.admin=127.0.0.1:0",
    "--set",
    "listen.grpc=127.0.0.1:0",
];

fn check_with<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["check"], &FREE[..], arguments].concat()
}

#[test]
fn version_and_help() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(succeeds(folder.path(), &["--version"]), format!("tidegate {}\n", env!("CARGO_PKG_VERSION")));
    let help = succeeds(folder.path(), &["--help"]);
    let parts = [
        "serve",
        "gateway",
        "pipeline",
        "token",
        "tail",
        "send",
        "check",
        "cert",
        "store",
        "bench",
        "Examples:",
        "--config",
    ];
    for part in parts {
        assert!(help.contains(part), "{part} is not in {help}");
    }
    for command in [&["serve"][..], &["gateway"], &["pipeline"], &["token"], &["tail"], &["send"], &["check"]]
    {
        let help = succeeds(folder.path(), &[command, &["--help"]].concat());
        assert!(help.contains("Examples:") && help.contains("--config"), "{command:?}: {help}");
    }
    let help = succeeds(folder.path(), &["store", "new-epoch", "--help"]);
    assert!(help.contains("mandatory after a restore from a back-up"), "{help}");
}

#[test]
fn wrong_usage_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let wrong: [&[&str]; 14] = [
        &["tail"],
        &["tail", "--as", "bob", "--transport", "pigeon"],
        &["tail", "--as", "bob", "--server", "https://example.org"],
        &["tail", "--as", "bob", "--cert-hash", "12"],
        &["send", "--as", "alice", "hello"],
        &["send", "--as", "alice", "--to", "bob", "--local-id", "x"],
        &["fly"],
        &["--fly"],
        &["token"],
        &["token", "--user", "a b"],
        &["token", "--user", "alice", "--device", ""],
        &["token", "--user", "alice", "--ttl", "soon"],
        &["check", "--set", "log.level"],
        &["cert"],
    ];
    for arguments in wrong {
        let output = tidegate(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_client_without_what_it_needs_says_what_to_give() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let send =
        |flags: &[&'static str]| [&["send", "--as", "alice", "--to", "bob", "hello"][..], flags].concat();
    fails(
        path,
        &send(&[]),
        1,
        "the server's certificate is not in tidegate-data: give its data folder by --data",
    );
    succeeds(path, &["cert", "new"]);
    fails(
        path,
        &send(&[]),
        1,
        "start `tidegate serve` first, give its data folder by --data, or a token by --token",
    );
    fails(path, &send(&["--ca", "missing.pem"]), 1, "cannot read certificates from missing.pem");
    fails(path, &send(&["--set", "listen.quic=localhost:0"]), 1, "give --server host:port");
    // What it looked for it does not make.
    assert!(!path.join("tidegate-data/dev-secret").exists());
    succeeds(path, &["token", "--user", "alice"]);
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let unreachable = ["--transport", "ws", "--server", &nobody];
    let arguments = [&["tail", "--as", "@all"][..], &unreachable].concat();
    fails(path, &arguments, 1, "begins with @");
    let arguments = [&["tail", "--as", "bob"][..], &unreachable].concat();
    fails(path, &arguments, 1, "see whether the server runs, and whether --server and --transport are right");
}

#[test]
fn check_prints_the_effective_configuration_with_secrets_masked() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "a-secret-of-at-least-32-characters";
    let file = format!(
        "[auth]\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n[api]\nkeys = \"{secret}\"\n[stop]\ngrace_ms = 7\n"
    );
    fs::write(folder.path().join("tidegate.toml"), file).unwrap();
    let arguments = check_with(&["--config", "tidegate.toml", "--set", "log.level=debug"]);
    let printed = succeeds(folder.path(), &arguments);
    assert!(!printed.contains(secret), "{printed}");
    let table: toml::Table = toml::from_str(&printed).unwrap();
    assert_eq!(table["auth"]["secret"].as_str(), Some("********"));
    assert_eq!(table["stop"]["grace_ms"].as_integer(), Some(7));
    assert_eq!(table["log"]["level"].as_str(), Some("debug"));
    assert_eq!(table["limits"]["sessions_per_user"].as_integer(), Some(16));
    // A look leaves nothing behind.
    assert!(!folder.path().join("tidegate-data").exists());
}

#[test]
fn check_of_a_bad_configuration_says_what_and_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::write(path.join("tidegate.toml"), "[limits]\noutbox_byte = 5\n").unwrap();
    fails(
        path,
        &["check", "--config", "tidegate.toml"],
        2,
        "tidegate.toml:2: unknown setting limits.outbox_byte; the nearest known one is limits.outbox_bytes",
    );
    fails(path, &["check", "--config", "missing.toml"], 2, "cannot read the configuration missing.toml: ");
    fails(
        path,
        &["check", "--set", "listen.quic=0.0.0.0:0"],
        2,
        "--set listen.quic: listen.quic: 0.0.0.0:0 is not",
    );
    fs::write(path.join("file"), "").unwrap();
    fails(path, &check_with(&["--data", "file"]), 1, "data: cannot make the data folder file: give one ");
    let key = check_with(&["--set", "auth.algorithm=EdDSA", "--set", "auth.public_key_file=file"]);
    fails(path, &key, 2, "--set auth.public_key_file: auth.public_key_file: a public key for EdDSA");
    // serve and token refuse the same.
    fails(path, &["--config", "tidegate.toml"], 2, "tidegate.toml:2: unknown setting");
    fails(path, &["serve", "--config", "tidegate.toml"], 2, "tidegate.toml:2: unknown setting");
    fails(path, &["token", "--user", "alice", "--config", "tidegate.toml"], 2, "unknown setting");
}

#[test]
fn the_file_and_settings_may_come_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.toml"), "[limits]\noutbox_byte = 5\n").unwrap();
    let run = |name: &str, value: &str| {
        let output = program(folder.path(), &["check"]).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        text(&output.stderr).to_owned()
    };
    assert!(run("TIDEGATE_CONFIG", "a.toml").contains("a.toml:2: unknown setting limits.outbox_byte"));
    assert!(
        run("TIDEGATE_LIMITS__OUTBOX_BYTE", "5")
            .contains("nearest known one is TIDEGATE_LIMITS__OUTBOX_BYTES")
    );
}

#[test]
fn check_finds_ports_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    for key in ["listen.quic", "listen.http", "listen.admin", "listen.grpc"] {
        let set = format!("{key}={address}");
        let expected = format!("{key}: cannot listen on {address} (TCP): ");
        fails(folder.path(), &check_with(&["--set", &set]), 1, &expected);
    }
    // TCP must be free on the number that UDP has; on 127.0.0.1 anybody's connection may hold it.
    let quiet = if cfg!(target_os = "linux") { "127.83.19.7:0" } else { "127.0.0.1:0" };
    let udp = UdpSocket::bind(quiet).unwrap();
    let address = udp.local_addr().unwrap().to_string();
    let set = format!("listen.quic={address}");
    let expected = format!("listen.quic: cannot listen on {address} (UDP): ");
    fails(folder.path(), &check_with(&["--set", &set]), 1, &expected);
}

#[test]
fn check_finds_certificates_that_cannot_be_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["example.org".to_owned()]).unwrap();
    fs::write(path.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(path.join("key.pem"), key.serialize_pem()).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    fs::write(path.join("expired.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(path.join("other.pem"), rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();

    let files = |cert: &str, key: &str| [format!("tls.cert_file={cert}"), format!("tls.key_file={key}")];
    let good = files("cert.pem", "key.pem");
    succeeds(path, &check_with(&["--set", &good[0], "--set", &good[1]]));
    let cases = [
        (files("expired.pem", "key.pem"), "tls: the certificate in expired.pem expired at"),
        (files("cert.pem", "other.pem"), "tls: the key in other.pem does not fit"),
        (files("missing.pem", "key.pem"), "tls: cannot read missing.pem"),
        (files("key.pem", "key.pem"), "tls: key.pem has no certificate"),
    ];
    for (set, expected) in cases {
        fails(path, &check_with(&["--set", &set[0], "--set", &set[1]]), 1, expected);
    }
}

#[test]
fn a_token_is_one_line_and_signed_by_one_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let token = succeeds(path, &["token", "--user", "alice", "--device", "phone", "--ttl", "15m"]);
    assert_eq!(token.lines().count(), 1);
    let claims = BASE64.decode(token.trim().split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((&claims["sub"], &claims["dev"]), (&"alice".into(), &"phone".into()));
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((900..=901).contains(&life), "{life}");

    let secret = || fs::read_to_string(path.join("tidegate-data/dev-secret")).unwrap();
    let first = secret();
    succeeds(path, &["token", "--user", "bob"]);
    assert_eq!(secret(), first);
    assert!(!token.contains(&first));

    fails(path, &["token", "--user", "@all"], 1, "begins with @");
    fs::write(path.join("secret"), "0123456789abcdef0123456789abcdef").unwrap();
    let auth = ["--set", "auth.algorithm=HS256", "--set", "auth.secret_file=secret"];
    fails(path, &[&["token", "--user", "alice"], &auth[..]].concat(), 1, "[auth] is configured");
}

#[test]
fn a_second_process_on_a_data_folder_is_refused_and_told_whose_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let data = path.join("data");
    fs::create_dir(&data).unwrap();
    // This process stands for a server that runs.
    let lock = File::create(data.join("tidegate.lock")).unwrap();
    lock.try_lock().unwrap();
    fs::write(data.join("tidegate.lock"), "4711\n").unwrap();
    for arguments in [&["--data", "data"][..], &["serve", "--data", "data"]] {
        let arguments = [arguments, &FREE[..]].concat();
        fails(path, &arguments, 1, "the data folder data is in use by process 4711; stop that one");
    }
    // What does not serve does not need it.
    succeeds(path, &["token", "--user", "alice", "--data", "data"]);
    succeeds(path, &["cert", "new", "--data", "data"]);
}

#[test]
fn cert_shows_what_is_in_use_and_makes_a_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fails(path, &["cert", "show"], 1, "no development certificate yet");
    let made = succeeds(path, &["cert", "new"]);
    for part in ["tidegate-data/dev-cert.pem", "localhost 127.0.0.1 ::1", "valid until", "sha256"] {
        assert!(made.contains(part), "{part} is not in {made}");
    }
    assert_eq!(succeeds(path, &["cert", "show"]), made);
    assert_ne!(succeeds(path, &["cert", "new"]), made);

    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["example.org".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    fs::write(path.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(path.join("key.pem"), key.serialize_pem()).unwrap();
    let files = ["--set", "tls.cert_file=cert.pem", "--set", "tls.key_file=key.pem"];
    let shown = succeeds(path, &[&["cert", "show"], &files[..]].concat());
    assert!(shown.contains("example.org") && shown.contains("2020-01-01T00:00:00Z  EXPIRED"), "{shown}");
    fails(path, &[&["cert", "new"], &files[..]].concat(), 1, "cert.pem is the configured certificate");
}
