//! CAL-13: what is true of every kind of request may look the other way round for all together.

use super::{Cell, Effort, Wanted, part};
use crate::corpus::{Case, Class};
use crate::judges::meridian::Meridian;
use crate::rollout::{End, run};

/// Both traps: equal arms whose mix makes them look different, and a candidate that is worse for every kind but gets the easy requests.
pub fn traps(effort: Effort) -> Vec<Cell> {
    let cases = effort.of(12, 300);
    let end = |is_stratified: bool, case: &Case| {
        let mut judge = if is_stratified {
            Meridian::by_kind()
        } else {
            Meridian::all_together()
        };
        run(case, &mut judge).end
    };
    let rolled_back = |is_stratified: bool, case: &Case| end(is_stratified, case) == End::RolledBack;
    let promoted = |is_stratified: bool, case: &Case| end(is_stratified, case) == End::Promoted;
    let seeds: Vec<u64> = (0..)
        .filter(|seed| Class::of(*seed) == Class::MixShift)
        .take(cases as usize)
        .collect();
    let shifted = |of: u64| Case::new(seeds[of as usize]);
    let hidden = |of: u64| hidden(Case::new(seeds[of as usize]));
    vec![
        cell(
            "equal arms, another mix: rolled back by kind",
            part(cases, |of| rolled_back(true, &shifted(of))),
            Wanted::AtMost(0.01),
            cases,
        ),
        cell(
            "the same by all together, which errs",
            part(cases, |of| rolled_back(false, &shifted(of))),
            Wanted::AtLeast(0.4),
            cases,
        ),
        cell(
            "worse for every kind, easier mix: promoted by kind",
            part(cases, |of| promoted(true, &hidden(of))),
            Wanted::AtMost(0.01),
            cases,
        ),
        cell(
            "the same by all together, which errs",
            part(cases, |of| promoted(false, &hidden(of))),
            Wanted::AtLeast(0.2),
            cases,
        ),
    ]
}

/// Twice as many errors of every kind, and so few of the hard requests that all together look the same.
fn hidden(mut case: Case) -> Case {
    use crate::corpus::{Fault, Rate};
    case.fault = Fault::Errors {
        rate: Rate::Times {
            ratio: 2.0,
            more_min: 0.0,
        },
        onset: 0,
        region: None,
        stratum: None,
        half: None,
    };
    let [light, heavy] = [0, 1].map(|at| case.service.strata[at]);
    // weight_h' · e_h + (1 − weight_h') · e_l is half of what the baseline's mix has.
    let all = light.weight * light.error_rate + heavy.weight * heavy.error_rate;
    let part = ((all / 2.0 - light.error_rate) / (heavy.error_rate - light.error_rate)).clamp(0.02, 0.5);
    case.service.strata[0].candidate_weight = 1.0 - part;
    case.service.strata[1].candidate_weight = part;
    case
}

fn cell(what: &str, found: f64, wanted: Wanted, replications: u64) -> Cell {
    Cell {
        of: "CAL-13",
        what: what.to_owned(),
        found,
        wanted,
        replications,
    }
}

#[cfg(test)]
mod tests {
    use crate::replication::{Effort, assert_all_hold};

    #[test]
    fn kinds_of_request_are_judged_each_by_itself() {
        assert_all_hold(&super::traps(Effort::Small));
    }
}
