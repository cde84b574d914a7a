//! HTTP and WebSocket by hand over a TCP socket.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A WebSocket after its upgrade.
pub(super) struct Socket {
    pub(super) tcp: TcpStream,
    code: u32,
}

impl Socket {
    /// Asks for `path` with a subprotocol, and gets it.
    pub(super) async fn upgrade(address: SocketAddr, path: &str, subprotocol: &str) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        Self::upgrade_on(tcp, address, path, subprotocol).await
    }

    /// The same on a socket that is connected.
    pub(super) async fn upgrade_on(
        tcp: TcpStream,
        address: SocketAddr,
        path: &str,
        subprotocol: &str,
    ) -> Self {
        let request = upgrade_request(address, path, subprotocol);
        let mut socket = Self { tcp, code: 0 };
        socket.tcp.write_all(request.as_bytes()).await.unwrap();
        let head = read_head(&mut socket.tcp).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        socket
    }

    /// A binary message, masked as it must be.
    pub(super) async fn write_message(&mut self, payload: &[u8]) {
        self.write_raw(&message(2, payload)).await;
    }

    /// Bytes as they are. The server may have closed already.
    pub(super) async fn write_raw(&mut self, bytes: &[u8]) {
        let _ = self.tcp.write_all(bytes).await;
    }

    pub(super) async fn shut_down(&mut self) {
        let _ = self.tcp.shutdown().await;
    }

    /// The next message that is no ping; `None` after the close frame or the end.
    pub(super) async fn read_message(&mut self) -> Option<Vec<u8>> {
        loop {
            let (opcode, payload) = self.read_frame().await?;
            match opcode {
                8 => {
                    self.code = payload.first_chunk().map_or(0, |code| u32::from(u16::from_be_bytes(*code)));
                    self.write_raw(&message(8, &payload)).await;
                    return None;
                }
                9 | 10 => {}
                _ => return Some(payload),
            }
        }
    }

    /// The code of the close frame, once the connection is closed.
    pub(super) async fn closed(mut self) -> u32 {
        self.shut_down().await;
        let mut rest = Vec::new();
        // It may end in a reset.
        let _ = self.tcp.read_to_end(&mut rest).await;
        self.code
    }

    async fn read_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.tcp.read_u8().await.ok()?;
        let length = match self.tcp.read_u8().await.ok()? {
            126 => u64::from(self.tcp.read_u16().await.ok()?),
            127 => self.tcp.read_u64().await.ok()?,
            length => u64::from(length),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.tcp.read_exact(&mut payload).await.ok()?;
        Some((first & 0x0f, payload))
    }
}

/// A WebSocket frame of a client, whole and masked with zeros.
pub(super) fn message(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// The request for a WebSocket.
pub(super) fn upgrade_request(address: SocketAddr, path: &str, subprotocol: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
    )
}

/// The head of an answer; what there is of it when the connection ends before.
pub(super) async fn read_head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n")
        && let Ok(byte) = tcp.read_u8().await
    {
        head.push(byte);
    }
    String::from_utf8_lossy(&head).into_owned()
}
