//! The listener: it can be closed, so that connections are refused, and opened again at the same port.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::Wire;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

pub struct Door {
    address: SocketAddr,
    state: Mutex<State>,
    listeners: mpsc::UnboundedSender<TcpListener>,
    /// Rises whenever the door is closed: connections made before end.
    closings: watch::Sender<u64>,
    /// Rises whenever faults end.
    openings: watch::Sender<u64>,
}

enum State {
    /// The task listens; the keeper is bound to the same port and does not, so that the port stays ours while nobody listens.
    Open {
        keeper: TcpSocket,
    },
    /// Nobody is let in any more; the task still has its listener.
    Closing {
        keeper: TcpSocket,
    },
    Closed {
        keeper: TcpSocket,
    },
    /// The port could not be had again.
    Lost,
}

/// What the task behind the door takes: listeners, one at a time.
pub struct Comings {
    listeners: mpsc::UnboundedReceiver<TcpListener>,
    /// From the beginning on: a door may be closed before the task has looked at it once.
    closings: watch::Receiver<u64>,
}

impl Door {
    /// *Errors*: the port cannot be had.
    pub fn open(port: u16) -> std::io::Result<(Door, Comings)> {
        let first = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let address = first.local_addr()?;
        let keeper = bound(address)?;
        let (listeners, comings) = mpsc::unbounded_channel();
        let door = Door {
            address,
            state: Mutex::new(State::Open { keeper }),
            listeners,
            closings: watch::Sender::new(0),
            openings: watch::Sender::new(0),
        };
        // The receiver stands in this function: the listener arrives.
        let _ = door.listeners.send(first.listen(BACKLOG)?);
        let comings = Comings {
            listeners: comings,
            closings: door.closings.subscribe(),
        };
        Ok((door, comings))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn is_closed(&self) -> bool {
        !matches!(*self.state.lock(), State::Open { .. })
    }

    /// From now on nobody comes in, and who is in is put out.
    pub fn close(&self) {
        let mut state = self.state.lock();
        *state = match std::mem::replace(&mut *state, State::Lost) {
            State::Open { keeper } => State::Closing { keeper },
            other => other,
        };
        drop(state);
        self.closings.send_modify(|closing| *closing += 1);
    }

    /// Ends a closing, and what hangs.
    pub fn reopen(&self) {
        let mut state = self.state.lock();
        *state = match std::mem::replace(&mut *state, State::Lost) {
            State::Closing { keeper } => State::Open { keeper },
            State::Closed { keeper } => self.listen_again(keeper).unwrap_or(State::Lost),
            other => other,
        };
        drop(state);
        self.openings.send_modify(|opening| *opening += 1);
    }

    fn listen_again(&self, keeper: TcpSocket) -> std::io::Result<State> {
        let next = bound(self.address)?;
        let _ = self.listeners.send(keeper.listen(BACKLOG)?);
        Ok(State::Open { keeper: next })
    }

    /// Gives the listener up, where the door has not been opened again meanwhile.
    fn leave(&self, listener: TcpListener) -> Option<TcpListener> {
        let mut state = self.state.lock();
        let (next, listener) = match std::mem::replace(&mut *state, State::Lost) {
            State::Closing { keeper } => (State::Closed { keeper }, None),
            other => (other, Some(listener)),
        };
        *state = next;
        listener
    }

    /// Until faults end.
    pub async fn reopened(&self) {
        let mut openings = self.openings.subscribe();
        let _ = openings.changed().await;
    }
}

fn bound(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves whoever comes, for as long as the task lives.
pub async fn attend(mut comings: Comings, wire: Arc<Wire>) {
    let mut connections = JoinSet::new();
    while let Some(mut listener) = comings.listeners.recv().await {
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    // Small answers go out at once, as servers of real clouds send them.
                    let _ = stream.set_nodelay(true);
                    connections.spawn(converse(TokioIo::new(stream), Arc::clone(&wire)));
                }
                Some(_) = connections.join_next() => {}
                _ = comings.closings.changed() => {
                    connections.abort_all();
                    match wire.door.leave(listener) {
                        Some(kept) => listener = kept,
                        None => break,
                    }
                }
            }
        }
    }
}

async fn converse(stream: TokioIo<tokio::net::TcpStream>, wire: Arc<Wire>) {
    let service = service_fn(|request| {
        let wire = Arc::clone(&wire);
        async move { wire.attend(request).await }
    });
    // A connection that breaks is what faults are for.
    let _ = http1::Builder::new().serve_connection(stream, service).await;
}
