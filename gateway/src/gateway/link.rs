//! The gateway's end of the link: hands what the pusher hands over to the hub.

use tidegate_pipeline::pusher::link::{Batch, Receiver};
use tidegate_proto::id::UserId;
use tidegate_proto::timeline::TimelineKind;

use super::Shared;
use crate::hub::Hub;

/// Works off a link until it ends. What is meant for another incarnation of this gateway is only a hint, and skipped.
pub(crate) async fn run(mut link: Receiver, gateway: &Shared) {
    let hub = &gateway.hub;
    while let Some(handed) = link.take().await {
        if handed.check_all {
            gateway.heads.check_all();
        }
        for batch in handed.batches {
            deliver(batch, hub, gateway.incarnation(), |_| {});
        }
        for (timeline, head) in handed.marks {
            mark(&timeline.kind(), head, hub);
        }
    }
}

/// Gives a batch to the sessions; `not_here` hears of the recipients that have none.
pub(crate) fn deliver(batch: Batch, hub: &Hub, incarnation: u64, mut not_here: impl FnMut(&UserId)) {
    for push in batch.pushes {
        let origin = push.origin.filter(|(of, _)| *of == incarnation).map(|(_, session)| session);
        for (user, seq) in &push.recipients {
            if hub.push(user, *seq, &push.body, origin) == 0 {
                not_here(user);
            }
        }
    }
    for (of, session, receipt) in batch.receipts {
        if of == incarnation {
            hub.receipt(session, receipt);
        }
    }
    for (timeline, head) in batch.marks {
        mark(&timeline.kind(), head, hub);
    }
}

fn mark(timeline: &TimelineKind, head: u64, hub: &Hub) {
    if let TimelineKind::Inbox(user) = timeline {
        hub.mark(user, head);
    }
}
