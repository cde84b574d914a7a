//! Messages that wait for users before something is measured.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidegate_client::Client;
use tokio::time::timeout;

use super::flow::Target;
use super::payload::Stamp;

/// Sends `messages` of `bytes` bytes to each target and waits until all are stored.
pub(super) async fn fill(
    sender: &Client,
    targets: &[Target],
    messages: u64,
    bytes: usize,
) -> anyhow::Result<()> {
    let mut receipts = FuturesUnordered::new();
    for number in 0..messages {
        for Target { stream, to } in targets {
            let content = Stamp { stream: *stream, number, due: Duration::ZERO }.content(bytes);
            let mut handle = sender.send(to.msg(content)).await?;
            receipts.push(async move { handle.stored().await });
            while receipts.len() >= UNDER_WAY {
                let stored = timeout(RECEIPT_LIMIT, receipts.next()).await;
                let Some(stored) = stored.context("the server stores nothing any more")? else { break };
                stored?;
            }
        }
    }
    while let Some(stored) =
        timeout(RECEIPT_LIMIT, receipts.next()).await.context("the server stores nothing any more")?
    {
        stored?;
    }
    Ok(())
}

/// One less than a client keeps unsettled, so that sending itself never waits.
const UNDER_WAY: usize = 255;
/// Far longer than a batch takes.
const RECEIPT_LIMIT: Duration = Duration::from_secs(60);
