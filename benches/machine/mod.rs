//! What else the machine did while something was measured: a figure without it means little on a shared machine.

use std::time::{Duration, Instant};

/// Looks at the machine's and this process's processor time, to tell them apart afterwards.
pub struct Watch {
    began: Instant,
    machine: Option<f64>,
    own: Option<f64>,
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub elapsed: Duration,
    /// Cores that other processes used, on average.
    pub foreign_cpu: Option<f64>,
    /// Cores that this process used, on average.
    pub own_cpu: Option<f64>,
}

impl Watch {
    pub fn start() -> Watch {
        Watch {
            machine: machine_seconds(),
            own: own_seconds(),
            began: Instant::now(),
        }
    }

    pub fn stop(&self) -> Seen {
        let elapsed = self.began.elapsed();
        let own = own_seconds().zip(self.own).map(|(now, then)| now - then);
        let machine = machine_seconds().zip(self.machine).map(|(now, then)| now - then);
        let cores = |seconds: f64| (seconds.max(0.0) / elapsed.as_secs_f64() * 100.0).round() / 100.0;
        Seen {
            elapsed,
            foreign_cpu: machine.zip(own).map(|(machine, own)| cores(machine - own)),
            own_cpu: own.map(cores),
        }
    }
}

/// The kernel counts in hundredths of a second on every Linux that matters.
const TICKS: f64 = 100.0;

/// Busy seconds of all cores since the machine started.
fn machine_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<f64> = text
        .lines()
        .next()?
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user, nice, system, (idle, iowait), irq, softirq, steal
    let busy = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|index| fields.get(*index))
        .sum::<f64>();
    Some(busy / TICKS)
}

/// Busy seconds of this process.
fn own_seconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold spaces; what follows its bracket does not.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let (user, system): (f64, f64) = (fields.get(11)?.parse().ok()?, fields.get(12)?.parse().ok()?);
    Some((user + system) / TICKS)
}

/// The one-minute load average.
pub fn load_average() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg")
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Memory of this process that is in use now, in bytes.
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1_024)
}
