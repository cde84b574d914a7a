//! What waits to be written and what is being written: live frames before pages, control frames between messages, one
//! binary message per flush. Knows bytes only, neither modes nor sockets.

use std::io::IoSlice;

use bytes::Buf;
use smallvec::SmallVec;

use super::frame::{MAX_CONTROL_BYTES, Opcode, ServerHeader};
use crate::transport::queue::WriteQueue;

/// How the queues are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// A queue becomes one binary message when it is flushed.
    Gathered,
    /// Every message was put with its own frame header ([`put_message`]).
    PerMessage,
}

/// The outgoing half of a connection. What is in flight is a whole WebSocket frame, or several; the peer sees nothing
/// else until it is written to its end.
#[derive(Debug)]
pub(super) struct Output {
    framing: Framing,
    pub(super) live: WriteQueue,
    pub(super) pages: WriteQueue,
    flight: Flight,
    controls: Controls,
    closing: bool,
    queued_seq: u64,
    launched_seq: u64,
}

impl Output {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            framing,
            live: WriteQueue::default(),
            pages: WriteQueue::default(),
            flight: Flight::default(),
            controls: Controls::default(),
            closing: false,
            queued_seq: 0,
            launched_seq: 0,
        }
    }

    /// Notes that what is in the live queue brings the peer up to `seq`.
    pub(super) fn reaches(&mut self, seq: u64) {
        self.queued_seq = self.queued_seq.max(seq);
    }

    /// Up to where the peer is when it has read what was written and what is in flight: everything that stands before
    /// the next control frame.
    pub(super) fn launched_seq(&self) -> u64 {
        // What stands for a seq may be nothing: a message that is gone, or the peer's own.
        if self.live.is_empty() { self.queued_seq } else { self.launched_seq }
    }

    /// Bytes of messages queued or in flight.
    pub(super) fn queued_bytes(&self) -> usize {
        self.live.len() + self.pages.len() + self.flight.remaining()
    }

    /// Answers a ping. Only the last one is answered when several came meanwhile (RFC 6455, section 5.5.3), so a flood
    /// of pings fills nothing; none once the close frame waits, which nothing may follow.
    pub(super) fn pong(&mut self, payload: &[u8]) {
        if self.closing {
            return;
        }
        self.controls.pong = Some(SmallVec::from_slice(payload));
    }

    /// Whether a ping waits for its answer.
    pub(super) fn has_pong(&self) -> bool {
        self.controls.pong.is_some()
    }

    pub(super) fn ping(&mut self, payload: &[u8]) {
        self.controls.ping = Some(SmallVec::from_slice(payload));
    }

    /// Queues the close frame, the last to be written: pages and live frames go before it.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        let mut payload = ControlPayload::from_slice(&code.to_be_bytes());
        payload.extend_from_slice(cut(reason, MAX_CONTROL_BYTES - payload.len()).as_bytes());
        self.controls.close = Some(payload);
        self.closing = true;
    }

    /// Forgets what waits, but not what is in flight.
    pub(super) fn drop_queued(&mut self) {
        (self.live, self.pages) = (WriteQueue::default(), WriteQueue::default());
        self.controls.ping = None;
    }

    /// What is to be written now; `None` when nothing waits.
    pub(super) fn in_flight(&mut self) -> Option<&mut Flight> {
        if !self.flight.has_remaining() {
            self.launch()?;
        }
        Some(&mut self.flight)
    }

    fn launch(&mut self) -> Option<()> {
        if let Some((opcode, payload)) = self.controls.take_urgent() {
            self.flight = Flight::control(opcode, &payload);
        } else if !self.live.is_empty() {
            self.launched_seq = self.queued_seq;
            self.flight = Flight::messages(self.framing, std::mem::take(&mut self.live));
        } else if !self.pages.is_empty() {
            self.flight = Flight::messages(self.framing, std::mem::take(&mut self.pages));
        } else {
            self.flight = Flight::control(Opcode::Close, &self.controls.close.take()?);
        }
        Some(())
    }
}

/// Appends a message with its own frame header.
pub(super) fn put_message(queue: &mut WriteQueue, opcode: Opcode, payload: &[u8]) {
    queue.put_bytes(ServerHeader::new(opcode, payload.len()).as_slice());
    queue.put_bytes(payload);
}

/// The front of `text`, at most `max` bytes, cut between characters.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

/// Frames on their way to the socket.
#[derive(Debug, Default)]
pub(super) struct Flight {
    header: ServerHeader,
    header_taken: usize,
    body: WriteQueue,
    messages: bool,
}

impl Flight {
    /// Whether it carries messages and not a control frame.
    pub(super) fn has_messages(&self) -> bool {
        self.messages
    }

    fn messages(framing: Framing, body: WriteQueue) -> Self {
        let header = match framing {
            Framing::Gathered => ServerHeader::new(Opcode::Binary, body.len()),
            Framing::PerMessage => ServerHeader::default(),
        };
        Self { header, header_taken: 0, body, messages: true }
    }

    fn control(opcode: Opcode, payload: &[u8]) -> Self {
        let mut body = WriteQueue::default();
        body.put_bytes(payload);
        Self { header: ServerHeader::new(opcode, payload.len()), header_taken: 0, body, messages: false }
    }

    fn header(&self) -> &[u8] {
        &self.header.as_slice()[self.header_taken..]
    }
}

impl Buf for Flight {
    fn remaining(&self) -> usize {
        self.header().len() + self.body.remaining()
    }

    fn chunk(&self) -> &[u8] {
        if self.header().is_empty() { self.body.chunk() } else { self.header() }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        if self.header().is_empty() {
            return self.body.chunks_vectored(slices);
        }
        let Some((first, rest)) = slices.split_first_mut() else { return 0 };
        *first = IoSlice::new(self.header());
        1 + self.body.chunks_vectored(rest)
    }

    fn advance(&mut self, bytes: usize) {
        let of_header = bytes.min(self.header().len());
        self.header_taken += of_header;
        self.body.advance(bytes - of_header);
        if self.remaining() == 0 {
            // An idle connection keeps no buffer.
            self.body = WriteQueue::default();
        }
    }
}

/// At most one control frame of each kind waits.
#[derive(Debug, Default)]
struct Controls {
    pong: Option<ControlPayload>,
    ping: Option<ControlPayload>,
    close: Option<ControlPayload>,
}

impl Controls {
    fn take_urgent(&mut self) -> Option<(Opcode, ControlPayload)> {
        let pong = self.pong.take().map(|payload| (Opcode::Pong, payload));
        pong.or_else(|| self.ping.take().map(|payload| (Opcode::Ping, payload)))
    }
}

/// Small ones in place; a client's longest ping on the heap.
type ControlPayload = SmallVec<[u8; 16]>;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(output: &mut Output, take: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        while let Some(flight) = output.in_flight() {
            let mut slices = [IoSlice::new(&[]); 4];
            let count = flight.chunks_vectored(&mut slices);
            let mut some: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.iter().copied()).collect();
            some.truncate(take);
            wire.extend_from_slice(&some);
            flight.advance(some.len());
        }
        wire
    }

    #[test]
    fn one_message_a_flush_live_before_pages_and_close_last() {
        for take in [1, 3, 1000] {
            let mut output = Output::new(Framing::Gathered);
            output.pong(b"x");
            output.close(4000, "bye");
            output.pong(b"too late");
            output.pages.put_bytes(b"page");
            output.live.put_bytes(b"one");
            output.live.put_bytes(b"two");
            output.ping(b"7");
            let expected = b"\x8a\x01x\x89\x017\x82\x06onetwo\x82\x04page\x88\x05\x0f\xa0bye";
            assert_eq!(written(&mut output, take), expected, "{take} bytes at a time");
            assert_eq!(output.queued_bytes(), 0);
        }
    }

    #[test]
    fn lengths_take_the_form_of_their_size() {
        for (len, header) in [
            (125, &b"\x82\x7d"[..]),
            (126, b"\x82\x7e\x00\x7e"),
            (0xffff, b"\x82\x7e\xff\xff"),
            (0x1_0000, b"\x82\x7f\0\0\0\0\0\x01\0\0"),
        ] {
            let mut output = Output::new(Framing::Gathered);
            output.live.put_bytes(&vec![b'x'; len]);
            let wire = written(&mut output, 10_000);
            assert_eq!((&wire[..header.len()], wire.len()), (header, header.len() + len));
        }
    }

    #[test]
    fn a_flood_of_pings_gets_one_pong_and_a_long_reason_is_cut() {
        let mut output = Output::new(Framing::PerMessage);
        for n in 0..1000 {
            output.pong(format!("{n}").as_bytes());
        }
        put_message(&mut output.live, Opcode::Text, b"hi");
        output.close(4104, &"é".repeat(100));
        let wire = written(&mut output, 10_000);
        assert_eq!(&wire[..9], b"\x8a\x03999\x81\x02hi");
        // 2 bytes of code and 61 characters of 2 bytes: a 62nd would end at 126.
        assert_eq!((&wire[9..11], wire.len()), (&b"\x88\x7c"[..], 9 + 2 + 124));
    }

    #[test]
    fn live_frames_that_come_while_a_page_is_written_come_right_after_it() {
        let mut output = Output::new(Framing::Gathered);
        output.pages.put_bytes(b"page");
        output.in_flight().unwrap().advance(3);
        output.pages.put_bytes(b"another");
        output.live.put_bytes(b"live");
        assert_eq!(output.queued_bytes(), 3 + 7 + 4);
        assert_eq!(written(&mut output, 100), b"age\x82\x04live\x82\x07another");
    }
}
