//! `tidegate tail`: everything a user gets, on standard output, live, from where this device left off.

use std::io::{self, Write};

use anyhow::{Context as _, bail};
use tidegate_client::v1::Msg;
use tidegate_client::{Event, Events, Message};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Tail;
use crate::connect::{self, connect, time};

/// Prints until SIGINT or SIGTERM, the end of its output, or a refusal of the server.
pub(crate) async fn run(command: &Tail) -> anyhow::Result<()> {
    let device = command.connect.device.as_ref().map_or(DEVICE, |device| device.as_str());
    let session = connect::session(&command.connect)?.device(device);
    let (client, events) = connect(&command.connect, session).await?;
    eprintln!("connected as {}, device {device}; Ctrl-C ends", command.connect.user);
    let ended = print_all(events, "", command.json).await;
    client.close().await;
    ended
}

/// Prints what comes of a timeline; empty: the inbox. What is printed is acknowledged; the rest comes again the next time.
pub(crate) async fn print_all(mut events: Events, timeline: &str, json: bool) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    loop {
        let event = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            event = events.recv() => event,
        };
        let Some(event) = event else { return Ok(()) };
        match line(event, timeline, json)? {
            Said::Data(line) => match writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush()) {
                Ok(()) => {}
                // Whoever read this has enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(error).context("writing to standard output"),
            },
            Said::Note(note) => eprintln!("{note}"),
            Said::Nothing => {}
        }
    }
}

/// What an event is to a reader.
enum Said {
    Data(String),
    Note(String),
    Nothing,
}

fn line(event: Event, only: &str, json: bool) -> anyhow::Result<Said> {
    Ok(match event {
        Event::Message(Message { timeline, .. })
        | Event::Gone { timeline, .. }
        | Event::HistoryGone { timeline, .. }
            if timeline != only =>
        {
            Said::Nothing
        }
        Event::Message(message) if json => {
            Said::Data(serde_json::to_string(&message.msg).context("a message as JSON")?)
        }
        Event::Message(message) => Said::Data(text(&message.msg, message.seq)),
        Event::Gone { seq, .. } if json => {
            Said::Data(serde_json::json!({ "seq": seq, "gone": {} }).to_string())
        }
        Event::Gone { seq, .. } => Said::Data(format!("#{seq}  expired or deleted")),
        Event::HistoryGone { floor, .. } => {
            Said::Note(format!("what was before #{floor} is not kept any more"))
        }
        Event::Connected(_) => Said::Note("connected again".to_owned()),
        Event::Disconnected(reason) => Said::Note(format!("{:#}; trying again", anyhow::Error::new(reason))),
        Event::Unsubscribed { reason, .. } => bail!("the subscription has ended: {reason}"),
        Event::Closed(reason) => return Err(reason).context("the session has ended"),
        _ => Said::Nothing,
    })
}

fn text(msg: &Msg, seq: i64) -> String {
    let Msg { send_id, receiver_id, group_id, channel, send_time, content, nickname, .. } = msg;
    let target = [receiver_id, group_id, channel];
    let target = target.into_iter().find(|target| !target.is_empty()).map_or("", String::as_str);
    let who = match &**nickname {
        "" => send_id.clone(),
        nickname => format!("{} ({send_id})", readable(nickname.as_bytes())),
    };
    format!("{}  #{}  {who} -> {target}  {}", time(*send_time), seq, readable(content))
}

/// Content for a terminal: text without what would control it, anything else by its size.
fn readable(content: &[u8]) -> String {
    match std::str::from_utf8(content) {
        Ok(text) => text
            .chars()
            .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
            .collect(),
        Err(_) => format!("({} bytes)", content.len()),
    }
}

/// The device of every tail that is not told another one: its cursor is where the next one goes on.
const DEVICE: &str = "cli-tail";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nickname_stands_before_the_id() {
        let msg = |nickname: &str| {
            let ids = Msg { send_id: "@chat".into(), channel: "@all".into(), ..Msg::default() };
            Msg { nickname: nickname.into(), content: "hi".into(), ..ids }
        };
        let line = |msg| text(&msg, 7);
        assert_eq!(line(msg("")), "1970-01-01T00:00:00.000Z  #7  @chat -> @all  hi");
        assert_eq!(line(msg("Zoë\n")), "1970-01-01T00:00:00.000Z  #7  Zoë\\n (@chat) -> @all  hi");
    }

    #[test]
    fn a_terminal_is_not_controlled_by_what_others_write() {
        assert_eq!(readable("grüße 🐟".as_bytes()), "grüße 🐟");
        assert_eq!(readable(b"a\x1b[2Jb\nc\xc2\x9b"), "a\\u{1b}[2Jb\\nc\\u{9b}");
        assert_eq!(readable(&[0xff, 0xfe]), "(2 bytes)");
    }
}
