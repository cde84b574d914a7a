//! Connections of gRPC as they come: counted, bounded, ended when nothing comes from them, and cut off at the end.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::{select_all, unfold};
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::warn;

use super::metrics::Metrics;

/// Where connections come in. All of them end at the `cut`.
#[derive(Clone)]
pub(super) struct Listeners(Vec<Arc<Accepting>>);

impl Listeners {
    /// At most so many connections at once; more are closed as they come.
    pub(super) fn new(
        listeners: Vec<TcpListener>,
        places: usize,
        metrics: &Metrics,
        cut: &CancellationToken,
    ) -> Self {
        let places = Arc::new(Semaphore::new(places));
        let accepting = |tcp| {
            Arc::new(Accepting { tcp, places: places.clone(), metrics: metrics.clone(), cut: cut.clone() })
        };
        Self(listeners.into_iter().map(accepting).collect())
    }

    /// The connections of all of them.
    pub(super) fn incoming(self) -> impl Stream<Item = Result<Connection, Infallible>> {
        select_all(self.0.into_iter().map(|accepting| {
            Box::pin(unfold(accepting, async |accepting| {
                let connection = accepting.next().await;
                Some((Ok(connection), accepting))
            }))
        }))
    }
}

struct Accepting {
    tcp: TcpListener,
    places: Arc<Semaphore>,
    metrics: Metrics,
    cut: CancellationToken,
}

impl Accepting {
    async fn next(&self) -> Connection {
        loop {
            match self.tcp.accept().await {
                Ok((tcp, _)) => match self.places.clone().try_acquire_owned() {
                    Ok(place) => {
                        // A failure would only make it slower.
                        let _ = tcp.set_nodelay(true);
                        return Connection::new(tcp, Place::new(place, &self.metrics.connections), &self.cut);
                    }
                    Err(_) => _ = self.metrics.full.inc(),
                },
                Err(error) => {
                    warn!(error = &error as &dyn std::error::Error, "gRPC: accepting pauses");
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// A connection with its place among all.
pub(super) struct Connection {
    tcp: TcpStream,
    /// When it ends unless something comes before.
    idle: Pin<Box<Sleep>>,
    read_at: Instant,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
}

struct Place {
    _permit: OwnedSemaphorePermit,
    live: Gauge,
}

impl Connection {
    fn new(tcp: TcpStream, place: Place, cut: &CancellationToken) -> Self {
        Self {
            tcp,
            idle: Box::pin(sleep(IDLE)),
            read_at: Instant::now(),
            cut: Box::pin(cut.clone().cancelled_owned()),
            _place: place,
        }
    }

    /// Why nothing more is read, if so.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, "the server has stopped"));
        }
        loop {
            ready!(self.idle.as_mut().poll(cx));
            let over_at = self.read_at + IDLE;
            if over_at <= Instant::now() {
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "nothing comes any more"));
            }
            self.idle.as_mut().reset(over_at);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(error) = self.poll_over(cx) {
            return Poll::Ready(Err(error));
        }
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        self.read_at = Instant::now();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.tcp.connect_info()
    }
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, live: &Gauge) -> Self {
        live.inc();
        Self { _permit: permit, live: live.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.live.dec();
    }
}

/// After this long without a byte a connection ends. A peer that lives answers a ping every 3 s; before the first one
/// it has this long to say anything.
const IDLE: Duration = Duration::from_secs(30);
/// Before accepting is tried again, for instance when no descriptor is left.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn bound() -> (TcpListener, std::net::SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test]
    async fn beyond_the_places_a_connection_is_closed_at_once() {
        let ((one, first), (two, second)) = (bound().await, bound().await);
        let (metrics, cut) = (Metrics::default(), CancellationToken::new());
        let mut incoming = Box::pin(Listeners::new(vec![one, two], 1, &metrics, &cut).incoming());
        let mut client = TcpStream::connect(first).await.unwrap();
        let Some(Ok(mut connection)) = incoming.next().await else { unreachable!() };
        let mut late = TcpStream::connect(second).await.unwrap();
        let refused = async { late.read_u8().await.unwrap_err() };
        tokio::select! {
            _ = incoming.next() => panic!("there was no place"),
            _ = refused => {}
        }
        assert_eq!((metrics.connections.get(), metrics.full.get()), (1, 1));

        client.write_all(b"x").await.unwrap();
        assert_eq!(connection.read_u8().await.unwrap(), b'x');
        connection.write_all(b"y").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'y');
        drop(connection);
        assert_eq!(metrics.connections.get(), 0);
        let _client = TcpStream::connect(second).await.unwrap();
        assert!(incoming.next().await.is_some(), "there is a place again");
    }

    #[tokio::test]
    async fn a_connection_ends_when_nothing_comes_or_the_server_stops() {
        let (listener, address) = bound().await;
        let (metrics, cut) = (Metrics::default(), CancellationToken::new());
        let mut incoming = Box::pin(Listeners::new(vec![listener], 9, &metrics, &cut).incoming());
        let _silent = TcpStream::connect(address).await.unwrap();
        let Some(Ok(mut silent)) = incoming.next().await else { unreachable!() };
        tokio::time::pause();
        let began = Instant::now();
        assert_eq!(silent.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() <= IDLE + Duration::from_secs(1));
        tokio::time::resume();

        let _other = TcpStream::connect(address).await.unwrap();
        let Some(Ok(mut other)) = incoming.next().await else { unreachable!() };
        cut.cancel();
        assert_eq!(other.read_u8().await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
