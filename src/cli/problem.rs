//! Why a command could not do its work: what happened, to what, because of what, and what to do next.

use std::error::Error;

use super::exit::Exit;

/// A message for a person, with the exit code that goes with it. Printed once, at the edge.
#[derive(Debug)]
pub struct Problem {
    exit: Exit,
    what: String,
    causes: Vec<String>,
    next: Option<String>,
}

impl Problem {
    /// Wrong use of the command line, or a request that does not fit.
    pub fn usage(what: impl Into<String>) -> Problem {
        Problem::new(Exit::Usage, what)
    }

    /// The store, the sandbox or the disk did not answer.
    pub fn unreachable(what: impl Into<String>) -> Problem {
        Problem::new(Exit::Unreachable, what)
    }

    /// It was tried, and it failed.
    pub fn failed(what: impl Into<String>) -> Problem {
        Problem::new(Exit::Failed, what)
    }

    fn new(exit: Exit, what: impl Into<String>) -> Problem {
        Problem {
            exit,
            what: what.into(),
            causes: Vec::new(),
            next: None,
        }
    }

    /// Adds the chain of errors underneath.
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Problem {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let text = error.to_string();
            if self.causes.last() != Some(&text) {
                self.causes.push(text);
            }
            cause = error.source();
        }
        self
    }

    /// Adds what the person can do about it.
    pub fn next(mut self, next: impl Into<String>) -> Problem {
        self.next = Some(next.into());
        self
    }

    /// Adds what the person can do about it, when that is known.
    pub fn maybe_next(mut self, next: Option<String>) -> Problem {
        self.next = next.or(self.next);
        self
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The message as printed, each line ending with a line break.
    pub fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.what);
        for cause in &self.causes {
            text.push_str(&format!("  caused by: {cause}\n"));
        }
        if let Some(next) = &self.next {
            text.push_str(&format!("  next: {next}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Problem;

    #[test]
    fn a_problem_says_what_because_of_what_and_what_next() {
        let cause = std::io::Error::other("permission denied");
        let problem = Problem::unreachable("could not read `release.yaml`")
            .because(&cause)
            .next("check the path");
        insta::assert_snapshot!(problem.text(), @r"
        error: could not read `release.yaml`
          caused by: permission denied
          next: check the path
        ");
        assert_eq!(problem.exit().code(), 4);
    }
}
