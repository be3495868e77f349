//! Counts of errors: the test that may be looked at after every single one, and what small numbers can prove.

use statrs::distribution::{Beta, ContinuousCDF};
use statrs::function::factorial::ln_binomial;
use statrs::function::gamma::ln_gamma;

/// A sequential multinomial test: events arrive, and under the null hypothesis each falls into arm `i` with the probability that the arm's
/// share of traffic says. It may be looked at any number of times: the chance of ever rejecting a true null hypothesis at `alpha` is at
/// most `alpha`.
///
/// *Source*: M. Lindon, A. Malek, "Anytime-Valid Inference for Multinomial Count Data" (arXiv 2011.03567).
#[derive(Clone, Debug, PartialEq)]
pub struct SequentialCounts {
    /// The expected share of each arm; they add up to 1.
    shares: Vec<f64>,
    /// The Dirichlet prior: how strongly the expected shares are believed before the first event.
    prior: Vec<f64>,
}

impl SequentialCounts {
    /// A test whose prior is centred on the expected shares with this weight; 10 to 30 finds gross failures soonest, 100 small ones.
    ///
    /// None unless there are two or more shares, each above 0 and all together 1.
    pub fn new(shares: &[f64], weight: f64) -> Option<SequentialCounts> {
        let total: f64 = shares.iter().sum();
        let is_sound = shares.len() > 1 && shares.iter().all(|share| *share > 0.0) && (total - 1.0).abs() < 1e-9;
        (is_sound && weight > 0.0 && weight.is_finite()).then(|| SequentialCounts {
            shares: shares.to_vec(),
            prior: shares.iter().map(|share| share * weight).collect(),
        })
    }

    /// The same with a prior of its own, one positive number an arm.
    pub fn with_prior(self, prior: &[f64]) -> Option<SequentialCounts> {
        let is_sound =
            prior.len() == self.shares.len() && prior.iter().all(|weight| *weight > 0.0 && weight.is_finite());
        is_sound.then(|| SequentialCounts {
            prior: prior.to_vec(),
            ..self
        })
    }

    /// The p-value of these counts at this look; the smallest over all looks is the sequential p-value. None where the counts are not one an
    /// arm, or one is negative or not finite.
    pub fn p_value(&self, counts: &[f64]) -> Option<f64> {
        self.evidence(counts).map(|evidence| (-evidence).exp().min(1.0))
    }

    /// The logarithm of the Bayes factor against the null hypothesis. That of independent streams of events (kinds of request, regions, stages)
    /// adds up, and `exp` of minus the sum is a p-value of all of them together, each with its own shares.
    pub fn evidence(&self, counts: &[f64]) -> Option<f64> {
        if counts.len() != self.shares.len() || counts.iter().any(|count| !count.is_finite() || *count < 0.0) {
            return None;
        }
        let posterior: Vec<f64> = self
            .prior
            .iter()
            .zip(counts)
            .map(|(prior, count)| prior + count)
            .collect();
        let expected: f64 = counts
            .iter()
            .zip(&self.shares)
            .map(|(count, share)| count * share.ln())
            .sum();
        Some(ln_beta(&posterior) - ln_beta(&self.prior) - expected)
    }
}

/// The logarithm of the multivariate beta function.
fn ln_beta(of: &[f64]) -> f64 {
    of.iter().map(|alpha| ln_gamma(*alpha)).sum::<f64>() - ln_gamma(of.iter().sum())
}

/// The probability of at least so many errors in the first arm, given the errors of both: Fisher's exact test, one-sided.
///
/// None where there are more errors than trials.
pub fn fisher_greater(errors: u64, of: u64, baseline_errors: u64, of_baseline: u64) -> Option<f64> {
    if errors > of || baseline_errors > of_baseline {
        return None;
    }
    let (all, wrong) = (of.checked_add(of_baseline)?, errors + baseline_errors);
    let ways = ln_binomial(all, wrong);
    let most = wrong.min(of);
    let tail = (errors..=most)
        .filter(|here| wrong - here <= of_baseline)
        .map(|here| (ln_binomial(of, here) + ln_binomial(of_baseline, wrong - here) - ways).exp())
        .sum::<f64>();
    Some(tail.min(1.0))
}

/// The largest error rate that so many errors in so many requests do not rule out at the one-sided level `alpha` (Clopper and Pearson 1934).
///
/// 1 where nothing was seen: no request proves nothing.
pub fn rate_at_most(errors: u64, of: u64, alpha: f64) -> Option<f64> {
    if errors > of || !(alpha > 0.0 && alpha < 1.0) {
        return None;
    }
    if errors == of {
        return Some(1.0);
    }
    if errors == 0 {
        return Some(1.0 - alpha.powf(1.0 / of as f64));
    }
    let beta = Beta::new(errors as f64 + 1.0, (of - errors) as f64).ok()?;
    Some(beta.inverse_cdf(1.0 - alpha))
}

/// The smallest error rate that so many errors in so many requests do not rule out at the one-sided level `alpha`.
pub fn rate_at_least(errors: u64, of: u64, alpha: f64) -> Option<f64> {
    rate_at_most(of.checked_sub(errors)?, of, alpha).map(|rate| 1.0 - rate)
}

/// The rates of bad requests that so many bad ones do not rule out, at any of all looks together: outside of these the chance is `alpha`.
///
/// Counts need not be whole: telemetry extrapolates them. None where there are more bad requests than requests, or a number is none.
/// *Guarantees*: of no requests nothing is ruled out. *Source*: H. Robbins, Annals of Mathematical Statistics 41 (1970): a mixture of
/// likelihood ratios is a martingale; the mixture here is a beta distribution around rare events.
pub fn rate_between(bad: f64, total: f64, alpha: f64) -> Option<(f64, f64)> {
    let is_sound = bad.is_finite() && total.is_finite() && bad >= 0.0 && bad <= total && alpha > 0.0 && alpha < 1.0;
    if !is_sound {
        return None;
    }
    let counts = [bad, total - bad];
    let mixed = ln_beta(&[RARE[0] + counts[0], RARE[1] + counts[1]]) - ln_beta(&RARE);
    let term = |count: f64, rate: f64| if count > 0.0 { count * rate.ln() } else { 0.0 };
    let is_ruled_out = |rate: f64| mixed - term(counts[0], rate) - term(counts[1], 1.0 - rate) >= -alpha.ln();
    let found = if total > 0.0 { bad / total } else { 0.5 };
    // The evidence against a rate grows away from the one that was found.
    let edge = |mut inside: f64, mut outside: f64| {
        if !is_ruled_out(outside) {
            return outside;
        }
        for _ in 0..100 {
            let middle = f64::midpoint(inside, outside);
            if is_ruled_out(middle) {
                outside = middle;
            } else {
                inside = middle;
            }
        }
        outside
    };
    Some((edge(found, 0.0), edge(found, 1.0)))
}

/// Half an event and ten others: bad requests are rare before anything is known.
const RARE: [f64; 2] = [0.5, 10.0];

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::{SequentialCounts, fisher_greater, rate_at_least, rate_at_most, rate_between};
    use crate::run::statistics::close;

    #[test]
    fn known_counts_have_their_known_p_values() {
        let even = SequentialCounts::new(&[0.5, 0.5], 100.0).unwrap();
        let tenth = SequentialCounts::new(&[0.1, 0.9], 100.0).unwrap();
        for (test, counts, wanted) in [
            (&even, [10.0, 10.0], 1.0),
            (&even, [60.0, 40.0], 0.517_424_42),
            (&even, [120.0, 80.0], 0.118_523_88),
            (&even, [70.0, 30.0], 0.024_729_471),
            (&even, [200.0, 100.0], 6.325_764_7e-6),
            (&tenth, [30.0, 100.0], 0.005_533_973_9),
        ] {
            let found = test.p_value(&counts).unwrap();
            assert!(close(found, wanted), "{counts:?}: {found} is not {wanted}");
        }
        let flat = SequentialCounts::new(&[0.5, 0.5], 1.0)
            .unwrap()
            .with_prior(&[1.0, 1.0])
            .unwrap();
        assert!(close(flat.p_value(&[9.0, 1.0]).unwrap(), 0.107_421_88));
        assert!(close(flat.p_value(&[20.0, 4.0]).unwrap(), 0.015_833_974));
        let launch = SequentialCounts::new(&[243.0 / 493.0, 250.0 / 493.0], 1.0)
            .unwrap()
            .with_prior(&[1.0, 1.0]);
        assert!(close(launch.unwrap().p_value(&[13.0, 0.0]).unwrap(), 0.001_419_056_4));
    }

    #[test]
    fn what_makes_no_test_gives_none() {
        assert_eq!(SequentialCounts::new(&[1.0], 20.0), None);
        assert_eq!(SequentialCounts::new(&[0.0, 1.0], 20.0), None);
        assert_eq!(SequentialCounts::new(&[0.4, 0.4], 20.0), None);
        assert_eq!(SequentialCounts::new(&[f64::NAN, 0.5], 20.0), None);
        let test = SequentialCounts::new(&[0.5, 0.5], 20.0).unwrap();
        assert_eq!(test.p_value(&[-1.0, 2.0]), None);
        assert_eq!(test.p_value(&[f64::NAN, 2.0]), None);
        assert_eq!(test.p_value(&[1.0]), None);
        assert_eq!(test.p_value(&[0.0, 0.0]), Some(1.0));
        assert_eq!((test.evidence(&[0.0, 0.0]), test.evidence(&[1.0])), (Some(0.0), None));
    }

    #[test]
    fn fisher_agrees_with_the_known_tables() {
        for ((errors, of, baseline, of_baseline), wanted) in [
            ((13, 243, 0, 250), 8.576_6e-5),
            ((5, 1_000, 1, 1_000), 0.109_023_09),
            ((10, 1_000, 10, 1_000), 0.588_542_24),
            ((3, 100, 0, 100), 0.123_115_58),
            ((20, 2_000, 10, 20_000), 1.671_271_5e-14),
        ] {
            let found = fisher_greater(errors, of, baseline, of_baseline).unwrap();
            assert!(
                (found / wanted - 1.0).abs() < 1e-5,
                "{errors}/{of}: {found} is not {wanted}"
            );
        }
        assert_eq!(fisher_greater(2, 1, 0, 1), None);
    }

    #[test]
    fn a_clean_hundred_proves_no_service_level() {
        for (of, wanted) in [
            (10, 0.259),
            (30, 0.095),
            (100, 0.0295),
            (1_000, 0.002_99),
            (10_000, 0.000_30),
        ] {
            let found = rate_at_most(0, of, 0.05).unwrap();
            assert!((found / wanted - 1.0).abs() < 0.01, "{of}: {found}");
        }
        assert_eq!(rate_at_most(0, 0, 0.05), Some(1.0));
        assert!(rate_at_least(10, 1_000, 0.01).unwrap() < 0.01 && rate_at_most(10, 1_000, 0.01).unwrap() > 0.01);
        assert_eq!(rate_at_least(0, 100, 0.01), Some(0.0));
    }

    /// One row of the table of statistics "how many errors until we know": the median of all errors seen at detection.
    fn median_errors(share: f64, risk_ratio: f64, weight: f64, runs: u64) -> f64 {
        let test = SequentialCounts::new(&[share, 1.0 - share], weight).unwrap();
        let in_canary = share * risk_ratio / (share * risk_ratio + 1.0 - share);
        let mut seen: Vec<f64> = (0..runs)
            .map(|seed| {
                let mut random = StdRng::seed_from_u64(seed);
                let mut counts = [0.0, 0.0];
                (1..=4_000)
                    .find(|_| {
                        let arm = usize::from(random.random::<f64>() >= in_canary);
                        counts[arm] += 1.0;
                        counts[0] > share * (counts[0] + counts[1]) && test.p_value(&counts).unwrap() <= 0.01
                    })
                    .map_or(f64::INFINITY, f64::from)
            })
            .collect();
        seen.sort_by(f64::total_cmp);
        seen[seen.len() / 2]
    }

    #[test]
    fn errors_until_detection_are_what_the_table_says() {
        for (share, risk_ratio, weight, wanted) in [
            (0.1, 5.0, 100.0, 50.0),
            (0.5, 10.0, 100.0, 45.0),
            (0.1, 5.0, 10.0, 29.0),
        ] {
            let found = median_errors(share, risk_ratio, weight, 400);
            assert!(
                (found / wanted - 1.0).abs() <= 0.1,
                "f {share}, RR {risk_ratio}: {found} is not {wanted}"
            );
        }
    }

    #[test]
    fn a_rate_is_between_bounds_that_hold_at_every_look() {
        let (low, high) = rate_between(0.0, 1_000.0, 0.05).unwrap();
        assert_eq!(low, 0.0);
        assert!((0.002..0.01).contains(&high), "{high}");
        let (low, high) = rate_between(100.0, 10_000.0, 0.05).unwrap();
        assert!(
            low > 0.006 && low < 0.01 && high > 0.01 && high < 0.0145,
            "{low} {high}"
        );
        assert_eq!(rate_between(0.0, 0.0, 0.05), Some((0.0, 1.0)));
        assert_eq!(rate_between(2.0, 1.0, 0.05), None);
        assert_eq!(rate_between(f64::NAN, 1.0, 0.05), None);
        // Looked at after every request, the true rate is lost in fewer runs than alpha says.
        let mut lost = 0;
        for seed in 0..300 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut bad = 0.0;
            for total in 1..=2_000 {
                bad += f64::from(u8::from(rng.random_bool(0.02)));
                if total % 20 == 0 {
                    let (low, high) = rate_between(bad, f64::from(total), 0.1).unwrap();
                    if low > 0.02 || high < 0.02 {
                        lost += 1;
                        break;
                    }
                }
            }
        }
        assert!(lost <= 300 / 10 + 16, "{lost} of 300");
    }
}
