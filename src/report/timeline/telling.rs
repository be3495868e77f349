//! What each event says to a person.

use meridian_engine::run::effect::{DesiredState, Place};
use meridian_engine::run::event::{Ending, Event};
use meridian_engine::run::signal::{Person, Request, Signal, Skip};
use meridian_engine::run::verdict::{Judgement, Level};
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{GateId, NodeId, NodeKind, RegionId};
use meridian_workflows::workflow::{Exposure, GateKind, Policy, Scope};

use super::{Said, Sign, Timeline};
use crate::report::clock;
use crate::report::ink::tame;

impl Timeline {
    pub(super) fn of_the_run(&mut self, event: &Event) -> Option<Said> {
        let said = |sign, text: String| {
            Some(Said {
                sign,
                place: "run".to_owned(),
                share: String::new(),
                text,
            })
        };
        match event {
            Event::Submitted {
                workflow,
                fingerprint,
                by,
                ..
            } => {
                let release = self.plan.workflow().release.version().to_owned();
                said(
                    Sign::Note,
                    format!(
                        "{workflow} {release}, plan {}, submitted by {}",
                        fingerprint.short(),
                        person(by)
                    ),
                )
            }
            Event::ClaimBusy { target, by, .. } => {
                said(Sign::Wait, format!("queued: run {} holds {}", tame(by), tame(target)))
            }
            Event::ClaimRefused { why, .. } => said(Sign::Bad, format!("refused: {}", tame(why))),
            Event::Owned { owner, epoch, .. } => {
                let had_owner = std::mem::replace(&mut self.has_owner, true);
                if had_owner {
                    said(
                        Sign::Note,
                        format!("driven by {} from here on (epoch {epoch})", tame(owner)),
                    )
                } else {
                    None
                }
            }
            Event::ClockJumped { from, to } => {
                let (from, to) = (clock::time(*from, &self.zone), clock::time(*to, &self.zone));
                said(
                    Sign::Note,
                    format!("the clock jumped from {from} to {to}; nothing in between counts as baked"),
                )
            }
            Event::Finished { ending, cause, .. } => match ending {
                Ending::Promoted => said(Sign::Good, "promoted: every region serves the candidate".to_owned()),
                Ending::RolledBack => said(
                    Sign::Back,
                    "rolled back: every region in scope serves its baseline".to_owned(),
                ),
                Ending::Refused => said(Sign::Bad, format!("refused: {}", tame(cause))),
            },
            Event::AttentionNeeded { reason, action, .. } => said(
                Sign::Bad,
                format!("needs attention: {}; {}", tame(reason), tame(action)),
            ),
            Event::RollbackDecided {
                scope, regions, cause, ..
            } => {
                let names: Vec<&str> = regions.iter().map(|region| self.plan.region(*region).0).collect();
                let scope = match scope {
                    Scope::Stage => "the stage",
                    Scope::Region => "the region",
                    Scope::Phase => "the phase",
                    Scope::Run => "the run",
                };
                let what = if names.is_empty() {
                    "nothing has been touched".to_owned()
                } else {
                    names.join(", ")
                };
                said(Sign::Back, format!("rolls back {scope} ({what}): {}", tame(cause)))
            }
            Event::RollbackOverdue { regions, .. } => {
                let names: Vec<&str> = regions.iter().map(|region| self.plan.region(*region).0).collect();
                said(
                    Sign::Bad,
                    format!(
                        "the rollback is overdue in {}; it goes on, call the on-call",
                        names.join(", ")
                    ),
                )
            }
            _ => None,
        }
    }

    pub(super) fn of_people(&mut self, event: &Event) -> Option<Said> {
        match event {
            Event::SignalTaken { signal, .. } => self.signal(signal),
            Event::Approved {
                node,
                gate,
                by,
                comment,
                ..
            } => {
                let text = format!(
                    "{}: approved by {}{}",
                    self.gate(*gate),
                    person(by),
                    quoted(comment.as_deref())
                );
                Some(self.at_node(Sign::Good, *node, text))
            }
            Event::Rejected {
                node,
                gate,
                by,
                comment,
                ..
            } => {
                self.rejected = Some((*node, *gate));
                let text = format!(
                    "{}: rejected by {}{}",
                    self.gate(*gate),
                    person(by),
                    quoted(comment.as_deref())
                );
                Some(self.at_node(Sign::Bad, *node, text))
            }
            Event::Retried { regions, .. } => {
                let names: Vec<&str> = regions.iter().map(|region| self.plan.region(*region).0).collect();
                self.breached.clear();
                self.whys.clear();
                let what = if names.is_empty() {
                    "starts again".to_owned()
                } else {
                    format!("starts again: {}", names.join(", "))
                };
                Some(Said {
                    sign: Sign::Move,
                    place: "run".to_owned(),
                    share: String::new(),
                    text: what,
                })
            }
            Event::RegionRushed { region, .. } => {
                Some(self.at_region(Sign::Move, *region, "the rest of its stages are left out".to_owned()))
            }
            _ => None,
        }
    }

    fn signal(&self, signal: &Signal) -> Option<Said> {
        let by = person(&signal.by);
        let (sign, text) = match &signal.ask {
            // A gate that is left out has an event of its own.
            Request::Skip {
                what: Skip::Gate { .. },
                ..
            } => return None,
            Request::Approve { comment, .. } => (Sign::Good, format!("approved by {by}{}", quoted(comment.as_deref()))),
            Request::Reject { comment, .. } => (Sign::Bad, format!("rejected by {by}{}", quoted(comment.as_deref()))),
            Request::Pause { reason, .. } => (Sign::Wait, format!("paused by {by}{}", quoted(reason.as_deref()))),
            Request::Resume => (Sign::Move, format!("resumed by {by}")),
            Request::Skip {
                what: Skip::Stage { node },
                reason,
            } => (Sign::Move, format!("{node} left out by {by}{}", quoted(Some(reason)))),
            Request::Promote { region, reason } => (
                Sign::Move,
                format!("{region} promoted at once by {by}{}", quoted(Some(reason))),
            ),
            Request::Abort { reason } => (Sign::Back, format!("aborted by {by}{}", quoted(reason.as_deref()))),
            Request::Rollback { reason } => (
                Sign::Back,
                format!("rollback asked by {by}{}", quoted(reason.as_deref())),
            ),
            Request::Retry { reason, .. } => (Sign::Move, format!("retry asked by {by}{}", quoted(reason.as_deref()))),
            // What it comes to has an event of its own.
            Request::Signal(_) => return None,
            Request::Supersede { by_run } => (Sign::Back, format!("superseded by run {}", tame(by_run))),
        };
        Some(Said {
            sign,
            place: "run".to_owned(),
            share: String::new(),
            text,
        })
    }

    pub(super) fn of_a_node(&mut self, event: &Event) -> Option<Said> {
        match event {
            Event::Converged { node, .. } => self.converged(*node),
            Event::Diverged { node, why, .. } => Some(self.at_node(
                Sign::Bad,
                *node,
                format!("no longer as ordered: {}; the bake stands still", tame(why)),
            )),
            Event::BakeEnded { node, .. } => {
                let after: Vec<&str> = self
                    .plan
                    .node(*node)
                    .after
                    .iter()
                    .map(|gate| self.gate(*gate))
                    .collect();
                (!after.is_empty())
                    .then(|| self.at_node(Sign::Bake, *node, format!("bake over, judging {}", after.join(", "))))
            }
            Event::NodePassed { node, .. } => Some(self.passed(*node)),
            Event::NodeSkipped { node, why, .. } => {
                Some(self.at_node(Sign::Note, *node, format!("left out: {}", tame(why))))
            }
            Event::NodeTolerated { node, .. } => match self.plan.node(*node).kind {
                NodeKind::Close { .. } => Some(self.at_node(
                    Sign::Bad,
                    *node,
                    "failed within the phase's tolerance; the phase goes on".to_owned(),
                )),
                NodeKind::Phase | NodeKind::Open { .. } | NodeKind::Stage { .. } => None,
            },
            Event::NodeFailed { node, why, .. } => {
                Some(self.at_node(Sign::Bad, *node, format!("failed: {}", tame(why))))
            }
            Event::Held {
                node, why, at, until, ..
            } => {
                let until = clock::instant(*until, *at, &self.zone);
                let text = format!("held: {} (at most until {until})", tame(why));
                let said = self.at_node(Sign::Wait, *node, text);
                self.holds.push((*node, *at, said));
                None
            }
            Event::Recovered { node, .. } => {
                let was_told = !self.holds.iter().any(|(held, _, _)| held == node);
                self.holds.retain(|(held, _, _)| held != node);
                was_told.then(|| self.at_node(Sign::Good, *node, "recovered, goes on".to_owned()))
            }
            Event::Asked { node, why, .. } => {
                Some(self.at_node(Sign::Ask, *node, format!("asks a person: {}", tame(why))))
            }
            Event::Answered { node, by, .. } => {
                Some(self.at_node(Sign::Note, *node, format!("answered by {}", tame(by))))
            }
            _ => None,
        }
    }

    fn converged(&self, id: NodeId) -> Option<Said> {
        let node = self.plan.node(id);
        match &node.kind {
            NodeKind::Stage { exposure, .. } => {
                let reached = match exposure {
                    Exposure::Traffic(share) => format!("serves {share}"),
                    Exposure::Shadow(share) => format!("mirrors {share}"),
                    Exposure::Audience(_) => "serves its audience".to_owned(),
                };
                Some(self.at_node(Sign::Bake, id, reached + &baking(node.bake)))
            }
            NodeKind::Close { .. } if !node.bake.is_zero() => {
                Some(self.at_node(Sign::Bake, id, format!("last stage passed{}", baking(node.bake))))
            }
            NodeKind::Close { .. } | NodeKind::Phase | NodeKind::Open { .. } => None,
        }
    }

    fn passed(&self, id: NodeId) -> Said {
        let node = self.plan.node(id);
        let candidate = node
            .region
            .and_then(|region| self.versions.get(&region))
            .map(|(_, candidate)| candidate.name.as_str());
        let candidate = candidate.unwrap_or("the candidate");
        match &node.kind {
            NodeKind::Phase => self.at_node(Sign::Move, id, "phase begins".to_owned()),
            NodeKind::Open { first: true } => {
                self.at_node(Sign::Good, id, format!("{candidate} stands ready, without traffic"))
            }
            NodeKind::Open { first: false } => self.at_node(Sign::Good, id, "goes on in this phase".to_owned()),
            NodeKind::Stage { .. } => {
                let sentence = |gate| self.sentences.get(&(id, gate)).map(String::as_str);
                let read: Vec<&str> = node.watch.iter().filter_map(|gate| sentence(*gate)).collect();
                let text = if read.is_empty() {
                    "passed".to_owned()
                } else {
                    format!("passed: {}", read.join("; "))
                };
                self.at_node(Sign::Good, id, text)
            }
            NodeKind::Close { last: true } => {
                self.at_node(Sign::Good, id, format!("promoted: {candidate} is the baseline now"))
            }
            NodeKind::Close { last: false } => self.at_node(Sign::Good, id, "done in this phase".to_owned()),
        }
    }

    pub(super) fn of_a_gate(&mut self, event: &Event) -> Option<Said> {
        match event {
            Event::GateRead {
                node,
                place,
                gate,
                judgement,
                ..
            }
            | Event::GateJudged {
                node,
                place,
                gate,
                judgement,
                ..
            } => self.judgement(*node, *place, *gate, judgement),
            Event::ApprovalAsked {
                node, gate, expires, ..
            } => {
                let until = expires.map_or(String::new(), |expires| {
                    format!(", expires in {}", clock::length(expires))
                });
                let text = format!("waits for approval {}{until}", self.gate(*gate));
                Some(self.at_node(Sign::Ask, *node, text))
            }
            Event::SignalAwaited {
                node, gate, expires, ..
            } => {
                let until = expires.map_or(String::new(), |expires| {
                    format!(", expires in {}", clock::length(expires))
                });
                let text = format!("waits for signal {}{until}", self.gate(*gate));
                Some(self.at_node(Sign::Ask, *node, text))
            }
            Event::GateSkipped {
                node, gate, by, reason, ..
            } => {
                let text = format!(
                    "gate {} left out by {}{}",
                    self.gate(*gate),
                    tame(by),
                    quoted(Some(reason))
                );
                Some(self.at_node(Sign::Note, *node, text))
            }
            _ => None,
        }
    }

    /// A judgement is said when it turns bad, gets worse, or is good again; a good one otherwise when its stage passes.
    fn judgement(&mut self, node: NodeId, place: Place, gate: GateId, judgement: &Judgement) -> Option<Said> {
        let because = self.sentence(gate, judgement);
        let key = (node, place, gate);
        let level = judgement.level();
        let sign = match level {
            // A lock has lines of its own.
            _ if matches!(self.plan.gate(gate).1.kind, GateKind::Lock(_)) => return None,
            Level::Pass => {
                let is_first = self.sentences.insert((node, gate), because.clone()).is_none();
                let was_bad = self.breached.remove(&key).is_some();
                let is_told = self.asks_the_world(gate) || matches!(self.plan.gate(gate).1.kind, GateKind::Signal(_));
                let is_news = was_bad || (is_first && place != Place::Watch && is_told);
                return is_news.then(|| self.at_node(Sign::Good, node, because));
            }
            // What waits for somebody has said so when it asked.
            Level::Pending if self.is_answered(gate) => return None,
            // Too early to say anything, and so nothing is said. A window that is closed says when it opens.
            Level::Pending if self.asks_the_world(gate) => return None,
            // A person's no has a line of its own.
            Level::Fail if self.rejected == Some((node, gate)) => return None,
            Level::Fail if judgement.policy() == Some(Policy::Rollback) => Sign::Bad,
            Level::Fail | Level::NoData | Level::Inconclusive | Level::Error | Level::Pending => Sign::Wait,
        };
        let is_news = self.breached.insert(key, level) != Some(level);
        is_news.then(|| self.at_node(sign, node, because))
    }

    fn is_answered(&self, gate: GateId) -> bool {
        matches!(self.plan.gate(gate).1.kind, GateKind::Approval(_) | GateKind::Signal(_))
    }

    /// Windows are told when they hold something up, approvals by what people say.
    fn asks_the_world(&self, gate: GateId) -> bool {
        !self.plan.gate(gate).1.kind.is_judged_in_the_core()
    }

    /// The gate's name, then what its newest judgement says; a metric's number stands right behind the name.
    fn sentence(&self, gate: GateId, judgement: &Judgement) -> String {
        let (name, definition) = self.plan.gate(gate);
        let because = tame(judgement.because());
        let is_metric = matches!(definition.kind, GateKind::Metric(_));
        // `error-rate 0.1 %` reads better than `error-rate: candidate 0.1 %`; other sentences stay whole.
        let number = because
            .strip_prefix("candidate ")
            .filter(|rest| is_metric && rest.starts_with(|first: char| first.is_ascii_digit() || first == '-'));
        match number {
            Some(number) => format!("{name} {number}"),
            None => format!("{name}: {because}"),
        }
    }

    pub(super) fn of_a_lock(&mut self, event: &Event) -> Option<Said> {
        let (sign, text) = match event {
            Event::LockBusy { lock, by, ahead, .. } => {
                let by = tame(by);
                let told = format!("{by} {ahead}");
                if self.locks.insert(lock.clone(), told.clone()) == Some(told) {
                    return None;
                }
                let text = format!(
                    "waits for lock {}: {by} has it or is next, {ahead} before this run",
                    tame(lock)
                );
                (Sign::Wait, text)
            }
            Event::LockTaken { lock, .. } => {
                self.locks.insert(lock.clone(), HELD.to_owned());
                (Sign::Good, format!("holds lock {}", tame(lock)))
            }
            Event::LockReleased { lock, .. } => match self.locks.remove(lock).as_deref() {
                Some(HELD) => (Sign::Note, format!("gives lock {} back", tame(lock))),
                Some(_) => (Sign::Note, format!("waits for lock {} no more", tame(lock))),
                None => return None,
            },
            _ => return None,
        };
        Some(Said {
            sign,
            place: "run".to_owned(),
            share: String::new(),
            text,
        })
    }

    pub(super) fn of_a_region(&mut self, event: &Event) -> Option<Said> {
        match event {
            Event::RegionObserved {
                region,
                baseline,
                candidate,
                ..
            } => {
                self.versions.insert(*region, (baseline.clone(), candidate.clone()));
                let text = format!(
                    "serves {}; the candidate is {}",
                    tame(&baseline.name),
                    tame(&candidate.name)
                );
                Some(self.at_region(Sign::Note, *region, text))
            }
            Event::RegionResolved { region, digest, .. } => {
                let (_, candidate) = self.versions.get(region)?;
                let text = format!("{} is {}", tame(&candidate.name), tame(digest.as_deref()?));
                Some(self.at_region(Sign::Note, *region, text))
            }
            Event::Ordered {
                region, node, state, ..
            } => self.ordered(*region, *node, state),
            Event::OrderWaiting { region, why, .. } => self
                .news(*region, why)
                .map(|why| self.at_region(Sign::Wait, *region, format!("waits: {why}"))),
            Event::OrderStuck { region, why, .. } => self
                .news(*region, why)
                .map(|why| self.at_region(Sign::Bad, *region, format!("stuck: {why}"))),
            Event::EffectFailed {
                error,
                lasting,
                again_at,
                ..
            } => {
                let again = if *lasting {
                    String::new()
                } else {
                    format!("; again at {}", clock::time(*again_at, &self.zone))
                };
                Some(Said {
                    sign: Sign::Wait,
                    place: "run".to_owned(),
                    share: String::new(),
                    text: format!("{}{again}", tame(error)),
                })
            }
            Event::RegionReverted { region, at, .. } => {
                let baseline = self
                    .versions
                    .get(region)
                    .map_or("its baseline", |(baseline, _)| baseline.name.as_str());
                let mut text = format!("read back: {baseline} serves everything");
                if let Some(length) = self.pinned.get(region) {
                    let until = clock::time(length.after(*at), &self.zone);
                    text.push_str(&format!(
                        "; users whom the platform pinned to the candidate may stay with it until {until}"
                    ));
                }
                Some(self.at_region(Sign::Back, *region, text))
            }
            Event::RegionWithdrawn { region, .. } => {
                Some(self.at_region(Sign::Back, *region, "the candidate is removed".to_owned()))
            }
            _ => None,
        }
    }

    /// What a provider says, when it has not said it last time.
    fn news(&mut self, region: RegionId, why: &str) -> Option<String> {
        let why = tame(why);
        (self.whys.insert(region, why.clone()) != Some(why.clone())).then_some(why)
    }

    fn ordered(&mut self, region: RegionId, node: Option<NodeId>, state: &DesiredState) -> Option<Said> {
        self.whys.remove(&region);
        let (baseline, candidate) = match self.versions.get(&region) {
            Some((baseline, candidate)) => (baseline.name.clone(), candidate.name.clone()),
            None => ("the baseline".to_owned(), "the candidate".to_owned()),
        };
        let (sign, text) = match state {
            DesiredState::Serving(Exposure::Traffic(share)) if share.is_zero() => {
                (Sign::Move, format!("starting {candidate} beside {baseline}"))
            }
            DesiredState::Serving(Exposure::Traffic(share)) => (Sign::Move, format!("shifting {share} to {candidate}")),
            DesiredState::Serving(Exposure::Shadow(share)) => (Sign::Move, format!("mirroring {share} to {candidate}")),
            DesiredState::Serving(Exposure::Audience(_)) => {
                (Sign::Move, format!("shifting its audience to {candidate}"))
            }
            DesiredState::Promoted => (Sign::Move, format!("making {candidate} the baseline")),
            DesiredState::Reverted => (Sign::Back, format!("sending all traffic back to {baseline}")),
            DesiredState::Withdrawn => (Sign::Back, format!("removing {candidate}")),
        };
        let is_back = matches!(state, DesiredState::Reverted | DesiredState::Withdrawn);
        Some(match node.filter(|_| !is_back) {
            Some(node) => self.at_node(sign, node, text),
            None => self.at_region(sign, region, text),
        })
    }

    fn gate(&self, gate: GateId) -> &str {
        self.plan.gate(gate).0
    }

    fn at_region(&self, sign: Sign, region: RegionId, text: String) -> Said {
        Said {
            sign,
            place: self.plan.region(region).0.to_owned(),
            share: String::new(),
            text,
        }
    }

    fn at_node(&self, sign: Sign, id: NodeId, text: String) -> Said {
        let node = self.plan.node(id);
        let place = match node.region {
            Some(region) => self.plan.region(region).0.to_owned(),
            None => self.plan.phase(node.phase).name.clone(),
        };
        let share = match &node.kind {
            NodeKind::Stage {
                exposure: Exposure::Traffic(share),
                ..
            } => share.to_string(),
            NodeKind::Stage {
                exposure: Exposure::Shadow(_),
                ..
            } => "mirr".to_owned(),
            NodeKind::Stage {
                exposure: Exposure::Audience(_),
                ..
            } => "aud".to_owned(),
            NodeKind::Close { .. } | NodeKind::Phase | NodeKind::Open { .. } => String::new(),
        };
        Said {
            sign,
            place,
            share,
            text,
        }
    }
}

/// What is kept of a lock that the run holds, where otherwise stands who has it.
const HELD: &str = "held";

fn baking(bake: Duration) -> String {
    if bake.is_zero() {
        String::new()
    } else {
        format!(", baking {}", clock::length(bake))
    }
}

fn person(person: &Person) -> String {
    let mut text = tame(&person.name);
    if !person.roles.is_empty() {
        text.push_str(&format!(" ({})", person.roles.join(", ")));
    }
    if !person.authenticated {
        text.push_str(", unauthenticated");
    }
    text
}

fn quoted(text: Option<&str>) -> String {
    text.map(|text| format!(": “{}”", tame(text))).unwrap_or_default()
}
