//! What stands below the help of each command.

pub(super) const EXAMPLES: &str = "\
Examples:
  tidegate                              serve on loopback, in development mode
  tidegate --config tidegate.toml       serve as configured
  tidegate token --user alice           a development token
  tidegate tail --as bob                everything bob gets, live
  tidegate send --as alice --to bob hi  a message, and its receipts
  tidegate sub --as bob news/sport      everything of a channel, live
  tidegate pub --as alice news/sport go a message to a channel
  tidegate check --config tidegate.toml what is wrong with a configuration
  tidegate dead list --config p.toml    what could not be stored
  tidegate cert show                    the hash that clients may trust";

pub(super) const SERVE_EXAMPLES: &str = "\
Examples:
  tidegate serve --data /var/lib/tidegate
  tidegate serve --config /etc/tidegate/tidegate.toml
  tidegate serve --set listen.quic=localhost:0 --set log.level=debug
  TIDEGATE_LISTEN__HTTP=localhost:8081 tidegate serve

Every setting section.key has a variable TIDEGATE_SECTION__KEY; TIDEGATE_LOG is short for log.level.";

pub(super) const GATEWAY_EXAMPLES: &str = "\
Examples:
  tidegate gateway --config /etc/tidegate/gateway.toml
  tidegate check --role gateway --config /etc/tidegate/gateway.toml";

pub(super) const PIPELINE_EXAMPLES: &str = "\
Examples:
  tidegate pipeline --config /etc/tidegate/pipeline.toml
  tidegate check --role pipeline --config /etc/tidegate/pipeline.toml";

pub(super) const TOKEN_EXAMPLES: &str = "\
Examples:
  tidegate token --user alice
  tidegate token --user alice --device phone --ttl 15m
  tidegate token --user alice --data /var/lib/tidegate
  tidegate token --user alice --subscribe 'news/**' --publish news/sport

It is signed with the secret in the data folder, which is drawn at the first use. A server that has [auth]
configured takes tokens of that issuer only, and this command says so.";

pub(super) const TAIL_EXAMPLES: &str = "\
Examples:
  tidegate tail --as bob
  tidegate tail --as bob --transport wt --json
  tidegate tail --as bob --device desk --data /var/lib/tidegate
  tidegate tail --as bob --server chat.example.org:4433 --token \"$TOKEN\"

On the machine of a server in development mode the data folder has what is needed: the secret that tokens are
signed with, and the certificate. Messages go to standard output, everything else to standard error.";

pub(super) const SEND_EXAMPLES: &str = "\
Examples:
  tidegate send --as alice --to bob hello
  seq 1000 | tidegate send --as alice --to bob
  tidegate send --as alice --to bob --transport ws --local-id order-4711 'your order is on its way'
  tidegate send --as alice --to bob --server chat.example.org:4433 --token \"$TOKEN\" hello

On the machine of a server in development mode the data folder has what is needed: the secret that tokens are
signed with, and the certificate.";

pub(super) const SUB_EXAMPLES: &str = "\
Examples:
  tidegate sub --as bob news/sport
  tidegate sub --as bob @all --from floor
  tidegate sub --as bob news/sport --after 120 --json
  tidegate sub --as bob news/sport --server chat.example.org:4433 --token \"$TOKEN\"

Messages go to standard output, everything else to standard error. Whoever begins where the last time ended keeps the
seq (#120) and says --after.";

pub(super) const PUB_EXAMPLES: &str = "\
Examples:
  tidegate pub --as alice news/sport goal
  seq 1000 | tidegate pub --as alice news/sport
  tidegate pub --as alice @all --local-id lunch-4711 'lunch is ready'

ACCEPTED: the message is durable. STORED: it has its place in the channel (conv_seq); it is in no inbox (seq 0).";

pub(super) const NEW_EPOCH_EXAMPLES: &str = "\
Examples:
  tidegate store new-epoch --data /var/lib/tidegate
  tidegate store new-epoch --config pipeline.toml";

pub(super) const DEAD_EXAMPLES: &str = "\
Examples:
  tidegate dead list --config pipeline.toml
  tidegate dead show 0-17 --config pipeline.toml
  tidegate dead retry 0-17 0-18 --config pipeline.toml";

pub(super) const CHECK_EXAMPLES: &str = "\
Examples:
  tidegate check --config tidegate.toml
  tidegate check --set listen.quic=0.0.0.0:4433
  tidegate check --role pipeline --config pipeline.toml";

pub(super) const BENCH_EXAMPLES: &str = "\
Examples:
  tidegate bench idle --connections 5000 --transport wt
  tidegate bench direct --pairs 100 --rate 5000 --transport quic
  tidegate bench direct --pairs 100 --outstanding 1 --transport ws
  tidegate bench spread --users 1000 --rate 5000
  tidegate bench spread --users 1000 --slow 10
  tidegate bench fanout --subs 1000 --rate 50 --transport ws
  tidegate bench fanout --subs 1000 --outstanding 16
  tidegate bench resume --clients 1000 --messages 10
  tidegate bench direct --server localhost:4433 --data tidegate-data

A server that runs already must be on this machine, for its CPU times are read from /proc, and needs
limits.messages_per_second and limits.messages_burst above the load.";
