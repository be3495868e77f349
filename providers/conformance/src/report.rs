//! What came of a suite: one verdict for each behaviour.

use serde::{Deserialize, Serialize};

/// A provider's suite, as it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The provider's column in the table.
    pub provider: String,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// What the behaviour is about, as in `Fences`.
    pub group: String,
    /// The behaviour as a sentence that is true of a provider that has it.
    pub behaviour: String,
    #[serde(flatten)]
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "camelCase")]
pub enum Verdict {
    Passed,
    Failed {
        why: String,
    },
    /// The rig cannot show it, with the reason; never counted as passed.
    NotTried {
        why: String,
    },
}

impl Report {
    pub fn failed(&self) -> impl Iterator<Item = (&Row, &str)> {
        self.rows.iter().filter_map(|row| match &row.verdict {
            Verdict::Failed { why } => Some((row, why.as_str())),
            Verdict::Passed | Verdict::NotTried { .. } => None,
        })
    }

    pub fn has_passed(&self) -> bool {
        self.failed().next().is_none()
    }

    /// How many behaviours passed, failed and were not tried.
    pub fn counts(&self) -> (usize, usize, usize) {
        let mut counts = (0, 0, 0);
        for row in &self.rows {
            match row.verdict {
                Verdict::Passed => counts.0 += 1,
                Verdict::Failed { .. } => counts.1 += 1,
                Verdict::NotTried { .. } => counts.2 += 1,
            }
        }
        counts
    }

    /// The verdict on one behaviour.
    pub fn verdict(&self, behaviour: &str) -> Option<&Verdict> {
        let row = self.rows.iter().find(|row| row.behaviour == behaviour);
        row.map(|row| &row.verdict)
    }

    /// Everything that failed, as a text for a test to fail with; none where nothing did.
    pub fn complaint(&self) -> Option<String> {
        let lines: Vec<_> = self
            .failed()
            .map(|(row, why)| {
                format!(
                    "✗ {}: {}\n    {}",
                    row.group,
                    row.behaviour,
                    why.replace('\n', "\n    ")
                )
            })
            .collect();
        let (passed, failed, not_tried) = self.counts();
        let head = format!(
            "{}: {passed} passed, {failed} failed, {not_tried} not tried",
            self.provider
        );
        (failed > 0).then(|| format!("{head}\n{}", lines.join("\n")))
    }
}
