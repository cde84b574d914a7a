//! The gateway's end of the link: hands what the pusher hands over to the hub and to the channels.

use tidegate_pipeline::pusher::link::{Batch, Receiver};
use tidegate_proto::id::{ChannelName, UserId};
use tidegate_proto::timeline::{Timeline, TimelineKind};

use super::Shared;

/// Recipients of a batch that this gateway does not have.
#[derive(Debug, Default)]
pub(crate) struct NotHere {
    pub(crate) users: Vec<UserId>,
    /// Without a subscriber for long.
    pub(crate) channels: Vec<ChannelName>,
}

/// Works off a link until it ends. What is meant for another incarnation of this gateway is only a hint, and skipped.
pub(crate) async fn run(mut link: Receiver, gateway: &Shared) {
    while let Some(handed) = link.take().await {
        if handed.check_all {
            gateway.heads.check_all();
        }
        for batch in handed.batches {
            deliver(batch, gateway, gateway.incarnation());
        }
        for (timeline, head) in handed.marks {
            mark(&timeline, head, gateway);
        }
    }
}

/// Gives a batch to the sessions.
pub(crate) fn deliver(batch: Batch, gateway: &Shared, incarnation: u64) -> NotHere {
    let mut not_here = NotHere::default();
    for push in batch.pushes {
        let origin = push.origin.filter(|(of, _)| *of == incarnation).map(|(_, session)| session);
        for (user, seq) in push.recipients {
            if gateway.hub.push(&user, seq, &push.body, origin) == 0 {
                not_here.users.push(user);
            }
        }
    }
    for post in batch.posts {
        let channel = post.channel.clone();
        if !gateway.channels.post(post) {
            not_here.channels.push(channel);
        }
    }
    for (of, session, receipt) in batch.receipts {
        if of == incarnation {
            gateway.hub.receipt(session, receipt);
        }
    }
    for (timeline, head) in batch.marks {
        mark(&timeline, head, gateway);
    }
    for (user, signal) in batch.signals {
        if gateway.hub.signal(&user, &signal, None) == 0 {
            not_here.users.push(user);
        }
    }
    not_here
}

/// Tells whoever follows a timeline that it has at least that head.
pub(crate) fn mark(timeline: &Timeline, head: u64, gateway: &Shared) {
    match timeline.kind() {
        TimelineKind::Inbox(user) => gateway.hub.mark(&user, head),
        TimelineKind::Channel(channel) => gateway.channels.mark(&channel, head),
        TimelineKind::Direct(..) | TimelineKind::Group(_) => {}
    }
}
