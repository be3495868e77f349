//! A suite that cannot fail proves nothing: every fault that the core can switch on is caught by a few seeds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use meridian_engine::run::mutant::{Mutant, with};

use crate::seeds::seed;

/// A fault that this many seeds do not show is not caught.
const SEEDS: u64 = 400;

/// What catches a fault first.
fn killer(mutant: Mutant) -> Option<String> {
    (0..SEEDS).find_map(|one| {
        let caught = catch_unwind(AssertUnwindSafe(|| with(mutant, || seed(one, false))));
        match caught {
            Ok(Ok(_)) => None,
            Ok(Err(what)) => Some(what.lines().next().unwrap_or_default().to_owned()),
            Err(_) => Some(format!("seed {one}: the core panics")),
        }
    })
}

#[test]
fn every_fault_of_the_core_is_caught() {
    let mut survivors = Vec::new();
    for mutant in Mutant::ALL {
        match killer(mutant) {
            Some(killer) => println!("{mutant:?}: {killer}"),
            None => survivors.push(mutant),
        }
    }
    assert!(survivors.is_empty(), "nothing catches {survivors:?}");
}
