//! A session as bare as it can be: frames go out and come in. For tools that measure a server, thousands in a process.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tidegate_proto::framing::put_frame;
use tidegate_proto::v1::ClientFrame;

use crate::config::Config;
use crate::connect::{ConnectError, Connector};
use crate::dial::Dialer;
use crate::transport::{Link, LinkError};

/// A session without what [`Client`](crate::Client) does for it: nothing is acknowledged, healed or pinged, and what
/// comes is not even decoded. It ends when it is dropped.
#[derive(Debug)]
pub struct Raw {
    link: Link,
    out: BytesMut,
}

impl Raw {
    /// Connects once, as `config` says, up to Welcome.
    pub async fn open(config: Config) -> Result<Self, ConnectError> {
        let mut connector = Connector::new(&config, Dialer::network(&config), Arc::default());
        let opened = Box::pin(connector.round(None)).await?;
        Ok(Self { link: opened.link, out: BytesMut::new() })
    }

    /// Writes a frame.
    pub async fn send(&mut self, frame: &ClientFrame) -> Result<(), LinkError> {
        put_frame(&mut self.out, frame);
        poll_fn(|cx| self.link.poll_write(cx, &mut self.out)).await
    }

    /// The next frame, the bytes of a `ServerFrame`. Cancel safe.
    pub async fn recv(&mut self) -> Result<Bytes, LinkError> {
        poll_fn(|cx| self.link.poll_bytes(cx)).await
    }

    /// How many WebSocket messages have come, or STREAM frames of QUIC: what the server wrote at once is in one of
    /// them, or in one for each packet that it took. Takes a lock with QUIC: not for each frame.
    pub fn pieces(&self) -> u64 {
        self.link.pieces()
    }
}
