//! The wire between a client and a double: a real listener on loopback, behind which anything can go wrong on demand.

mod asked;
mod door;
mod fault;
mod manners;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::service::Service as _;
use hyper::{Request, Response};
use hyper_util::service::TowerToHyperService;
use indexmap::IndexMap;
use meridian_conformance::rig::{Fault, On, Strike};
use parking_lot::Mutex;

pub use self::asked::{Answered, Asked, Exchange};
pub use self::manners::{Manners, Plain, Refusal};

use self::asked::Key;
use self::door::Door;
use self::fault::Armed;

/// Bodies above this are no double's: 64 MiB.
const BODY_MAX: usize = 64 << 20;

/// What stands between the listener and a double: faults, the journal, the count of writes.
pub struct Wire {
    router: Router,
    manners: Box<dyn Manners>,
    door: Door,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    faults: Vec<Armed>,
    journal: Vec<Exchange>,
    sink: Option<std::fs::File>,
    /// Every read that was asked so far: what a change has to be seen through the eyes of, to be shown as it was before.
    seen: IndexMap<Key, Asked>,
    /// What those reads answered right before the last change since stale reads were ordered.
    past: HashMap<Key, Answered>,
}

/// A double that listens. Nothing of it is left once this is dropped.
pub struct Served {
    /// As in `http://127.0.0.1:40123`, without a slash at the end.
    pub url: String,
    pub address: SocketAddr,
    pub wire: Arc<Wire>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Served {
    /// Until the listener ends, which it does not by itself.
    pub async fn ended(mut self) {
        let _ = (&mut self.task).await;
    }
}

/// The connection ends without a further byte.
#[derive(Debug, thiserror::Error)]
#[error("the wire is cut")]
pub struct Cut;

impl Wire {
    /// Serves a double on a free port of loopback, with answers of no special form where a fault refuses.
    ///
    /// *Errors*: no port can be had.
    pub async fn serve(router: Router) -> std::io::Result<Served> {
        Wire::serve_with(router, Plain, 0).await
    }

    /// Serves a double on a port of loopback (0: a free one), with its cloud's manners.
    ///
    /// *Errors*: the port cannot be had.
    pub async fn serve_with(router: Router, manners: impl Manners + 'static, port: u16) -> std::io::Result<Served> {
        let (door, comings) = Door::open(port)?;
        let address = door.address();
        let wire = Arc::new(Wire {
            router,
            manners: Box::new(manners),
            door,
            inner: Mutex::default(),
        });
        let task = tokio::spawn(door::attend(comings, Arc::clone(&wire)));
        Ok(Served {
            url: format!("http://{address}"),
            address,
            wire,
            task,
        })
    }

    /// Orders a fault for those requests that the strike names and `matching` picks.
    pub fn fault(&self, fault: Fault, strike: Strike, matching: impl Fn(&Asked) -> bool + Send + Sync + 'static) {
        if fault == Fault::Refused {
            self.door.close();
            return;
        }
        let mut inner = self.inner.lock();
        if fault == Fault::StaleReads {
            inner.past.clear();
        }
        inner.faults.push(Armed::new(fault, strike, matching));
    }

    /// Ends all faults. Requests that hang are cut.
    pub fn heal(&self) {
        let mut inner = self.inner.lock();
        inner.faults.clear();
        inner.past.clear();
        drop(inner);
        self.door.reopen();
    }

    /// Every request that arrived, in the order of their answers.
    pub fn journal(&self) -> Vec<Exchange> {
        self.inner.lock().journal.clone()
    }

    /// Requests that changed something: writes that the double carried out, whether or not their answer arrived.
    pub fn writes(&self) -> u64 {
        self.count(|exchange| exchange.is_write && exchange.is_applied)
    }

    /// How many exchanges are like that.
    pub fn count(&self, like: impl Fn(&Exchange) -> bool) -> u64 {
        let inner = self.inner.lock();
        let count = inner.journal.iter().filter(|exchange| like(exchange)).count();
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    /// Also writes every exchange to a file, as one line of JSON each, in the words of its cloud.
    ///
    /// *Errors*: the file cannot be opened.
    pub fn write_journal_to(&self, path: &Path) -> std::io::Result<()> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        self.inner.lock().sink = Some(file);
        Ok(())
    }

    /// One request from the listener.
    async fn attend(&self, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        if self.door.is_closed() {
            return Err(Cut);
        }
        let asked = Asked::take(request).await.ok_or(Cut)?;
        let is_write = self.manners.is_write(&asked);
        let struck = self.struck(&asked, is_write);
        if let Some(fault) = struck {
            return self.spoil(fault, asked, is_write).await;
        }
        if self.manners.is_stream(&asked) {
            let response = self.carry_out(&asked).await;
            let answered = Answered {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: Bytes::new(),
            };
            self.record(&asked, is_write, Some(&answered), None);
            return Ok(response);
        }
        let answered = self.answer(&asked, is_write).await;
        self.record(&asked, is_write, Some(&answered), None);
        Ok(answered.response())
    }

    /// The fault that this request meets.
    fn struck(&self, asked: &Asked, is_write: bool) -> Option<Fault> {
        let mut inner = self.inner.lock();
        let Inner { faults, seen, past, .. } = &mut *inner;
        let key = asked.key();
        if !is_write && !self.manners.is_stream(asked) && !seen.contains_key(&key) {
            seen.insert(key.clone(), asked.clone());
        }
        let is_past = past.contains_key(&key);
        let struck = faults
            .iter_mut()
            .find_map(|armed| armed.strikes(asked, is_write, is_past));
        faults.retain(|armed| !armed.is_spent());
        struck
    }

    /// The double's own answer, whole.
    async fn answer(&self, asked: &Asked, is_write: bool) -> Answered {
        if is_write {
            self.remember_the_past().await;
        }
        Answered::take(self.carry_out(asked).await).await
    }

    async fn carry_out(&self, asked: &Asked) -> Response<Body> {
        let answered: Result<_, Infallible> = TowerToHyperService::new(self.router.clone())
            .call(asked.request())
            .await;
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Asks every read once more before a change, where stale reads are ordered.
    async fn remember_the_past(&self) {
        let reads: Vec<_> = {
            let inner = self.inner.lock();
            let is_stale = inner.faults.iter().any(|armed| armed.fault() == Fault::StaleReads);
            if !is_stale {
                return;
            }
            inner.seen.values().cloned().collect()
        };
        for asked in reads {
            let answered = Answered::take(self.carry_out(&asked).await).await;
            self.inner.lock().past.insert(asked.key(), answered);
        }
    }

    /// What comes of a request that meets a fault.
    async fn spoil(&self, fault: Fault, asked: Asked, is_write: bool) -> Result<Response<Body>, Cut> {
        let refusal = match fault {
            Fault::TooManyRequests { retry_after } => Refusal::TooManyRequests { retry_after },
            Fault::Status(status) => Refusal::Status(status),
            Fault::EverySecondWrite => Refusal::Status(500),
            Fault::Unauthenticated => Refusal::Unauthenticated,
            Fault::Forbidden => Refusal::Forbidden,
            Fault::Malformed => {
                let answered = self.manners.nonsense(&asked);
                self.record(&asked, is_write, Some(&answered), Some(fault));
                return Ok(answered.response());
            }
            Fault::StaleReads => {
                let past = self.inner.lock().past.get(&asked.key()).cloned();
                let answered = match past {
                    Some(past) => past,
                    None => self.answer(&asked, is_write).await,
                };
                self.record(&asked, is_write, Some(&answered), Some(fault));
                return Ok(answered.response());
            }
            Fault::HalfBody => {
                let answered = self.answer(&asked, is_write).await;
                self.record(&asked, is_write, Some(&answered), Some(fault));
                return half(answered);
            }
            Fault::AppliedWithoutAnswer => {
                let answered = self.answer(&asked, is_write).await;
                self.record(&asked, is_write, Some(&answered), Some(fault));
                return Err(Cut);
            }
            Fault::Hang => {
                self.record(&asked, is_write, None, Some(fault));
                self.door.reopened().await;
                return Err(Cut);
            }
            Fault::Refused => return Err(Cut),
        };
        let answered = self.manners.refuse(&asked, refusal);
        self.record(&asked, is_write, Some(&answered), Some(fault));
        Ok(answered.response())
    }

    fn record(&self, asked: &Asked, is_write: bool, answered: Option<&Answered>, fault: Option<Fault>) {
        let reaches = match fault {
            None | Some(Fault::HalfBody | Fault::AppliedWithoutAnswer) => true,
            Some(_) => false,
        };
        let exchange = Exchange {
            asked: asked.clone(),
            status: answered.map(|answered| answered.status),
            answer: answered.map(|answered| answered.body.clone()).unwrap_or_default(),
            is_write,
            is_applied: reaches && answered.is_some_and(|answered| answered.status < 400),
            fault,
        };
        let mut inner = self.inner.lock();
        if let Some(sink) = &mut inner.sink {
            // A journal that cannot be written is missed by whoever reads it; the double goes on.
            let _ = writeln!(sink, "{}", self.manners.line(&exchange));
        }
        inner.journal.push(exchange);
    }
}

/// An answer that promises all of its body and breaks off in the middle.
fn half(answered: Answered) -> Result<Response<Body>, Cut> {
    let whole = answered.body.len().max(2);
    let first = answered.body.slice(..answered.body.len() / 2);
    let pieces = stream::iter([Ok(first), Err(Cut)]);
    let mut response = answered.response();
    response.headers_mut().remove(TRANSFER_ENCODING);
    response.headers_mut().insert(CONTENT_LENGTH, whole.into());
    *response.body_mut() = Body::from_stream(pieces);
    Ok(response)
}

/// Whether a request of this kind is one that a strike counts.
fn counts(on: On, is_write: bool) -> bool {
    match on {
        On::All => true,
        On::Reads => !is_write,
        On::Writes => is_write,
    }
}

#[cfg(test)]
#[path = "wire/stories.rs"]
mod stories;
