//! What is stored, read by devices that were never there before: it must be what the users were given and told.

use std::collections::BTreeMap;

use tidegate_client::{Client, History, Start, Transport};

use crate::channels::{CHANNELS, Channels};
use crate::cluster::Cluster;
use crate::ledger::Ledger;
use crate::shared::{msg, pull, within};

/// A timeline as it should be: server ids in the order of their seqs, from 1 on.
type Timeline = Vec<String>;

/// What must be stored.
pub(crate) struct Expected {
    inboxes: Vec<Timeline>,
    conversations: BTreeMap<(u32, u32), Timeline>,
    /// By local ids.
    channels: Vec<Vec<String>>,
}

impl Expected {
    /// By what the users were given and told.
    pub(crate) fn by(ledger: &Ledger) -> Self {
        let channels = (0..CHANNELS).map(|channel| ledger.channels.stored(channel)).collect();
        Self { inboxes: inboxes(ledger), conversations: conversations(ledger), channels }
    }
}

/// Reads every inbox, every conversation and every channel.
pub(crate) async fn check_stored(cluster: &Cluster, expected: Expected) {
    let Expected { inboxes, conversations, channels } = expected;
    for (user, inbox) in (0..).zip(inboxes) {
        let name = Ledger::user(user);
        let config = cluster.client(user as usize, Transport::WebSocket, &name, "auditor").start(Start::Head);
        let (client, _events) = within(Client::connect(config)).await.expect("a session");
        check(&client, "", &inbox).await;
        for ((one, other), messages) in conversations.range((user, 0)..(user + 1, 0)) {
            let mut pair = [Ledger::user(*one), Ledger::user(*other)];
            pair.sort_unstable();
            check(&client, &format!("d:{}:{}", pair[0], pair[1]), messages).await;
        }
        within(client.close()).await;
    }
    let config = cluster.client(0, Transport::WebSocket, "auditor", "auditor");
    let (client, _events) = within(Client::connect(config)).await.expect("a session");
    for (channel, expected) in (0..).zip(channels) {
        check_channel(&client, &Channels::name(channel), &expected).await;
    }
    within(client.close()).await;
}

/// Retention may have cut off its beginning.
async fn check_channel(client: &Client, name: &str, expected: &[String]) {
    let timeline = format!("c:{name}");
    let mut stored = Vec::new();
    let (mut last, mut floor) = (0, 1);
    loop {
        let page = within(client.pull(&timeline, History::After(last), 1_000)).await.unwrap();
        if stored.is_empty() {
            (last, floor) = (page.floor - 1, page.floor);
        }
        for entry in &page.entries {
            assert_eq!(entry.seq, last + 1, "{timeline} is dense");
            last = entry.seq;
            stored.push(msg(entry).local_id.clone());
        }
        if !page.more {
            break;
        }
    }
    assert_eq!(stored, expected[floor as usize - 1..], "{timeline}");
}

async fn check(client: &Client, timeline: &str, expected: &Timeline) {
    let entries = pull(client, timeline).await;
    let seqs: Vec<i64> = entries.iter().map(|entry| entry.seq).collect();
    assert!(seqs.iter().copied().eq(1..=seqs.len() as i64), "{timeline:?} is dense: {seqs:?}");
    let stored: Timeline = entries.iter().map(|entry| msg(entry).server_id.clone()).collect();
    assert_eq!(&stored, expected, "{timeline:?}");
}

/// Of each user, by what his sending device was given and told.
fn inboxes(ledger: &Ledger) -> Vec<Timeline> {
    let mut inboxes: Vec<Vec<(i64, String)>> = vec![Vec::new(); ledger.sent.len()];
    for device in ledger.devices.iter().filter(|device| device.sends) {
        let inbox = &mut inboxes[device.user as usize];
        inbox.extend(device.got.iter().map(|got| (got.seq, got.server_id.clone())));
        let own = ledger.sent[device.user as usize].iter().filter_map(|sent| sent.stored.as_ref());
        inbox.extend(own.map(|stored| (stored.seq, stored.server_id.clone())));
    }
    inboxes.into_iter().map(in_order).collect()
}

/// By the numbers of the two users, the lower one first.
fn conversations(ledger: &Ledger) -> BTreeMap<(u32, u32), Timeline> {
    let mut all: BTreeMap<(u32, u32), Vec<(i64, String)>> = BTreeMap::new();
    for (sender, sent) in (0..).zip(&ledger.sent) {
        for sent in sent {
            let Some(stored) = &sent.stored else { continue };
            let pair = (sender.min(sent.to), sender.max(sent.to));
            all.entry(pair).or_default().push((stored.conv_seq, stored.server_id.clone()));
        }
    }
    all.into_iter().map(|(pair, messages)| (pair, in_order(messages))).collect()
}

fn in_order(mut messages: Vec<(i64, String)>) -> Timeline {
    messages.sort_unstable();
    messages.into_iter().map(|(_, server_id)| server_id).collect()
}
