//! `tidegate send` and `tidegate pub`: send a text, or each line of standard input, and print the receipts.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tidegate_client::v1::{ContentType, Msg, MsgType};
use tidegate_client::{Client, Events, SendError, SendHandle, Start};
use tidegate_proto::id::{ChannelName, UserId};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::time::timeout;

use crate::cli::{Connect, Words};
use crate::connect::{self, connect, time};

/// What is sent, and to whom.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    pub(crate) connect: &'a Connect,
    pub(crate) words: &'a Words,
    pub(crate) target: Target<'a>,
}

/// Who gets it.
#[derive(Debug)]
pub(crate) enum Target<'a> {
    User(&'a UserId),
    Channel(&'a ChannelName),
}

/// Sends, and waits until everything is stored; an error if anything was refused.
pub(crate) async fn run(command: &Sending<'_>) -> anyhow::Result<()> {
    let mut session = connect::session(command.connect)?.start(Start::Head);
    // Without one the device is new each time, so that senders at the same time do not replace each other.
    if let Some(device) = &command.connect.device {
        session = session.device(device.as_str());
    }
    let (client, events) = connect(command.connect, session).await?;
    let sent = tokio::select! {
        sent = send(command, &client) => sent,
        ended = ended(events) => Err(ended),
    };
    client.close().await;
    sent
}

async fn send(command: &Sending<'_>, client: &Client) -> anyhow::Result<()> {
    match &command.words.text {
        Some(text) => {
            let mut msg = message(command, text.clone());
            msg.local_id.clone_from(&command.words.local_id);
            let handle = client.send(msg).await?;
            ensure!(follow(handle).await?, "the message was refused");
            Ok(())
        }
        None => send_lines(command, client, tokio::io::stdin()).await,
    }
}

/// One message a line, in order; the next goes out before the one before it is answered.
async fn send_lines(
    command: &Sending<'_>,
    client: &Client,
    input: impl AsyncRead + Unpin,
) -> anyhow::Result<()> {
    let mut lines = BufReader::new(input).lines();
    let mut on_their_way = FuturesUnordered::new();
    let (mut open, mut sent, mut refused) = (true, 0_u64, 0_u64);
    while open || !on_their_way.is_empty() {
        tokio::select! {
            line = lines.next_line(), if open && on_their_way.len() < MAX_ON_THEIR_WAY => {
                match line.context("reading standard input as lines of UTF-8")? {
                    Some(line) => {
                        sent += 1;
                        on_their_way.push(follow(client.send(message(command, line)).await?));
                    }
                    None => open = false,
                }
            }
            Some(stored) = on_their_way.next() => refused += u64::from(!stored?),
        }
    }
    ensure!(refused == 0, "{refused} of {sent} messages were refused");
    Ok(())
}

fn message(command: &Sending<'_>, text: String) -> Msg {
    let mut msg = Msg { content: text.into(), content_type: ContentType::Text.into(), ..Msg::default() };
    match command.target {
        Target::User(user) => msg.receiver_id = user.to_string(),
        Target::Channel(channel) => {
            msg.channel = channel.to_string();
            msg.msg_type = MsgType::Channel.into();
        }
    }
    msg
}

/// Prints the receipts of a message. False: it was refused.
async fn follow(mut handle: SendHandle) -> anyhow::Result<bool> {
    let local_id = handle.local_id().to_owned();
    let receipts = timeout(RECEIPT_LIMIT, async {
        let accepted = handle.accepted().await?;
        print(&format!(
            "ACCEPTED  server_id={}  local_id={local_id}  send_time={}",
            accepted.server_id,
            time(accepted.send_time)
        ))?;
        let stored = handle.stored().await?;
        // A channel's message is in no inbox.
        let seq = if stored.seq > 0 { format!("  seq={}", stored.seq) } else { String::new() };
        print(&format!(
            "STORED    server_id={}  local_id={local_id}  send_time={}{seq}  conv_seq={}",
            stored.server_id,
            time(stored.send_time),
            stored.conv_seq
        ))?;
        anyhow::Ok(true)
    });
    match receipts.await {
        Ok(Err(error)) => match error.downcast_ref() {
            Some(SendError::Rejected(refusal)) => {
                print(&format!("REJECTED  local_id={local_id}  {refusal}"))?;
                Ok(false)
            }
            _ => Err(error),
        },
        Ok(stored) => stored,
        Err(_) => bail!(
            "no receipt within {} s, so the outcome is unknown; send the same text again with --local-id {local_id}",
            RECEIPT_LIMIT.as_secs()
        ),
    }
}

/// Takes what comes, so that receipts do too; gives why the client ended.
async fn ended(mut events: Events) -> anyhow::Error {
    while let Some(event) = events.recv().await {
        match event {
            tidegate_client::Event::Disconnected(reason) => {
                eprintln!("{:#}; trying again", anyhow::Error::new(reason));
            }
            tidegate_client::Event::Closed(reason) => {
                return anyhow::Error::new(reason).context("the session has ended");
            }
            _ => {}
        }
    }
    anyhow::anyhow!("the session has ended")
}

fn print(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// As many as the server takes unanswered.
const MAX_ON_THEIR_WAY: usize = tidegate_proto::limits::MAX_IN_FLIGHT;
/// The client sends again by itself until then.
const RECEIPT_LIMIT: Duration = Duration::from_secs(60);
