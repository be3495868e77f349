//! A scenario's curve at an instant: a pure function of the curve, the time on its clock and the draw.

use meridian_workflows::duration::Duration;
use meridian_workflows::plan::RegionId;
use meridian_workflows::scenario::Curve;

/// Which number of a metric is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arm {
    Candidate,
    Baseline,
    /// How many samples stand behind the candidate's number.
    Samples,
}

/// Where a curve's chance comes from: equal draws give equal noise, in any order of asking.
#[derive(Clone, Copy, Debug)]
pub struct Draw<'a> {
    pub seed: u64,
    pub metric: &'a str,
    pub region: Option<RegionId>,
    pub arm: Arm,
}

/// The number `since` the curve's clock began; none: no data.
pub fn value(curve: &Curve, since: Duration, draw: Draw<'_>) -> Option<f64> {
    match curve {
        Curve::Constant(value) => *value,
        Curve::Ramp { from, by, per, until } => {
            let risen = from + by * (since.as_millis() as f64 / per.as_millis().max(1) as f64);
            Some(match until {
                Some(until) if *by >= 0.0 => risen.min(*until),
                Some(until) => risen.max(*until),
                None => risen,
            })
        }
        Curve::Step { from, to, after } => Some(if since < *after { *from } else { *to }),
        Curve::Noise { around, spread } => {
            let second = since.as_millis() / 1_000;
            let strayed = value(around, since, draw)? + spread * draw.at(second);
            // Nothing that is measured here is below nothing.
            Some(if strayed < 0.0 { 0.0 } else { strayed })
        }
        Curve::Gap { around, after, lasting } => {
            let is_open = since >= *after && since < after.saturating_add(*lasting);
            if is_open { None } else { value(around, since, draw) }
        }
        Curve::Flapping { between, and, every } => {
            let turn = since.as_millis() / every.as_millis().max(1);
            Some(if turn.is_multiple_of(2) { *between } else { *and })
        }
        Curve::Pieces(pieces) => {
            let (begins, piece) = pieces.iter().rev().find(|(begins, _)| *begins <= since)?;
            value(piece, since.saturating_sub(*begins), draw)
        }
    }
}

impl Draw<'_> {
    /// Between -1 and 1, another one every second.
    pub fn at(self, second: u64) -> f64 {
        let region = self.region.map_or(u64::MAX, |region| u64::from(region.0));
        let named = self.metric.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |mixed, byte| {
            (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mixed = [self.seed, named, region, self.arm as u64, second]
            .into_iter()
            .fold(0, |mixed, part| scattered(mixed ^ part));
        (mixed >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }
}

/// SplitMix64: neighbouring numbers come out far apart.
fn scattered(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use meridian_workflows::duration::Duration;
    use meridian_workflows::scenario::Curve;

    use super::{Arm, Draw, value};

    const DRAW: Draw<'_> = Draw {
        seed: 7,
        metric: "memory",
        region: None,
        arm: Arm::Candidate,
    };

    fn at(curve: &Curve, minutes: u64) -> Option<f64> {
        value(curve, Duration::from_secs(minutes * 60), DRAW)
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(minutes * 60)
    }

    #[test]
    fn a_ramp_changes_by_so_much_in_every_so_long_and_levels_off() {
        let ramp = |until| Curve::Ramp {
            from: 380.0,
            by: 50.0,
            per: minutes(15),
            until,
        };
        assert_eq!([at(&ramp(None), 0), at(&ramp(None), 30)], [Some(380.0), Some(480.0)]);
        assert_eq!(at(&ramp(Some(400.0)), 30), Some(400.0));
    }

    #[test]
    fn pieces_follow_one_another_each_on_a_clock_of_its_own() {
        let ramp = Curve::Ramp {
            from: 1.0,
            by: 1.0,
            per: minutes(1),
            until: None,
        };
        let gap = Curve::Constant(None);
        let pieces = Curve::Pieces(vec![
            (Duration::ZERO, Curve::Constant(Some(5.0))),
            (minutes(10), gap),
            (minutes(20), ramp),
        ]);
        assert_eq!(
            [at(&pieces, 9), at(&pieces, 10), at(&pieces, 20), at(&pieces, 23)],
            [Some(5.0), None, Some(1.0), Some(4.0)]
        );
    }

    #[test]
    fn steps_gaps_and_flapping_change_at_their_instants() {
        let step = Curve::Step {
            from: 1.0,
            to: 2.0,
            after: minutes(5),
        };
        assert_eq!([at(&step, 4), at(&step, 5)], [Some(1.0), Some(2.0)]);
        let gap = Curve::Gap {
            around: Box::new(step),
            after: minutes(6),
            lasting: minutes(2),
        };
        assert_eq!([at(&gap, 5), at(&gap, 6), at(&gap, 8)], [Some(2.0), None, Some(2.0)]);
        let flapping = Curve::Flapping {
            between: 1.0,
            and: 9.0,
            every: minutes(2),
        };
        assert_eq!(
            [at(&flapping, 1), at(&flapping, 2), at(&flapping, 4)],
            [Some(1.0), Some(9.0), Some(1.0)]
        );
    }

    #[test]
    fn noise_stays_in_its_spread_repeats_with_its_seed_and_differs_between_arms() {
        let noise = Curve::Noise {
            around: Box::new(Curve::Constant(Some(100.0))),
            spread: 10.0,
        };
        let of = |draw| {
            (0..500)
                .map(|minute| value(&noise, minutes(minute), draw).unwrap())
                .collect::<Vec<f64>>()
        };
        let first = of(DRAW);
        assert!(first.iter().all(|value| (90.0..=110.0).contains(value)));
        assert!(first.iter().any(|value| *value < 92.0) && first.iter().any(|value| *value > 108.0));
        assert_eq!(first, of(DRAW));
        let others = [
            Draw { seed: 8, ..DRAW },
            Draw { metric: "cpu", ..DRAW },
            Draw {
                arm: Arm::Baseline,
                ..DRAW
            },
        ];
        for other in others {
            assert_ne!(first, of(other));
        }
    }
}
