//! How a gateway follows everybody's channel for `chat.Notify`: as a subscriber, by the fan-out that its sessions have.

use std::sync::Arc;

use futures_util::stream;
use tidegate_pipeline::rpc::broadcast::follow::{Follow, Heads, Unread, ask};
use tidegate_proto::id::ChannelName;

use crate::channels::Place;
use crate::gateway::{Gateway, Shared};
use crate::hub::mailbox::Mailbox;

impl Follow for Gateway {
    fn follow(&self) -> Heads {
        let follower = Follower::new(self.shared().clone());
        Box::pin(stream::unfold(follower, |mut follower| async {
            let head = follower.next().await;
            Some((head, follower))
        }))
    }
}

/// A subscriber that wants heads only.
struct Follower {
    gateway: Arc<Shared>,
    /// Has room for nothing, so that every message is the newest mark.
    mailbox: Arc<Mailbox>,
    _place: Place,
    told: Option<u64>,
}

impl Follower {
    fn new(gateway: Arc<Shared>) -> Self {
        let mailbox = Mailbox::new(gateway.draw_session(), 0, Arc::default());
        let place = gateway.channels.join(ChannelName::everybodys(), &mailbox, 0);
        Self { gateway, mailbox, _place: place, told: None }
    }

    async fn next(&mut self) -> Result<u64, Unread> {
        let head = match self.told {
            None => self.first().await?,
            Some(told) => self.beyond(told).await,
        };
        self.told = Some(head);
        Ok(head)
    }

    /// Interest first, then the look at the store: what is stored after it is pushed.
    async fn first(&self) -> Result<u64, Unread> {
        let gateway = &self.gateway;
        gateway.channels.known(gateway, &[ChannelName::everybodys()]).await;
        ask(&gateway.parts.store).await
    }

    async fn beyond(&self, told: u64) -> u64 {
        loop {
            self.mailbox.filled().await;
            let marks = self.mailbox.take().channel_marks;
            if let Some(head) = marks.into_iter().map(|(_, head)| head).max()
                && head > told
            {
                return head;
            }
        }
    }
}
