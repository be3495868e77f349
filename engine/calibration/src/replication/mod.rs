//! The acceptance tests of the statistics, as simulations: small ones run as tests, full ones print a table.
//!
//! Every figure is compared with an allowance for chance: three standard errors above a level that must not be exceeded, four around a value that
//! another simulation has found.

pub mod gauges;
pub mod harm;
pub mod levels;
pub mod looks;
pub mod mix;
pub mod speed;

/// One figure and what it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// The acceptance test.
    pub of: &'static str,
    pub what: String,
    pub found: f64,
    pub wanted: Wanted,
    pub replications: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    /// A probability of at most this.
    AtMost(f64),
    /// A probability of at least this.
    AtLeast(f64),
    /// The probability that so many replications of somebody else have found, told to three digits.
    Like { value: f64, replications: u64 },
    /// Within this part of the value.
    Within { value: f64, part: f64 },
}

/// Half of the last digit of a known probability.
const ROUNDING: f64 = 0.000_5;

impl Cell {
    /// The error that chance alone explains.
    fn allowance(&self) -> f64 {
        let spread = |p: f64, replications: u64| (p * (1.0 - p)).max(0.000_25) / replications as f64;
        match self.wanted {
            Wanted::AtMost(p) | Wanted::AtLeast(p) => 3.0 * spread(p, self.replications).sqrt(),
            Wanted::Like { value, replications } => {
                ROUNDING + 4.0 * (spread(value, self.replications) + spread(value, replications)).sqrt()
            }
            Wanted::Within { value, part } => value * part,
        }
    }

    pub fn holds(&self) -> bool {
        match self.wanted {
            Wanted::AtMost(p) => self.found <= p + self.allowance(),
            Wanted::AtLeast(p) => self.found >= p - self.allowance(),
            Wanted::Like { value, .. } | Wanted::Within { value, .. } => (self.found - value).abs() <= self.allowance(),
        }
    }

    /// What it is compared with, for people.
    pub fn bound(&self) -> String {
        let allowance = self.allowance();
        match self.wanted {
            Wanted::AtMost(p) => format!("≤ {p} (+ {allowance:.4})"),
            Wanted::AtLeast(p) => format!("≥ {p} (− {allowance:.4})"),
            Wanted::Like { value, .. } => format!("{value} ± {allowance:.4}"),
            Wanted::Within { value, .. } => format!("{value} ± {allowance:.1}"),
        }
    }
}

/// How much of everything is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Seconds, for a test.
    Small,
    /// Minutes, for the printed table.
    Full,
}

impl Effort {
    pub(crate) fn of(self, small: u64, full: u64) -> u64 {
        match self {
            Effort::Small => small,
            Effort::Full => full,
        }
    }
}

/// Everything, in the order of the acceptance tests.
pub fn all(effort: Effort) -> Vec<Cell> {
    [
        levels::counts(effort),
        levels::means(effort),
        gauges::levels(effort),
        speed::errors_until_detection(effort),
        looks::table(effort),
        gauges::leaks(effort),
        harm::passes(effort),
        mix::traps(effort),
    ]
    .concat()
}

/// How often something is true, as a part of all replications.
pub(crate) fn part(replications: u64, mut is_so: impl FnMut(u64) -> bool) -> f64 {
    (0..replications).filter(|replication| is_so(*replication)).count() as f64 / replications as f64
}

/// *Panics* with every figure that is off, for tests.
#[cfg(test)]
fn assert_all_hold(cells: &[Cell]) {
    assert!(!cells.is_empty());
    for cell in cells {
        println!("{} {}: {} ({})", cell.of, cell.what, cell.found, cell.bound());
    }
    let off: Vec<String> = cells
        .iter()
        .filter(|cell| !cell.holds())
        .map(|cell| format!("{} {}: {} is not {}", cell.of, cell.what, cell.found, cell.bound()))
        .collect();
    assert_eq!(off, [""; 0]);
}
