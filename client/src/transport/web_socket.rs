//! A connection over WebSocket: binary messages that hold whole frames.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_util::{Sink, Stream};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::{HeaderValue, Uri};
use rustls_pki_types::ServerName;
use tidegate_proto::SUBPROTOCOL;
use tidegate_proto::framing::split_frame;
use tidegate_proto::limits::MAX_FRAME_BYTES;
use tidegate_proto::v1::CloseCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_websockets::{ClientBuilder, Limits, Message, WebSocketStream};

use super::{Link, LinkError};
use crate::config::BoxError;
use crate::read_rate::Throttle;

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<Io>,
    /// What is left of the last message.
    buffer: BytesMut,
    /// Binary ones that have come.
    messages: u64,
    finished: bool,
}

/// What it runs over, read no faster than wished.
#[derive(Debug)]
struct Io {
    carrier: Carrier,
    throttle: Throttle,
}

#[derive(Debug)]
enum Carrier {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(test)]
    Pipe(tokio::io::DuplexStream),
}

/// Connects to `server`; with a receive buffer as small as may be if it is `tiny`.
pub(crate) async fn connect(server: &str, tiny: bool) -> io::Result<TcpStream> {
    let tcp = if tiny { connect_tiny(server).await? } else { TcpStream::connect(server).await? };
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// Upgrades by `ws://{server}/ws`.
pub(crate) async fn open(tcp: TcpStream, server: &str) -> Result<Link, BoxError> {
    upgrade(Io::new(Carrier::Plain(tcp)), format!("ws://{server}/ws").parse()?).await
}

/// Upgrades by `wss://{server}/ws`; the certificate is for `name`.
pub(crate) async fn open_tls(
    tcp: TcpStream,
    server: &str,
    name: String,
    tls: Arc<rustls::ClientConfig>,
) -> Result<Link, BoxError> {
    let stream = TlsConnector::from(tls).connect(ServerName::try_from(name)?, tcp).await?;
    upgrade(Io::new(Carrier::Tls(Box::new(stream))), format!("wss://{server}/ws").parse()?).await
}

/// A WebSocket over a stream on which the handshake has been made.
#[cfg(test)]
pub(crate) fn over(pipe: tokio::io::DuplexStream) -> Link {
    let io = Io::new(Carrier::Pipe(pipe));
    Link::WebSocket(Box::new(Socket::new(ClientBuilder::new().limits(limits()).take_over(io))))
}

/// The buffer must be small before the connection is: by it the window is scaled.
async fn connect_tiny(server: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in lookup_host(server).await? {
        let tcp = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        tcp.set_recv_buffer_size(TINY_BUFFER_BYTES)?;
        match tcp.connect(address).await {
            Ok(tcp) => return Ok(tcp),
            Err(error) => last = error,
        }
    }
    Err(last)
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
        Self { stream, buffer: BytesMut::new(), messages: 0, finished: false }
    }

    pub(crate) fn throttle(&mut self, throttle: Throttle) {
        self.stream.get_mut().throttle = throttle;
    }

    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    pub(crate) fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, LinkError>> {
        loop {
            if let Some(frame) = split_frame(&mut self.buffer, MAX_FRAME_BYTES)? {
                return Poll::Ready(Ok(frame));
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
                self.messages += 1;
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
    fn new(carrier: Carrier) -> Self {
        Self { carrier, throttle: Throttle::default() }
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut dyn ByteStream> {
        match &mut self.get_mut().carrier {
            Carrier::Plain(stream) => Pin::new(stream),
            Carrier::Tls(stream) => Pin::new(stream.as_mut()),
            #[cfg(test)]
            Carrier::Pipe(stream) => Pin::new(stream),
        }
    }
}

/// Both directions of a byte stream.
trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> ByteStream for T {}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let max = ready!(self.throttle.poll_allowance(cx, buf.remaining()));
        let before = buf.filled().len();
        if max == buf.remaining() {
            ready!(self.as_mut().stream().poll_read(cx, buf))?;
        } else {
            let mut piece = ReadBuf::new(buf.initialize_unfilled_to(max));
            ready!(self.as_mut().stream().poll_read(cx, &mut piece))?;
            let filled = piece.filled().len();
            buf.advance(filled);
        }
        self.throttle.took(buf.filled().len() - before);
        Poll::Ready(Ok(()))
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
        match &self.carrier {
            Carrier::Plain(stream) => stream.is_write_vectored(),
            Carrier::Tls(stream) => stream.is_write_vectored(),
            #[cfg(test)]
            Carrier::Pipe(stream) => stream.is_write_vectored(),
        }
    }
}

fn transport(error: tokio_websockets::Error) -> LinkError {
    LinkError::Transport(error.into())
}

/// A message holds what the server had due: several frames, of 72 KiB at most each.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;
/// The system makes of it what is least for it.
const TINY_BUFFER_BYTES: u32 = 4 * 1024;
