//! The client's streams on an HTTP/3 connection, from the first to the last: found, told apart, kept or refused.

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use quinn::{Connection, ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};

use super::capsule::CloseReader;
use super::h3;
use super::reading::{Arrived, RequestStream, read_bi, read_uni};
use crate::transport::quic::{Budget, Ended, refuse};

/// Reads the beginnings of all streams side by side.
pub(super) struct Arrivals {
    connection: Connection,
    budget: Budget,
    reading: FuturesUnordered<BoxFuture<'static, Result<Arrived, Refused>>>,
    /// Streams of sessions that came before the session.
    early: Vec<(u64, SendStream, RecvStream)>,
    has_settings: bool,
    /// The types of QPACK's streams that are there.
    qpack: Vec<u64>,
    /// HTTP/3's streams of the client, which live as long as the connection.
    kept: Vec<RecvStream>,
    /// And ours.
    _settings: SendStream,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The connection has ended.
    #[error("the connection is lost")]
    Lost(#[from] ConnectionError),
    /// What was sent is not HTTP/3, or too much of it.
    #[error("{what}")]
    Http3 {
        /// HTTP/3's code for it.
        code: VarInt,
        /// What was wrong.
        what: &'static str,
    },
    /// The request was answered with a status other than 200.
    #[error("the request was answered {status}")]
    Answered {
        /// The status.
        status: u16,
    },
}

impl Refused {
    pub(super) fn http3(code: VarInt, what: &'static str) -> Self {
        Self::Http3 { code, what }
    }
}

impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => Self::Lost(error),
            _ => Self::http3(h3::MESSAGE_ERROR, "the request was given up"),
        }
    }
}

impl Arrivals {
    /// All streams of `connection`; `settings` is our control stream.
    pub(super) fn new(connection: Connection, settings: SendStream) -> Self {
        Self {
            connection,
            budget: Budget::new(),
            reading: FuturesUnordered::new(),
            early: Vec::new(),
            has_settings: false,
            qpack: Vec::new(),
            kept: Vec::new(),
            _settings: settings,
        }
    }

    /// The first request, once the client's settings are there too.
    pub(super) async fn request(&mut self) -> Result<RequestStream, Refused> {
        let mut first = None;
        loop {
            match self.next().await? {
                Arrived::Request(request) if first.is_none() => first = Some(request),
                Arrived::Request(request) => refuse(h3::REQUEST_REJECTED, request.send, request.recv),
                // At most as many as there are streams allowed at a time.
                Arrived::Session(session, send, recv) => self.early.push((session, send, recv)),
                // HTTP/3's settings may come after the request.
                Arrived::Settings(_) | Arrived::Qpack(..) | Arrived::Ignored => {}
            }
            if self.has_settings
                && let Some(request) = first.take()
            {
                return Ok(request);
            }
        }
    }

    /// The first bidirectional stream of the session, which is its control stream. Others are refused.
    pub(super) async fn control(&mut self, session: u64) -> Result<(SendStream, RecvStream), Refused> {
        let mut control = None;
        for (of, send, recv) in self.early.drain(..) {
            if of == session && control.is_none() {
                control = Some((send, recv));
            } else {
                refuse(h3::STREAM_REJECTED, send, recv);
            }
        }
        loop {
            if let Some(control) = control {
                return Ok(control);
            }
            match self.next().await? {
                Arrived::Session(of, send, recv) if of == session => control = Some((send, recv)),
                other => refuse_arrived(other),
            }
        }
    }

    /// What a connection needs once its session is there: further streams are refused, HTTP/3's are kept, and the end
    /// of the session is looked for on the request stream.
    pub(super) async fn rest(mut self, request: RecvStream) -> Ended {
        let connection = self.connection.clone();
        let refused = tokio::select! {
            ended = until_closed(request) => return ended,
            refused = self.refuse_all() => refused,
        };
        match refused {
            Refused::Lost(error) => Ended::lost(&error),
            Refused::Http3 { code, what } => {
                connection.close(code, what.as_bytes());
                Ended::Gone(None)
            }
            Refused::Answered { .. } => Ended::Gone(None),
        }
    }

    async fn refuse_all(&mut self) -> Refused {
        loop {
            match self.next().await {
                Ok(arrived) => refuse_arrived(arrived),
                Err(refused) => return refused,
            }
        }
    }

    /// The next stream that could be told apart; HTTP/3's own are kept. Cancel safe.
    async fn next(&mut self) -> Result<Arrived, Refused> {
        loop {
            tokio::select! {
                accepted = self.connection.accept_bi() => {
                    let (send, recv) = accepted?;
                    self.spend()?;
                    self.reading.push(Box::pin(read_bi(send, recv)));
                }
                accepted = self.connection.accept_uni() => {
                    let recv = accepted?;
                    self.spend()?;
                    self.reading.push(Box::pin(read_uni(recv)));
                }
                Some(arrived) = self.reading.next() => return self.keep(arrived?),
            }
        }
    }

    /// Keeps HTTP/3's own streams, of which there may be one each.
    fn keep(&mut self, arrived: Arrived) -> Result<Arrived, Refused> {
        let double =
            || Refused::http3(h3::STREAM_CREATION_ERROR, "a second stream of a kind there is one of");
        match arrived {
            Arrived::Settings(recv) => {
                if std::mem::replace(&mut self.has_settings, true) {
                    return Err(double());
                }
                self.kept.push(recv);
            }
            Arrived::Qpack(kind, recv) => {
                if self.qpack.contains(&kind) {
                    return Err(double());
                }
                self.qpack.push(kind);
                self.kept.push(recv);
            }
            other => return Ok(other),
        }
        Ok(Arrived::Ignored)
    }

    fn spend(&mut self) -> Result<(), Refused> {
        if self.budget.spend() {
            return Ok(());
        }
        Err(Refused::http3(h3::EXCESSIVE_LOAD, "too many streams were opened"))
    }
}

fn refuse_arrived(arrived: Arrived) {
    match arrived {
        Arrived::Request(request) => refuse(h3::REQUEST_REJECTED, request.send, request.recv),
        Arrived::Session(_, send, recv) => refuse(h3::STREAM_REJECTED, send, recv),
        Arrived::Settings(_) | Arrived::Qpack(..) | Arrived::Ignored => {}
    }
}

/// Waits until the client has closed the session; with its code, 0 when it only ended the stream.
async fn until_closed(mut request: RecvStream) -> Ended {
    let mut reader = CloseReader::default();
    loop {
        match request.read_chunk(MAX_CHUNK_BYTES, true).await {
            Ok(Some(chunk)) => {
                if let Some(code) = reader.push(&chunk.bytes) {
                    return Ended::Gone(Some(code));
                }
            }
            Ok(None) => return Ended::Gone(Some(0)),
            Err(ReadError::ConnectionLost(error)) => return Ended::lost(&error),
            Err(_) => return Ended::Gone(None),
        }
    }
}

const MAX_CHUNK_BYTES: usize = 1_024;
