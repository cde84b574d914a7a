//! What every log does, run on each: answers, order, bounds, the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tidegate_proto::id::{LocalId, UserId};
use tidegate_proto::v1::{Code, Msg};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::embedded::{BATCH_BYTES, BATCH_RECORDS};
use super::{Answer, Answers, Log, NotAppended, Reader, Waiter, kafka};
use crate::record::{Origin, Record};

/// A log with both its ends.
pub(crate) struct Opened {
    pub(crate) log: Log,
    pub(crate) reader: Reader,
}

/// Takes the answers of all appends, by their tags.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    answers: Mutex<Vec<(u64, Answer)>>,
    more: Notify,
}

impl Answers for Answered {
    fn answer(&self, tag: u64, answer: Answer) {
        self.answers.lock().push((tag, answer));
        self.more.notify_one();
    }
}

impl Answered {
    /// All answers, once there are so many.
    pub(crate) async fn wait(&self, count: usize) -> Vec<(u64, Answer)> {
        loop {
            if self.answers.lock().len() >= count {
                return self.answers.lock().clone();
            }
            within(self.more.notified()).await;
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.answers.lock().len()
    }

    /// That many are accepted; each is answered once, and none otherwise.
    pub(crate) async fn all_accepted(&self, count: usize) {
        let mut tags = Vec::new();
        for (tag, answer) in self.wait(count).await {
            assert!(matches!(answer, Answer::Accepted { .. }), "{tag}: {answer:?}");
            tags.push(tag);
        }
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), count);
    }
}

/// A limit that ends a hang.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), future).await.expect("within 60 s")
}

/// A message of `from` to `to`, named by its number.
pub(crate) fn record((from, to): (&str, &str), number: u64, content: usize) -> Record {
    let msg = Msg { receiver_id: to.into(), content: vec![7; content].into(), ..Msg::default() };
    let local_id = LocalId::new(&number.to_string()).unwrap();
    let origin = Origin { gateway: "g".into(), incarnation: 7, session: number };
    Record::new(msg, &UserId::new(from).unwrap(), 1_000, || local_id, Some(origin)).unwrap()
}

pub(crate) fn number(record: &Record) -> u64 {
    record.local_id.as_str().parse().unwrap()
}

impl Opened {
    /// The next batch, answered and done as the sequencer would have it.
    pub(crate) async fn take(&mut self) -> Vec<Record> {
        match &mut self.reader {
            Reader::Embedded(reader) => {
                let batch = within(reader.batch()).await;
                let answered = batch.into_iter().map(|appended| {
                    appended.waiter.answer(Answer::Accepted { send_time: appended.record.send_time });
                    appended.record
                });
                answered.collect()
            }
            Reader::Kafka(reader) => {
                let kafka::Batch { records, dead, hand } = within(reader.batch()).await.expect("not stopped");
                assert!(dead.is_empty());
                hand.done();
                records.into_iter().map(|appended| appended.record).collect()
            }
        }
    }

    /// Batches until there are so many records.
    pub(crate) async fn take_all(&mut self, count: usize) -> Vec<Record> {
        let mut records = Vec::new();
        while records.len() < count {
            records.extend(self.take().await);
        }
        assert_eq!(records.len(), count);
        records
    }
}

/// Records come as they were appended, each once, in order within a conversation, and are answered.
pub(crate) async fn order(opened: &mut Opened) {
    const USERS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];
    const COUNT: u64 = 3_000;
    let answered = Arc::new(Answered::default());
    let mut sent = BTreeMap::<_, Vec<Record>>::new();
    // Fewer than the embedded log holds.
    for tag in 0..COUNT {
        let pair = (USERS[(tag % 7) as usize], USERS[(tag * tag % 5) as usize]);
        let record = Record { traceparent: Some(format!("00-{tag}").into()), ..record(pair, tag, 20) };
        sent.entry(record.conversation.clone()).or_default().push(record.clone());
        within(opened.log.append(record, Waiter::new(answered.clone(), tag))).await.unwrap();
    }
    let mut read = BTreeMap::<_, Vec<Record>>::new();
    for record in opened.take_all(COUNT as usize).await {
        read.entry(record.conversation.clone()).or_default().push(record);
    }
    assert!(read.len() > 10);
    assert_eq!(read, sent, "records as they were, with their origins and traces");
    answered.all_accepted(COUNT as usize).await;
    assert_eq!(opened.log.depth(), 0);
}

/// No batch is over its bounds, and what does not fit comes with the next.
pub(crate) async fn bounds(opened: &mut Opened) {
    let answered = Arc::new(Answered::default());
    for tag in 0..40 {
        let record = record(("a", "b"), tag, 60_000);
        opened.log.append(record, Waiter::new(answered.clone(), tag)).await.unwrap();
    }
    let mut numbers = Vec::new();
    while numbers.len() < 40 {
        let batch = opened.take().await;
        assert!(!batch.is_empty() && batch.len() <= BATCH_RECORDS);
        assert!(batch.iter().map(Record::cost_bytes).sum::<usize>() <= BATCH_BYTES);
        numbers.extend(batch.iter().map(number));
    }
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
    answered.all_accepted(40).await;
}

/// A closed log takes no more, and says so to everybody who waits.
pub(crate) async fn end(opened: Opened) {
    let Opened { log, reader } = opened;
    let answered = Arc::new(Answered::default());
    within(log.close()).await;
    drop(reader);
    let late = |tag| (record(("a", "b"), tag, 0), Waiter::new(answered.clone(), tag));
    let (first, waiter) = late(1);
    assert!(matches!(log.try_append(first, waiter), Err(NotAppended::Closed)));
    let (second, waiter) = late(2);
    within(log.append(second, waiter)).await.unwrap_err();
    let answers = answered.wait(2).await;
    for (_, answer) in answers {
        assert!(matches!(answer, Answer::Rejected(refusal) if refusal.code == Code::Unavailable));
    }
}
