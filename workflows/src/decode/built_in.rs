//! Presets and usual metrics, written in the language itself.

use std::sync::OnceLock;

use crate::document::node::Document;
use crate::document::{self};

/// The directory that built-in files seem to be in.
pub const DIRECTORY: &str = "presets/";

/// Every built-in file by name.
pub const FILES: [(&str, &str); 8] = [
    ("presets/risk-low.yaml", include_str!("../../presets/risk-low.yaml")),
    (
        "presets/risk-medium.yaml",
        include_str!("../../presets/risk-medium.yaml"),
    ),
    ("presets/risk-high.yaml", include_str!("../../presets/risk-high.yaml")),
    (
        "presets/risk-critical.yaml",
        include_str!("../../presets/risk-critical.yaml"),
    ),
    ("presets/hotfix.yaml", include_str!("../../presets/hotfix.yaml")),
    ("presets/blue-green.yaml", include_str!("../../presets/blue-green.yaml")),
    ("presets/rolling.yaml", include_str!("../../presets/rolling.yaml")),
    ("presets/metrics.yaml", include_str!("../../presets/metrics.yaml")),
];

/// The built-in Libraries, read once. They are held sound by a test.
pub fn libraries() -> &'static [Document] {
    static LIBRARIES: OnceLock<Vec<Document>> = OnceLock::new();
    LIBRARIES.get_or_init(|| {
        let documents = FILES
            .iter()
            .map(|(name, text)| document::parse(name, text.as_bytes()).0);
        documents.flatten().collect()
    })
}
