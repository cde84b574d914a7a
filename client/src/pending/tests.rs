//! Sends that wait for their receipts: in tables and on random schedules.

use super::*;
use proptest::prelude::*;

fn at(start: Instant, seconds: u64) -> Instant {
    start + Duration::from_secs(seconds)
}

fn with_sends(names: &[&str]) -> Pending<String> {
    let mut pending = Pending::new();
    for (number, name) in names.iter().enumerate() {
        pending
            .push(name, number as u32 + 1, Bytes::copy_from_slice(name.as_bytes()), name.to_string())
            .unwrap();
    }
    pending
}

/// Sends all that may go out and says what it was.
fn send_all(pending: &mut Pending<String>, now: Instant) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(frame) = pending.peek(now) {
        sent.push(String::from_utf8(frame.to_vec()).unwrap());
        pending.sent(now);
    }
    sent
}

#[test]
fn goes_out_in_order_and_once() {
    let now = Instant::now();
    let mut pending = with_sends(&["a", "b", "c"]);
    assert_eq!(send_all(&mut pending, now), ["a", "b", "c"]);
    assert_eq!(send_all(&mut pending, now), [""; 0]);
    assert_eq!(pending.finished("b").as_deref(), Some("b"));
    assert_eq!(pending.finished("b"), None);
    assert_eq!(pending.local_id_of(3).as_deref(), Some("c"));
    assert_eq!(pending.local_id_of(2), None);
}

#[test]
fn a_local_id_is_pending_once() {
    let mut pending = with_sends(&["a"]);
    assert_eq!(pending.push("a", 9, Bytes::new(), "again".into()), Err("again".to_owned()));
    pending.finished("a");
    assert!(pending.push("a", 9, Bytes::new(), "again".into()).is_ok());
}

#[test]
fn the_window_opens_with_accepted_and_with_final_answers() {
    let now = Instant::now();
    let mut pending = with_sends(&["a", "b", "c", "d"]);
    pending.start_session(2);
    assert_eq!(send_all(&mut pending, now), ["a", "b"]);
    pending.accepted("a", now).unwrap();
    assert_eq!(send_all(&mut pending, now), ["c"]);
    // A second ACCEPTED frees nothing.
    pending.accepted("a", now).unwrap();
    assert_eq!(send_all(&mut pending, now), [""; 0]);
    pending.finished("b").unwrap();
    assert_eq!(send_all(&mut pending, now), ["d"]);
}

#[test]
fn the_window_is_never_zero_nor_over_the_limit() {
    for (asked, window) in [(0, 1), (-5, 1), (7, 7), (1_000_000, MAX_IN_FLIGHT)] {
        let mut pending: Pending<()> = Pending::new();
        pending.start_session(asked);
        assert_eq!(pending.max_in_flight, window);
    }
}

#[test]
fn without_a_final_answer_it_goes_out_again_after_30_seconds() {
    let start = Instant::now();
    let mut pending = with_sends(&["a", "b"]);
    send_all(&mut pending, start);
    pending.accepted("a", at(start, 10)).unwrap();
    assert_eq!(pending.deadline(), Some(at(start, 30)));
    pending.on_time(at(start, 29));
    assert_eq!(send_all(&mut pending, at(start, 29)), [""; 0]);
    pending.on_time(at(start, 30));
    assert_eq!(send_all(&mut pending, at(start, 30)), ["b"]);
    pending.on_time(at(start, 40));
    assert_eq!(send_all(&mut pending, at(start, 40)), ["a"]);
    assert!(pending.finished("a").is_some() && pending.finished("b").is_some());
    assert_eq!(pending.deadline(), None);
}

#[test]
fn a_late_answer_spares_the_repetition() {
    let start = Instant::now();
    let mut pending = with_sends(&["a"]);
    send_all(&mut pending, start);
    pending.on_time(at(start, 30));
    pending.accepted("a", at(start, 30)).unwrap();
    assert_eq!(send_all(&mut pending, at(start, 30)), [""; 0]);
    assert_eq!(pending.deadline(), Some(at(start, 60)));
}

#[test]
fn a_new_session_sends_all_again_in_order() {
    let start = Instant::now();
    let mut pending = with_sends(&["a", "b", "c", "d"]);
    send_all(&mut pending, start);
    pending.accepted("c", start).unwrap();
    pending.finished("b").unwrap();
    pending.refused_for_now("a", Duration::from_secs(60), start, 0.0);
    pending.start_session(64);
    assert_eq!(send_all(&mut pending, start), ["a", "c", "d"]);
}

#[test]
fn refused_for_now_pauses_all_and_keeps_the_order() {
    let start = Instant::now();
    let mut pending = with_sends(&["a", "b"]);
    send_all(&mut pending, start);
    pending.push("c", 3, Bytes::from("c"), "c".into()).unwrap();
    pending.refused_for_now("b", Duration::from_secs(2), start, 0.0);
    pending.refused_for_now("a", Duration::ZERO, start, 0.0);
    assert_eq!(pending.deadline(), Some(at(start, 2)));
    assert_eq!(send_all(&mut pending, at(start, 1)), [""; 0]);
    assert_eq!(send_all(&mut pending, at(start, 2)), ["a", "b", "c"]);
}

#[test]
fn pauses_grow_until_something_is_accepted() {
    let mut now = Instant::now();
    let mut pending = with_sends(&["a"]);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        send_all(&mut pending, now);
        pending.refused_for_now("a", Duration::ZERO, now, 1.0);
        let until = pending.deadline().unwrap();
        pauses.push((until - now).as_millis());
        now = until;
    }
    assert_eq!(pauses, [200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
    send_all(&mut pending, now);
    pending.accepted("a", now).unwrap();
    pending.refused_for_now("a", Duration::ZERO, now, 0.0);
    assert_eq!(pending.deadline(), Some(now + Duration::from_millis(100)));
}

#[test]
fn the_end_gives_all_waiters_back() {
    let mut pending = with_sends(&["a", "b"]);
    send_all(&mut pending, Instant::now());
    assert_eq!(pending.drain().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(pending.drain().count(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Push,
    Send,
    Accept(usize),
    Finish(usize),
    Refuse(usize),
    Reconnect,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Push),
        3 => Just(Step::Send),
        2 => any::<usize>().prop_map(Step::Accept),
        2 => any::<usize>().prop_map(Step::Finish),
        1 => any::<usize>().prop_map(Step::Refuse),
        1 => Just(Step::Reconnect),
        1 => (0u64..40).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn nothing_is_lost_and_the_figures_agree(steps in prop::collection::vec(step(), 1..200), window in 1i64..5) {
        let mut now = Instant::now();
        let mut pending: Pending<u64> = Pending::new();
        pending.start_session(window);
        let (mut pushed, mut open): (u64, Vec<u64>) = (0, Vec::new());
        let pick = |open: &Vec<u64>, any: usize| open.get(any % open.len().max(1)).copied();
        for step in steps {
            match step {
                Step::Push => {
                    prop_assert!(pending.push(&pushed.to_string(), pushed as u32, Bytes::new(), pushed).is_ok());
                    open.push(pushed);
                    pushed += 1;
                }
                Step::Send => if pending.peek(now).is_some() { pending.sent(now) },
                Step::Accept(any) => if let Some(name) = pick(&open, any) {
                    prop_assert_eq!(pending.accepted(&name.to_string(), now).copied(), Some(name));
                },
                Step::Finish(any) => if let Some(name) = pick(&open, any) {
                    prop_assert_eq!(pending.finished(&name.to_string()), Some(name));
                    open.retain(|other| *other != name);
                },
                Step::Refuse(any) => if let Some(name) = pick(&open, any) {
                    pending.refused_for_now(&name.to_string(), Duration::ZERO, now, 0.5);
                },
                Step::Reconnect => pending.start_session(window),
                Step::Wait(seconds) => {
                    now += Duration::from_secs(seconds);
                    pending.on_time(now);
                }
            }
            let count = |wanted: fn(&Stage) -> bool| pending.sends.values().filter(|entry| wanted(&entry.stage)).count();
            prop_assert_eq!(pending.sends.len(), open.len());
            prop_assert_eq!(pending.by_local_id.len(), open.len());
            prop_assert_eq!(count(|stage| *stage == Stage::Ready), pending.ready.len());
            prop_assert_eq!(count(|stage| *stage != Stage::Ready), pending.timers.len());
            prop_assert_eq!(count(|stage| matches!(stage, Stage::InFlight(_))), pending.in_flight);
            prop_assert!(pending.in_flight <= window as usize);
        }
        // From any state, a session that answers everything ends with nothing pending, in the order of the pushes.
        pending.start_session(64);
        let mut order = Vec::new();
        while pending.peek(now).is_some() {
            let ticket = *pending.ready.first().unwrap();
            pending.sent(now);
            let name = pending.sends[&ticket].waiter;
            order.push(name);
            pending.finished(&name.to_string());
        }
        prop_assert_eq!(order, open);
        prop_assert_eq!(pending.deadline(), None);
    }
}
