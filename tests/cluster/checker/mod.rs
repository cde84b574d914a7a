//! What must be true of a ledger once everything has come to rest. Pure: no clock, no server.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::ledger::{Device, Got, Ledger, Name};

/// Everything that is wrong, in words; empty: nothing.
pub(crate) fn defects(ledger: &Ledger) -> Vec<String> {
    let mut found = ledger.seen.clone();
    found.extend(ledger.channels.defects());
    check_promises(ledger, &mut found);
    for device in &ledger.devices {
        check_inbox(ledger, device, &mut found);
        check_arrivals(ledger, device, &mut found);
    }
    check_conversations(ledger, &mut found);
    found
}

/// What was accepted is stored; so is everything else, since clients send until they know.
fn check_promises(ledger: &Ledger, found: &mut Vec<String>) {
    for (sender, sent) in ledger.sent.iter().enumerate() {
        for (number, sent) in sent.iter().enumerate() {
            if sent.stored.is_none() {
                let accepted = if sent.accepted.is_some() { "accepted" } else { "sent" };
                found.push(format!("{sender}-{number} to {} was {accepted} and is not stored", sent.to));
            }
        }
    }
}

/// The inbox of a device is what was sent to its user and by its user, each once, with seqs 1, 2, 3, …
fn check_inbox(ledger: &Ledger, device: &Device, found: &mut Vec<String>) {
    let whose =
        || format!("{}'s device {}", device.user, if device.sends { "that sends" } else { "that listens" });
    let mut seqs: Vec<(i64, Name)> = Vec::new();
    let mut names = HashSet::new();
    for got in &device.got {
        let Some(name) = got.name else {
            found.push(format!("{} was given what nobody sent: {got:?}", whose()));
            continue;
        };
        if !names.insert(name) {
            found.push(format!("{} was given {name:?} twice", whose()));
        }
        seqs.push((got.seq, name));
    }
    for (sender, of_sender) in (0..).zip(&ledger.sent) {
        for (number, sent) in (0..).zip(of_sender) {
            let name = Name { sender, number };
            let is_own = sender == device.user;
            if is_own && device.sends {
                seqs.extend(sent.stored.as_ref().map(|stored| (stored.seq, name)));
                if sent.to != sender && names.contains(&name) {
                    found.push(format!("{} was given its own {name:?} besides STORED", whose()));
                }
            } else if (is_own || sent.to == device.user) && !names.contains(&name) {
                found.push(format!("{} was not given {name:?}", whose()));
            } else if !is_own && sent.to != device.user && names.contains(&name) {
                found.push(format!("{} was given {name:?}, which is for {}", whose(), sent.to));
            }
        }
    }
    seqs.sort_unstable();
    for (expected, (seq, name)) in (1..).zip(&seqs) {
        if *seq != expected {
            found.push(format!("{}: {name:?} has the seq {seq} where {expected} is due", whose()));
            break;
        }
    }
}

/// What a device is given of a conversation comes in its order, unharmed, and as the sender was told.
fn check_arrivals(ledger: &Ledger, device: &Device, found: &mut Vec<String>) {
    let mut last: HashMap<&str, &Got> = HashMap::new();
    for got in &device.got {
        if let Some(before) = last.insert(&got.conversation, got)
            && before.conv_seq >= got.conv_seq
        {
            found.push(format!("{} was given {got:?} after {before:?}", device.user));
        }
        if !got.is_whole {
            found.push(format!("{} was given {got:?} with another content", device.user));
        }
        let stored =
            got.name.and_then(|name| ledger.sent[name.sender as usize][name.number as usize].stored.as_ref());
        if let Some(stored) = stored
            && (&stored.server_id, stored.conv_seq) != (&got.server_id, got.conv_seq)
        {
            found.push(format!("{} was given {got:?}, and the sender was told {stored:?}", device.user));
        }
    }
}

/// A conversation is dense, and each sender's messages stand in it in the order in which he sent them; one that was put
/// off may be overtaken.
fn check_conversations(ledger: &Ledger, found: &mut Vec<String>) {
    let mut conversations: BTreeMap<(u32, u32), Vec<(i64, Name)>> = BTreeMap::new();
    for (sender, of_sender) in (0..).zip(&ledger.sent) {
        let mut last: HashMap<u32, (i64, Name)> = HashMap::new();
        for (number, sent) in (0..).zip(of_sender) {
            let Some(stored) = &sent.stored else { continue };
            let (place, name) = (stored.conv_seq, Name { sender, number });
            let pair = (sender.min(sent.to), sender.max(sent.to));
            conversations.entry(pair).or_default().push((place, name));
            let before = last.entry(sent.to).or_insert((0, name));
            if place < before.0 {
                found.push(format!("{name:?} stands before {:?}, which was sent earlier", before.1));
            } else if !sent.put_off {
                *before = (place, name);
            }
        }
    }
    for (pair, mut seqs) in conversations {
        seqs.sort_unstable();
        for (expected, (seq, name)) in (1..).zip(&seqs) {
            if *seq != expected {
                found.push(format!("in {pair:?} {name:?} has the conv_seq {seq} where {expected} is due"));
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests;
