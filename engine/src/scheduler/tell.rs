//! Tells of what was written: live displays in this process, and the people whom the workflow names. Neither can hold up a run.

use std::sync::Arc;

use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use tokio::sync::{broadcast, mpsc};
use tracing::warn;

use super::world::World;
use crate::ports::clock::Clock;
use crate::ports::notifier::Message;
use crate::run::entry::Entry;
use crate::run::event::{Ending, Event};
use crate::run::state::RunId;

/// Entries that a slow display may be behind before it misses some; it then reads the journal.
const DISPLAY_BACKLOG: usize = 4_096;

/// Messages that wait for notifiers; more are dropped, and the log says so.
const MESSAGE_BACKLOG: usize = 1_024;

/// One message may take this long.
const MESSAGE_DEADLINE: Duration = Duration::from_secs(15);

/// An entry that has become durable.
#[derive(Clone, Debug)]
pub struct Told {
    pub run: RunId,
    pub entry: Arc<Entry>,
}

#[derive(Clone)]
pub struct Tell {
    displays: broadcast::Sender<Told>,
    people: mpsc::Sender<Letter>,
}

/// A message with where it goes.
struct Letter {
    kind: String,
    settings: serde_json::Value,
    message: Message,
}

impl Tell {
    /// Starts the task that talks to notifiers; it ends when the last clone is dropped.
    pub fn start(world: Arc<World>, clock: Arc<dyn Clock>) -> Tell {
        let (people, mut letters) = mpsc::channel::<Letter>(MESSAGE_BACKLOG);
        tokio::spawn(async move {
            // One after another, so that the messages of a run arrive in their order.
            while let Some(letter) = letters.recv().await {
                deliver(&world, clock.as_ref(), letter).await;
            }
        });
        Tell {
            displays: broadcast::channel(DISPLAY_BACKLOG).0,
            people,
        }
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Told> {
        self.displays.subscribe()
    }

    pub fn entries(&self, run: &RunId, plan: &Plan, entries: Vec<Entry>) {
        if !plan.workflow().notifications.is_empty() {
            entries.iter().for_each(|entry| self.notify(run, plan, entry));
        }
        if self.displays.receiver_count() > 0 {
            for entry in entries {
                let told = Told {
                    run: run.clone(),
                    entry: Arc::new(entry),
                };
                // Without a display there is nobody to tell.
                let _ = self.displays.send(told);
            }
        }
    }

    fn notify(&self, run: &RunId, plan: &Plan, entry: &Entry) {
        let workflow = plan.workflow();
        for (event, text) in entry.events.iter().filter_map(|event| news(run, plan, event)) {
            for wish in workflow
                .notifications
                .iter()
                .filter(|wish| wish.events.iter().any(|name| name == event))
            {
                let Some(notifier) = workflow.notifiers.get(&wish.to) else {
                    continue;
                };
                let letter = Letter {
                    kind: notifier.kind.clone(),
                    settings: notifier.settings.clone(),
                    message: Message {
                        run: run.to_string(),
                        workflow: workflow.name.clone(),
                        event: event.to_owned(),
                        text: text.clone(),
                    },
                };
                if self.people.try_send(letter).is_err() {
                    warn!(%run, event, to = wish.to, "too many messages wait; this one is dropped");
                }
            }
        }
    }
}

async fn deliver(world: &World, clock: &dyn Clock, letter: Letter) {
    let Letter {
        kind,
        settings,
        message,
    } = letter;
    let Some(notifier) = world.notifier(&kind) else {
        warn!(run = message.run, kind, "this build has no such notifier");
        return;
    };
    let over = clock.sleep_until(MESSAGE_DEADLINE.after(clock.now()));
    tokio::select! {
        told = notifier.tell(&settings, &message) => {
            if let Err(failure) = told {
                warn!(run = message.run, event = message.event, kind, %failure, "could not tell");
            }
        }
        () = over => warn!(run = message.run, event = message.event, kind, "telling took too long"),
    }
}

/// What an event is called in `notify`, and the sentence that people get.
fn news(run: &RunId, plan: &Plan, event: &Event) -> Option<(&'static str, String)> {
    let key = |node: &meridian_workflows::plan::NodeId| plan.node(*node).key.as_str();
    Some(match event {
        Event::Claimed { .. } => ("started", format!("{run} has started")),
        Event::Held { node, why, .. } => ("held", format!("{run} holds at {}: {why}", key(node))),
        Event::Asked { node, why, .. } => ("asked", format!("{run} asks at {}: {why}", key(node))),
        Event::ApprovalAsked { node, gate, .. } => (
            "approval-asked",
            format!("{run} waits at {} for approval `{}`", key(node), plan.gate(*gate).0),
        ),
        Event::NodePassed { node, .. } if key(node).starts_with("stage:") => {
            ("stage-passed", format!("{run} has passed {}", key(node)))
        }
        Event::RollbackDecided { cause, .. } => ("rollback-started", format!("{run} rolls back: {cause}")),
        Event::RollbackOverdue { .. } => (
            "rollback-overdue",
            format!("the rollback of {run} has not made its deadline and goes on"),
        ),
        Event::AttentionNeeded { reason, action, .. } => {
            ("needs-attention", format!("{run} needs attention: {reason}; {action}"))
        }
        Event::Paused { .. } => ("paused", format!("{run} is paused")),
        Event::Resumed { .. } => ("resumed", format!("{run} goes on")),
        Event::Finished { ending, cause, .. } => {
            let how = match ending {
                Ending::Promoted => "is promoted",
                Ending::RolledBack => "is rolled back",
                Ending::Refused => "was refused",
            };
            ("finished", format!("{run} {how}: {cause}"))
        }
        // Everything else is for the journal and for displays.
        _ => return None,
    })
}
