//! From bytes to whole messages: unmasks, joins fragments, checks UTF-8 as it comes, bounds what is collected. Pure.

use bytes::{Buf as _, BytesMut};

use super::frame::{Fault, Header, Opcode, close_code, unmask};

/// What came from the peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// Valid UTF-8.
    Text(BytesMut),
    Binary(BytesMut),
    Ping(BytesMut),
    Pong(BytesMut),
    Close(Option<u16>),
}

/// Collects the fragments of a message, between which control frames may come.
#[derive(Debug)]
pub(super) struct Assembler {
    max_message_bytes: usize,
    partial: Option<Partial>,
}

impl Assembler {
    pub(super) fn new(max_message_bytes: usize) -> Self {
        Self { max_message_bytes, partial: None }
    }

    pub(super) fn set_max_message_bytes(&mut self, max_message_bytes: usize) {
        self.max_message_bytes = max_message_bytes;
    }

    /// Takes the next message or control frame off the front of `input`; `None` when more bytes are needed. After an
    /// error nothing more can be read.
    pub(super) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Incoming>, Fault> {
        while let Some(header) = Header::parse(input)? {
            self.check(&header)?;
            let have = input.len().checked_sub(header.header_bytes);
            if have.is_none_or(|have| (have as u64) < header.payload_bytes) {
                return Ok(None);
            }
            input.advance(header.header_bytes);
            let mut payload = input.split_to(header.payload_bytes as usize);
            unmask(&mut payload, header.mask);
            let whole = match header.opcode {
                Opcode::Ping => Some(Incoming::Ping(payload)),
                Opcode::Pong => Some(Incoming::Pong(payload)),
                Opcode::Close => Some(Incoming::Close(close_code(&payload)?)),
                Opcode::Text | Opcode::Binary | Opcode::Continuation => self.add(&header, payload)?,
            };
            if whole.is_some() {
                return Ok(whole);
            }
        }
        Ok(None)
    }

    /// Refuses what the header alone decides, so that nothing is collected for it.
    fn check(&self, header: &Header) -> Result<(), Fault> {
        match (header.opcode, &self.partial) {
            (Opcode::Continuation, None) => return Err(Fault::Protocol("a continuation of nothing")),
            (Opcode::Text | Opcode::Binary, Some(_)) => {
                return Err(Fault::Protocol("a new message inside a fragmented one"));
            }
            _ => {}
        }
        if header.opcode.is_control() {
            return Ok(());
        }
        let before = self.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        let length = header.payload_bytes.saturating_add(before as u64);
        let max = self.max_message_bytes;
        if length > max as u64 { Err(Fault::TooLarge { length, max }) } else { Ok(()) }
    }

    fn add(&mut self, header: &Header, payload: BytesMut) -> Result<Option<Incoming>, Fault> {
        let mut message = match self.partial.take() {
            Some(mut partial) => {
                partial.bytes.extend_from_slice(&payload);
                partial
            }
            // A fragment that waits for others gets memory of its own: it must not pin a read buffer.
            None if !header.fin => Partial::new(header.opcode, BytesMut::from(&payload[..])),
            None => Partial::new(header.opcode, payload),
        };
        message.check_text(header.fin)?;
        if header.fin {
            return Ok(Some(message.finish()));
        }
        self.partial = Some(message);
        Ok(None)
    }
}

#[derive(Debug)]
struct Partial {
    text: bool,
    bytes: BytesMut,
    /// How much of a text is known to be valid.
    valid_up_to: usize,
}

impl Partial {
    fn new(opcode: Opcode, bytes: BytesMut) -> Self {
        Self { text: opcode == Opcode::Text, bytes, valid_up_to: 0 }
    }

    fn check_text(&mut self, whole: bool) -> Result<(), Fault> {
        if !self.text {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.valid_up_to..]) {
            Ok(valid) => self.valid_up_to += valid.len(),
            // A character may be cut by the end of a fragment, not by the end of the message.
            Err(cut) if cut.error_len().is_none() && !whole => self.valid_up_to += cut.valid_up_to(),
            Err(_) => return Err(Fault::Utf8),
        }
        Ok(())
    }

    fn finish(self) -> Incoming {
        if self.text { Incoming::Text(self.bytes) } else { Incoming::Binary(self.bytes) }
    }
}

#[cfg(test)]
mod tests;
