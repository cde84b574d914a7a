//! Which gateway gets what: pure, from what a batch has stored and the routes of its recipients.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;
use tidegate_proto::Refusal;
use tidegate_proto::id::UserId;
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::{Receipt, ReceiptStatus};

use super::link::{Batch, Push};
use crate::body::Body;
use crate::presence::Routes;
use crate::record::Record;
use crate::store::Stored;

/// A record and where it is stored.
#[derive(Debug)]
pub struct Placed<'a> {
    /// The record as it came from the log.
    pub record: &'a Record,
    /// Its seqs.
    pub stored: &'a Stored,
}

/// A record that is not stored, and why.
#[derive(Debug)]
pub struct Rejected<'a> {
    /// The record as it came from the log.
    pub record: &'a Record,
    /// What its sender is told.
    pub refusal: &'a Refusal,
}

/// The users whose routes are needed, each once.
pub fn users(placed: &[Placed<'_>]) -> Vec<UserId> {
    let users: BTreeSet<&UserId> =
        placed.iter().flat_map(|placed| placed.stored.inboxes.iter().map(|(user, _)| user)).collect();
    users.into_iter().cloned().collect()
}

/// One batch for each gateway that holds a recipient or the origin.
///
/// A repeat pushes no body, since the first one stored is the valid one: its recipients get marks and read it from the
/// store if they lack it. Its origin gets STORED at once.
pub fn batches(placed: &[Placed<'_>], routes: &HashMap<&UserId, Routes>) -> BTreeMap<Arc<str>, Batch> {
    let mut batches = BTreeMap::<Arc<str>, Batch>::new();
    for placed in placed {
        let holders = holders(placed.stored, routes);
        if placed.stored.repeated {
            for (gateway, recipients) in holders {
                let marks = recipients.into_iter().map(|(user, seq)| (Timeline::inbox(&user), seq));
                batches.entry(gateway).or_default().marks.extend(marks);
            }
            if let Some(origin) = &placed.record.origin {
                let batch = batches.entry(origin.gateway.clone()).or_default();
                batch.receipts.push((origin.incarnation, origin.session, stored_receipt(placed)));
            }
        } else if !holders.is_empty() {
            let body = body(placed);
            for (gateway, recipients) in holders {
                let origin = placed.record.origin.as_ref().filter(|origin| origin.gateway == gateway);
                let origin = origin.map(|origin| (origin.incarnation, origin.session));
                batches.entry(gateway).or_default().pushes.push(Push {
                    body: body.clone(),
                    recipients,
                    origin,
                });
            }
        }
    }
    batches
}

/// Adds REJECTED for the sessions that sent what is not stored; for a log whose waiters were answered before.
pub fn reject(rejected: &[Rejected<'_>], batches: &mut BTreeMap<Arc<str>, Batch>) {
    for Rejected { record, refusal } in rejected {
        if let Some(origin) = &record.origin {
            let receipt = rejected_receipt(record, refusal);
            let batch = batches.entry(origin.gateway.clone()).or_default();
            batch.receipts.push((origin.incarnation, origin.session, receipt));
        }
    }
}

type Holders = BTreeMap<Arc<str>, SmallVec<[(UserId, u64); 2]>>;

/// The gateways that hold a recipient, each with the recipients it holds.
fn holders(stored: &Stored, routes: &HashMap<&UserId, Routes>) -> Holders {
    let mut holders = Holders::new();
    for (user, seq) in &stored.inboxes {
        for (_, route) in routes.get(user).into_iter().flatten() {
            let recipients = holders.entry(route.gateway.clone()).or_default();
            // A user with several devices on one gateway is named once: the hub knows his sessions.
            if recipients.last().is_none_or(|(last, _)| last != user) {
                recipients.push((user.clone(), *seq));
            }
        }
    }
    holders
}

fn body(placed: &Placed<'_>) -> Body {
    let record = placed.record;
    let ids = (record.local_id.as_str(), &*record.server_id);
    Body::new(&record.encoded, record.conversation.as_str(), ids, record.send_time, placed.stored.conv_seq)
}

fn stored_receipt(placed: &Placed<'_>) -> Receipt {
    Receipt {
        local_id: placed.record.local_id.as_str().to_owned(),
        server_id: placed.record.server_id.clone(),
        send_time: placed.stored.send_time,
        status: ReceiptStatus::Stored as i32,
        seq: placed.stored.seq_of(&placed.record.sender).unwrap_or(0).cast_signed(),
        conv_seq: placed.stored.conv_seq.cast_signed(),
        ..Receipt::default()
    }
}

fn rejected_receipt(record: &Record, refusal: &Refusal) -> Receipt {
    Receipt {
        local_id: record.local_id.as_str().to_owned(),
        server_id: record.server_id.clone(),
        status: ReceiptStatus::Rejected as i32,
        code: refusal.code as i32,
        message: refusal.message.clone(),
        retry_after_ms: refusal.retry_after_ms,
        ..Receipt::default()
    }
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;
    use tidegate_proto::id::{DeviceId, LocalId};
    use tidegate_proto::v1::{Code, Msg};

    use super::*;
    use crate::presence::contract::route;
    use crate::record::Origin;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn record(origin: &str) -> Record {
        let msg = Msg { receiver_id: "bob".into(), ..Msg::default() };
        let origin = Origin { gateway: origin.into(), incarnation: 7, session: 1 };
        Record::new(msg, &user("alice"), 1, || LocalId::new("l").unwrap(), Some(origin)).unwrap()
    }

    fn stored(repeated: bool) -> Stored {
        let inboxes = smallvec![(user("alice"), 5), (user("bob"), 9)];
        Stored { repeated, send_time: 1, conv_seq: 3, inboxes }
    }

    fn routes(of: &[(&UserId, &[&str])]) -> HashMap<UserId, Routes> {
        let device = |n: usize| DeviceId::new(&n.to_string()).unwrap();
        let routes = |on: &[&str]| {
            on.iter().enumerate().map(|(n, gateway)| (device(n), route(gateway, 1, 1))).collect()
        };
        of.iter().map(|(user, on)| ((*user).clone(), routes(on))).collect()
    }

    #[test]
    fn only_gateways_with_a_recipient_are_called_and_each_user_is_named_once() {
        let (record, stored) = (record("one"), stored(false));
        let placed = [Placed { record: &record, stored: &stored }];
        let (alice, bob) = (user("alice"), user("bob"));
        let routes = routes(&[(&alice, &["one"]), (&bob, &["two", "two", "one"])]);
        let batches = batches(&placed, &routes.iter().map(|(user, routes)| (user, routes.clone())).collect());

        assert_eq!(batches.keys().map(|gateway| &**gateway).collect::<Vec<_>>(), ["one", "two"]);
        let (one, two) = (&batches["one"].pushes[0], &batches["two"].pushes[0]);
        assert_eq!(one.recipients.as_slice(), [(alice, 5), (bob.clone(), 9)]);
        assert_eq!(two.recipients.as_slice(), [(bob, 9)]);
        assert_eq!((one.origin, two.origin), (Some((7, 1)), None));
        assert_eq!(one.body.conv_seq(), 3);
    }

    #[test]
    fn a_repeat_is_marks_and_a_receipt() {
        let (record, stored) = (record("one"), stored(true));
        let placed = [Placed { record: &record, stored: &stored }];
        let bob = user("bob");
        let routes = routes(&[(&bob, &["two"])]);
        let batches = batches(&placed, &routes.iter().map(|(user, routes)| (user, routes.clone())).collect());

        assert_eq!(batches["two"].marks, [(Timeline::inbox(&bob), 9)]);
        assert!(batches["two"].pushes.is_empty());
        let (incarnation, session, receipt) = &batches["one"].receipts[0];
        assert_eq!((*incarnation, *session, receipt.seq, receipt.conv_seq), (7, 1, 5, 3));
    }

    #[test]
    fn a_refused_record_is_a_receipt_for_its_origin() {
        let record = record("two");
        let refusal = Refusal::new(Code::Conflict, "another body");
        let mut batches = BTreeMap::new();
        reject(&[Rejected { record: &record, refusal: &refusal }], &mut batches);
        let (incarnation, session, receipt) = &batches["two"].receipts[0];
        assert_eq!((*incarnation, *session, receipt.code()), (7, 1, Code::Conflict));
        assert_eq!((receipt.status(), &*receipt.local_id), (ReceiptStatus::Rejected, "l"));
    }

    #[test]
    fn nobody_there_nobody_called() {
        let (record, stored) = (record("one"), stored(false));
        let placed = [Placed { record: &record, stored: &stored }];
        assert!(batches(&placed, &HashMap::new()).is_empty());
    }
}
