//! What was sent, what was promised, and what arrived where: written by the users' tasks, read by the checker.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tidegate_client::Message;

use crate::channels::Channels;

/// A message: its sender's number, and its own among his.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) sender: u32,
    pub(crate) number: u32,
}

impl Name {
    /// What the message is called on the wire; its content is the same.
    pub(crate) fn local_id(self) -> String {
        format!("{}-{}", self.sender, self.number)
    }

    /// The message of a `local_id`.
    pub(crate) fn parse(local_id: &str) -> Option<Self> {
        let (sender, number) = local_id.split_once('-')?;
        Some(Self { sender: sender.parse().ok()?, number: number.parse().ok()? })
    }
}

/// What the sender knows of a message.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// The number of the recipient.
    pub(crate) to: u32,
    /// When ACCEPTED came.
    pub(crate) accepted: Option<Instant>,
    /// Whether UNAVAILABLE or RATE_LIMITED came: then later ones may overtake it.
    pub(crate) put_off: bool,
    /// What STORED said.
    pub(crate) stored: Option<Stored>,
    /// When the sender knew it stored and every device of the recipient had it.
    pub(crate) complete: Option<Instant>,
    /// Devices that do not have it yet, and the sender himself.
    missing: u32,
}

/// Where a message is stored, as its sender was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) server_id: String,
    /// In the sender's inbox.
    pub(crate) seq: i64,
    pub(crate) conv_seq: i64,
}

/// What a device was given.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) seq: i64,
    /// `None`: no message of this load.
    pub(crate) name: Option<Name>,
    pub(crate) server_id: String,
    pub(crate) conversation: String,
    pub(crate) conv_seq: i64,
    /// Whether the content is what was sent.
    pub(crate) is_whole: bool,
}

impl From<&Message> for Got {
    fn from(message: &Message) -> Self {
        let msg = &message.msg;
        let name = Name::parse(&msg.local_id).filter(|name| msg.send_id == Ledger::user(name.sender));
        Self {
            seq: message.seq,
            name,
            server_id: msg.server_id.clone(),
            conversation: msg.conversation.clone(),
            conv_seq: msg.conv_seq,
            is_whole: msg.content == msg.local_id.as_bytes(),
        }
    }
}

/// A device of a user and everything it was given, in the order of its arrival.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    /// The number of its user.
    pub(crate) user: u32,
    /// The device that sends: it gets STORED in place of its own messages.
    pub(crate) sends: bool,
    pub(crate) got: Vec<Got>,
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By sender and number.
    pub(crate) sent: Vec<Vec<Sent>>,
    pub(crate) devices: Vec<Device>,
    /// What goes by channels.
    pub(crate) channels: Channels,
    /// What must never happen and was seen by a user's task: a client that ended, a refusal, …
    pub(crate) seen: Vec<String>,
    /// The number of devices of each user.
    device_count: Vec<u32>,
    open: HashSet<Name>,
    accepted: u64,
}

impl Ledger {
    /// A book for users with so many devices each; the first one sends.
    pub(crate) fn new(device_count: Vec<u32>) -> Self {
        let devices = device_count.iter().zip(0..).flat_map(|(&count, user)| {
            (0..count).map(move |number| Device { user, sends: number == 0, got: Vec::new() })
        });
        Self {
            sent: vec![Vec::new(); device_count.len()],
            devices: devices.collect(),
            device_count,
            ..Self::default()
        }
    }

    /// What a user is called on the wire.
    pub(crate) fn user(number: u32) -> String {
        format!("user-{number}")
    }

    /// A message is about to be sent.
    pub(crate) fn send(&mut self, sender: u32, to: u32) -> Name {
        let of_sender = &mut self.sent[sender as usize];
        let name = Name { sender, number: of_sender.len() as u32 };
        // The devices of the recipient, those of the sender that do not send, and what the sender is told.
        let missing = self.device_count[to as usize] + self.device_count[sender as usize];
        let (accepted, stored, complete) = (None, None, None);
        of_sender.push(Sent { to, accepted, put_off: false, stored, complete, missing });
        self.open.insert(name);
        name
    }

    /// ACCEPTED has come.
    pub(crate) fn accept(&mut self, name: Name, now: Instant) {
        self.sent_mut(name).accepted = Some(now);
        self.accepted += 1;
    }

    /// UNAVAILABLE or RATE_LIMITED has come.
    pub(crate) fn put_off(&mut self, name: Name) {
        self.sent_mut(name).put_off = true;
    }

    /// STORED has come.
    pub(crate) fn store(&mut self, name: Name, stored: Stored, now: Instant) {
        self.sent_mut(name).stored = Some(stored);
        self.one_less(name, now);
    }

    /// A device has been given a message.
    pub(crate) fn arrive(&mut self, device: usize, mut got: Got, now: Instant) {
        let is_sent = |name: &Name| {
            self.sent.get(name.sender as usize).is_some_and(|sent| (name.number as usize) < sent.len())
        };
        got.name = got.name.filter(is_sent);
        let name = got.name;
        let log = &mut self.devices[device].got;
        // What comes twice is for the checker to find; it comes soon after the first, or it does not count here.
        let is_first = !log.iter().rev().take(LOOK_BACK).any(|other| other.name == name);
        log.push(got);
        if let Some(name) = name.filter(|_| is_first) {
            self.one_less(name, now);
        }
    }

    /// Something that must never happen.
    pub(crate) fn complain(&mut self, what: String) {
        self.seen.push(what);
    }

    /// How many got ACCEPTED.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// How many were sent, to users and channels.
    pub(crate) fn offered(&self) -> u64 {
        self.sent.iter().map(|sent| sent.len() as u64).sum::<u64>() + self.channels.published() as u64
    }

    /// How many are not everywhere yet; only of those accepted by `until`, where that is given.
    pub(crate) fn incomplete(&self, until: Option<Instant>) -> usize {
        let of_channels = self.channels.incomplete(until);
        let Some(until) = until else { return self.open.len() + of_channels };
        let counts = |name: &&Name| self.sent_of(**name).accepted.is_some_and(|accepted| accepted <= until);
        self.open.iter().filter(counts).count() + of_channels
    }

    /// Some of those.
    pub(crate) fn some_incomplete(&self) -> String {
        let mut open: Vec<Name> = self.open.iter().copied().collect();
        open.sort_unstable();
        let some: Vec<_> = open.into_iter().take(8).map(|name| (name, self.sent_of(name))).collect();
        format!("{some:#?} {}", self.channels.some_incomplete())
    }

    /// The longest that a message took to be everywhere, counted from `end` for those accepted before: of those accepted
    /// by `until`.
    pub(crate) fn recovery(&self, end: Instant, until: Instant) -> Duration {
        let sent = self.sent.iter().flatten();
        let taken = sent.filter_map(|sent| {
            let accepted = sent.accepted.filter(|accepted| *accepted <= until)?;
            Some(sent.complete?.saturating_duration_since(accepted.max(end)))
        });
        taken.max().unwrap_or_default().max(self.channels.recovery(end, until))
    }

    fn one_less(&mut self, name: Name, now: Instant) {
        let sent = self.sent_mut(name);
        sent.missing = sent.missing.saturating_sub(1);
        if sent.missing == 0 && sent.complete.is_none() {
            sent.complete = Some(now);
            self.open.remove(&name);
        }
    }

    fn sent_of(&self, name: Name) -> &Sent {
        &self.sent[name.sender as usize][name.number as usize]
    }

    fn sent_mut(&mut self, name: Name) -> &mut Sent {
        &mut self.sent[name.sender as usize][name.number as usize]
    }
}

/// How far back a message that comes again is looked for.
const LOOK_BACK: usize = 64;
