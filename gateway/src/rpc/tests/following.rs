//! Everybody's channel followed through a gateway, as `chat.Notify` does.

use futures_util::StreamExt as _;
use tidegate_pipeline::body::Body;
use tidegate_pipeline::pusher::link::Post;
use tidegate_pipeline::rpc::broadcast::follow::{Follow as _, Unread};
use tidegate_proto::id::ChannelName;

use super::*;

impl Node {
    /// What `test` comes to while the gateway shows interests and fans out.
    async fn at_work<R>(&self, test: impl Future<Output = R>) -> R {
        let (gateway, stop) = (self.gateway.shared(), CancellationToken::new());
        let tested = async {
            let result = timeout(LIMIT, test).await.expect("it ends");
            stop.cancel();
            result
        };
        let channels = &gateway.channels;
        tokio::join!(tested, channels.run_interest(gateway, &stop), channels.run_fanout(&stop)).0
    }
}

fn post(seq: u64) -> Post {
    let body = Body::new(&[], "c:@all", ("l", "s"), 1, seq);
    Post { channel: ChannelName::everybodys(), seq, body }
}

#[tokio::test]
async fn the_head_comes_at_once_then_the_newest() {
    let world = World::new().await;
    let node = world.gateway("one").await;
    let (channels, all) = (&node.gateway.shared().channels, [ChannelName::everybodys()]);
    node.at_work(async {
        let mut heads = node.gateway.follow();
        assert_eq!(heads.next().await, Some(Ok(0)));
        let shown = world.presence.interests(&all).await.unwrap();
        assert_eq!(shown[0].iter().map(|interest| interest.subscribers).sum::<u64>(), 1);

        (1..=1_000).for_each(|seq| channels.mark(&all[0], seq));
        assert_eq!(heads.next().await, Some(Ok(1_000)));
        channels.mark(&all[0], 500);
        assert!(heads.next().now_or_never().is_none(), "it is no news");
        assert!((1_001..=1_010).all(|seq| channels.post(post(seq))));
        let mut told = 1_000;
        while told < 1_010 {
            let head = heads.next().await.unwrap().unwrap();
            assert!(head > told, "{head} after {told}");
            told = head;
        }
        assert_eq!(channels.count(&all[0]), 1);
        drop(heads);
        assert_eq!(channels.count(&all[0]), 0);
    })
    .await;
}

#[tokio::test]
async fn without_the_store_nobody_is_told_a_head() {
    let world = World::new().await;
    let node = world.gateway("one").await;
    world.store.close().await.unwrap();
    let head = node.at_work(async { node.gateway.follow().next().await }).await;
    assert_eq!(head, Some(Err(Unread)));
}
