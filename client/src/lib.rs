//! The Rust client of tidegate: raw QUIC, WebTransport and WebSocket behind one type.
//!
//! [`Client::connect`] gives two handles: [`Client`] to act and [`Events`] to hear. The client lives through reconnects
//! by itself: it goes on where it was, sends again what has no final answer, and gives every message to the application
//! once, those of a conversation in order.
//!
//! ```no_run
//! use tidegate_client::{Client, Config, Event, v1::Msg};
//!
//! # async fn example(token: String) -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new("chat.example.org:4433").token(token).device("my-laptop");
//! let (client, mut events) = Client::connect(config).await?;
//!
//! let hello = Msg { receiver_id: "bob".into(), content: "hello".into(), ..Msg::default() };
//! let mut sent = client.send(hello).await?;
//! println!("durable since {}", sent.accepted().await?.send_time);
//!
//! while let Some(event) = events.recv().await {
//!     match event {
//!         Event::Message(message) => println!("{}: {:?}", message.msg.send_id, message.msg.content),
//!         Event::Disconnected(reason) => println!("{reason}; coming back"),
//!         Event::Closed(reason) => println!("{reason}"),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Events wait in a bounded queue. An application that does not come for them stops the client from reading, and so,
//! by flow control, the server: wait for receipts and for events in different tasks, or drop the [`Events`].

#![warn(missing_docs)]

mod attempt;
mod backoff;
mod channels;
mod client;
mod command;
mod config;
mod connect;
mod dial;
mod endpoint;
mod event;
mod inbox;
mod mailbox;
mod pending;
mod raw;
mod read_rate;
mod requests;
mod route;
mod send;
mod session;
mod stagger;
mod state;
mod transport;
mod trust;
mod worker;

pub use client::{Client, Events, History, RequestError, StartAt};
pub use config::{Acks, BoxError, Config, Start, Transport};
pub use connect::ConnectError;
pub use dial::OpenError;
pub use endpoint::{Endpoint, EndpointError};
pub use event::{Connected, Disconnect, Event, Message, Position};
pub use raw::Raw;
pub use read_rate::ReadRate;
pub use send::{Accepted, SendError, SendHandle, Stored};
pub use tidegate_proto::{Refusal, v1};
pub use transport::LinkError;
pub use trust::{Trust, TrustError};
