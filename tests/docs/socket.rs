//! A WebSocket of the hand tools' kind: text, JSON, nothing else.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    /// The largest seq of the own inbox that came.
    pub(crate) seq: u64,
}

impl Socket {
    pub(crate) async fn open(address: &str, path: &str, subprotocol: Option<&str>) -> Self {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        let protocol =
            subprotocol.map_or_else(String::new, |name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(LIMIT, tcp.read_u8()).await.expect("an answer").unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        Self { stream: ClientBuilder::new().take_over(tcp), seq: 0 }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.send(Message::text(text.to_owned())).await.unwrap();
    }

    /// The next text; `None` at the close.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let message = timeout(LIMIT, self.stream.next()).await.expect("a text or the end")?.unwrap();
            if let Some(text) = message.as_text() {
                let value: Value = serde_json::from_str(text).unwrap();
                for kind in ["deliver", "receipt"] {
                    self.seq = self.seq.max(value[kind]["seq"].as_u64().unwrap_or_default());
                }
                return Some(value);
            }
            if message.is_close() {
                return None;
            }
        }
    }

    /// With which code the server closes.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            let message =
                timeout(LIMIT, self.stream.next()).await.expect("the close").expect("a code").unwrap();
            if let Some((code, _)) = message.as_close() {
                return code.into();
            }
        }
    }
}

/// Ends what hangs; no verdict depends on it.
const LIMIT: Duration = Duration::from_secs(60);
