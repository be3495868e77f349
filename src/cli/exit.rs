//! What the process tells the shell when it ends.

use std::process::ExitCode;

/// Exit codes that scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: it succeeded, or the rollout did.
    Succeeded,
    /// 1: the rollout was rolled back or failed; a journal that does not verify.
    Failed,
    /// 2: wrong use, or a file that is not valid.
    Usage,
    /// 3: needs attention, or held with `--detach-on-hold`.
    Attention,
    /// 4: the store, the sandbox or a server could not be reached.
    Unreachable,
    /// 130: interrupted; the run stays resumable.
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Succeeded => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Attention => 3,
            Exit::Unreachable => 4,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
