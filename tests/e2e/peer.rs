//! A client as the scenarios use it: one line for what they do, and an end for what hangs.

use tidegate_client::v1::{CloseCode, Signal, Welcome};
use tidegate_client::{Client, Config, Disconnect, Event, Events, Message, SendHandle, Stored, Transport};

use crate::server::Server;
pub(crate) use crate::shared::{spawn, text_to, within};

/// A device that is connected, and the first Welcome it got.
pub(crate) struct Peer {
    pub(crate) client: Client,
    pub(crate) events: Events,
    pub(crate) welcome: Welcome,
}

impl Peer {
    /// Connects `user`'s device.
    pub(crate) async fn connect(server: &Server, transport: Transport, user: &str, device: &str) -> Self {
        Self::connect_by(server.config(transport, user, device)).await
    }

    /// Connects as configured.
    pub(crate) async fn connect_by(config: Config) -> Self {
        let (client, mut events) = within(Client::connect(config)).await.expect("a session");
        let Some(Event::Connected(connected)) = within(events.recv()).await else {
            panic!("the first event is Connected")
        };
        Self { client, events, welcome: connected.welcome }
    }

    /// Sends, and goes on at once.
    pub(crate) async fn send(&self, to: &str, text: impl Into<String>) -> SendHandle {
        within(self.client.send(text_to(to, text))).await.expect("the client lives")
    }

    /// Sends, and waits until it is stored.
    pub(crate) async fn store(&self, to: &str, text: impl Into<String>) -> Stored {
        within(self.send(to, text).await.stored()).await.expect("it is stored")
    }

    /// The next event; none is an error.
    pub(crate) async fn event(&mut self) -> Event {
        within(self.events.recv()).await.expect("the client lives")
    }

    /// The next event, which must be a message.
    pub(crate) async fn message(&mut self) -> Message {
        match self.event().await {
            Event::Message(message) => message,
            other => panic!("no message: {other:?}"),
        }
    }

    /// The next message, over reconnects.
    pub(crate) async fn message_over_reconnects(&mut self) -> Message {
        loop {
            match self.event().await {
                Event::Message(message) => return message,
                Event::Connected(_) | Event::Disconnected(_) | Event::GoAway { .. } => {}
                other => panic!("no message: {other:?}"),
            }
        }
    }

    /// The text of the next event, which must be a message.
    pub(crate) async fn text(&mut self) -> String {
        text(&self.message().await)
    }

    /// The next event, which must be a signal.
    pub(crate) async fn signal(&mut self) -> Signal {
        match self.event().await {
            Event::Signal(signal) => signal,
            other => panic!("no signal: {other:?}"),
        }
    }

    /// The code by which the client was ended for good.
    pub(crate) async fn closed(&mut self) -> CloseCode {
        loop {
            match self.event().await {
                Event::Closed(Disconnect::Closed { code, .. }) => return code,
                Event::Closed(other) => panic!("ended otherwise: {other:?}"),
                _ => {}
            }
        }
    }

    /// Leaves: what was taken is acknowledged.
    pub(crate) async fn leave(self) {
        within(self.client.close()).await;
    }
}

/// A message's content.
pub(crate) fn text(message: &Message) -> String {
    String::from_utf8(message.msg.content.to_vec()).unwrap()
}
