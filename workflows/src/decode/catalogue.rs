//! The definitions of a workflow as they were read, and the part of them that the workflow uses.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use crate::decode::context::Context;
use crate::decode::definitions::{Definition, Definitions};
use crate::decode::shape::Kinds;
use crate::decode::{gate, kinds, metric, window};
use crate::workflow::{Calendar, Gate, GateKind, Metric, Notifier, Source};

/// Definitions that have been read.
pub struct Catalogue {
    pub sources: IndexMap<String, (metric::Asked, Definition)>,
    pub metrics: IndexMap<String, metric::Placed>,
    pub calendars: BTreeMap<String, Calendar>,
    pub notifiers: IndexMap<String, (kinds::Chosen, Definition)>,
    pub gates: IndexMap<String, gate::Placed>,
}

/// The part of the definitions that a workflow uses.
pub struct Used {
    pub gates: IndexMap<String, Gate>,
    pub metrics: BTreeMap<String, Metric>,
    pub sources: BTreeMap<String, Source>,
    pub calendars: BTreeMap<String, Calendar>,
    pub notifiers: BTreeMap<String, Notifier>,
}

impl Catalogue {
    /// Reads all sections. `by_itself`: a Library is checked without a workflow, so everything in it counts as used.
    pub fn read(definitions: &Definitions, by_itself: bool, cx: &mut Context<'_>) -> Catalogue {
        let mut sources = IndexMap::new();
        for (name, definition) in &definitions.sources {
            sources.extend(metric::source(definition, cx).map(|source| (name.clone(), (source, definition.clone()))));
        }
        let source_names: Vec<&str> = definitions.sources.keys().map(String::as_str).collect();
        let mut metrics = IndexMap::new();
        for (name, definition) in &definitions.metrics {
            metrics.extend(metric::read(name, definition, &source_names, cx).map(|metric| (name.clone(), metric)));
        }
        let mut calendars = BTreeMap::new();
        for (name, definition) in &definitions.calendars {
            calendars.extend(window::calendar(definition, cx).map(|calendar| (name.clone(), calendar)));
        }
        let mut notifiers = IndexMap::new();
        for (name, definition) in &definitions.notifiers {
            let chosen = kinds::read(&definition.node, Kinds::Notifiers, cx);
            notifiers.extend(chosen.map(|chosen| (name.clone(), (chosen, definition.clone()))));
        }
        let referred = gate::Referred {
            metrics: &metrics,
            calendars: &calendars,
            definitions,
        };
        let mut gates = IndexMap::new();
        for (name, definition) in &definitions.gates {
            gates.extend(gate::read(name, definition, &referred, cx).map(|gate| (name.clone(), gate)));
        }
        let catalogue = Catalogue {
            sources,
            metrics,
            calendars,
            notifiers,
            gates,
        };
        if by_itself {
            let gates: BTreeSet<String> = catalogue.gates.keys().cloned().collect();
            let notifiers: Vec<String> = catalogue.notifiers.keys().cloned().collect();
            catalogue.only_used(&gates, &notifiers.iter().map(String::as_str).collect(), cx);
        }
        catalogue
    }

    /// What a workflow uses, after a warning for everything in it that this build cannot run yet.
    pub fn only_used(&self, gates: &BTreeSet<String>, notifiers: &BTreeSet<&str>, cx: &mut Context<'_>) -> Used {
        let mut used = Used {
            gates: IndexMap::new(),
            metrics: BTreeMap::new(),
            sources: BTreeMap::new(),
            calendars: BTreeMap::new(),
            notifiers: BTreeMap::new(),
        };
        for (name, placed) in self.gates.iter().filter(|(name, _)| gates.contains(*name)) {
            let feature = format!("the gate kind `{}`", placed.gate.kind.name());
            cx.check_availability(placed.availability, &placed.definition.key, feature);
            used.gates.insert(name.clone(), placed.gate.clone());
            for metric in placed.gate.kind.metrics() {
                self.use_metric(metric, &mut used, cx);
            }
            if let GateKind::Window(window) = &placed.gate.kind {
                let calendars = window
                    .calendars
                    .iter()
                    .filter_map(|name| Some((name.clone(), self.calendars.get(name)?.clone())));
                used.calendars.extend(calendars);
            }
        }
        for (name, (chosen, definition)) in self
            .notifiers
            .iter()
            .filter(|(name, _)| notifiers.contains(name.as_str()))
        {
            let feature = format!("the notifier `{}`", chosen.kind);
            cx.check_availability(chosen.availability, &definition.key, feature);
            used.notifiers.insert(
                name.clone(),
                Notifier {
                    kind: chosen.kind.clone(),
                    settings: chosen.settings.clone(),
                },
            );
        }
        used
    }

    fn use_metric(&self, name: &str, used: &mut Used, cx: &mut Context<'_>) {
        let Some(placed) = self.metrics.get(name) else { return };
        used.metrics.insert(name.to_owned(), placed.metric.clone());
        if let Some((asked, definition)) = self.sources.get(&placed.metric.source) {
            let feature = format!("the metric source `{}`", asked.source.kind);
            cx.check_availability(asked.availability, &definition.key, feature);
            used.sources.insert(placed.metric.source.clone(), asked.source.clone());
        }
    }
}
