//! `tidegate sub`: everything of a channel, on standard output, live.

use tidegate_client::v1::Subscribed;
use tidegate_client::{Start, StartAt};
use tidegate_proto::timeline::Timeline;

use crate::cli::{From, Sub};
use crate::connect::{self, connect};
use crate::tail::print_all;

/// Prints until SIGINT or SIGTERM, the end of its output, or a refusal of the server.
pub(crate) async fn run(command: &Sub) -> anyhow::Result<()> {
    let mut session = connect::session(&command.connect)?.start(Start::Head);
    // Without one the device is new each time, so that several do not replace each other.
    if let Some(device) = &command.connect.device {
        session = session.device(device.as_str());
    }
    let (client, events) = connect(&command.connect, session).await?;
    let start = match (command.after, command.from) {
        (Some(seq), _) => StartAt::After(seq),
        (None, From::Floor) => StartAt::Floor,
        (None, From::Head) => StartAt::Head,
    };
    let timeline = Timeline::channel(&command.channel);
    let printing = print_all(events, timeline.as_str(), command.json);
    let subscribing = async {
        let subscribed = client.subscribe(command.channel.as_str(), start).await?;
        eprintln!(
            "subscribed to {}, {}, subscribers: {}; Ctrl-C ends",
            command.channel,
            kept(&subscribed),
            subscribed.count
        );
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = printing => ended,
        refused = subscribing => refused,
    };
    client.close().await;
    ended
}

/// What the channel keeps.
fn kept(&Subscribed { head, floor, .. }: &Subscribed) -> String {
    if floor > head { "nothing is in it".to_owned() } else { format!("#{floor} to #{head}") }
}
