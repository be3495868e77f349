//! The board: regions × stages, bakes counting down, gate readings against their thresholds.

use jiff::Timestamp;
use meridian_engine::run::effect::Place;
use meridian_engine::run::reading::Answer;
use meridian_engine::run::state::{GateState, Life, Run};
use meridian_engine::run::verdict::Level;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{NodeId, NodeKind, PhaseId, RegionId};
use meridian_workflows::workflow::{Exposure, GateKind};
use ratatui::text::{Line, Span};

use super::clock;
use super::ink::{Tone, ink, line, padded, tame};
use super::reading::{self, History};
use super::status::{self, Outcome};
use super::waiting::{self, Urgency, Waiting};

/// Columns of a region's share bar.
const BAR: usize = 20;

/// A board of one run at one moment.
pub struct Board<'a> {
    pub run: &'a Run,
    pub history: &'a History,
    pub now: Timestamp,
    /// How `meridian` is called here.
    pub program: &'a str,
}

/// One region in one phase.
struct Row {
    region: RegionId,
    /// Opening, stages, closing.
    nodes: Vec<NodeId>,
}

impl Board<'_> {
    /// The whole board.
    pub fn lines(&self) -> Vec<Line<'static>> {
        let mut lines = vec![self.title()];
        lines.extend(self.banner());
        for phase in self.phases() {
            lines.push(Line::default());
            lines.push(self.phase(phase));
            for row in self.rows(phase) {
                lines.extend(self.row(&row));
            }
        }
        lines
    }

    /// The board in at most `rows_max` lines: phases where nothing is under way shrink to one line each, then the end is cut.
    pub fn fitted(&self, rows_max: usize) -> Vec<Line<'static>> {
        let whole = self.lines();
        if whole.len() <= rows_max {
            return whole;
        }
        let mut lines = vec![self.title()];
        lines.extend(self.banner());
        for phase in self.phases() {
            let rows = self.rows(phase);
            lines.push(self.phase(phase));
            let (active, quiet): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| self.is_active(row));
            lines.extend(active.iter().flat_map(|row| self.row(row)));
            if !quiet.is_empty() {
                let over = quiet
                    .iter()
                    .filter(|row| self.run.node(self.current(row)).life.is_over())
                    .count();
                let text = format!("    {over} regions over, {} waiting", quiet.len() - over);
                lines.push(line(Tone::Dim, text));
            }
        }
        if lines.len() > rows_max {
            let more = lines.len() - rows_max.saturating_sub(1);
            lines.truncate(rows_max.saturating_sub(1));
            lines.push(line(
                Tone::Dim,
                format!("  … {more} more lines: {} status {}", self.program, self.run.id()),
            ));
        }
        lines
    }

    fn title(&self) -> Line<'static> {
        let state = self.run.state();
        let workflow = self.run.plan().workflow();
        let outcome = status::outcome(self.run);
        let mut spans = vec![
            ink(Tone::Strong, self.run.id().to_string()),
            ink(Tone::Plain, format!("  {}  ", workflow.release.version())),
            ink(outcome_tone(outcome), outcome.word()),
        ];
        if let Some(since) = state.submitted_at {
            let until = if self.run.is_finished() { state.at } else { self.now };
            let for_how_long = clock::length(Duration::between(since, until));
            let word = if self.run.is_finished() { "after" } else { "for" };
            spans.push(ink(Tone::Dim, format!("  {word} {for_how_long}")));
        }
        Line::from(spans)
    }

    fn banner(&self) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        if self.run.is_finished() {
            if let Some(cause) = status::cause(self.run).filter(|cause| !cause.is_empty()) {
                lines.push(line(Tone::Dim, format!("  {}", tame(&cause))));
            }
            return lines;
        }
        for wait in Waiting::new(self.run, self.now, self.program).all() {
            let is_whole = wait.node.is_none();
            if wait.urgency != Urgency::Person && !is_whole {
                continue;
            }
            let tone = if wait.urgency == Urgency::Person {
                Tone::Bad
            } else {
                Tone::Caution
            };
            let subject = wait
                .node
                .map_or_else(|| "run".to_owned(), |node| self.run.plan().node(node).key.clone());
            lines.push(Line::from(vec![
                ink(tone, "  ▲ "),
                ink(Tone::Strong, subject),
                ink(Tone::Plain, format!(" {}", wait.what)),
            ]));
            lines.extend(
                wait.commands
                    .into_iter()
                    .map(|command| line(Tone::Accent, format!("      {command}"))),
            );
        }
        lines
    }

    fn phases(&self) -> impl Iterator<Item = PhaseId> + use<> {
        (0..self.run.plan().workflow().phases.len())
            .filter_map(|index| u32::try_from(index).ok())
            .map(PhaseId)
    }

    fn barrier(&self, phase: PhaseId) -> Option<NodeId> {
        let plan = self.run.plan();
        plan.nodes()
            .find(|(_, node)| node.phase == phase && matches!(node.kind, NodeKind::Phase))
            .map(|(id, _)| id)
    }

    fn phase(&self, phase: PhaseId) -> Line<'static> {
        let plan = self.run.plan();
        let mut spans = vec![padded(
            Tone::Strong,
            plan.phase(phase).name.clone(),
            self.name_width() + 3,
        )];
        if let Some(barrier) = self.barrier(phase) {
            let state = self.run.node(barrier);
            let (tone, text) = if state.life.is_over() {
                let closed: Vec<Life> = self
                    .rows(phase)
                    .iter()
                    .map(|row| self.run.node(self.current(row)).life)
                    .collect();
                if closed.iter().all(|life| life.is_passed()) {
                    (Tone::Good, "✓ done".to_owned())
                } else if closed.contains(&Life::RolledBack) || closed.contains(&Life::Failed) {
                    (Tone::Bad, "↩ stopped".to_owned())
                } else {
                    (Tone::Accent, "under way".to_owned())
                }
            } else if state.waits_for > 0 {
                let needs = plan.phase(phase).needs.join(", ");
                (Tone::Dim, format!("needs {needs}"))
            } else {
                let waits = Waiting::new(self.run, self.now, self.program).node(barrier);
                let briefs: Vec<String> = waits.into_iter().map(|wait| wait.brief).collect();
                (Tone::Caution, briefs.join("; "))
            };
            spans.push(ink(tone, text));
        }
        Line::from(spans)
    }

    fn rows(&self, phase: PhaseId) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for (id, node) in self.run.plan().nodes().filter(|(_, node)| node.phase == phase) {
            let Some(region) = node.region else { continue };
            match rows.iter_mut().find(|row| row.region == region) {
                Some(row) => row.nodes.push(id),
                None => rows.push(Row {
                    region,
                    nodes: vec![id],
                }),
            }
        }
        rows
    }

    /// The node that the region works on, or worked on last.
    fn current(&self, row: &Row) -> NodeId {
        let last = row.nodes.last().copied().unwrap_or(NodeId(0));
        row.nodes
            .iter()
            .copied()
            .find(|id| !self.run.node(*id).life.is_passed())
            .unwrap_or(last)
    }

    fn is_active(&self, row: &Row) -> bool {
        let node = self.run.node(self.current(row));
        node.life.is_under_way() || (node.life == Life::Waiting && node.waits_for == 0)
    }

    fn row(&self, row: &Row) -> Vec<Line<'static>> {
        let current = self.current(row);
        let state = self.run.node(current);
        let share = status::share(self.run, row.region);
        let full = (share.fraction() * BAR as f64).ceil() as usize;
        let waits = Waiting::new(self.run, self.now, self.program).node(current);
        let brief = waits.first().map(|wait| wait.brief.clone());
        let doing = brief.unwrap_or_else(|| match state.life {
            Life::Passed if self.is_promoted(row) => "promoted".to_owned(),
            life => status::life(life).to_owned(),
        });
        let tone = match state.life {
            Life::Passed => Tone::Good,
            Life::Failed | Life::RolledBack => Tone::Bad,
            Life::Waiting | Life::Skipped | Life::Tolerated => Tone::Dim,
            Life::Moving | Life::Baking | Life::Judging | Life::Closing => match waits.first().map(|wait| wait.urgency)
            {
                Some(Urgency::Waiting | Urgency::Person) => Tone::Caution,
                Some(Urgency::Going) | None => Tone::Plain,
            },
        };
        let name = self.run.plan().region(row.region).0.to_owned();
        let mut spans = vec![
            padded(Tone::Plain, format!("  {name}"), self.name_width() + 3),
            ink(Tone::Accent, "━".repeat(full)),
            ink(Tone::Dim, "─".repeat(BAR.saturating_sub(full))),
            padded(Tone::Strong, format!("{:>5}", share.to_string()), 8),
        ];
        spans.extend(self.steps(row));
        spans.push(ink(tone, format!("  {doing}")));
        let mut lines = vec![Line::from(spans)];
        if state.life.is_under_way() {
            lines.extend(
                self.run
                    .node(current)
                    .gates_at(Place::Watch)
                    .filter_map(|slot| self.gate(current, slot)),
            );
        }
        lines
    }

    fn is_promoted(&self, row: &Row) -> bool {
        row.nodes
            .last()
            .is_some_and(|id| matches!(self.run.plan().node(*id).kind, NodeKind::Close { last: true }))
    }

    /// The region's stages with a sign each: `✓1% ✓25% ◐50% ·100%`.
    fn steps(&self, row: &Row) -> Vec<Span<'static>> {
        let mut spans = Vec::new();
        for id in &row.nodes {
            let node = self.run.plan().node(*id);
            let label = match &node.kind {
                NodeKind::Stage {
                    exposure: Exposure::Traffic(share),
                    ..
                } => share.to_string(),
                NodeKind::Stage {
                    exposure: Exposure::Shadow(_),
                    ..
                } => "mirror".to_owned(),
                NodeKind::Stage {
                    exposure: Exposure::Audience(_),
                    ..
                } => "audience".to_owned(),
                NodeKind::Close { .. } | NodeKind::Open { .. } | NodeKind::Phase => continue,
            };
            let (tone, sign) = sign(self.run.node(*id).life);
            spans.push(ink(tone, format!("{sign}{label} ")));
        }
        spans
    }

    /// One watched gate of the node that is under way.
    fn gate(&self, node: NodeId, slot: &GateState) -> Option<Line<'static>> {
        let (name, gate) = self.run.plan().gate(slot.gate);
        let judged = slot.last.as_ref()?;
        let (tone, sign) = waiting::sign(waiting::level(slot));
        let mut spans = vec![
            ink(tone, format!("    {sign} ")),
            padded(Tone::Plain, name.to_owned(), self.gate_width() + 2),
        ];
        let reading = judged.reading.as_ref();
        match (&gate.kind, reading.map(|reading| &reading.answer)) {
            (GateKind::Metric(metric), Some(Answer::Metric { candidate, baseline })) if candidate.value.is_some() => {
                let unit = &self.run.plan().workflow().metrics.get(&metric.query)?.unit;
                let value = candidate.value?;
                let limit = reading.and_then(|reading| reading::worst_limit(metric, unit, reading));
                spans.push(padded(tone, format!("{:>7}", reading::number(value, unit)), 9));
                let values = self.history.of(node, slot.gate);
                spans.push(padded(
                    Tone::Plain,
                    reading::sparkline(&values, limit.map(|(_, limit)| limit)),
                    17,
                ));
                if let Some((what, limit)) = limit {
                    spans.push(ink(tone, reading::gauge(value, limit, 10)));
                    spans.push(ink(Tone::Dim, format!(" {what} {}", limit.sentence(unit))));
                }
                if let Some(baseline) = baseline.as_ref().and_then(|sample| sample.value) {
                    spans.push(ink(
                        Tone::Dim,
                        format!(", baseline {}", reading::number(baseline, unit)),
                    ));
                }
                if let Some(said) = self.beside(slot, gate.breached_for) {
                    spans.push(ink(tone, format!("  {said}")));
                }
            }
            _ => spans.push(ink(tone, tame(judged.judgement.because()))),
        }
        Some(Line::from(spans))
    }

    /// What stands beside a reading that does not pass: how long it has been breached, or what is wrong with the evidence.
    fn beside(&self, slot: &GateState, breached_for: Duration) -> Option<String> {
        let judgement = &slot.last.as_ref()?.judgement;
        match judgement.level() {
            // The number and its limit say it all; that it is too early is no news on a board.
            Level::Pass | Level::Pending => None,
            Level::Fail => {
                let since = slot.breached_since.iter().flatten().min()?;
                let lasted = clock::length(Duration::between(*since, self.now));
                Some(if breached_for.is_zero() {
                    "breached".to_owned()
                } else {
                    format!("breached for {lasted} of {}", clock::length(breached_for))
                })
            }
            Level::NoData | Level::Inconclusive | Level::Error => Some(tame(judgement.because())),
        }
    }

    fn name_width(&self) -> usize {
        let workflow = self.run.plan().workflow();
        let names = workflow
            .regions
            .keys()
            .chain(workflow.phases.iter().map(|phase| &phase.name));
        names.map(|name| name.chars().count()).max().unwrap_or(0).clamp(8, 32)
    }

    fn gate_width(&self) -> usize {
        let names = self.run.plan().workflow().gates.keys();
        names.map(|name| name.chars().count()).max().unwrap_or(0).clamp(6, 24)
    }
}

fn sign(life: Life) -> (Tone, &'static str) {
    match life {
        Life::Waiting => (Tone::Dim, "·"),
        Life::Moving => (Tone::Accent, "→"),
        Life::Baking => (Tone::Accent, "◐"),
        Life::Judging | Life::Closing => (Tone::Accent, "◕"),
        Life::Passed => (Tone::Good, "✓"),
        Life::Skipped | Life::Tolerated => (Tone::Dim, "~"),
        Life::Failed => (Tone::Bad, "✗"),
        Life::RolledBack => (Tone::Bad, "↩"),
    }
}

/// How an outcome is toned wherever it is shown.
pub fn outcome_tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Running => Tone::Accent,
        Outcome::Promoted => Tone::Good,
        Outcome::Paused | Outcome::Held => Tone::Caution,
        Outcome::RolledBack | Outcome::NeedsAttention | Outcome::Refused => Tone::Bad,
    }
}

#[cfg(test)]
mod tests {
    use meridian_engine::run::event::Event;

    use super::Board;
    use crate::report::ink::plain;
    use crate::report::story::{self, Moment};

    fn drawn(moment: &Moment, rows_max: usize) -> String {
        let board = Board {
            run: &moment.run,
            history: &moment.history,
            now: moment.at,
            program: "meridian",
        };
        board.fitted(rows_max).iter().map(plain).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_bake_counts_down_beside_its_readings() {
        let simulated = story::simulated(&[]);
        let mut readings = 0;
        let moment = story::until(&simulated, |event| {
            readings += usize::from(matches!(event, Event::GateRead { .. }));
            readings == 20
        });
        insta::assert_snapshot!(drawn(&moment, 40), @r"
        memory-leak-simulated  v3.2.0  running  for 13s

        smallest    under way
          eu-west-1 ━───────────────────   5%   ◐5% ·25% ·100%   baking, 1s of 8s left
            ✓ error-rate            0.1%  ▂▂▂▂▂▂▂▂▂▂       ▕█░░░░░░░░░▏ rolls back above 1%, baseline 0.1%
            ✓ memory-exhaustion    350Mi  ▃▃▃▃▃▃▃▃▃▃       ▕███░░░░░░░▏ rolls back above 1Gi, baseline 350Mi

        primary     needs smallest
          us-east-1 ────────────────────   0%   ·5% ·25% ·100%   waiting
        ");
        insta::assert_snapshot!(drawn(&moment, 5), @r"
        memory-leak-simulated  v3.2.0  running  for 13s
        smallest    under way
          eu-west-1 ━───────────────────   5%   ◐5% ·25% ·100%   baking, 1s of 8s left
            ✓ error-rate            0.1%  ▂▂▂▂▂▂▂▂▂▂       ▕█░░░░░░░░░▏ rolls back above 1%, baseline 0.1%
          … 3 more lines: meridian status memory-leak-simulated
        ");
    }

    #[test]
    fn a_rollback_says_its_cause_while_it_lasts_and_after() {
        let simulated = story::simulated(&["eu-west-1/25%"]);
        let moment = story::until(&simulated, |event| matches!(event, Event::RollbackDecided { .. }));
        insta::assert_snapshot!(drawn(&moment, 40), @r"
        memory-leak-simulated  v3.2.0  running  for 17s
          ▲ run rolls back (gate/error-rate: candidate 1.3 %: candidate > percent(1)): eu-west-1 goes back to its baseline

        smallest    ↩ stopped
          eu-west-1 ━━━━━───────────────  25%   ↩5% ✗25% ·100%   rolled-back

        primary     needs smallest
          us-east-1 ────────────────────   0%   ·5% ·25% ·100%   waiting
        ");
        let end = story::until(&simulated, |_| false);
        insta::assert_snapshot!(drawn(&end, 40), @r"
        memory-leak-simulated  v3.2.0  rolled-back  after 24s
          gate/error-rate: candidate 1.3 %: candidate > percent(1)

        smallest    ↩ stopped
          eu-west-1 ────────────────────   0%   ↩5% ✗25% ·100%   rolled-back

        primary     needs smallest
          us-east-1 ────────────────────   0%   ·5% ·25% ·100%   waiting
        ");
    }
}
