//! Files that a document names: imported Libraries and calendar files, read through the caller's loader.

use std::collections::HashSet;

use crate::calendar::ics;
use crate::decode::context::Context;
use crate::decode::envelope::{self, Kind};
use crate::decode::value;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::node::{Document, Node};
use crate::document::source::{Place, Source};
use crate::document::{self};
use crate::limits;
use crate::workflow::Denial;

/// The Libraries that a spec imports, directly and indirectly, each once, the ones they build on first.
pub fn libraries(spec: &Node, cx: &mut Context<'_>) -> Vec<Document> {
    let file = normalised(spec.place.source().name());
    let mut search = Search {
        path: vec![file],
        done: HashSet::new(),
        found: Vec::new(),
    };
    search.follow(spec, cx);
    search.found
}

struct Search {
    /// Files from the first one to the one being read.
    path: Vec<String>,
    done: HashSet<String>,
    found: Vec<Document>,
}

impl Search {
    fn follow(&mut self, spec: &Node, cx: &mut Context<'_>) {
        let Some(imports) = spec.as_map().and_then(|map| map.get("imports")) else {
            return;
        };
        for node in value::list(imports, cx).unwrap_or_default() {
            let Some(written) = value::text(node, cx) else { continue };
            let file = resolved(node.place.source().name(), &written);
            if let Some(start) = self.path.iter().position(|open| *open == file) {
                let mut cycle: Vec<&str> = self.path[start..].iter().map(String::as_str).collect();
                cycle.push(&file);
                let message = format!("these files import one another: {}", cycle.join(" → "));
                cx.error(Code::IMPORT_CYCLE, &node.place, message);
                continue;
            }
            if self.done.len() >= limits::IMPORTS_MAX {
                let message = format!("more than {} files are imported", limits::IMPORTS_MAX);
                cx.error(Code::TOO_MANY, &node.place, message);
                return;
            }
            if self.done.insert(file.clone()) {
                self.read(node, &written, file, cx);
            }
        }
    }

    fn read(&mut self, node: &Node, written: &str, file: String, cx: &mut Context<'_>) {
        let Some(bytes) = load(node, written, &file, cx) else {
            return;
        };
        let (documents, diagnostics) = document::parse(&file, &bytes);
        let is_readable = diagnostics.is_empty();
        cx.diagnostics.extend(diagnostics);
        self.path.push(file);
        let mut has_library = false;
        for document in documents {
            let kind = envelope::read(&document, cx).map(|enveloped| (enveloped.kind, enveloped.spec.clone()));
            // What else stands in that file is not this workflow's business.
            if let Some((Kind::Library, spec)) = kind {
                has_library = true;
                self.follow(&spec, cx);
                self.found.push(document);
            }
        }
        self.path.pop();
        if !has_library && is_readable {
            let message = format!("`{written}` contains no Library");
            let hint = "only Libraries can be imported: `kind: Library`";
            cx.report(Diagnostic::new(Code::NOT_A_LIBRARY, node.place.clone(), message).hint(hint));
        }
    }
}

/// The file that a value names, with its path as it was found and its bytes.
pub fn beside(node: &Node, cx: &mut Context<'_>) -> Option<(String, Vec<u8>)> {
    let written = value::text(node, cx)?;
    let file = resolved(node.place.source().name(), &written);
    let bytes = load(node, &written, &file, cx)?;
    Some((file, bytes))
}

fn load(node: &Node, written: &str, file: &str, cx: &mut Context<'_>) -> Option<Vec<u8>> {
    match (cx.load)(file) {
        Ok(bytes) => Some(bytes),
        Err(reason) => {
            let hint = format!("looked for `{file}`; paths are relative to the file that names them");
            let message = format!("`{written}` cannot be read: {reason}");
            cx.report(Diagnostic::new(Code::FILE, node.place.clone(), message).hint(hint));
            None
        }
    }
}

/// The closed stretches of an iCalendar file; its problems are shown in its own lines.
pub fn calendar_file(node: &Node, cx: &mut Context<'_>) -> Vec<Denial> {
    let Some(written) = value::text(node, cx) else {
        return Vec::new();
    };
    let file = resolved(node.place.source().name(), &written);
    let Some(bytes) = load(node, &written, &file, cx) else {
        return Vec::new();
    };
    if bytes.len() > limits::FILE_BYTES_MAX {
        let message = format!("`{written}` is larger than {} bytes", limits::FILE_BYTES_MAX);
        cx.error(Code::CALENDAR_FILE, &node.place, message);
        return Vec::new();
    }
    let Ok(text) = std::str::from_utf8(&bytes) else {
        let message = format!("`{written}` is not UTF-8, as iCalendar files are");
        cx.error(Code::CALENDAR_FILE, &node.place, message);
        return Vec::new();
    };
    match ics::parse(text) {
        Ok(denials) => denials,
        Err(problems) => {
            let source = Source::new(&*file, text);
            for problem in problems {
                let place = Place::new(&source, source.line(problem.line));
                cx.report(
                    Diagnostic::new(Code::CALENDAR_FILE, place, problem.fault.to_string())
                        .and(node.place.clone(), "this calendar reads the file")
                        .hint("export the calendar again, or write its stretches under `deny`"),
                );
            }
            Vec::new()
        }
    }
}

/// A path as written in a file, seen from where that file's own path is seen from.
fn resolved(from: &str, written: &str) -> String {
    let directory = from.rsplit_once('/').map_or("", |(directory, _)| directory);
    if written.starts_with('/') || directory.is_empty() {
        normalised(written)
    } else {
        normalised(&format!("{directory}/{written}"))
    }
}

/// Without `.` and, where it can be told from the text alone, without `..`: one file has one name.
fn normalised(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    let joined = parts.join("/");
    if path.starts_with('/') {
        format!("/{joined}")
    } else {
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::{normalised, resolved};

    #[test]
    fn paths_are_relative_to_the_file_that_names_them() {
        assert_eq!(
            resolved("flows/eu/api.yaml", "./platform.yaml"),
            "flows/eu/platform.yaml"
        );
        assert_eq!(resolved("flows/eu/api.yaml", "../platform.yaml"), "flows/platform.yaml");
        assert_eq!(resolved("api.yaml", "../platform.yaml"), "../platform.yaml");
        assert_eq!(resolved("/etc/a.yaml", "b/./c.yaml"), "/etc/b/c.yaml");
        assert_eq!(resolved("flows/a.yaml", "/etc/b.yaml"), "/etc/b.yaml");
        assert_eq!(normalised("./a/../b.yaml"), "b.yaml");
    }
}
