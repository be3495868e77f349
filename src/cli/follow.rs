//! Follows a run through its journal, whichever process drives it: folds what is new and remembers readings.

use meridian_engine::run::entry::Entry;
use meridian_engine::run::state::{Run, RunId};
use meridian_engine::service::{Service, Tail};

use super::problem::Problem;
use super::shelf;
use crate::report::reading::History;

/// A run as its journal tells it so far.
pub struct Follower {
    tail: Tail,
    pub run: Run,
    pub history: History,
}

impl Follower {
    /// At the beginning of the journal; nothing is read yet.
    pub async fn open(service: &Service, id: &RunId) -> Result<Follower, Problem> {
        let unread = |error| shelf::stored(&format!("could not read run {id}"), &error);
        let head = service.store().head(id).await.map_err(unread)?;
        let plan = service.store().plan(&head.fingerprint).await.map_err(unread)?;
        Ok(Follower {
            tail: service.tail(id.clone(), 0),
            run: Run::new(id.clone(), plan),
            history: History::default(),
        })
    }

    /// Reads and folds what was written since; in order, each entry checked against the chain.
    pub async fn catch_up(&mut self) -> Result<Vec<Entry>, Problem> {
        let mut read = Vec::new();
        let id = self.run.id().clone();
        let what = format!("could not read the journal of run {id}");
        while let Some(entry) = self
            .tail
            .stored()
            .await
            .map_err(|problem| shelf::unanswered(&what, &problem))?
        {
            self.run
                .record(&entry)
                .map_err(|broken| Problem::failed(what.as_str()).because(&broken))?;
            self.history.record(&entry);
            read.push(entry);
        }
        Ok(read)
    }
}
