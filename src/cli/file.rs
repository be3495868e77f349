//! Reads a workflow file with everything it imports, and says what is wrong with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use meridian_workflows::decode::{self, Given, Reading, Surroundings};
use meridian_workflows::diagnostic::render::{self, Colour};
use meridian_workflows::diagnostic::{Diagnostic, Severity};
use meridian_workflows::limits;
use meridian_workflows::plan::Plan;
use meridian_workflows::plan::compile::compile;

use super::desk::Desk;
use super::problem::Problem;
use crate::world;

/// How much has to be known of the inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The file is looked at: inputs without a value leave their templates standing.
    Look,
    /// A release starts: every required input needs a value.
    Start,
}

/// Reads one file; `-` is stdin.
///
/// *Errors*: the file itself cannot be read. What is wrong inside it stands in the diagnostics.
pub fn read(path: &Path, inputs: &BTreeMap<String, String>, purpose: Purpose) -> Result<Reading, Problem> {
    let (name, bytes) = if path == Path::new("-") {
        ("stdin".to_owned(), bounded(io::stdin().lock()))
    } else {
        (path.display().to_string(), File::open(path).and_then(bounded_file))
    };
    let bytes = bytes.map_err(|error| {
        Problem::usage(format!("could not read `{name}`"))
            .because(&error)
            .next("check the path; `meridian init` writes a workflow to start from")
    })?;
    let load = |file: &str| {
        File::open(file)
            .and_then(bounded_file)
            .map_err(|error| error.to_string())
    };
    let vocabulary = world::vocabulary();
    let surroundings = Surroundings {
        vocabulary: &vocabulary,
        load: &load,
        inputs: match purpose {
            Purpose::Look => Given::Some(inputs),
            Purpose::Start => Given::All(inputs),
        },
    };
    Ok(decode::read(&name, &bytes, &surroundings))
}

fn bounded_file(file: File) -> io::Result<Vec<u8>> {
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    bounded(file)
}

/// One byte more than the language takes: enough for it to see that the file is too large, however large it is.
fn bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(limits::FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Shows what is wrong on stderr.
pub fn show(diagnostics: &[Diagnostic], desk: &Desk) {
    let colour = if desk.paper.colours_stderr() {
        Colour::Coloured
    } else {
        Colour::Plain
    };
    if !diagnostics.is_empty() {
        desk.paper.note(&render::render_all(diagnostics, colour));
        desk.paper.note("\n");
    }
}

/// `2 errors, 1 warning`; none when there is nothing to count.
pub fn count(diagnostics: &[Diagnostic]) -> Option<String> {
    let of = |severity: Severity| {
        diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    };
    let counted = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what}")),
        more => Some(format!("{more} {what}s")),
    };
    let parts: Vec<String> = [
        counted(of(Severity::Error), "error"),
        counted(of(Severity::Warning), "warning"),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// The plan of a file, after its diagnostics have been shown.
///
/// *Errors*: the file cannot be read, is invalid, or holds no workflow.
pub fn plan(path: &Path, inputs: &BTreeMap<String, String>, purpose: Purpose, desk: &Desk) -> Result<Plan, Problem> {
    let reading = read(path, inputs, purpose)?;
    let name = path.display();
    show(&reading.diagnostics, desk);
    match reading.workflow {
        Some(workflow) => Ok(compile(workflow)),
        None => match count(&reading.diagnostics) {
            Some(count) if reading.diagnostics.iter().any(Diagnostic::is_error) => {
                Err(Problem::usage(format!("`{name}` is not valid: {count}"))
                    .next("each code has a page: meridian explain CODE"))
            }
            _ => Err(Problem::usage(format!("`{name}` holds no workflow"))
                .next("a Library is imported by a workflow, and a Scenario names one; give that file instead")),
        },
    }
}

/// The plan of a file that is about to run.
///
/// *Errors*: as [`plan`], and features that this build cannot run yet.
pub fn runnable(path: &Path, inputs: &BTreeMap<String, String>, desk: &Desk) -> Result<Plan, Problem> {
    let plan = plan(path, inputs, Purpose::Start, desk)?;
    let missing = &plan.workflow().not_available_yet;
    if missing.is_empty() {
        return Ok(plan);
    }
    let what = format!(
        "`{}` uses what this build cannot run yet: {}",
        path.display(),
        missing.join(", ")
    );
    Err(Problem::usage(what).next("`validate` and `plan` work on it; nothing was started"))
}
