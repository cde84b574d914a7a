//! Appending: entries, seqs, repeats, conflicts.

use std::collections::HashMap;

use tidegate_proto::id::LocalId;
use tidegate_proto::message::server_id;
use tidegate_proto::v1::{Code, Msg};

use super::{
    Place, append, channel, direct, inbox, into_refusal, into_stored, msg, page, record, sent_at, stored,
    text, user, whole,
};
use crate::store::{Outcome, PageEntry, Range, Stored};

pub(in crate::store) async fn a_direct_message_has_three_entries(place: &impl Place) {
    let store = place.open().await;
    let first = stored(&store, text("bob", "alice", "1")).await;
    let inboxes = [(user("bob"), 1), (user("alice"), 1)].into_iter().collect();
    assert_eq!(first, Stored { repeated: false, send_time: 1_000, conv_seq: 1, inboxes });

    stored(&store, text("alice", "carol", "2")).await;
    let third = stored(&store, text("alice", "bob", "3")).await;
    assert_eq!((third.conv_seq, third.seq_of(&user("alice"))), (2, Some(3)));
    assert_eq!((third.seq_of(&user("bob")), third.seq_of(&user("carol"))), (Some(2), None));

    assert_eq!(whole(&store, &direct("alice", "bob")).await, ["1", "3"]);
    assert_eq!(whole(&store, &inbox("alice")).await, ["1", "2", "3"]);
    assert_eq!(whole(&store, &inbox("bob")).await, ["1", "3"]);
    assert_eq!(whole(&store, &inbox("carol")).await, ["2"]);

    let page = page(&store, &inbox("bob"), Range::After(1)).await;
    let PageEntry::Msg(body) = &page.entries[0].1 else { panic!("it is gone") };
    let expected = Msg {
        send_id: "alice".into(),
        server_id: server_id(&user("alice"), &text("alice", "bob", "3").local_id),
        send_time: 1_000,
        seq: 2,
        conversation: "d:alice:bob".into(),
        conv_seq: 2,
        ..msg("bob", "3")
    };
    assert_eq!(body.msg(2), expected);
}

pub(in crate::store) async fn a_message_to_oneself_has_two_entries(place: &impl Place) {
    let store = place.open().await;
    stored(&store, text("bob", "alice", "0")).await;
    let note = stored(&store, text("alice", "alice", "1")).await;
    assert_eq!((note.conv_seq, note.inboxes.as_slice()), (1, &[(user("alice"), 2)][..]));
    assert_eq!(whole(&store, &inbox("alice")).await, ["0", "1"]);
    assert_eq!(whole(&store, &direct("alice", "alice")).await, ["1"]);
}

pub(in crate::store) async fn a_channel_message_is_in_its_conversation_only(place: &impl Place) {
    let store = place.open().await;
    let post = |local_id: &str| {
        let msg = Msg { channel: "news/x".into(), receiver_id: String::new(), ..msg("", local_id) };
        record("alice", msg, 1_000)
    };
    let outcomes = append(&store, &[post("1"), post("2")]).await;
    let second = into_stored(outcomes[1].clone());
    assert_eq!((second.conv_seq, second.inboxes.len()), (2, 0));
    assert_eq!(whole(&store, &channel("news/x")).await, ["1", "2"]);
    assert!(whole(&store, &inbox("alice")).await.is_empty());
    assert!(into_stored(append(&store, &[post("2")]).await.remove(0)).repeated);
}

pub(in crate::store) async fn a_group_nobody_is_in_refuses(place: &impl Place) {
    let store = place.open().await;
    let to_group = |content: &str| {
        let msg = Msg { group_id: "g".into(), local_id: "1".into(), ..Msg::default() };
        record("alice", Msg { content: content.to_owned().into(), ..msg }, 1_000)
    };
    let batch = [to_group("x"), text("alice", "bob", "2"), to_group("x"), to_group("y")];
    let outcomes = append(&store, &batch).await;
    let refusal = into_refusal(outcomes[0].clone());
    assert_eq!(refusal.code, Code::PermissionDenied);
    assert_eq!(refusal.message, "no such group, or you are not a member");
    assert_eq!(into_stored(outcomes[1].clone()).conv_seq, 1);
    assert_eq!(outcomes[2], outcomes[0]);
    assert_eq!(into_refusal(outcomes[3].clone()).code, Code::Conflict);

    drop(store);
    let store = place.open().await;
    let again = append(&store, &[to_group("x"), to_group("y")]).await;
    assert_eq!(again[0], outcomes[0], "a refusal is final");
    assert_eq!(again[1], outcomes[3]);
}

pub(in crate::store) async fn a_repeat_is_answered_like_the_first(place: &impl Place) {
    let store = place.open().await;
    stored(&store, text("carol", "bob", "0")).await;
    let first = into_stored(append(&store, &[text("alice", "bob", "1")]).await.remove(0));
    let repeated = Outcome::Stored(Stored { repeated: true, ..first.clone() });
    let again = || sent_at("alice", "bob", "1", 9_999);

    assert_eq!(append(&store, &[again()]).await[0], repeated);
    let mixed = [text("bob", "alice", "1"), again(), text("alice", "bob", "2"), again()];
    let mixed = append(&store, &mixed).await;
    assert_eq!((&mixed[1], &mixed[3]), (&repeated, &repeated));
    assert_eq!(into_stored(mixed[2].clone()).conv_seq, 3);

    // In the same batch as the first.
    let twice = append(&store, &[text("alice", "bob", "3"), sent_at("alice", "bob", "3", 8)]).await;
    let (one, two) = (into_stored(twice[0].clone()), into_stored(twice[1].clone()));
    assert!(!one.repeated && two.repeated);
    assert_eq!(Stored { repeated: true, ..one }, two);

    drop(store);
    let store = place.open().await;
    assert_eq!(append(&store, &[again()]).await, [repeated]);
    assert_eq!(whole(&store, &inbox("bob")).await, ["0", "1", "1", "2", "3"]);
    assert_eq!(whole(&store, &direct("alice", "bob")).await, ["1", "1", "2", "3"]);
}

pub(in crate::store) async fn another_body_is_a_conflict(place: &impl Place) {
    let store = place.open().await;
    let other = |to: &str, content: &'static str| {
        record("alice", Msg { content: content.into(), ..msg(to, "1") }, 1_000)
    };
    let outcomes = append(&store, &[text("alice", "bob", "1"), other("bob", "x")]).await;
    assert!(matches!(outcomes[0], Outcome::Stored(_)));
    let refusal = into_refusal(outcomes[1].clone());
    assert_eq!(refusal.code, Code::Conflict);
    assert!(refusal.message.contains("already used for another message"), "{}", refusal.message);

    let later = [other("bob", "x"), other("zoe", "this is 1"), other("alice", "this is 1")];
    for outcome in append(&store, &later).await {
        assert_eq!(into_refusal(outcome).code, Code::Conflict);
    }
    for timeline in [inbox("bob"), inbox("alice"), direct("alice", "bob")] {
        assert_eq!(whole(&store, &timeline).await, ["1"]);
    }
    assert!(whole(&store, &inbox("zoe")).await.is_empty());
    // The refused one has left no trace: its timelines begin at 1.
    assert_eq!(stored(&store, text("alice", "zoe", "2")).await.conv_seq, 1);
}

pub(in crate::store) async fn a_message_is_found_by_its_name(place: &impl Place) {
    let store = place.open().await;
    let other = record("alice", Msg { content: "x".into(), ..msg("bob", "1") }, 1_000);
    let to_group = Msg { receiver_id: String::new(), group_id: "g".into(), ..msg("", "3") };
    let batch =
        [text("bob", "alice", "1"), text("alice", "bob", "1"), other, record("alice", to_group, 1_000)];
    append(&store, &batch).await;
    let names = [
        ("bob", "1", Some(1)),
        ("alice", "1", Some(2)),
        ("alice", "2", None),
        ("alice", "3", None),
        ("a", "1", None),
    ];
    for (sender, local_id, seq) in names {
        let local_id = LocalId::new(local_id).unwrap();
        assert_eq!(store.conv_seq(&user(sender), &local_id).await.unwrap(), seq, "{sender} {local_id}");
    }
}

pub(in crate::store) async fn seqs_follow_the_order_of_the_batch(place: &impl Place) {
    let store = place.open().await;
    let local_ids = ["9", "b", "1", "a", "5"];
    let batch: Vec<_> = local_ids.iter().map(|id| text("alice", "bob", id)).collect();
    let outcomes = append(&store, &batch).await.into_iter().map(into_stored);
    assert!(outcomes.map(|stored| stored.conv_seq).eq(1..=5));
    for timeline in [direct("alice", "bob"), inbox("alice"), inbox("bob")] {
        assert_eq!(whole(&store, &timeline).await, local_ids);
    }
}

pub(in crate::store) async fn a_large_batch(place: &impl Place) {
    let store = place.open().await;
    let name = |n: usize| format!("u{}", n * 7_919 % 3_001);
    for round in 0..2 {
        let batch: Vec<_> =
            (0..6_667).map(|n| text(&name(n), &name(n + 1), &format!("{round}-{n}"))).collect();
        let outcomes = append(&store, &batch).await;
        let mut heads = HashMap::new();
        for (n, outcome) in outcomes.into_iter().enumerate() {
            let stored = into_stored(outcome);
            assert!(!stored.repeated);
            for (user, seq) in stored.inboxes {
                let head = heads.entry(user.clone()).or_insert(seq - 1);
                *head += 1;
                assert_eq!(seq, *head, "record {n}, {user}");
            }
        }
        let sum: u64 = heads.values().sum();
        assert_eq!(sum, 13_334 * (round + 1));
        let again = append(&store, &batch).await;
        assert!(again.into_iter().all(|outcome| into_stored(outcome).repeated));
    }
    assert_eq!(whole(&store, &inbox(&name(0))).await.len() as u64, 2 * (1 + 2 + 2));
}

pub(in crate::store) async fn ids_are_compared_byte_by_byte(place: &impl Place) {
    let store = place.open().await;
    let pairs = [
        ("ann", "Bob", "x"),
        ("Ann", "bob", "x"),
        ("ann", "bob", "X"),
        ("ANN", "BOB", "x "),
        ("ANN", "BOB", "x"),
    ];
    let batch: Vec<_> = pairs.iter().map(|(from, to, id)| text(from, to, id)).collect();
    for outcome in append(&store, &batch).await {
        assert!(!into_stored(outcome).repeated);
    }
    for timeline in [direct("ann", "Bob"), direct("Ann", "bob"), direct("ann", "bob"), inbox("Ann")] {
        assert_eq!(whole(&store, &timeline).await.len(), 1, "{timeline}");
    }
    assert_eq!(whole(&store, &inbox("ANN")).await, ["x ", "x"]);
    // Not a number, not a pattern, not SQL.
    for (n, to) in ["00", "0", "0.0", "_", "a_b", "-", "1e3", "1000", "null", "x'00'"].iter().enumerate() {
        if let Ok(to) = tidegate_proto::id::UserId::new(to) {
            assert_eq!(stored(&store, text("q", to.as_str(), &format!("'; -- {n}"))).await.conv_seq, 1);
        }
    }
}

pub(in crate::store) async fn an_empty_batch(place: &impl Place) {
    let store = place.open().await;
    assert_eq!(append(&store, &[]).await, []);
}
