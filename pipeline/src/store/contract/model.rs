//! A store as simple as can be, to compare a real one with on random schedules.

use std::collections::{BTreeMap, HashMap};

use tidegate_proto::id::{DeviceId, UserId};
use tidegate_proto::timeline::Timeline;
use tidegate_proto::v1::{Code, Msg};

use super::{append, channel, device, direct, inbox, local_ids, record, user, whole};
use crate::record::Record;
use crate::store::{Bounds, CursorUpdate, Outcome, Range, Store, Stored};

/// Something done to a store.
#[derive(Debug, Clone)]
pub(in crate::store) enum Step {
    /// Appends a batch.
    Append(Vec<Send>),
    /// Reads a page of the timeline of that number.
    Page(u8, Range, usize),
    /// Saves a cursor: user, device, seq.
    Cursor(u8, u8, u64),
    /// Closes the store and opens it again.
    Reopen,
}

/// A message in few numbers, so that pairs repeat, with the same body or another.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Send {
    pub(in crate::store) from: u8,
    pub(in crate::store) to: To,
    pub(in crate::store) local_id: u8,
    pub(in crate::store) body: u8,
}

#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum To {
    User(u8),
    Channel(u8),
    Group,
}

/// What the model has of a pair.
struct Known {
    hash: [u8; 32],
    outcome: Option<Stored>,
}

#[derive(Default)]
struct Model {
    known: HashMap<(String, String), Known>,
    timelines: BTreeMap<Timeline, Vec<String>>,
    cursors: HashMap<(UserId, DeviceId), u64>,
}

/// Does the steps to a store and to the model, and compares every answer, and all that is there in the end.
pub(in crate::store) async fn compare(place: &impl super::Place, steps: &[Step]) {
    let mut store = place.open().await;
    let mut model = Model::default();
    for (n, step) in steps.iter().enumerate() {
        match step {
            Step::Append(sends) => {
                let records: Vec<Record> = sends.iter().map(|send| send.record(n as i64)).collect();
                let outcomes = append(&store, &records).await;
                for (record, outcome) in records.iter().zip(outcomes) {
                    model.append(record, &outcome);
                }
            }
            Step::Page(number, range, limit) => {
                let timeline = &timelines()[usize::from(*number) % timelines().len()];
                let page = store.page(timeline, *range, *limit, usize::MAX, 0).await.unwrap();
                assert_eq!(local_ids(&page), model.page(timeline, *range, *limit), "step {n}");
            }
            Step::Cursor(owner, on, cursor) => {
                let (user, device) = (name(*owner), device(&format!("d{on}")));
                let kept = model.cursors.entry((user.clone(), device.clone())).or_default();
                *kept = (*kept).max(*cursor);
                let kept = *kept;
                let update = CursorUpdate { user: user.clone(), device: device.clone(), cursor: *cursor };
                store.save_cursors(&[update], 0).await.unwrap();
                assert_eq!(store.inbox(&user, &device).await.unwrap().cursor, Some(kept));
            }
            Step::Reopen => {
                store.close().await.unwrap();
                store = place.open().await;
            }
        }
    }
    model.compare(&store).await;
}

impl Send {
    fn record(self, send_time: i64) -> Record {
        let mut msg = Msg { content: vec![self.body].into(), ..Msg::default() };
        msg.local_id = format!("{}", self.local_id);
        match self.to {
            To::User(to) => msg.receiver_id = name(to).to_string(),
            To::Channel(to) => msg.channel = format!("c{}", to % USERS),
            To::Group => msg.group_id = "g".to_owned(),
        }
        record(name(self.from).as_str(), msg, send_time)
    }
}

impl Model {
    /// The outcome must be the one the model comes to.
    fn append(&mut self, record: &Record, outcome: &Outcome) {
        let pair = (record.sender.to_string(), record.local_id.to_string());
        let code = |outcome: &Outcome| match outcome {
            Outcome::Refused(refusal) => Some(refusal.code),
            Outcome::Stored(_) => None,
        };
        if let Some(known) = self.known.get(&pair) {
            match &known.outcome {
                _ if known.hash != record.hash => assert_eq!(code(outcome), Some(Code::Conflict)),
                None => assert_eq!(code(outcome), Some(Code::PermissionDenied)),
                Some(stored) => assert_eq!(outcome, &Outcome::Stored(stored.clone())),
            }
            return;
        }
        let expected = self.store(record);
        match &expected {
            None => assert_eq!(code(outcome), Some(Code::PermissionDenied)),
            Some(stored) => assert_eq!(outcome, &Outcome::Stored(stored.clone())),
        }
        let outcome = expected.map(|stored| Stored { repeated: true, ..stored });
        self.known.insert(pair, Known { hash: record.hash, outcome });
    }

    fn store(&mut self, record: &Record) -> Option<Stored> {
        if record.conversation.as_str().starts_with("g:") {
            return None;
        }
        let mut push = |timeline: Timeline| {
            let entries = self.timelines.entry(timeline).or_default();
            entries.push(record.local_id.to_string());
            entries.len() as u64
        };
        let conv_seq = push(record.conversation.clone());
        let inboxes =
            record.recipients().into_iter().map(|user| (user.clone(), push(Timeline::inbox(&user))));
        let inboxes = inboxes.collect();
        Some(Stored { repeated: false, send_time: record.send_time, conv_seq, inboxes })
    }

    fn page(&self, timeline: &Timeline, range: Range, limit: usize) -> Vec<String> {
        let entries = self.timelines.get(timeline).map_or(&[][..], |entries| &entries[..]);
        let (limit, len) = (limit.max(1), entries.len());
        match range {
            Range::After(seq) => {
                entries.iter().skip(usize::try_from(seq).unwrap_or(len)).take(limit).cloned().collect()
            }
            Range::Before(seq) => {
                let end = usize::try_from(seq.saturating_sub(1)).unwrap_or(len).min(len);
                entries[end.saturating_sub(limit)..end].to_vec()
            }
        }
    }

    async fn compare(&self, store: &Store) {
        let all = timelines();
        let heads = store.heads(&all).await.unwrap();
        for (timeline, bounds) in all.iter().zip(heads) {
            let expected = self.timelines.get(timeline).cloned().unwrap_or_default();
            assert_eq!(bounds, Bounds { head: expected.len() as u64, floor: 1 }, "{timeline}");
            assert_eq!(whole(store, timeline).await, expected, "{timeline}");
        }
    }
}

fn name(number: u8) -> UserId {
    user(&format!("u{}", number % USERS))
}

/// Every timeline that a step can touch.
fn timelines() -> Vec<Timeline> {
    let mut all = Vec::new();
    for a in 0..USERS {
        let name_a = name(a);
        all.extend([inbox(name_a.as_str()), channel(&format!("c{a}"))]);
        all.extend((a..USERS).map(|b| direct(name_a.as_str(), name(b).as_str())));
    }
    all
}

const USERS: u8 = 4;
