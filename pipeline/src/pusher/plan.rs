//! Which gateway gets what: pure, from what a batch has stored and the routes of its recipients.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use smallvec::SmallVec;
use tidegate_proto::Refusal;
use tidegate_proto::id::{ChannelName, UserId};
use tidegate_proto::message::Target;
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::{Receipt, ReceiptStatus, Signal};

use super::link::{Batch, Post, Push};
use crate::body::Body;
use crate::presence::Routes;
use crate::presence::interest::Interests;
use crate::record::{Origin, Record};
use crate::store::Stored;

/// A record and where it is stored.
#[derive(Debug)]
pub struct Placed<'a> {
    /// The record as it came from the log.
    pub record: &'a Record,
    /// Its seqs.
    pub stored: &'a Stored,
}

impl Placed<'_> {
    /// The channel it was sent to.
    fn channel(&self) -> Option<&ChannelName> {
        match &self.record.target {
            Target::Channel(channel) => Some(channel),
            Target::User(_) | Target::Group(_) => None,
        }
    }
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

/// The channels whose subscribers are needed, each once.
pub fn channels(placed: &[Placed<'_>]) -> Vec<ChannelName> {
    let channels: BTreeSet<&ChannelName> = placed.iter().filter_map(|placed| placed.channel()).collect();
    channels.into_iter().cloned().collect()
}

/// A gateway and its incarnation, by which routes count.
pub type Holder = (Arc<str>, u64);
/// What each gateway is handed.
pub type Batches = BTreeMap<Holder, Batch>;

/// One batch for each gateway that holds a recipient or the origin.
///
/// A repeat pushes no body, since the first one stored is the valid one: its recipients get marks and read it from the
/// store if they lack it. Its origin gets STORED at once.
pub fn batches(placed: &[Placed<'_>], routes: &HashMap<&UserId, Routes>) -> Batches {
    let mut batches = Batches::new();
    for placed in placed {
        let holders = holders(placed.stored, routes);
        if placed.stored.repeated {
            for (holder, recipients) in holders {
                let marks = recipients.into_iter().map(|(user, seq)| (Timeline::inbox(&user), seq));
                batch(&mut batches, holder).marks.extend(marks);
            }
            if let Some(origin) = &placed.record.origin {
                receipt(&mut batches, origin, stored_receipt(placed));
            }
        } else if !holders.is_empty() {
            let body = body(placed);
            for (holder, recipients) in holders {
                let origin = placed.record.origin.as_ref().filter(|origin| origin.gateway == holder.0);
                let origin = origin.map(|origin| (origin.incarnation, origin.session));
                let push = Push { body: body.clone(), recipients, origin };
                batch(&mut batches, holder).pushes.push(push);
            }
        }
    }
    batches
}

/// Adds the messages of channels for the gateways that have subscribers, one each however many those are, and STORED for
/// the origins. As to repeats, see [`batches`].
pub fn post(placed: &[Placed<'_>], interests: &HashMap<&ChannelName, Interests>, batches: &mut Batches) {
    for placed in placed {
        let Some(channel) = placed.channel() else { continue };
        let interests = interests.get(channel).into_iter().flatten();
        let holders: Vec<Holder> = interests.map(|row| (row.gateway.clone(), row.incarnation)).collect();
        let seq = placed.stored.conv_seq;
        if placed.stored.repeated {
            let mark = || (placed.record.conversation.clone(), seq);
            holders.into_iter().for_each(|holder| batch(batches, holder).marks.push(mark()));
            continue;
        }
        if !holders.is_empty() {
            let body = body(placed);
            let post = || Post { channel: channel.clone(), seq, body: body.clone() };
            holders.into_iter().for_each(|holder| batch(batches, holder).posts.push(post()));
        }
        if let Some(origin) = &placed.record.origin {
            receipt(batches, origin, stored_receipt(placed));
        }
    }
}

/// Messages of channels that are stored nowhere, for the gateways that have subscribers.
pub fn pass(posts: &[(ChannelName, Body)], interests: &HashMap<&ChannelName, Interests>) -> Batches {
    let mut batches = Batches::new();
    for (channel, body) in posts {
        for row in interests.get(channel).into_iter().flatten() {
            let post = Post { channel: channel.clone(), seq: 0, body: body.clone() };
            batch(&mut batches, (row.gateway.clone(), row.incarnation)).posts.push(post);
        }
    }
    batches
}

/// Signals, each to the gateways but `own` that hold a session of its user.
pub fn signal(
    signals: &[(UserId, Arc<Signal>)],
    routes: &HashMap<&UserId, Routes>,
    own: Option<&str>,
) -> Batches {
    let mut batches = Batches::new();
    for (user, signal) in signals {
        let routes = routes.get(user).into_iter().flatten().map(|(_, route)| route);
        let holders = routes.map(|route| (route.gateway.clone(), route.incarnation));
        for holder in holders.filter(|(gateway, _)| own != Some(gateway)).collect::<BTreeSet<Holder>>() {
            batch(&mut batches, holder).signals.push((user.clone(), signal.clone()));
        }
    }
    batches
}

/// Adds REJECTED for the sessions that sent what is not stored; for a log whose waiters were answered before.
pub fn reject(rejected: &[Rejected<'_>], batches: &mut Batches) {
    for Rejected { record, refusal } in rejected {
        if let Some(origin) = &record.origin {
            receipt(batches, origin, rejected_receipt(record, refusal));
        }
    }
}

/// Adds marks for the `gateways` that no route of a recipient names: when routes may be out of date, the recipient may
/// be there by now.
pub fn mark_elsewhere(
    placed: &[Placed<'_>],
    routes: &HashMap<&UserId, Routes>,
    interests: &HashMap<&ChannelName, Interests>,
    gateways: &[Arc<str>],
    batches: &mut Batches,
) {
    for (placed, channel) in placed.iter().filter_map(|placed| Some((placed, placed.channel()?))) {
        let named = |gateway: &Arc<str>| {
            interests.get(channel).is_some_and(|rows| rows.iter().any(|row| row.gateway == *gateway))
        };
        for gateway in gateways.iter().filter(|gateway| !named(gateway)) {
            let mark = (placed.record.conversation.clone(), placed.stored.conv_seq);
            batch(batches, (gateway.clone(), 0)).marks.push(mark);
        }
    }
    for (user, seq) in placed.iter().flat_map(|placed| &placed.stored.inboxes) {
        let named = |gateway: &Arc<str>| {
            routes.get(user).is_some_and(|routes| routes.iter().any(|(_, route)| route.gateway == *gateway))
        };
        for gateway in gateways.iter().filter(|gateway| !named(gateway)) {
            batch(batches, (gateway.clone(), 0)).marks.push((Timeline::inbox(user), *seq));
        }
    }
}

fn batch(batches: &mut Batches, holder: Holder) -> &mut Batch {
    let incarnation = holder.1;
    batches.entry(holder).or_insert_with(|| Batch { incarnation, ..Batch::default() })
}

fn receipt(batches: &mut Batches, origin: &Origin, receipt: Receipt) {
    let batch = batch(batches, (origin.gateway.clone(), origin.incarnation));
    batch.receipts.push((origin.incarnation, origin.session, receipt));
}

type Holders = BTreeMap<Holder, SmallVec<[(UserId, u64); 2]>>;

/// The gateways that hold a recipient, each with the recipients it holds.
fn holders(stored: &Stored, routes: &HashMap<&UserId, Routes>) -> Holders {
    let mut holders = Holders::new();
    for (user, seq) in &stored.inboxes {
        for (_, route) in routes.get(user).into_iter().flatten() {
            let recipients = holders.entry((route.gateway.clone(), route.incarnation)).or_default();
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
        .traced(record.traceparent.as_deref())
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
    use crate::presence::interest::Interest;

    fn at(gateway: &str) -> Holder {
        (gateway.into(), 7)
    }

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

        assert_eq!(batches.keys().map(|(gateway, _)| &**gateway).collect::<Vec<_>>(), ["one", "two"]);
        let (one, two) = (&batches[&at("one")].pushes[0], &batches[&at("two")].pushes[0]);
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

        assert_eq!(batches[&at("two")].marks, [(Timeline::inbox(&bob), 9)]);
        assert!(batches[&at("two")].pushes.is_empty());
        let (incarnation, session, receipt) = &batches[&at("one")].receipts[0];
        assert_eq!((*incarnation, *session, receipt.seq, receipt.conv_seq), (7, 1, 5, 3));
    }

    #[test]
    fn a_channels_message_goes_once_to_each_gateway_with_subscribers() {
        let msg = Msg { channel: "news/x".into(), ..Msg::default() };
        let origin = Origin { gateway: "three".into(), incarnation: 7, session: 1 };
        let local_id = || LocalId::new("l").unwrap();
        let record = Record::new(msg, &user("alice"), 1, local_id, Some(origin)).unwrap();
        let interest =
            |gateway: &str| Interest { gateway: gateway.into(), incarnation: 7, subscribers: 1_000 };
        let posted = |repeated| {
            let stored = Stored { repeated, send_time: 1, conv_seq: 3, inboxes: smallvec![] };
            let placed = [Placed { record: &record, stored: &stored }];
            let channels = channels(&placed);
            let interests: Interests = [interest("one"), interest("two")].into_iter().collect();
            let mut batches = batches(&placed, &HashMap::new());
            post(
                &placed,
                &channels.iter().map(|channel| (channel, interests.clone())).collect(),
                &mut batches,
            );
            let (_, _, receipt) = &batches[&at("three")].receipts[0];
            assert_eq!((receipt.status(), receipt.seq, receipt.conv_seq), (ReceiptStatus::Stored, 0, 3));
            assert_eq!((batches.len(), batches[&at("three")].receipts.len()), (3, 1));
            batches
        };
        let (first, again) = (posted(false), posted(true));
        for gateway in ["one", "two"] {
            let [post] = &first[&at(gateway)].posts[..] else { panic!("one post") };
            assert_eq!((post.channel.as_str(), post.seq, post.body.conv_seq()), ("news/x", 3, 3));
            assert!(again[&at(gateway)].posts.is_empty());
            assert_eq!(again[&at(gateway)].marks, [(Timeline::parse("c:news/x").unwrap(), 3)]);
        }
    }

    #[test]
    fn a_signal_goes_once_to_each_other_gateway_with_a_session() {
        let (bob, carol) = (user("bob"), user("carol"));
        let routes = routes(&[(&bob, &["two", "one", "two"]), (&carol, &[])]);
        let signals = [(bob.clone(), Arc::default()), (carol, Arc::default())];
        let routes = routes.iter().map(|(user, routes)| (user, routes.clone())).collect();
        let batches = signal(&signals, &routes, Some("one"));
        assert_eq!(batches.keys().collect::<Vec<_>>(), [&at("two")]);
        assert_eq!(batches[&at("two")].signals, signals[..1]);
    }

    #[test]
    fn a_refused_record_is_a_receipt_for_its_origin() {
        let record = record("two");
        let refusal = Refusal::new(Code::Conflict, "another body");
        let mut batches = Batches::new();
        reject(&[Rejected { record: &record, refusal: &refusal }], &mut batches);
        let (incarnation, session, receipt) = &batches[&at("two")].receipts[0];
        assert_eq!((*incarnation, *session, receipt.code()), (7, 1, Code::Conflict));
        assert_eq!((receipt.status(), &*receipt.local_id), (ReceiptStatus::Rejected, "l"));
    }

    #[test]
    fn when_routes_may_be_old_other_gateways_get_a_mark() {
        let (record, stored) = (record("one"), stored(false));
        let placed = [Placed { record: &record, stored: &stored }];
        let (alice, bob) = (user("alice"), user("bob"));
        let routes = routes(&[(&alice, &["one"])]);
        let mut batches = Batches::new();
        let known = routes.iter().map(|(user, routes)| (user, routes.clone())).collect();
        mark_elsewhere(&placed, &known, &HashMap::new(), &["one".into(), "two".into()], &mut batches);
        let marks = |gateway: &str| batches[&(gateway.into(), 0)].marks.clone();
        assert_eq!(marks("one"), [(Timeline::inbox(&bob), 9)]);
        assert_eq!(marks("two"), [(Timeline::inbox(&alice), 5), (Timeline::inbox(&bob), 9)]);
    }

    #[test]
    fn an_origin_of_another_incarnation_is_told_by_it() {
        let mut record = record("one");
        record.origin.as_mut().unwrap().incarnation = 6;
        let stored = stored(true);
        let placed = [Placed { record: &record, stored: &stored }];
        let batches = batches(&placed, &HashMap::new());
        let (holder, batch) = batches.first_key_value().unwrap();
        assert_eq!((holder.1, batch.incarnation, batch.receipts.len()), (6, 6, 1));
    }

    #[test]
    fn nobody_there_nobody_called() {
        let (record, stored) = (record("one"), stored(false));
        let placed = [Placed { record: &record, stored: &stored }];
        assert!(batches(&placed, &HashMap::new()).is_empty());
    }
}
