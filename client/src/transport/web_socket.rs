//! A connection over WebSocket: binary messages that hold whole frames.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use futures_util::{Sink, Stream};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderValue, Uri};
use rustls_pki_types::ServerName;
use tidegate_proto::SUBPROTOCOL;
use tidegate_proto::framing::split_frame;
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tidegate_proto::v1::{CloseCode, ServerFrame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_websockets::{ClientBuilder, Limits, Message, WebSocketStream};

use super::{Link, LinkError, decode};
use crate::config::BoxError;

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<Io>,
    /// What is left of the last message.
    buffer: BytesMut,
    finished: bool,
}

/// What it runs over.
#[derive(Debug)]
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(test)]
    Pipe(tokio::io::DuplexStream),
}

/// Connects by `ws://{server}/ws`.
pub(crate) async fn open(server: String) -> Result<Link, BoxError> {
    let tcp = connect(&server).await?;
    upgrade(Io::Plain(tcp), format!("ws://{server}/ws").parse()?).await
}

/// Connects by `wss://{server}/ws`; the certificate is for `name`.
pub(crate) async fn open_tls(
    server: String,
    name: String,
    tls: Arc<rustls::ClientConfig>,
) -> Result<Link, BoxError> {
    let tcp = connect(&server).await?;
    let stream = TlsConnector::from(tls).connect(ServerName::try_from(name)?, tcp).await?;
    upgrade(Io::Tls(Box::new(stream)), format!("wss://{server}/ws").parse()?).await
}

/// A WebSocket over a stream on which the handshake has been made.
#[cfg(test)]
pub(crate) fn over(io: Io) -> Link {
    Link::WebSocket(Box::new(Socket::new(ClientBuilder::new().limits(limits()).take_over(io))))
}

async fn connect(server: &str) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(server).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn upgrade(io: Io, uri: Uri) -> Result<Link, BoxError> {
    let (stream, response) = ClientBuilder::from_uri(uri)
        .limits(limits())
        .add_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL))?
        .connect_on(io)
        .await?;
    if response.headers().get(SEC_WEBSOCKET_PROTOCOL).is_none_or(|chosen| chosen != SUBPROTOCOL) {
        return Err(format!("the server does not speak the subprotocol {SUBPROTOCOL}").into());
    }
    Ok(Link::WebSocket(Box::new(Socket::new(stream))))
}

fn limits() -> Limits {
    Limits::default().max_payload_len(Some(MAX_MESSAGE_BYTES))
}

impl Socket {
    fn new(stream: WebSocketStream<Io>) -> Self {
        Self { stream, buffer: BytesMut::new(), finished: false }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<ServerFrame, LinkError>> {
        loop {
            if let Some(frame) = split_frame(&mut self.buffer, MAX_FRAME_BYTES)? {
                return Poll::Ready(decode(&frame));
            }
            if !self.buffer.is_empty() {
                return Poll::Ready(Err(LinkError::Protocol("a message ends within a frame")));
            }
            self.buffer = BytesMut::new();
            let message = ready!(Pin::new(&mut self.stream).poll_next(cx));
            let message = message.ok_or(LinkError::Ended)?.map_err(transport)?;
            if let Some((code, reason)) = message.as_close() {
                let error = LinkError::Closed { code: u16::from(code).into(), reason: reason.to_owned() };
                // The echo of the close goes out if it can at once.
                let _ = Pin::new(&mut self.stream).poll_flush(cx);
                return Poll::Ready(Err(error));
            }
            if message.is_text() {
                return Poll::Ready(Err(LinkError::Protocol("a text message")));
            }
            if message.is_binary() {
                self.buffer = message.into_payload().into();
            }
        }
    }

    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut BytesMut,
    ) -> Poll<Result<(), LinkError>> {
        let mut stream = Pin::new(&mut self.stream);
        if !out.is_empty() {
            ready!(stream.as_mut().poll_ready(cx)).map_err(transport)?;
            stream.as_mut().start_send(Message::binary(out.split())).map_err(transport)?;
        }
        stream.poll_flush(cx).map_err(transport)
    }

    pub(crate) fn finish(&mut self, code: CloseCode) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let code = u16::try_from(code as i32).ok().and_then(|code| code.try_into().ok());
        // Queued only, and written with the next flush; on a stream that is closed there is nobody to tell.
        let _ = Pin::new(&mut self.stream).start_send(Message::close(code, ""));
    }
}

impl Io {
    fn stream(self: Pin<&mut Self>) -> Pin<&mut dyn ByteStream> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream),
            Self::Tls(stream) => Pin::new(stream.as_mut()),
            #[cfg(test)]
            Self::Pipe(stream) => Pin::new(stream),
        }
    }
}

/// Both directions of a byte stream.
trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> ByteStream for T {}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            #[cfg(test)]
            Self::Pipe(stream) => stream.is_write_vectored(),
        }
    }
}

fn transport(error: tokio_websockets::Error) -> LinkError {
    LinkError::Transport(error.into())
}

/// A message holds what the server had due: several frames, of 72 KiB at most each.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
