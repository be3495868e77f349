//! Chance that is the same for ever: a counter and a mixer of our own, so that no newer library can change a frozen corpus.

/// A stream of chance, named by the numbers it is made of.
#[derive(Clone, Debug)]
pub struct Chance(u64);

/// Above this mean a count is drawn from the normal distribution with the same mean and variance: the skew that is lost is below 0.15.
const LARGE: f64 = 50.0;

impl Chance {
    pub fn new(of: &[u64]) -> Chance {
        let mut chance = Chance(0x4d65_7269_6469_616e);
        for number in of {
            chance.0 = chance.0.rotate_left(23) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            chance.0 = chance.next();
        }
        chance
    }

    /// *Source*: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators" (2014).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Above 0 and below 1.
    pub fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in the logarithm: as likely between 1 and 10 as between 10 and 100.
    pub fn log_between(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.uniform() * count as f64) as usize
    }

    pub fn is(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// *Source*: G. Box, M. Muller, Annals of Mathematical Statistics 29 (1958).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    pub fn poisson(&mut self, mean: f64) -> u32 {
        if mean >= LARGE {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u32;
        }
        let (mut left, mut count) = (self.uniform(), 0);
        let mut here = (-mean).exp();
        while left > here && count < 1_000 {
            left -= here;
            count += 1;
            here *= mean / f64::from(count);
        }
        count
    }

    pub fn binomial(&mut self, of: u32, probability: f64) -> u32 {
        if probability > 0.5 {
            return of - self.binomial(of, 1.0 - probability);
        }
        let (n, mean) = (f64::from(of), f64::from(of) * probability);
        if mean >= LARGE {
            let spread = (mean * (1.0 - probability)).sqrt();
            return (mean + spread * self.normal()).round().clamp(0.0, n) as u32;
        }
        let odds = probability / (1.0 - probability);
        let (mut left, mut count) = (self.uniform(), 0);
        let mut here = (n * (-probability).ln_1p()).exp();
        while left > here && count < of {
            left -= here;
            here *= odds * f64::from(of - count) / f64::from(count + 1);
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    fn moments(draw: impl Fn(&mut Chance) -> f64) -> (f64, f64) {
        let mut chance = Chance::new(&[7]);
        let draws: Vec<f64> = (0..40_000).map(|_| draw(&mut chance)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        (mean, variance)
    }

    #[test]
    fn counts_have_their_mean_and_variance() {
        for mean in [0.05, 3.0, 45.0, 2_000.0] {
            let (found, variance) = moments(|chance| f64::from(chance.poisson(mean)));
            assert!((found - mean).abs() < 5.0 * (mean / 40_000.0).sqrt(), "{mean}: {found}");
            assert!((variance / mean - 1.0).abs() < 0.15, "{mean}: {variance}");
        }
        for (n, p) in [(20, 0.9), (4_000, 0.001), (900, 0.3), (100_000, 0.01)] {
            let (mean, spread) = (f64::from(n) * p, f64::from(n) * p * (1.0 - p));
            let (found, variance) = moments(|chance| f64::from(chance.binomial(n, p)));
            assert!(
                (found - mean).abs() < 5.0 * (spread / 40_000.0).sqrt(),
                "{n} {p}: {found}"
            );
            assert!((variance / spread - 1.0).abs() < 0.05, "{n} {p}: {variance}");
        }
        let (mean, variance) = moments(Chance::normal);
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.03);
    }

    #[test]
    fn the_same_name_is_the_same_chance() {
        let first = |of: &[u64]| Chance::new(of).uniform();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        assert_ne!(first(&[1, 2]), first(&[2, 1]));
    }
}
