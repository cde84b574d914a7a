//! What several processes share: each setting, and what must or may not go together for a role.

use super::*;

#[test]
fn wrong_values_say_what_to_do() {
    let cases = [
        ("[gateway]\nid = \"a|b\"", "gateway.id: \"a|b\": it has at most 64 letters"),
        ("[gateway]\nadvertise = \"node-1\"", "gateway.advertise: \"node-1\" is no host:port"),
        ("[gateway]\nadvertise = \"node-1:0\"", "gateway.advertise: \"node-1:0\" is no host:port"),
        ("[gateway]\nadvertise = \"http://node-1:5\"", "\"http://node-1:5\" is no host:port"),
        (
            "[gateway]\nadvertise = \"0.0.0.0:5\"",
            "gateway.advertise: 0.0.0.0 is every address of this machine",
        ),
        ("[gateway]\nadvertise = \"[::]:5\"", "gateway.advertise: :: is every address of this machine"),
        ("[presence]\nurl = \"http://u:secret@h\"", "presence.url: it must begin with redis:// or rediss://"),
        ("[presence]\nprefix = \"a {b}\"", "presence.prefix: \"a {b}\": it has at most 64"),
        (
            "[presence]\nurl = \"redis://h\"\nca_file = \"a\"",
            "presence.ca_file: only a server that is reached over TLS",
        ),
        (
            "[presence]\nurl = \"redis://h\"",
            "presence.url: presence is shared with other processes, and SQLite",
        ),
        ("[kafka]\nbrokers = \"h\"", "kafka.brokers: \"h\" is no host:port"),
        ("[kafka]\ntopic = \"a b\"", "kafka.topic: \"a b\": a topic has 1 to 249"),
        (
            "[kafka]\ndead_topic = \"tidegate.messages\"",
            "kafka.dead_topic: it must be another one than kafka.topic",
        ),
        ("[kafka]\ngroup = \"\"", "kafka.group: give the group a name"),
        ("[kafka]\npartitions = 0", "kafka.partitions: 0 is out of range"),
        ("[kafka]\nproperties = [\"a=b\", \"secret\"]", "kafka.properties: entry 2 is not key=value"),
        (
            "[kafka]\nproperties = \"acks=1\"",
            "tidegate.toml:2: kafka.properties: acks is set by tidegate itself",
        ),
        ("[rpc]\ntoken = \"short\"", "rpc.token: it has at least 16 printable characters"),
        ("[rpc]\ntoken_file = \"no/such\"", "rpc.token_file: cannot read no/such: "),
        ("[rpc]\ntoken = \"a\"\ntoken_file = \"b\"", "rpc.token_file: rpc.token is set too"),
        ("[rpc]\ncert_file = \"a\"", "rpc.cert_file: set rpc.key_file too"),
        ("[rpc]\nkey_file = \"a\"", "rpc.key_file: set rpc.cert_file too"),
        ("[rpc]\nclient_ca_file = \"a\"", "rpc.client_ca_file: certificates are shown over TLS only"),
        (
            "[listen]\ngrpc = \"127.0.0.1:9464\"",
            "tidegate.toml:2: listen.grpc: listen.admin has 127.0.0.1:9464 already",
        ),
    ];
    for (text, expected) in cases {
        assert_refused(load(text), expected);
    }
}

/// What several processes need to share everything.
const SHARED: &str =
    "store.url = \"postgres://h/d\"\npresence.url = \"redis://h\"\nkafka.brokers = \"h:9092\"\n";

#[test]
fn a_role_that_shares_needs_what_is_shared() {
    let shared = |role| load_for(role, SHARED, &[], &[]).unwrap();
    for role in [Role::Serve, Role::Gateway, Role::Pipeline] {
        assert!(shared(role).kafka.is_used());
    }
    for role in [Role::Gateway, Role::Pipeline] {
        for key in ["store.url", "presence.url", "kafka.brokers"] {
            let text = SHARED.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n");
            let expected = format!("default: {key}: `tidegate {}` shares log, store", role.name());
            assert_refused(load_for(role, &text, &[], &[]), &expected);
        }
        assert_refused(load_for(role, "", &[], &[]), "set kafka.brokers, store.url and presence.url");
    }
    // One process may mix as it likes, but what is shared cannot hang on what is not.
    for mixture in ["store.url = \"mysql://h/d\"", "kafka.brokers = \"h:1\"", ""] {
        load(mixture).unwrap();
    }
}

#[test]
fn a_process_that_others_call_can_be_reached() {
    let auth = format!("auth = {{ algorithm = \"HS256\", secret = \"{SECRET}\" }}\n{SHARED}");
    let set = |role, flags: &[(&str, &str)]| load_for(role, &auth, &[], flags);
    let token = ("rpc.token", SECRET);
    for role in [Role::Serve, Role::Gateway] {
        assert_refused(
            set(role, &[("listen.grpc", "[]")]),
            "listen.grpc: with presence.url other processes push",
        );
    }
    for role in [Role::Serve, Role::Gateway, Role::Pipeline] {
        for everywhere in ["0.0.0.0:5", "[::]:5"] {
            let flags = [("listen.grpc", everywhere), token];
            let expected = format!("default: gateway.advertise: listen.grpc is {everywhere}: ");
            assert_refused(set(role, &flags), &expected);
            set(role, &[flags[0], token, ("gateway.advertise", "node-1.example.org:5")]).unwrap();
        }
    }
    // Nobody has to call a pipeline, and what is not shared is not called by others.
    set(Role::Pipeline, &[("listen.grpc", "[]")]).unwrap();
    let alone = [("listen.grpc", "0.0.0.0:5"), token];
    load_with(&format!("auth = {{ algorithm = \"HS256\", secret = \"{SECRET}\" }}"), &[], &alone).unwrap();
    load("listen.grpc = []").unwrap();
}

#[test]
fn grpc_elsewhere_than_on_loopback_asks_who_calls() {
    let auth = format!("auth = {{ algorithm = \"HS256\", secret = \"{SECRET}\" }}\n{SHARED}");
    let set = |role, flags: &[(&str, &str)]| load_for(role, &auth, &[], flags);
    let there = ("listen.grpc", "192.0.2.1:5");
    for role in [Role::Serve, Role::Gateway, Role::Pipeline] {
        let expected =
            "--set listen.grpc: listen.grpc: 192.0.2.1:5 is not on loopback, so whoever calls must be known";
        assert_refused(set(role, &[there]), expected);
        set(role, &[there, ("rpc.token", SECRET)]).unwrap();
        let files = [there, ("rpc.cert_file", "a"), ("rpc.key_file", "b")];
        assert_refused(set(role, &files), expected);
        set(role, &[&files[..], &[("rpc.client_ca_file", "c")]].concat()).unwrap();
    }
    // Development mode is loopback alone; a pipeline has no users.
    let elsewhere = [("listen.grpc", "192.0.2.1:5"), ("rpc.token", SECRET)];
    assert_refused(load_with("", &[], &elsewhere), "so users must be verified: configure [auth]");
    load_for(Role::Pipeline, SHARED, &[], &elsewhere).unwrap();
    load_for(Role::Pipeline, SHARED, &[], &[("listen.admin", "0.0.0.0:9464")]).unwrap();
}

#[test]
fn where_clients_are_told_to_go_is_the_first_public_url() {
    let public = |urls: &str| load_with("", &[], &[("listen.public_urls", urls)]).unwrap().listen.public();
    assert_eq!(public("[]"), None);
    assert_eq!(public("https://a.example.org, https://b.example.org").as_deref(), Some("a.example.org:443"));
    assert_eq!(public("https://a.example.org:4433").as_deref(), Some("a.example.org:4433"));
    assert_eq!(public("https://[::1]").as_deref(), Some("[::1]:443"));
    assert_eq!(public("https://[::1]:7").as_deref(), Some("[::1]:7"));
}
