//! Everything that waits to be written on a connection, stream by stream. Knows no reading and no closing.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use quinn::{Connection, SendStream, WriteError};
use tidegate_proto::framing::put_frame;
use tidegate_proto::v1::{ServerFrame, StreamHeader, stream_header};

use super::writer::Writer;
use crate::transport::queue::WriteQueue;

/// The control stream, the lanes and the streams of answers.
#[derive(Debug)]
pub(super) struct Outbox {
    connection: Connection,
    /// The beginning of every unidirectional stream.
    uni_header: Bytes,
    control: Writer,
    /// By number; `None` until something is sent on it.
    lanes: Vec<Option<Writer>>,
    /// Answers to Pull; only the first is being written.
    pages: VecDeque<Writer>,
    queued: usize,
    written: u64,
}

/// Why nothing more can be written.
#[derive(Debug)]
pub(super) enum WriteEnd {
    /// The client has stopped a lane.
    LaneStopped,
    /// The control stream or the connection is gone.
    Lost(WriteError),
}

impl Outbox {
    /// An outbox whose only stream is the control stream.
    pub(super) fn new(connection: Connection, control: SendStream, uni_header: Bytes) -> Self {
        let control = Writer::open(control);
        let (lanes, pages) = (Vec::new(), VecDeque::new());
        Self { connection, uni_header, control, lanes, pages, queued: 0, written: 0 }
    }

    /// From now on uses `lanes` lanes.
    pub(super) fn set_lanes(&mut self, lanes: usize) {
        self.lanes.resize_with(lanes, || None);
    }

    /// Queues on the lane of `hash`, or on the control stream without a hash or without lanes.
    pub(super) fn put(&mut self, hash: Option<u32>, fill: impl FnOnce(&mut WriteQueue)) {
        let lane = hash.filter(|_| !self.lanes.is_empty()).map(|hash| hash as usize % self.lanes.len());
        let queue = match lane {
            None => &mut self.control.queue,
            Some(number) => {
                let lane = self.lanes[number].get_or_insert_with(|| {
                    let lane = uni(&self.uni_header, stream_header::Kind::Lane(number as u32), LANE_PRIORITY);
                    self.queued += lane.queue.len();
                    lane
                });
                &mut lane.queue
            }
        };
        let before = queue.len();
        fill(queue);
        self.queued += queue.len() - before;
    }

    /// Queues an answer on a stream of its own.
    pub(super) fn put_page(&mut self, frame: &ServerFrame) {
        let mut page = uni(&self.uni_header, stream_header::Kind::AnswerTo(frame.id), PAGE_PRIORITY);
        page.queue.put(frame);
        self.queued += page.queue.len();
        self.pages.push_back(page);
    }

    /// Writes what the streams take; the number of bytes. `on_lane` gets each lane when it is opened.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut on_lane: impl FnMut(&SendStream),
    ) -> Result<usize, WriteEnd> {
        let mut taken = taken(self.control.poll_write(cx)).map_err(WriteEnd::Lost)?;
        for lane in self.lanes.iter_mut().flatten().filter(|lane| !lane.queue.is_empty()) {
            taken += poll_lane(lane, cx, &self.connection, &mut on_lane)?;
        }
        taken += self.poll_pages(cx)?;
        self.queued -= taken;
        self.written += taken as u64;
        Ok(taken)
    }

    /// The control stream, when nothing waits for it.
    pub(super) fn idle_control(&mut self) -> Option<&mut SendStream> {
        if self.control.queue.is_empty() { self.control.stream() } else { None }
    }

    /// Bytes that wait on all streams, headers included.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Bytes ever written.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written
    }

    fn poll_pages(&mut self, cx: &mut Context<'_>) -> Result<usize, WriteEnd> {
        let mut sum = 0;
        while let Some(page) = self.pages.front_mut() {
            let written = match page.poll_open(cx, &self.connection) {
                Poll::Ready(Ok(_)) => page.poll_write(cx),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => Poll::Pending,
            };
            sum += match taken(written) {
                // The client does not want this answer any more.
                Err(WriteError::Stopped(_)) => page.queue.clear(),
                other => other.map_err(WriteEnd::Lost)?,
            };
            if !page.queue.is_empty() {
                break;
            }
            // A stream that is dropped is finished.
            self.pages.pop_front();
        }
        Ok(sum)
    }
}

fn poll_lane(
    lane: &mut Writer,
    cx: &mut Context<'_>,
    connection: &Connection,
    on_lane: &mut impl FnMut(&SendStream),
) -> Result<usize, WriteEnd> {
    let written = match lane.poll_open(cx, connection) {
        Poll::Ready(Ok(opened)) => {
            if opened && let Some(stream) = lane.stream() {
                on_lane(stream);
            }
            lane.poll_write(cx)
        }
        Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        Poll::Pending => Poll::Pending,
    };
    taken(written).map_err(|error| match error {
        WriteError::Stopped(_) => WriteEnd::LaneStopped,
        error => WriteEnd::Lost(error),
    })
}

/// A unidirectional stream with its headers queued.
fn uni(dialect: &[u8], kind: stream_header::Kind, priority: i32) -> Writer {
    let mut header = BytesMut::from(dialect);
    put_frame(&mut header, &StreamHeader { kind: Some(kind) });
    let mut writer = Writer::unopened(priority);
    writer.queue.put_bytes(&header);
    writer
}

fn taken(written: Poll<Result<usize, WriteError>>) -> Result<usize, WriteError> {
    match written {
        Poll::Ready(result) => result,
        Poll::Pending => Ok(0),
    }
}

/// As the control stream's.
const LANE_PRIORITY: i32 = 0;
/// Below everything live (docs/PROTOCOL.md "Raw QUIC").
const PAGE_PRIORITY: i32 = -1;
