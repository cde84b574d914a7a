//! What the application's handle asks of the connection task.

use tidegate_proto::Refusal;
use tidegate_proto::v1::{ClientFrame, Msg, Signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::channels;
use crate::requests::{Answer, Ask};
use crate::send::Waiter;

/// One wish of the application.
#[derive(Debug)]
pub(crate) enum Command {
    /// Send a message until it is stored or refused.
    Send { msg: Msg, waiter: Waiter },
    /// Ask, and wait for the answer.
    Ask { ask: Ask, waiter: oneshot::Sender<Result<Answer, Refusal>> },
    /// Subscribe to a channel, on this session and on those that follow.
    Subscribe { channel: String, after: Option<i64>, waiter: channels::Waiter },
    /// No longer.
    Unsubscribe(String),
    /// Send a signal, now or not at all.
    Signal(Signal),
    /// Acknowledge, now or not at all.
    Ack(i64),
    /// Send this frame as it is, now or not at all.
    Frame(ClientFrame),
    /// Cut the connection.
    DropConnection,
}

/// Where the commands come from.
#[derive(Debug)]
pub(crate) struct Inlet {
    commands: mpsc::Receiver<Command>,
    open: bool,
    closing: CancellationToken,
}

impl Inlet {
    /// Commands from `commands`, until `closing` is cancelled.
    pub(crate) fn new(commands: mpsc::Receiver<Command>, closing: CancellationToken) -> Self {
        Self { commands, open: true, closing }
    }

    /// Whether the application wants the client to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// The next command; `None` when the application wants the client to end. Waits for that once no `Client` is left
    /// to give a command. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Command> {
        loop {
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return None,
                command = self.commands.recv(), if self.open => match command {
                    Some(command) => return Some(command),
                    None => self.open = false,
                },
            }
        }
    }

    /// The next command, if one is there.
    pub(crate) fn try_next(&mut self) -> Option<Command> {
        self.commands.try_recv().ok()
    }
}
