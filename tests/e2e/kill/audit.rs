//! What must be true after the kills: of what each client has, and of what is stored.

use std::collections::{HashMap, HashSet};

use tidegate_client::v1::Msg;
use tidegate_client::{Message, Start, Transport};

use super::load::Sent;
use crate::peer::Peer;
use crate::server::Server;
use crate::shared::{msg, pull};

/// Everything once: dense in the inbox and in each conversation, each sender's in his order, as the receipts say. On
/// lanes only conversations are in order.
pub(super) fn check_inbox(messages: &[Message], sent: &HashMap<String, &[Sent]>, has_lanes: bool) {
    let mut seqs: Vec<i64> = messages.iter().map(|message| message.seq).collect();
    if has_lanes {
        seqs.sort_unstable();
    }
    assert!(seqs.into_iter().eq(1..=messages.len() as i64), "the inbox is dense and in order");
    let mut by_sender: HashMap<&str, Vec<&Msg>> = HashMap::new();
    for message in messages {
        by_sender.entry(&message.msg.send_id).or_default().push(&message.msg);
    }
    assert_eq!(by_sender.len(), sent.len());
    for (sender, messages) in by_sender {
        let sent = sent[sender];
        assert_eq!(messages.len(), sent.len(), "everything of {sender}");
        for ((msg, sent), number) in messages.iter().zip(sent).zip(0_i64..) {
            assert_eq!(msg.content, number.to_string().as_bytes(), "the order of {sender}");
            assert_eq!(msg.conv_seq, number + 1, "the conversation is dense");
            let stored = (&msg.local_id, &msg.server_id, msg.send_time, msg.conv_seq);
            let Sent { local_id, stored: said } = sent;
            assert_eq!(stored, (local_id, &said.server_id, said.send_time, said.conv_seq));
            assert_eq!(said.seq, number + 1, "the sender's inbox is dense");
        }
    }
}

/// Everything once and in order, as the receipts say, on lanes too.
pub(super) fn check_channel(messages: &[Message], sent: &[Sent]) {
    assert_eq!(messages.len(), sent.len());
    for ((message, sent), number) in messages.iter().zip(sent).zip(0_i64..) {
        let Message { seq, msg, .. } = message;
        assert_eq!((*seq, &msg.content[..]), (number + 1, number.to_string().as_bytes()));
        let stored = (&msg.local_id, &msg.server_id, msg.conv_seq, 0);
        let Sent { local_id, stored: said } = sent;
        assert_eq!(stored, (local_id, &said.server_id, said.conv_seq, said.seq));
    }
}

/// A new device pulls the whole inbox and every conversation: they are what was received.
pub(super) async fn check_stored(server: &Server, transport: Transport, user: &str, messages: &[Message]) {
    let config = server.config(transport, user, "auditor").start(Start::Head);
    let auditor = Peer::connect_by(config).await;
    let inbox = pull(&auditor.client, "").await;
    let mut received: Vec<(i64, &str)> =
        messages.iter().map(|message| (message.seq, &*message.msg.server_id)).collect();
    received.sort_unstable();
    let stored: Vec<(i64, &str)> = inbox.iter().map(|entry| (entry.seq, &*msg(entry).server_id)).collect();
    assert_eq!(stored, received);
    let once: HashSet<&str> = stored.iter().map(|(_, id)| *id).collect();
    assert_eq!(once.len(), stored.len(), "each is stored once");

    let conversations: HashSet<&str> = messages.iter().map(|message| &*message.msg.conversation).collect();
    for conversation in conversations {
        let of_it =
            messages.iter().map(|message| &message.msg).filter(|msg| msg.conversation == conversation);
        let received: Vec<(i64, &str)> = of_it.map(|msg| (msg.conv_seq, &*msg.server_id)).collect();
        let entries = pull(&auditor.client, conversation).await;
        let stored: Vec<(i64, &str)> =
            entries.iter().map(|entry| (entry.seq, &*msg(entry).server_id)).collect();
        assert_eq!(stored, received, "{conversation}");
    }
}
