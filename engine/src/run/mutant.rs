//! Faults of the core that a test can switch on, one at a time and on its own thread, to see that something catches each.
//!
//! *Guarantees*: without the feature `mutants`, which only this crate's tests ask for, every question is answered "no" when
//! the code is compiled, and nothing is left of the faults.

/// One thing that the core could do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// Stages begin whatever their `before` gates say.
    SkipsGate,
    /// A value that is no number breaches nothing, so it passes.
    PassesNan,
    /// No data passes.
    PassesNoData,
    /// An order that a newer fence has overtaken counts as done.
    IgnoresStaleFence,
    /// A bake that goes on begins from nothing.
    RestartsBake,
    /// Time without readings counts for a bake.
    CountsGap,
    /// The waits of nodes are forgotten by the list of what is wanted.
    DropsWake,
    /// A phase tolerates one region more than it says.
    ToleratesOneMore,
    /// A rollback of scope `stage` leads to the full share.
    RaisesAfterRollback,
    /// The last region in scope is left out of a rollback.
    ForgetsRegion,
    /// Answers to effects that are wanted no more still count.
    AcceptsLateOutcome,
    /// The person who started a run may approve it.
    StarterApproves,
    /// Nodes pass in a pause.
    PassesInPause,
    /// A jump of the clock counts as time lived.
    CountsClockJump,
    /// A hold stays after its reason has gone.
    NeverRecovers,
    /// A second delivery of a signal acts again.
    TakesSignalTwice,
    /// A breach acts at once, whatever its `for`.
    IgnoresFor,
    /// Retried nodes keep their readings and approvals.
    KeepsEvidence,
    /// The traffic's return is not read back after a rollback.
    SkipsReadBack,
    /// Too few samples are enough.
    IgnoresMinSamples,
    /// More regions than `maxParallel` are open at once.
    IgnoresMaxParallel,
    /// What is left out before its turn lets its children go on before theirs.
    IgnoresParents,
    /// A signal that nobody has posted in time passes.
    PassesSilence,
    /// A lock that another run has opens its gate.
    IgnoresLocks,
    /// A lock is given back as soon as its node has begun.
    DropsLockEarly,
    /// What passed while nobody looked acts before anybody has.
    JudgesUnseen,
    /// The same tag may be different content in two regions.
    IgnoresDigests,
}

impl Mutant {
    pub const ALL: [Mutant; 27] = [
        Mutant::SkipsGate,
        Mutant::PassesNan,
        Mutant::PassesNoData,
        Mutant::IgnoresStaleFence,
        Mutant::RestartsBake,
        Mutant::CountsGap,
        Mutant::DropsWake,
        Mutant::ToleratesOneMore,
        Mutant::RaisesAfterRollback,
        Mutant::ForgetsRegion,
        Mutant::AcceptsLateOutcome,
        Mutant::StarterApproves,
        Mutant::PassesInPause,
        Mutant::CountsClockJump,
        Mutant::NeverRecovers,
        Mutant::TakesSignalTwice,
        Mutant::IgnoresFor,
        Mutant::KeepsEvidence,
        Mutant::SkipsReadBack,
        Mutant::IgnoresMinSamples,
        Mutant::IgnoresMaxParallel,
        Mutant::IgnoresParents,
        Mutant::IgnoresDigests,
        Mutant::PassesSilence,
        Mutant::IgnoresLocks,
        Mutant::DropsLockEarly,
        Mutant::JudgesUnseen,
    ];
}

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ON: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// Whether this fault is on in this thread.
    pub(in crate::run) fn is_on(mutant: Mutant) -> bool {
        ON.get() == Some(mutant)
    }

    /// Runs `body` with one fault on, in this thread; off again afterwards, also when it panics.
    pub fn with<T>(mutant: Mutant, body: impl FnOnce() -> T) -> T {
        struct Off;
        impl Drop for Off {
            fn drop(&mut self) {
                ON.set(None);
            }
        }
        let _off = Off;
        ON.set(Some(mutant));
        body()
    }
}

#[cfg(not(feature = "mutants"))]
mod switch {
    use super::Mutant;

    #[inline(always)]
    pub(in crate::run) fn is_on(_: Mutant) -> bool {
        false
    }
}

pub(in crate::run) use switch::is_on;
#[cfg(feature = "mutants")]
pub use switch::with;
