//! What was handed over, as messages of the wire and back: cut to a size, checked when read. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use prost::Message as _;
use tidegate_proto::id::{ChannelName, UserId};
use tidegate_proto::limits::{MAX_SIGNAL_BYTES, MAX_SIGNAL_KIND_BYTES};
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::Signal;

use super::link::{Batch, Post, Push};
use super::queue::Handed;
use crate::body::Body;
use crate::rpc::v1;

/// A batch that no pusher of ours makes.
#[derive(Debug, thiserror::Error)]
#[error("a batch is malformed: {0}")]
pub struct Malformed(&'static str);

/// Cuts what a link to one incarnation of a gateway hands over.
#[derive(Debug)]
pub(super) struct Cutter {
    incarnation: u64,
    /// Of the last batch.
    number: u64,
    batch: v1::Batch,
    bytes: usize,
    cut: VecDeque<v1::Batch>,
}

impl Cutter {
    pub(super) fn new(incarnation: u64) -> Self {
        Self { incarnation, number: 0, batch: v1::Batch::default(), bytes: 0, cut: VecDeque::new() }
    }

    /// The batches of the wire, numbered on. Pushes by routes of another incarnation become marks: their sessions may
    /// be registered under the one of the link by now.
    pub(super) fn cut(&mut self, mut handed: Handed) -> VecDeque<v1::Batch> {
        let mut current = Vec::with_capacity(handed.batches.len());
        for batch in std::mem::take(&mut handed.batches) {
            if batch.incarnation == self.incarnation || batch.incarnation == 0 {
                current.push(batch);
            } else {
                handed.merge(batch);
            }
        }
        self.batch.check_all = handed.check_all;
        for (timeline, head) in handed.marks {
            self.mark(&timeline, head);
        }
        // What was dropped comes first.
        self.close();
        for batch in current {
            self.add(batch);
        }
        self.close();
        std::mem::take(&mut self.cut)
    }

    fn add(&mut self, batch: Batch) {
        for Push { body, recipients, origin } in batch.pushes {
            let origin = origin.filter(|(incarnation, _)| *incarnation == self.incarnation);
            for recipients in recipients.chunks(MAX_RECIPIENTS) {
                let push = v1::Push {
                    msg: body.bytes().clone(),
                    traceparent: traceparent(&body),
                    recipients: recipients.iter().map(recipient).collect(),
                    origin: origin.map_or(0, |(_, session)| session),
                };
                let ids: usize = recipients.iter().map(|(user, _)| user.as_str().len() + ENTRY_BYTES).sum();
                self.make_room(push.msg.len() + ids + ENTRY_BYTES);
                self.batch.pushes.push(push);
            }
        }
        for Post { channel, seq, body } in batch.posts {
            self.make_room(body.bytes().len() + channel.as_str().len() + 2 * ENTRY_BYTES);
            self.batch.posts.push(v1::Post {
                channel: channel.as_str().to_owned(),
                seq,
                msg: body.bytes().clone(),
                traceparent: traceparent(&body),
            });
        }
        for (incarnation, session, receipt) in batch.receipts {
            if incarnation == self.incarnation {
                self.make_room(receipt.encoded_len() + ENTRY_BYTES);
                self.batch.receipts.push(v1::SessionReceipt { session, receipt: Some(receipt) });
            }
        }
        for (timeline, head) in batch.marks {
            self.mark(&timeline, head);
        }
        for (user, signal) in batch.signals {
            let user = user.as_str().to_owned();
            self.make_room(signal.encoded_len() + user.len() + 2 * ENTRY_BYTES);
            self.batch.signals.push(v1::UserSignal { user, signal: Some(Arc::unwrap_or_clone(signal)) });
        }
    }

    fn mark(&mut self, timeline: &Timeline, head: u64) {
        let timeline = timeline.as_str().to_owned();
        self.make_room(timeline.len() + ENTRY_BYTES);
        self.batch.marks.push(v1::HeadMark { timeline, head });
    }

    fn make_room(&mut self, bytes: usize) {
        if self.bytes + bytes > CUT_BYTES {
            self.close();
        }
        self.bytes += bytes;
    }

    fn close(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch != v1::Batch::default() {
            self.number += 1;
            self.cut.push_back(v1::Batch { number: self.number, ..batch });
        }
    }
}

/// What a gateway of this incarnation was handed, checked.
pub fn read(batch: v1::Batch, incarnation: u64) -> Result<Batch, Malformed> {
    let pushes = batch.pushes.into_iter().map(|push| read_push(push, incarnation));
    let receipts = batch.receipts.into_iter().map(|v1::SessionReceipt { session, receipt }| {
        Ok((incarnation, session, receipt.ok_or(Malformed("an empty receipt"))?))
    });
    let marks = batch.marks.into_iter().map(|v1::HeadMark { timeline, head }| {
        Ok((Timeline::parse(&timeline).map_err(|_| Malformed("a timeline's name"))?, seq(head)?))
    });
    Ok(Batch {
        incarnation,
        pushes: pushes.collect::<Result<_, _>>()?,
        posts: batch.posts.into_iter().map(read_post).collect::<Result<_, _>>()?,
        receipts: receipts.collect::<Result<_, _>>()?,
        marks: marks.collect::<Result<_, _>>()?,
        signals: batch.signals.into_iter().map(read_signal).collect::<Result<_, _>>()?,
    })
}

fn read_push(push: v1::Push, incarnation: u64) -> Result<Push, Malformed> {
    let recipients = push.recipients.iter().map(|recipient| {
        let user = UserId::new(&recipient.user).map_err(|_| Malformed("a recipient's id"))?;
        Ok((user, seq(recipient.seq)?))
    });
    Ok(Push {
        recipients: recipients.collect::<Result<_, _>>()?,
        body: read_body(&push.msg, &push.traceparent)?,
        origin: (push.origin != 0).then_some((incarnation, push.origin)),
    })
}

fn read_post(post: v1::Post) -> Result<Post, Malformed> {
    let channel = ChannelName::new(&post.channel).map_err(|_| Malformed("a channel's name"))?;
    // 0: it is stored nowhere.
    let seq = if post.seq == 0 { 0 } else { seq(post.seq)? };
    Ok(Post { channel, seq, body: read_body(&post.msg, &post.traceparent)? })
}

fn read_signal(signal: v1::UserSignal) -> Result<(UserId, Arc<Signal>), Malformed> {
    let user = UserId::new(&signal.user).map_err(|_| Malformed("a recipient's id"))?;
    let signal = signal.signal.ok_or(Malformed("an empty signal"))?;
    UserId::new(&signal.from).map_err(|_| Malformed("a signal from nobody"))?;
    if signal.content.len() > MAX_SIGNAL_BYTES || signal.kind.len() > MAX_SIGNAL_KIND_BYTES {
        return Err(Malformed("a signal's size"));
    }
    Ok((user, Arc::new(signal)))
}

fn read_body(msg: &[u8], traceparent: &str) -> Result<Body, Malformed> {
    let body = Body::from_bytes(msg).ok_or(Malformed("a message cannot be decoded"))?;
    Ok(body.traced(Some(traceparent).filter(|text| !text.is_empty())))
}

fn traceparent(body: &Body) -> String {
    body.traceparent().unwrap_or_default().to_owned()
}

fn recipient((user, seq): &(UserId, u64)) -> v1::Recipient {
    v1::Recipient { user: user.as_str().to_owned(), seq: *seq }
}

fn seq(seq: u64) -> Result<u64, Malformed> {
    if (1..=i64::MAX as u64).contains(&seq) { Ok(seq) } else { Err(Malformed("a seq")) }
}

/// Where a batch is cut. The largest push, 64 KiB of content to as many recipients as below, has room in one.
pub(super) const CUT_BYTES: usize = 256 << 10;
/// Recipients of one push: some 160 KiB of ids. With more, the body goes several times.
const MAX_RECIPIENTS: usize = 2_000;
/// Keys, lengths and numbers around a recipient, a mark, a message.
const ENTRY_BYTES: usize = 24;
/// The largest message on a link, in both directions.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use tidegate_proto::v1::{Msg, Receipt};

    use super::*;

    fn user(n: usize) -> UserId {
        UserId::new(&format!("{n:064}")).unwrap()
    }

    fn push(content: usize, recipients: std::ops::Range<usize>, seq: u64) -> Push {
        let msg = Msg { content: vec![1; content].into(), ..Msg::default() };
        let body = Body::new(&msg.encode_to_vec(), "d:a:b", ("", ""), 0, 3);
        Push { body, recipients: recipients.map(|n| (user(n), seq)).collect(), origin: Some((7, 5)) }
    }

    fn post(seq: u64) -> Post {
        let Push { body, .. } = push(9, 0..0, seq);
        Post { channel: ChannelName::new("news/x").unwrap(), seq, body }
    }

    fn signal(bytes: usize) -> Arc<Signal> {
        Arc::new(Signal { from: "bob".into(), content: vec![1; bytes].into(), ..Signal::default() })
    }

    fn handed(batches: impl IntoIterator<Item = Batch>) -> Handed {
        Handed { batches: batches.into_iter().collect(), ..Handed::default() }
    }

    #[test]
    fn what_is_cut_is_read_again_in_order_and_no_piece_is_too_large() {
        let pushes = || vec![push(65_536, 0..3_000, 1), push(65_536, 0..1, 2), push(10, 0..9, 3)];
        let receipts = vec![(7, 1, Receipt { seq: 4, ..Receipt::default() }), (6, 2, Receipt::default())];
        let batch = Batch {
            incarnation: 7,
            pushes: pushes(),
            posts: vec![post(9), post(0)],
            receipts,
            marks: Vec::new(),
            signals: vec![(user(1), signal(1_000))],
        };
        let more = Batch { incarnation: 7, pushes: pushes(), ..Batch::default() };
        let mut cutter = Cutter::new(7);
        let cut = cutter.cut(handed([batch, more]));
        let largest = cut.iter().map(prost::Message::encoded_len).max().unwrap();
        assert!((CUT_BYTES / 2..=CUT_BYTES).contains(&largest), "{largest}");
        assert!(cut.iter().map(|batch| batch.number).eq(1..=cut.len() as u64));

        let read: Vec<_> = cut.into_iter().map(|batch| read(batch, 7).unwrap()).collect();
        let deliveries =
            read.iter().flat_map(|batch| &batch.pushes).flat_map(|push| push.recipients.iter().cloned());
        let given = [pushes(), pushes()];
        let expected = given.iter().flatten().flat_map(|push| push.recipients.iter().cloned());
        assert!(deliveries.eq(expected));
        let receipts: Vec<_> = read.iter().flat_map(|batch| &batch.receipts).collect();
        assert_eq!((receipts.len(), receipts[0].1, receipts[0].2.seq), (1, 1, 4));
        let posts: Vec<_> = read.iter().flat_map(|batch| &batch.posts).collect();
        assert_eq!(
            posts.iter().map(|post| (post.channel.as_str(), post.seq)).collect::<Vec<_>>(),
            [("news/x", 9), ("news/x", 0)]
        );
        assert_eq!(posts[0].body.bytes(), post(9).body.bytes());
        let signals: Vec<_> = read.iter().flat_map(|batch| batch.signals.iter().cloned()).collect();
        assert_eq!(signals, [(user(1), signal(1_000))]);
        let first = &read[0].pushes[0];
        assert_eq!((first.origin, first.body.conv_seq()), (Some((7, 5)), 3));
        assert_eq!(cutter.cut(handed([Batch { incarnation: 7, ..Batch::default() }])).len(), 0, "nothing");
    }

    #[test]
    fn routes_of_another_incarnation_leave_marks_that_come_first() {
        // A message that is stored nowhere leaves nothing.
        let posts = vec![post(8), post(0)];
        let old = Batch { incarnation: 6, pushes: vec![push(10, 0..2, 8)], posts, ..Batch::default() };
        let new = Batch { incarnation: 7, pushes: vec![push(10, 0..1, 9)], ..Batch::default() };
        let cut = Cutter::new(7).cut(Handed { check_all: true, ..handed([new, old]) });
        assert_eq!(cut.len(), 2);
        assert!(cut[0].check_all && cut[0].pushes.is_empty() && !cut[1].check_all);
        assert_eq!(cut[0].marks.iter().map(|mark| mark.head).collect::<Vec<_>>(), [8, 8, 8]);
        assert_eq!(cut[1].pushes.len(), 1);
    }

    #[test]
    fn nonsense_is_not_read() {
        let good = v1::Push {
            msg: push(1, 0..0, 1).body.bytes().clone(),
            recipients: vec![v1::Recipient { user: "bob".into(), seq: 1 }],
            origin: 0,
            traceparent: String::new(),
        };
        let batch = |push: v1::Push| v1::Batch { pushes: vec![push], ..v1::Batch::default() };
        let read_again = read(batch(good.clone()), 7).unwrap();
        assert_eq!(read_again.pushes[0].origin, None);
        let to = |user: &str, seq| vec![v1::Recipient { user: user.into(), seq }];
        let mark = |timeline: &str, head| v1::HeadMark { timeline: timeline.into(), head };
        let msg = post(1).body.bytes().clone();
        let post = v1::Post { channel: "news/x".into(), seq: 1, msg, traceparent: String::new() };
        let posts = |post| v1::Batch { posts: vec![post], ..v1::Batch::default() };
        assert!(read(posts(post.clone()), 7).is_ok());
        let marks = |mark| v1::Batch { marks: vec![mark], ..v1::Batch::default() };
        let signals = |user: &str, signal: Option<Arc<Signal>>| {
            let signal = v1::UserSignal { user: user.into(), signal: signal.map(Arc::unwrap_or_clone) };
            v1::Batch { signals: vec![signal], ..v1::Batch::default() }
        };
        assert!(read(signals("bob", Some(signal(1_000))), 7).is_ok());
        let empty = v1::SessionReceipt { session: 1, receipt: None };
        for bad in [
            batch(v1::Push { msg: vec![0xff].into(), ..good.clone() }),
            batch(v1::Push { recipients: to("", 1), ..good.clone() }),
            batch(v1::Push { recipients: to("a b", 1), ..good.clone() }),
            batch(v1::Push { recipients: to("bob", 0), ..good.clone() }),
            batch(v1::Push { recipients: to("bob", u64::MAX), ..good }),
            posts(v1::Post { channel: "a b".into(), ..post.clone() }),
            posts(v1::Post { seq: u64::MAX, ..post.clone() }),
            posts(v1::Post { msg: vec![0xff].into(), ..post }),
            marks(mark("i:", 1)),
            marks(mark("i:bob", 0)),
            v1::Batch { receipts: vec![empty], ..v1::Batch::default() },
            signals("bob", None),
            signals("a b", Some(signal(1))),
            signals("bob", Some(signal(1_001))),
            signals("bob", Some(Arc::default())),
        ] {
            assert!(read(bad.clone(), 7).is_err(), "{bad:?}");
        }
    }
}
