//! Long-running operations, as the resource manager lets them be polled.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::azure::exchange::Reply;

/// Seconds that a client is asked to wait between two polls.
pub const RETRY_AFTER: u32 = 15;

#[derive(Clone, Debug)]
pub struct Operation {
    pub started: Timestamp,
    pub outcome: Outcome,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    InProgress,
    Succeeded,
    /// The status and the body that the poll gets.
    Failed {
        status: u16,
        fault: Value,
    },
}

/// Every operation that was started.
#[derive(Debug, Default)]
pub struct Operations {
    all: BTreeMap<Uuid, Operation>,
}

impl Operations {
    pub fn begin(&mut self, now: Timestamp) -> Uuid {
        let id = Uuid::now_v7();
        self.all.insert(
            id,
            Operation {
                started: now,
                outcome: Outcome::InProgress,
            },
        );
        id
    }

    pub fn end(&mut self, id: Uuid, outcome: Outcome) {
        if let Some(operation) = self.all.get_mut(&id) {
            operation.outcome = outcome;
        }
    }

    pub fn get(&self, id: &str) -> Option<(Uuid, &Operation)> {
        let id = Uuid::parse_str(id).ok()?;
        self.all.get(&id).map(|operation| (id, operation))
    }
}

impl Operation {
    /// The answer to a poll of `Location`: 202 until it is over, then what the operation itself would have answered.
    pub fn located(&self, location: &str) -> Reply {
        match &self.outcome {
            Outcome::InProgress => Reply::empty(202)
                .with("location", location)
                .with("retry-after", RETRY_AFTER),
            Outcome::Succeeded => Reply::empty(200),
            Outcome::Failed { status, fault } => Reply::json(*status, fault),
        }
    }

    /// The answer to a poll of `Azure-AsyncOperation`: 200 with the state in the body.
    pub fn status(&self, id: Uuid, resource: &str) -> Reply {
        let mut body = json!({
            "id": resource,
            "name": id,
            "startTime": self.started,
            "status": match &self.outcome {
                Outcome::InProgress => "InProgress",
                Outcome::Succeeded => "Succeeded",
                Outcome::Failed { .. } => "Failed",
            },
        });
        if let (Outcome::Failed { fault, .. }, Some(body)) = (&self.outcome, body.as_object_mut()) {
            body.insert(
                "error".into(),
                json!({"code": fault["Code"], "message": fault["Message"]}),
            );
        }
        let reply = Reply::json(200, &body);
        match self.outcome {
            Outcome::InProgress => reply.with("retry-after", RETRY_AFTER),
            Outcome::Succeeded | Outcome::Failed { .. } => reply,
        }
    }
}
