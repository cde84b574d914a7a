//! `[[channels]]`: what rules come to, and what is wrong with them.

use tidegate_pipeline::channels::{Access, Kept, Rate};
use tidegate_proto::id::ChannelName;

use super::*;

const RULES: &str = r#"
[[channels]]
pattern = "news/**"
publish = "granted"
max_entries = 50
max_age_hours = 0

[[channels]]
pattern = "typing/*"
subscribe = "granted"
stored = false
messages_per_second = 20

[[channels]]
pattern = "@ops"
publish = "nobody"
"#;

fn of(config: &Config, channel: &str) -> tidegate_pipeline::channels::Rule {
    *config.channels.rules().of(&ChannelName::new(channel).unwrap()).1
}

#[test]
fn rules_hold_by_name() {
    let config = load(RULES).unwrap();
    let news = of(&config, "news/sport/live");
    assert_eq!((news.subscribe, news.publish, news.rate), (Access::Everybody, Access::Granted, None));
    assert_eq!(news.kept, Some(Kept { max_entries: Some(50), max_age_ms: None }));
    let typing = of(&config, "typing/room");
    assert_eq!((typing.subscribe, typing.kept), (Access::Granted, None));
    assert_eq!(typing.rate, Some(Rate { per_second: 20, burst: 20 }));
    let ops = of(&config, "@ops");
    assert_eq!(
        (ops.subscribe, ops.publish, ops.kept),
        (Access::Everybody, Access::Nobody, Some(Kept::default()))
    );
    assert_eq!(of(&config, "other"), tidegate_pipeline::channels::Rule::default());
}

#[test]
fn rules_come_from_every_layer_as_a_whole() {
    let text = r#"[{pattern="a", publish="nobody"}, {pattern="**", stored=false}]"#;
    let config = load_with(RULES, &[("TIDEGATE_CHANNELS", text)], &[]).unwrap();
    assert_eq!(of(&config, "a").publish, Access::Nobody);
    assert_eq!(of(&config, "news/sport").kept, None, "those of the file are gone");
    let config = load_with(RULES, &[("TIDEGATE_CHANNELS", text)], &[("channels", "[]")]).unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn the_effective_rules_are_printed_as_they_are_read() {
    for text in [RULES, ""] {
        let config = load(text).unwrap();
        let printed = toml::to_string(&config).unwrap();
        assert_eq!(load(&printed).unwrap(), config, "{printed}");
    }
}

#[test]
fn wrong_rules_say_where_and_what_to_do() {
    let rule =
        |text: &str| format!("[[channels]]\npattern = \"a\"\n\n[[channels]]\npattern = \"news/*\"\n{text}\n");
    for (text, expected) in [
        ("[[channels]]\n\npattern = \"a b\"", "tidegate.toml:3: \"a b\": a pattern is 1 to 128 bytes of"),
        (
            "[[channels]]\npattern = \"a/**/b\"",
            "tidegate.toml:2: \"a/**/b\": `**` stands alone as the last segment",
        ),
        ("[[channels]]\nstored = false", "tidegate.toml:1: missing field `pattern`"),
        ("[channels]\npattern = \"a\"", "unknown setting channels.pattern"),
        (&rule("patern = 1"), "tidegate.toml:6: unknown field `patern`, expected one of `pattern`"),
        (&rule("publish = \"all\""), "tidegate.toml:6: unknown variant `all`, expected one of `everybody`"),
        (&rule("max_entries = -1"), "tidegate.toml:6: invalid value"),
        (
            &rule("max_age_hours = 900000"),
            "tidegate.toml:1: channels: rule 2, news/*: max_age_hours: 900000 is out of range, it must be 0 to 876600",
        ),
        (&rule("messages_per_second = 0"), "messages_per_second: 0 is out of range, it must be 1 to"),
        (&rule("messages_burst = 5"), "messages_burst: set messages_per_second too"),
        (&rule("stored = false\nmax_entries = 5"), "with stored = false nothing is kept"),
        (
            &rule("[[channels]]\npattern = \"a\""),
            "rule 3, a: it never holds, since rule 1 has the same pattern",
        ),
        (&rule("[[channels]]\npattern = \"@*\"\nstored = false"), "rule 3, @*: @all is a numbered log"),
    ] {
        assert_refused(load(text), expected);
    }
    let many: String = (0..257).map(|n| format!("[[channels]]\npattern = \"a{n}\"\n")).collect();
    assert_refused(load(&many), "the number of rules: 257 is out of range, it must be 0 to 256");
    let flag = [("channels", "[{pattern=\"\"}]")];
    assert_refused(load_with("", &[], &flag), "--set channels: channels: \"\": a pattern is 1 to 128 bytes");
}
