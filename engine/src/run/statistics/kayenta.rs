//! Kayenta's judge, `NetflixACAJudge-v1.0`: the labels and scores of its own test vectors, without what makes it depend on units and chance.
//!
//! Three differences, and what follows from each:
//!
//! - Kayenta finds the ends of its confidence interval with a root finder that stops at an absolute 1e-4, so that milliseconds and seconds of
//!   the same data get different labels. Here the end is not searched for: "the lower end lies above the dead zone" *is* "the test rejects a
//!   shift of the dead zone", and the test is asked that. Every label is the same from 1e-9 to 1e9.
//! - Where the shift of counts that are mostly zero is exactly 0, Kayenta decides by the numerical residue of that search (its own constants
//!   have a lower end above the upper one). Here the same question is put to the test at 0. Where the two disagree, Kayenta's answer is noise.
//! - Kayenta adds random noise where both sides are constant. Complete separation is what the noise comes to; here it is asked for by name.
//!
//! What is kept though it is weak: the dead zone is a quarter of the *estimate*, complete separation is enough however few values there are,
//! no evidence is a pass, and a group without data counts in full. Meridian's own gates do not use this judge to let anything pass.
//!
//! *Source*: spinnaker/kayenta at a69573be (2025-04-08), modules `kayenta-judge` and `kayenta-mannwhitney`.

mod classify;
mod effect;
mod preparation;
mod score;
#[cfg(test)]
mod tests;

pub use classify::{Classification, Criticality, Direction, JUDGE, Label, Metric, Settings, classify, shift_interval};
pub use effect::{EffectSize, Thresholds, cohens_d};
pub use preparation::{NanStrategy, OutlierStrategy, fences, outside_sigmas, percentile};
pub use score::{Grade, Group, Score, Scored, score};
