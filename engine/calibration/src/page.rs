//! The page that says how good judgements are, written by the command that measures it.

use std::fmt::Write as _;

use crate::corpus::{Class, HELD_BACK, OPEN};
use crate::figures::{ENTRANTS, Figures, median};

/// The command that writes it.
pub const COMMAND: &str = "cargo run --release -p meridian-calibration -- table > docs/judging.md";

/// The whole page.
pub fn render() -> String {
    let open: Vec<Figures> = ENTRANTS.iter().map(|entrant| Figures::of(entrant, OPEN)).collect();
    let held_back: Vec<Figures> = ENTRANTS.iter().map(|entrant| Figures::of(entrant, HELD_BACK)).collect();
    let mut page = String::new();
    page.push_str(&START.replace("COMMAND", COMMAND));
    let _ = writeln!(
        page,
        "\n## The figures\n\nOn {} rollouts of seeds that nobody looked at before the rules were final:\n",
        HELD_BACK.end - HELD_BACK.start
    );
    summary(&mut page, &held_back);
    let _ = writeln!(
        page,
        "\nOn the {} rollouts on which Meridian's thresholds were tuned:\n",
        OPEN.end - OPEN.start
    );
    summary(&mut page, &open);
    page.push_str(READING);
    page.push_str("\n## By class\n\nSeeds held back: how many were stopped (rolled back + held), and the median of requests exposed.\n");
    by_class(&mut page, &held_back, true);
    by_class(&mut page, &held_back, false);
    page.push_str("\n## The settings\n\n");
    for entrant in &ENTRANTS {
        let _ = writeln!(page, "- **{}**: {}.", entrant.name, entrant.settings);
    }
    page.push_str(END);
    page
}

fn summary(page: &mut String, figures: &[Figures]) {
    page.push_str(
        "| judge | recall | precision | missed | of these crash, error step | false roll-backs | false holds | median exposed | mean exposed |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for (entrant, figures) in ENTRANTS.iter().zip(figures) {
        let gross = [Class::Crash, Class::ErrorStep].map(|class| figures.classes[&class].promoted.len());
        let _ = writeln!(
            page,
            "| {} | {:.1} % | {:.1} % | {} | {} | {} of {} | {} | {} | {} |",
            entrant.name,
            100.0 * figures.recall(),
            100.0 * figures.precision(),
            figures.missed(),
            gross.iter().sum::<usize>(),
            figures.false_rollbacks(),
            figures.good(),
            figures.false_holds(),
            figures.median_exposed(),
            figures.mean_exposed()
        );
    }
}

fn by_class(page: &mut String, figures: &[Figures], is_bad: bool) {
    let names: Vec<&str> = ENTRANTS.iter().map(|entrant| entrant.name).collect();
    let _ = writeln!(
        page,
        "\n| {} | cases | {} |\n| --- | ---: |{}",
        if is_bad { "bad" } else { "good" },
        names.join(" | "),
        " ---: |".repeat(names.len())
    );
    for class in Class::ALL.into_iter().filter(|class| class.is_bad() == is_bad) {
        let _ = write!(page, "| {} | {} |", class.name(), figures[0].classes[&class].cases());
        for figures in figures {
            let tally = &figures.classes[&class];
            let (back, held) = (tally.rolled_back.len(), tally.held.len());
            let stopped = if held > 0 {
                format!("{back} + {held}")
            } else {
                back.to_string()
            };
            if is_bad {
                let _ = write!(page, " {stopped} ({}) |", median(tally.exposed.clone()));
            } else {
                let _ = write!(page, " {stopped} |");
            }
        }
        page.push('\n');
    }
}

const START: &str = "# How good judgements are

You want to know how often a gate stops a bad release, how often it stops a good one, and how many requests are hurt before it
does. This page is written by a command, which you may run yourself:

```console
$ COMMAND
```

A corpus of simulated rollouts (`engine/calibration/src/corpus/`) was written and frozen before any threshold was chosen on it. Each
rollout has one to four regions, a ladder of shares (such as 1, 5, 25, 50, 100 %), bakes of 60 to 90 minutes a stage and a tick of
30 or 60 seconds; each tick has counts of requests, errors and latencies of both versions, by kind of request, and gauges of memory
and processor. Sixteen classes are equally frequent; half of them are bad. Every judge meets the same rollouts, the same ladders and the
same luck.

- **Bad** must not reach full promotion: crash, error step (three to twenty times the errors), a slow tail alone, a slow leak (0.5 to
  5 MiB a minute), harm in one region or to one tenant only, five minutes good and five bad, and silence.
- **Good** is everything else, also where requests fail: a dependency that hurts both versions alike, a fault that was there
  before, traffic that goes away, noise that remembers, low traffic, a daily ramp, and a mix of requests that makes equal versions look
  different.

*Stopped* is whatever does not reach full promotion: rolled back, or held until four times the longest bake is over and a person must
decide. Recall is the part of bad rollouts that is stopped, precision the part of stopped rollouts that is bad; a healthy rollout that is held
to the end counts against precision. *Exposed* are requests that a bad version served while it did harm, until it was stopped.
";

const READING: &str = "
How to read it:

- Others' thresholds can be set loose or strict, and each is shown both ways. Meridian has better recall, precision and median than each of them
  but one: Flagger with a threshold of 1 exposes fewer requests in the middle, by stopping four of five healthy rollouts (a judge that
  rolls back at the first look exposes none at all). At that price Meridian exposes fewer as well, misses nothing and stops fewer healthy ones:
  that is *hasty*. Its thresholds of one minute measure the candidate against the baseline and not against a number alone.
- Zero missed is a figure of this corpus. Its harms are at least 0.3 % more errors (1 % at a few requests a second), and Meridian lets pass only
  what it has shown to add less than 0.25 %: the same people wrote both, in this order, knowing what evidence such traffic can give. Of
  smaller harms, every judge misses more.
- What Meridian stops though it is good, it mostly holds: low traffic, small kinds of request, or memory that wanders so slowly that
  a leak cannot be ruled out in time. A person then looks at it; nobody is rolled back by a lack of evidence.
- Without labels that tell kinds of request apart, no rule can tell a shifted mix from a worse version.
";

const END: &str = "
## What is simplified

- Meridian is the gates of `engine/calibration/workflow.yaml`, read by the language and judged by the engine's judge; what a run adds to that (gates
  are read every so often, `for`, the worst acts) is small and written again for speed. Boundaries of slow requests are set for each service, as
  its author would: beyond which 5 % and 1 % of the last hour's requests lay, of every kind.
- Flagger and Argo watch fixed objectives. Healthy services of the corpus mostly meet them (errors at most 0.5 % on average, P99 below 400 ms);
  in the classes of noise and of a shifted mix some exceed 1 % of errors for a time or altogether, and are stopped for it.
- Flagger's weights are repeated once a minute so that it bakes as long as everybody. Argo's analysis runs in the background beside
  `setWeight` and `pause`, its first measurement after one interval. Kayenta gets a baseline of the candidate's size (the stable version's counts,
  thinned), minutes as points, and leaves out the first ten minutes of a stage. A marginal score at the end of a stage rolls back.
- Peers query all requests together, as their documentation's queries do. Metrics by kind of request can be written for each of them;
  the row of Meridian without labels is the fair one to compare with where they are not.
- One fault at a time, no gaps in telemetry, and splits of traffic that are exact.
- Classes are equally frequent here. In service far fewer releases are bad, and precision is lower for every judge.
- The sources of peers' semantics are their code and documentation: argo-rollouts `analysis/analysis.go`, `utils/evaluate`; flagger
  `pkg/controller/scheduler.go`; spinnaker/kayenta at a69573be.

The statistics themselves are checked by simulation as well: `cargo run --release -p meridian-calibration -- replicate`.
";
