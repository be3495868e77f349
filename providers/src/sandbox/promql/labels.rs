//! The label set that names a series: sorted, without empty values, cheap to clone.

use std::fmt;
use std::sync::Arc;

/// The label that carries a metric's name.
pub const NAME: &str = "__name__";

/// A sorted set of labels; a label with an empty value is the same as no label, so none is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Vec<(Arc<str>, Arc<str>)>);

/// Why a label set could not be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelsInvalid {
    #[error("`{0}` is not a metric name")]
    MetricName(String),
    #[error("`{0}` is not a label name")]
    LabelName(String),
    #[error("label `{0}` is given twice")]
    Twice(String),
}

impl Labels {
    /// The labels of one series of the metric `name`.
    ///
    /// # Errors
    /// A metric or label name that Prometheus would not accept, or a label given twice.
    pub fn new<'a>(name: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, LabelsInvalid> {
        if !is_metric_name(name) {
            return Err(LabelsInvalid::MetricName(name.to_owned()));
        }
        let mut labels = vec![(Arc::from(NAME), Arc::from(name))];
        for (label, value) in pairs {
            if !is_label_name(label) {
                return Err(LabelsInvalid::LabelName(label.to_owned()));
            }
            if labels.iter().any(|(known, _): &(Arc<str>, Arc<str>)| &**known == label) {
                return Err(LabelsInvalid::Twice(label.to_owned()));
            }
            labels.push((Arc::from(label), Arc::from(value)));
        }
        labels.retain(|(_, value)| !value.is_empty());
        labels.sort();
        Ok(Self(labels))
    }

    /// The value of a label; empty when the label is absent, as Prometheus has it.
    pub fn get(&self, name: &str) -> &str {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) => &self.0[at].1,
            Err(_) => "",
        }
    }

    /// The pairs, sorted by name.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    pub(super) fn keep(&self, names: &[String]) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| names.iter().any(|kept| **kept == **name))
                .cloned()
                .collect(),
        )
    }

    pub(super) fn without(&self, names: &[String]) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| !names.iter().any(|gone| **gone == **name))
                .cloned()
                .collect(),
        )
    }

    pub(super) fn without_name(&self) -> Self {
        Self(self.0.iter().filter(|(name, _)| &**name != NAME).cloned().collect())
    }

    /// Sets a label, or removes it when the value is empty.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) if value.is_empty() => {
                self.0.remove(at);
            }
            Ok(at) => self.0[at].1 = Arc::from(value),
            Err(_) if value.is_empty() => {}
            Err(at) => self.0.insert(at, (Arc::from(name), Arc::from(value))),
        }
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get(NAME))?;
        let mut separator = "{";
        for (name, value) in self.pairs().filter(|(name, _)| *name != NAME) {
            write!(f, "{separator}{name}={value:?}")?;
            separator = ", ";
        }
        if separator == "{" {
            f.write_str("{}")
        } else {
            f.write_str("}")
        }
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`
pub(super) fn is_metric_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub(super) fn is_label_name(name: &str) -> bool {
    is_metric_name(name) && !name.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_an_empty_value_is_no_label() {
        let labels = Labels::new("up", [("zone", "b"), ("arm", ""), ("job", "a\"b")]).unwrap();
        assert_eq!(labels.to_string(), r#"up{job="a\"b", zone="b"}"#);
        assert_eq!(labels.get("arm"), "");
        assert_eq!(labels.get("zone"), "b");
    }

    #[test]
    fn a_name_that_prometheus_refuses_is_refused() {
        assert_eq!(Labels::new("0up", []), Err(LabelsInvalid::MetricName("0up".into())));
        assert_eq!(
            Labels::new("up", [("a:b", "c")]),
            Err(LabelsInvalid::LabelName("a:b".into()))
        );
        assert_eq!(
            Labels::new("up", [("a", "c"), ("a", "d")]),
            Err(LabelsInvalid::Twice("a".into()))
        );
    }
}
