//! Subscribers without sessions: who hears what, and what a full queue leaves.

use prometheus_client::metrics::counter::Counter;
use tidegate_pipeline::body::Body;
use tidegate_pipeline::metrics as pipeline;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::hub::mailbox::{Drops, Mail, Posted};

fn channels() -> Arc<Channels> {
    Channels::new(&Metrics::new(&pipeline::Metrics::default()))
}

fn sport() -> ChannelName {
    ChannelName::new("news/sport").unwrap()
}

fn post(channel: &ChannelName, seq: u64) -> Post {
    Post { channel: channel.clone(), seq, body: Body::new(&[], "c:news/sport", ("l", "s"), 1, seq) }
}

fn mailbox(session: u64) -> Arc<Mailbox> {
    Mailbox::new(session, 1 << 20, Arc::new(Drops::default()))
}

fn seqs(mail: &Mail) -> Vec<(u32, u64)> {
    let of = |posted: &Posted| {
        posted.burst.messages().map(|(seq, _)| (posted.subscription, seq)).collect::<Vec<_>>()
    };
    mail.posts.iter().flat_map(of).collect()
}

/// Until everything that waits is handed over.
async fn hand_over(channels: &Channels) {
    let stop = CancellationToken::new();
    let done = async {
        while !channels.fanout.is_empty() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    tokio::join!(channels.run_fanout(&stop), done);
}

#[tokio::test]
async fn every_subscriber_hears_everything_in_order_and_whoever_left_nothing() {
    let channels = channels();
    let mailboxes: Vec<_> = (0..1_000).map(mailbox).collect();
    let mut places: Vec<_> = mailboxes.iter().map(|mailbox| channels.join(sport(), mailbox, 5)).collect();
    places.truncate(900);
    assert_eq!(channels.count(&sport()), 900);
    for seq in 1..=20 {
        assert!(channels.post(post(&sport(), seq)));
    }
    assert!(!channels.post(post(&ChannelName::new("other").unwrap(), 1)), "nobody has subscribed to it");
    hand_over(&channels).await;
    let expected: Vec<_> = (1..=20).map(|seq| (5, seq)).collect();
    for (number, mailbox) in mailboxes.iter().enumerate() {
        let heard = seqs(&mailbox.take());
        assert_eq!(heard, if number < 900 { expected.clone() } else { Vec::new() }, "{number}");
    }
    drop(places);
    assert_eq!(channels.count(&sport()), 0);
    assert!(channels.post(post(&sport(), 21)), "its interest is kept for a while");
}

#[tokio::test]
async fn what_finds_no_room_leaves_a_mark_and_other_channels_are_not_touched() {
    let channels = channels();
    let (quiet, mailbox) = (ChannelName::new("quiet").unwrap(), mailbox(1));
    let _places = [channels.join(sport(), &mailbox, 1), channels.join(quiet.clone(), &mailbox, 2)];
    channels.post(post(&quiet, 7));
    for seq in 1..=10_000 {
        channels.post(post(&sport(), seq));
    }
    hand_over(&channels).await;
    let mail = mailbox.take();
    assert_eq!(mail.channel_marks, [(1, 10_000)]);
    assert!(seqs(&mail).contains(&(2, 7)));
    assert!(seqs(&mail).len() <= 256 && mail.pushes.is_empty());
    channels.mark(&quiet, 9);
    assert_eq!(mailbox.take().channel_marks, [(2, 9)]);
}

#[tokio::test]
async fn a_volatile_message_that_finds_no_room_leaves_nothing() {
    let full = Counter::default();
    let queue = fanout::Queue::new(full.clone());
    for _ in 0..5_000 {
        queue.put(post(&sport(), 0));
    }
    assert!(full.get() > 0 && queue.marks() == 0);
}

#[tokio::test]
async fn a_mark_for_what_is_on_its_way_makes_nobody_read_the_store() {
    let channels = channels();
    let mailbox = mailbox(1);
    let _place = channels.join(sport(), &mailbox, 1);
    channels.post(post(&sport(), 7));
    channels.mark(&sport(), 7);
    channels.mark(&sport(), 6);
    hand_over(&channels).await;
    let mail = mailbox.take();
    assert_eq!((seqs(&mail), mail.channel_marks), (vec![(1, 7)], vec![]));
    channels.mark(&sport(), 8);
    assert_eq!(mailbox.take().channel_marks, [(1, 8)], "this one was lost");
    // Whoever comes has read the head: what is not new for the others is not for him.
    channels.mark(&sport(), 8);
    assert!(mailbox.take().channel_marks.is_empty());
}
