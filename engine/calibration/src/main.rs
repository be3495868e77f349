//! The figures of calibration: the page about judging, the replications, and single cases to look into.

use std::process::ExitCode;

use meridian_calibration::corpus::{Case, OPEN};
use meridian_calibration::figures::{ENTRANTS, Entrant, Figures, median};
use meridian_calibration::judges::meridian::Meridian;
use meridian_calibration::page;
use meridian_calibration::replication::{self, Effort};
use meridian_calibration::rollout::run;

const USAGE: &str = "usage: meridian-calibration table         the page docs/judging.md
       meridian-calibration replicate     the acceptance tests of the statistics, in full
       meridian-calibration judge NAME    what one judge makes of the open seeds, by class
       meridian-calibration case SEED     one case, and what every judge makes of it";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["table"] => print!("{}", page::render()),
        ["replicate"] => return replicate(),
        ["judge", name] => match ENTRANTS.iter().find(|entrant| entrant.name == *name) {
            Some(entrant) => judge(entrant),
            None => {
                let names: Vec<&str> = ENTRANTS.iter().map(|entrant| entrant.name).collect();
                eprintln!("there is no judge `{name}`; there are: {}", names.join("; "));
                return ExitCode::from(2);
            }
        },
        ["case", seed] => match seed.parse() {
            Ok(seed) => case(seed),
            Err(_) => {
                eprintln!("`{seed}` is no seed: a whole number was expected");
                return ExitCode::from(2);
            }
        },
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn replicate() -> ExitCode {
    let cells = replication::all(Effort::Full);
    println!("| test | figure | found | wanted | replications | |\n| --- | --- | ---: | ---: | ---: | --- |");
    for cell in &cells {
        println!(
            "| {} | {} | {:.4} | {} | {} | {} |",
            cell.of,
            cell.what,
            cell.found,
            cell.bound(),
            cell.replications,
            if cell.holds() { "holds" } else { "OFF" }
        );
    }
    let off = cells.iter().filter(|cell| !cell.holds()).count();
    println!("\n{} of {} hold.", cells.len() - off, cells.len());
    if off == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn judge(entrant: &Entrant) {
    let figures = Figures::of(entrant, OPEN);
    println!(
        "recall {:.4}, precision {:.4}, median exposed {}",
        figures.recall(),
        figures.precision(),
        figures.median_exposed()
    );
    for (class, tally) in &figures.classes {
        let wrong = if class.is_bad() {
            tally.promoted.clone()
        } else {
            [&tally.rolled_back[..], &tally.held[..]].concat()
        };
        println!(
            "{:20} promoted {:3}, rolled back {:3}, held {:3}, median exposed {:8}, median ticks {:4}, wrong {wrong:?}",
            class.name(),
            tally.promoted.len(),
            tally.rolled_back.len(),
            tally.held.len(),
            median(tally.exposed.clone()),
            median(tally.ticks.clone()),
        );
    }
}

fn case(seed: u64) {
    let case = Case::new(seed);
    println!("{case:#?}");
    for entrant in &ENTRANTS {
        println!("{:20} {:?}", entrant.name, run(&case, (entrant.judge)().as_mut()));
    }
    let mut meridian = Meridian::by_kind();
    run(&case, &mut meridian);
    println!("what Meridian's gates said last:");
    for (gate, because) in meridian.says() {
        println!("  {gate:14} {because}");
    }
}
