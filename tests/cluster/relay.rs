//! A TCP relay between pushers and a gateway, which cuts what goes through it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::shared::spawn;

/// Relays until it is dropped.
pub(crate) struct Relay {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Whether connections pass, and how often they were cut.
    state: Arc<watch::Sender<State>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    is_closed: bool,
    cuts: u64,
}

impl Relay {
    /// A relay, and where its connections are to go on to: until that is said they are broken.
    pub(crate) async fn listen() -> (Self, watch::Sender<Option<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (target, leads_to) = watch::channel(None);
        let state = Arc::new(watch::Sender::new(State::default()));
        let task = spawn(relay(listener, leads_to, state.clone()));
        (Self { address, state, task }, target)
    }

    /// Breaks every connection; new ones pass.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Breaks every connection, and new ones at once.
    pub(crate) fn close(&self) {
        self.state.send_modify(|state| *state = State { is_closed: true, cuts: state.cuts + 1 });
    }

    /// New connections pass again.
    pub(crate) fn open(&self) {
        self.state.send_modify(|state| state.is_closed = false);
    }

    /// How many connections pass through it now.
    pub(crate) fn passing(&self) -> usize {
        // Each looks at the state.
        self.state.receiver_count()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(
    listener: TcpListener,
    leads_to: watch::Receiver<Option<String>>,
    state: Arc<watch::Sender<State>>,
) {
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut state = state.subscribe();
        let now = *state.borrow_and_update();
        let target = leads_to.borrow().clone();
        let Some(target) = target.filter(|_| !now.is_closed) else { continue };
        spawn(async move {
            let Ok(mut server) = TcpStream::connect(target).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = state.wait_for(|state| state.cuts > now.cuts) => {}
            }
        });
    }
}
