//! A session's sends that have neither ACCEPTED nor REJECTED written yet: at most 64, each answered exactly once.

use std::collections::VecDeque;

use tidegate_pipeline::log::{Answer, outcome_unknown};
use tidegate_proto::Refusal;
use tidegate_proto::v1::{Receipt, ReceiptStatus};

/// The sends in flight. Times are in ms on the session's clock.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// In the order of their tags, which is that of their times.
    waiting: VecDeque<Sent>,
    next_tag: u64,
    /// Answered, the receipt queued but not written.
    unwritten: usize,
}

#[derive(Debug)]
struct Sent {
    tag: u64,
    frame_id: u32,
    local_id: String,
    server_id: String,
    at: u64,
}

impl InFlight {
    /// Whether the client may have another send in flight.
    pub(super) fn has_room(&self, max: usize) -> bool {
        self.waiting.len() + self.unwritten < max
    }

    /// Whether nothing waits for an answer.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether nothing is in flight at all.
    pub(super) fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.unwritten == 0
    }

    /// Notes a send; the tag its answer will come with.
    pub(super) fn sent(&mut self, frame_id: u32, local_id: &str, server_id: &str, now: u64) -> u64 {
        let tag = self.next_tag;
        self.next_tag += 1;
        let (local_id, server_id) = (local_id.to_owned(), server_id.to_owned());
        self.waiting.push_back(Sent { tag, frame_id, local_id, server_id, at: now });
        tag
    }

    /// The receipt for an answer, with the id of the frame it answers and the time of that; `None` when the send was
    /// given up before.
    pub(super) fn answered(&mut self, tag: u64, answer: Answer) -> Option<(u32, Receipt, u64)> {
        let place = self.waiting.binary_search_by_key(&tag, |sent| sent.tag).ok()?;
        let sent = self.waiting.remove(place)?;
        self.unwritten += 1;
        let at = sent.at;
        let (id, receipt) = sent.receipt(answer);
        Some((id, receipt, at))
    }

    /// The receipts of sends that waited too long: UNAVAILABLE, "outcome unknown".
    pub(super) fn overdue(&mut self, now: u64) -> Vec<(u32, Receipt)> {
        let mut overdue = Vec::new();
        while self.deadline().is_some_and(|deadline| deadline <= now) {
            let Some(sent) = self.waiting.pop_front() else { break };
            self.unwritten += 1;
            overdue.push(sent.receipt(Answer::Rejected(outcome_unknown())));
        }
        overdue
    }

    /// When the oldest send is overdue.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.waiting.front().map(|sent| sent.at + ANSWER_TIMEOUT_MS)
    }

    /// Everything queued so far is written.
    pub(super) fn written(&mut self) {
        self.unwritten = 0;
    }
}

impl Sent {
    fn receipt(self, answer: Answer) -> (u32, Receipt) {
        let receipt = match answer {
            Answer::Accepted { send_time } => Receipt {
                local_id: self.local_id,
                server_id: self.server_id,
                send_time,
                status: ReceiptStatus::Accepted as i32,
                ..Receipt::default()
            },
            // Without a place anywhere.
            Answer::Passed { send_time } => Receipt {
                local_id: self.local_id,
                server_id: self.server_id,
                send_time,
                status: ReceiptStatus::Stored as i32,
                ..Receipt::default()
            },
            Answer::Rejected(refusal) => {
                Receipt { server_id: self.server_id, ..rejected(self.local_id, refusal) }
            }
        };
        (self.frame_id, receipt)
    }
}

/// The receipt of a send that is refused.
pub(super) fn rejected(local_id: String, refusal: Refusal) -> Receipt {
    Receipt {
        local_id,
        status: ReceiptStatus::Rejected as i32,
        code: refusal.code as i32,
        message: refusal.message,
        retry_after_ms: refusal.retry_after_ms,
        ..Receipt::default()
    }
}

/// After this long without an answer a send is answered UNAVAILABLE (ARCHITECTURE.md "A message's way").
const ANSWER_TIMEOUT_MS: u64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_proto::v1::Code;

    #[test]
    fn each_send_is_answered_once() {
        let mut sends = InFlight::default();
        let tags = [1, 2, 3].map(|n| sends.sent(n, "l", "s", u64::from(n)));
        let (id, receipt, at) = sends.answered(tags[1], Answer::Accepted { send_time: 9 }).unwrap();
        assert_eq!((id, receipt.status(), receipt.send_time, at), (2, ReceiptStatus::Accepted, 9, 2));
        assert_eq!(sends.deadline(), Some(10_001));
        let overdue = sends.overdue(10_001);
        assert_eq!((overdue.len(), overdue[0].0, overdue[0].1.code()), (1, 1, Code::Unavailable));
        assert_eq!(sends.answered(tags[0], Answer::Accepted { send_time: 9 }), None, "given up before");
        assert_eq!(sends.answered(tags[1], Answer::Accepted { send_time: 9 }), None, "answered before");
        assert!(!sends.is_idle());
    }

    #[test]
    fn a_send_is_in_flight_until_its_receipt_is_written() {
        let mut sends = InFlight::default();
        let tag = sends.sent(0, "l", "s", 0);
        assert!(!sends.has_room(1));
        sends.answered(tag, Answer::Accepted { send_time: 1 });
        assert!(!sends.has_room(1));
        sends.written();
        assert!(sends.has_room(1));
    }
}
