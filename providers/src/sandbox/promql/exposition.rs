//! Writes metrics in Prometheus' text exposition format, for `/metrics`.

use super::labels::{Labels, NAME};
use super::number::write_value;

/// The `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric with all its series; a histogram's are named `…_bucket`, `…_sum` and `…_count`.
#[derive(Clone, Debug)]
pub struct Family {
    pub name: String,
    pub help: String,
    pub kind: MetricKind,
    pub series: Vec<(Labels, f64)>,
}

/// The text of `/metrics`. Families come in the order given, each once: a name is never spread over the text.
pub fn exposition(families: &[Family]) -> String {
    let mut text = String::new();
    for Family {
        name,
        help,
        kind,
        series,
    } in families
    {
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for (labels, value) in series {
            text.push_str(labels.get(NAME));
            let mut separator = '{';
            for (label, value) in labels.pairs().filter(|(label, _)| *label != NAME) {
                let value = value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                text.push_str(&format!("{separator}{label}=\"{value}\""));
                separator = ',';
            }
            if separator == ',' {
                text.push('}');
            }
            text.push(' ');
            text.push_str(&write_value(*value));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_reads_as_prometheus_expects() {
        let families = [
            Family {
                name: "http_requests_total".into(),
                help: "Requests,\nby code.".into(),
                kind: MetricKind::Counter,
                series: vec![(
                    Labels::new("http_requests_total", [("code", "200"), ("path", "/a\"b\\c\n")]).unwrap(),
                    12.5,
                )],
            },
            Family {
                name: "temperature".into(),
                help: String::new(),
                kind: MetricKind::Gauge,
                series: vec![(Labels::new("temperature", []).unwrap(), f64::NEG_INFINITY)],
            },
        ];
        let expected = "# HELP http_requests_total Requests,\\nby code.\n# TYPE http_requests_total counter\n\
                        http_requests_total{code=\"200\",path=\"/a\\\"b\\\\c\\n\"} 12.5\n\
                        # HELP temperature \n# TYPE temperature gauge\ntemperature -Inf\n";
        assert_eq!(exposition(&families), expected);
    }
}
