//! The checker finds what it is for: a small world in which all is well, and one thing wrong in it at a time.

use std::time::Instant;

use super::defects;
use crate::ledger::{Got, Ledger, Name, Stored};

/// Two users, the second with a further device; each sends two messages to the other, in turn, and all arrives: stored
/// and delivered as `change` makes it. Device 0 is user 0's; 1 and 2 are user 1's.
fn play(change: impl Fn(&mut Vec<(Name, Stored)>, &mut [Vec<Got>; 3])) -> Vec<String> {
    let mut ledger = Ledger::new(vec![1, 2]);
    let mut names = Vec::new();
    for _ in 0..2 {
        names.push(ledger.send(0, 1));
        names.push(ledger.send(1, 0));
    }
    let stored =
        |(seq, name): (i64, &Name)| (*name, Stored { server_id: name.local_id(), seq, conv_seq: seq });
    let mut stored: Vec<_> = (1..).zip(&names).map(stored).collect();
    let given = |wanted: fn(&Name) -> bool| -> Vec<Got> {
        (1..).zip(&names).filter(|(_, name)| wanted(name)).map(|(seq, name)| got(*name, seq)).collect()
    };
    let mut devices = [given(|name| name.sender == 1), given(|name| name.sender == 0), given(|_| true)];
    change(&mut stored, &mut devices);
    for (name, stored) in stored {
        ledger.accept(name, Instant::now());
        ledger.store(name, stored, Instant::now());
    }
    for (device, given) in devices.into_iter().enumerate() {
        for got in given {
            ledger.arrive(device, got, Instant::now());
        }
    }
    let defects = defects(&ledger);
    assert!(!defects.is_empty() || ledger.incomplete(None) == 0, "what is right is complete");
    defects
}

fn got(name: Name, seq: i64) -> Got {
    Got {
        seq,
        name: Some(name),
        server_id: name.local_id(),
        conversation: "d:user-0:user-1".to_owned(),
        conv_seq: seq,
        is_whole: true,
    }
}

#[test]
fn nothing_is_wrong_where_all_is_well() {
    assert_eq!(play(|_, _| {}), Vec::<String>::new());
}

#[test]
fn every_defect_is_found() {
    type Change = fn(&mut Vec<(Name, Stored)>, &mut [Vec<Got>; 3]);
    let changes: [(&str, Change, &str); 12] = [
        ("a message is dropped on its way", |_, devices| drop(devices[1].remove(0)), "was not given"),
        ("the last one is", |_, devices| drop(devices[0].pop()), "was not given"),
        ("one is dropped for one device of two", |_, devices| drop(devices[2].remove(1)), "was not given"),
        ("one is lost before the store", |stored, _| drop(stored.remove(2)), "is not stored"),
        ("one comes twice", |_, devices| devices[0].push(devices[0][1].clone()), "twice"),
        (
            "one is stored twice",
            |_, devices| {
                let again = Got { seq: 5, conv_seq: 5, ..devices[0][1].clone() };
                devices[0].push(again);
            },
            "twice",
        ),
        ("the inbox has a hole", |_, devices| devices[2][3].seq = 5, "has the seq 5 where 4 is due"),
        ("two have one seq", |_, devices| devices[0][1].seq = 2, "is due"),
        ("two arrive in the wrong order", |_, devices| devices[1].swap(0, 1), "after"),
        (
            "a sender's two are stored in the wrong order",
            |stored, devices| {
                (stored[0].1.conv_seq, stored[2].1.conv_seq) = (3, 1);
                for device in &mut devices[1..] {
                    for got in device.iter_mut().filter(|got| got.name.unwrap().sender == 0) {
                        got.conv_seq = 4 - got.conv_seq;
                    }
                }
            },
            "which was sent earlier",
        ),
        ("the content is another", |_, devices| devices[0][0].is_whole = false, "another content"),
        (
            "it is nobody's",
            |_, devices| devices[0][0].name = Some(Name { sender: 7, number: 1 }),
            "nobody sent",
        ),
    ];
    for (what, change, words) in changes {
        let found = play(change);
        assert!(found.iter().any(|defect| defect.contains(words)), "{what}: {found:#?}");
    }
}

#[test]
fn one_that_was_put_off_may_be_overtaken() {
    for put_off in [false, true] {
        let mut ledger = Ledger::new(vec![1, 1]);
        let names = [ledger.send(0, 1), ledger.send(0, 1)];
        if put_off {
            ledger.put_off(names[0]);
        }
        for (name, seq) in names.into_iter().zip([2, 1]) {
            ledger.store(name, Stored { server_id: name.local_id(), seq, conv_seq: seq }, Instant::now());
        }
        for (name, seq) in [(names[1], 1), (names[0], 2)] {
            ledger.arrive(1, got(name, seq), Instant::now());
        }
        assert_eq!(defects(&ledger).is_empty(), put_off, "{:#?}", defects(&ledger));
    }
}
