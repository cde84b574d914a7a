//! The users: connected to all gateways over every transport, sending to each other at a constant rate over however many
//! faults, and writing down what happens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tidegate_client::v1::{Code, Msg, Receipt, ReceiptStatus, server_frame};
use tidegate_client::{Client, Connected, Event, Events, SendHandle, StartAt, Transport};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::channels::{CHANNELS, Channels};
use crate::cluster::Cluster;
use crate::ledger::{Got, Ledger, Name, Stored};
use crate::restless;
use crate::scale::Scale;
use crate::shared::{spawn, within};

/// All users and what they have written down.
pub(crate) struct Crew {
    ledger: Arc<Mutex<Ledger>>,
    /// A device each, in the ledger's order.
    devices: Vec<Connection>,
    senders: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

/// A device's client, and which gateway holds its session now.
pub(crate) struct Connection {
    pub(crate) user: u32,
    pub(crate) device: String,
    pub(crate) client: Client,
    gateway: Arc<Mutex<Option<String>>>,
    _events: JoinHandle<()>,
}

impl Connection {
    /// The gateway that holds its session; `None` while it has none.
    pub(crate) fn gateway(&self) -> Option<String> {
        self.gateway.lock().clone()
    }
}

impl Crew {
    /// Connects everybody: users in turn to the gateways, over each transport in turn; every tenth has a second device,
    /// on another gateway, that only listens.
    pub(crate) async fn connect(cluster: &Cluster, scale: Scale) -> Self {
        let counts: Vec<u32> = (0..scale.users).map(|user| 1 + u32::from(user % 10 == 0)).collect();
        let ledger = Arc::new(Mutex::new(Ledger::new(counts.clone())));
        let mut opening = Vec::new();
        for (user, count) in (0..).zip(counts) {
            for number in 0..count {
                let home = (user / 3 + number) as usize % cluster.gateways.len();
                let transport = TRANSPORTS[user as usize % 3];
                let device = format!("device-{number}");
                let config = cluster.client(home, transport, &Ledger::user(user), &device);
                opening.push((user, device, spawn(Client::connect(config))));
            }
        }
        let mut devices = Vec::new();
        for (number, (user, device, opening)) in opening.into_iter().enumerate() {
            let (client, events) = within(opening).await.unwrap().expect("a session");
            let gateway = Arc::<Mutex<Option<String>>>::default();
            let mut subscriptions = HashMap::new();
            if number % 2 == 0 {
                for channel in [user % CHANNELS, (user / 2 + 3) % CHANNELS] {
                    let number = || ledger.lock().channels.subscribe(channel);
                    subscriptions.entry(format!("c:{}", Channels::name(channel))).or_insert_with(number);
                }
            }
            let timelines: Vec<String> = subscriptions.keys().cloned().collect();
            let events = spawn(hear(events, (number, subscriptions), ledger.clone(), gateway.clone()));
            for timeline in timelines {
                let channel = timeline.strip_prefix("c:").expect("it is a channel's");
                within(client.subscribe(channel, StartAt::Floor)).await.expect("it may");
            }
            devices.push(Connection { user, device, client, gateway, _events: events });
        }
        restless::start(cluster, &ledger);
        Self { ledger, devices, senders: Vec::new(), stop: watch::Sender::new(false) }
    }

    /// Everybody begins to send, all together `rate` messages a second.
    pub(crate) fn start(&mut self, scale: Scale) {
        let users = scale.users;
        let every = Duration::from_secs(1) * users / scale.rate;
        for connection in self.devices.iter().filter(|connection| connection.device == "device-0") {
            let (ledger, client) = (self.ledger.clone(), connection.client.clone());
            let (user, stop) = (connection.user, self.stop.subscribe());
            // Not all at the same moment.
            let begin = every * user / users;
            self.senders.push(spawn(async move {
                sleep(begin).await;
                send(user, users, every, client, ledger, stop).await;
            }));
        }
    }

    /// Nobody sends any more; waits until all of their sends are on their way.
    pub(crate) async fn stop(&mut self) {
        self.stop.send_replace(true);
        for sender in self.senders.drain(..) {
            within(sender).await.unwrap();
        }
    }

    /// What is written down.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock()
    }

    /// Every device.
    pub(crate) fn devices(&self) -> &[Connection] {
        &self.devices
    }

    /// Waits until so many more are accepted.
    pub(crate) async fn progress(&self, count: u64) {
        let target = self.ledger().accepted() + count;
        let reached = self.until(PROGRESS_LIMIT, |ledger| ledger.accepted() >= target).await;
        assert!(reached, "no progress: {} of {target} accepted", self.ledger().accepted());
    }

    /// Waits until everything accepted by `until`, or everything, is everywhere; false if `limit` comes first.
    pub(crate) async fn complete(&self, until: Option<Instant>, limit: Duration) -> bool {
        self.until(limit, |ledger| ledger.incomplete(until) == 0).await
    }

    async fn until(&self, limit: Duration, done: impl Fn(&Ledger) -> bool) -> bool {
        let waiting = async {
            while !done(&self.ledger()) {
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(limit, waiting).await.is_ok()
    }
}

/// Sends to four others in turn, one of whom sends back to him.
async fn send(
    user: u32,
    users: u32,
    every: Duration,
    client: Client,
    ledger: Arc<Mutex<Ledger>>,
    mut stop: watch::Receiver<bool>,
) {
    let others = [user ^ 1, user + 1, user + 7, user + users / 2].map(|other| other % users);
    let mut ticks = interval(every);
    // What is due while the servers are away is sent as soon as the client takes it.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for (count, to) in (1..).zip(others.into_iter().cycle()) {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        let name = ledger.lock().send(user, to);
        let text = name.local_id();
        let content = text.clone().into();
        let msg = Msg { receiver_id: Ledger::user(to), local_id: text, content, ..Msg::default() };
        match client.send(msg).await {
            Ok(handle) => drop(spawn(follow(name, handle, ledger.clone()))),
            Err(error) => return ledger.lock().complain(format!("{name:?} is not sent: {error}")),
        }
        if (count + user).is_multiple_of(PUBLISHED_EVERY) {
            let channel = (user + count) / PUBLISHED_EVERY % CHANNELS;
            publish(channel, &client, &ledger).await;
        }
    }
}

async fn publish(channel: u32, client: &Client, ledger: &Arc<Mutex<Ledger>>) {
    let post = ledger.lock().channels.publish(channel);
    let local_id = Channels::local_id(post);
    let content = local_id.clone().into();
    let msg = Msg { channel: Channels::name(channel), local_id, content, ..Msg::default() };
    let Ok(mut handle) = client.send(msg).await else {
        return ledger.lock().complain(format!("post {post} is not sent"));
    };
    let ledger = ledger.clone();
    let follow = async move {
        if handle.accepted().await.is_ok() {
            ledger.lock().channels.accept(post, Instant::now());
        }
        match handle.stored().await {
            Ok(stored) => {
                ledger.lock().channels.store(post, (stored.seq, stored.conv_seq));
            }
            Err(error) => ledger.lock().complain(format!("post {post} is not stored: {error}")),
        }
    };
    drop(spawn(follow));
}

/// Both receipts.
async fn follow(name: Name, mut handle: SendHandle, ledger: Arc<Mutex<Ledger>>) {
    match handle.accepted().await {
        Ok(_) => ledger.lock().accept(name, Instant::now()),
        Err(error) => ledger.lock().complain(format!("{name:?} is not accepted: {error}")),
    }
    match handle.stored().await {
        Ok(stored) => {
            let stored = Stored { server_id: stored.server_id, seq: stored.seq, conv_seq: stored.conv_seq };
            ledger.lock().store(name, stored, Instant::now());
        }
        Err(error) => ledger.lock().complain(format!("{name:?} is not stored: {error}")),
    }
}

/// Everything that happens to a device; it subscribes to the channels of these timelines, under these numbers.
async fn hear(
    mut events: Events,
    (device, subscriptions): (usize, HashMap<String, usize>),
    ledger: Arc<Mutex<Ledger>>,
    gateway: Arc<Mutex<Option<String>>>,
) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Message(message) if let Some(subscriber) = subscriptions.get(&message.timeline) => {
                ledger.lock().channels.arrive(*subscriber, message.seq, &message.msg, Instant::now());
            }
            Event::Message(message) => {
                ledger.lock().arrive(device, Got::from(&message), Instant::now());
            }
            Event::Connected(Connected { welcome, reset, .. }) => {
                *gateway.lock() = Some(welcome.gateway);
                if reset {
                    ledger.lock().complain(format!("device {device}: its seqs are void"));
                }
            }
            Event::Disconnected(_) => *gateway.lock() = None,
            Event::Frame(frame) => {
                if let Some(server_frame::Kind::Receipt(receipt)) = frame.kind {
                    note_refusal(&receipt, &ledger);
                }
            }
            Event::GoAway { .. } => {}
            other => ledger.lock().complain(format!("device {device}: {other:?}")),
        }
    }
}

fn note_refusal(receipt: &Receipt, ledger: &Mutex<Ledger>) {
    let passes = [Code::Unavailable, Code::RateLimited].contains(&receipt.code());
    if receipt.status() == ReceiptStatus::Rejected
        && passes
        && let Some(name) = Name::parse(&receipt.local_id)
    {
        ledger.lock().put_off(name);
    }
}

const TRANSPORTS: [Transport; 3] = [Transport::Quic, Transport::WebTransport, Transport::WebSocket];
/// One of so many messages goes to a channel besides.
const PUBLISHED_EVERY: u32 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(50);
const PROGRESS_LIMIT: Duration = Duration::from_secs(120);
