//! Whether a side could take traffic: its instances, the checks of the settings, and what the platform's log says where it could not.

use std::time::Duration as Wait;

use azure_core::http::Url;
use jiff::Timestamp;
use serde_json::Value;

use crate::app_service::next::{Fitness, Whose};
use crate::app_service::settings::{Check, Place};
use crate::app_service::site::{Half, Site};
use crate::trouble::{Trouble, brief};
use crate::wire;

/// How long one check may take: less than what is left of a call after its reads.
const CHECK_TIMEOUT: Wait = Wait::from_secs(6);

/// How far back a line of the log may lie before the instant that matters, for clocks that differ.
const LOG_SLACK: i64 = 5;

/// How many instances a side has, and how many of them are ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Instances {
    pub(crate) all: u32,
    pub(crate) ready: u32,
    /// Instances of which the platform does not say either way, as it often does for apps on Windows.
    pub(crate) unknown: u32,
}

impl Instances {
    pub(crate) fn of(items: &[Value]) -> Instances {
        let mut instances = Instances::default();
        for item in items {
            instances.all = instances.all.saturating_add(1);
            match item
                .pointer("/properties/state")
                .and_then(Value::as_str)
                .unwrap_or("UNKNOWN")
            {
                "READY" => instances.ready += 1,
                "STOPPED" => {}
                _ => instances.unknown += 1,
            }
        }
        instances
    }
}

/// Whether a side is fit. `since` is the instant from which on lines of the log count.
///
/// The slot must pass every check; production is asked those that are paths, below its own host name.
pub(crate) async fn fitness(site: &Site, whose: Whose, half: &Half, since: Timestamp) -> Result<Fitness, Trouble> {
    let (name, host) = (site.about(whose), half.host());
    if let Some(why) = half.suspension() {
        return Ok(Fitness::Unfit {
            why: format!("{name} does not run: {why}"),
            is_certain: true,
        });
    }
    let instances = Instances::of(&site.instances(whose).await?);
    let unfit = match instances {
        Instances { all: 0, .. } => Some(format!(
            "{name} has no instance: the App Service plan has found no room for one"
        )),
        Instances { all, ready, unknown } if ready + unknown < all => {
            Some(format!("{name} has {ready} of {all} instances ready"))
        }
        _ => checked(site, whose, host, instances).await,
    };
    let Some(unfit) = unfit else {
        return Ok(Fitness::Fit);
    };
    // A log that cannot be had takes nothing away from what is known.
    let log = site.container_log(whose).await.unwrap_or_default();
    Ok(match cause(&log, since) {
        Some(cause) => Fitness::Unfit {
            why: format!("{unfit}: {cause}"),
            is_certain: true,
        },
        None => Fitness::Unfit {
            why: unfit,
            is_certain: false,
        },
    })
}

/// The first check that does not pass. Without checks, an instance of which nothing is known is asked as the platform would:
/// any answer counts.
async fn checked(site: &Site, whose: Whose, host: &str, instances: Instances) -> Option<String> {
    let is_asked = |check: &&Check| whose == Whose::Slot || matches!(check.place, Place::Path(_));
    let checks: Vec<&Check> = site.settings.checks.iter().filter(is_asked).collect();
    if checks.is_empty() && instances.unknown > 0 {
        let answered = status(&format!("https://{host}/")).await;
        return answered
            .err()
            .map(|why| format!("{} does not answer: {why}", site.about(whose)));
    }
    let asked = checks.into_iter().map(|check| async move {
        let url = match &check.place {
            Place::Path(path) => format!("https://{host}{path}"),
            Place::Url(url) => url.to_string(),
        };
        match status(&url).await {
            Ok(status) if check.statuses.contains(&status) => None,
            Ok(status) => Some(format!(
                "check `{}` of {} answers {status}, expected {}",
                check.name,
                site.about(whose),
                listed(&check.statuses)
            )),
            Err(why) => Some(format!("check `{}` of {} fails: {why}", check.name, site.about(whose))),
        }
    });
    futures_util::future::join_all(asked).await.into_iter().flatten().next()
}

fn listed(statuses: &[u16]) -> String {
    let texts: Vec<String> = statuses.iter().map(u16::to_string).collect();
    texts.join(" or ")
}

/// The status of a page, asked without credentials.
async fn status(url: &str) -> Result<u16, String> {
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    let client = wire::client()?;
    let answer = client.get(url).timeout(CHECK_TIMEOUT).send().await;
    match answer {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) if error.is_timeout() => Err(format!("no answer within {}s", CHECK_TIMEOUT.as_secs())),
        Err(error) if error.is_connect() => Err("no connection".to_owned()),
        Err(error) => Err(brief(&error.without_url().to_string())),
    }
}

/// What lines of App Service's container log say, and what an operator is told for them.
const CAUSES: &[(&str, &str)] = &[
    ("manifest unknown", "the image does not exist"),
    ("manifest for", "the image does not exist"),
    ("imagenotfound", "the image does not exist"),
    ("pull access denied", "the image does not exist or may not be pulled"),
    ("unauthorized", "the registry refuses the credentials"),
    ("imagepullfailure", "the image cannot be pulled"),
    ("image pull failed", "the image cannot be pulled"),
    ("out of memory", "the container was killed for using too much memory"),
    ("oomkilled", "the container was killed for using too much memory"),
    ("exit code: 137", "the container was killed, for memory as a rule"),
    ("exited with code", "the container ends by itself"),
    ("exit code", "the container ends by itself"),
    ("has exited", "the container ends by itself"),
    (
        "didn't respond to http pings",
        "the container does not answer on its port",
    ),
    (
        "did not respond to http pings",
        "the container does not answer on its port",
    ),
    ("quota", "a quota is used up"),
    ("insufficient", "no machine has room for it"),
];

/// The newest line of the platform since `since` that names a cause. Lines whose time cannot be read count.
fn cause(log: &str, since: Timestamp) -> Option<String> {
    let after = since.as_second().saturating_sub(LOG_SLACK);
    log.lines().rev().find_map(|line| {
        let (at, said) = platform_line(line)?;
        if at.is_some_and(|at| at.as_second() < after) {
            return None;
        }
        let lower = said.to_ascii_lowercase();
        let known = CAUSES.iter().find(|(pattern, _)| lower.contains(pattern));
        known.map(|(_, told)| format!("{told} ({})", shortened(line)))
    })
}

/// A line that the platform wrote, with its time: `2026-05-03T09:15:43.001Z ERROR - …`, or `03/05/2026 09:15:43.001 ERROR - …` on
/// Windows. What the app itself prints stands between them, with nine digits of a second and no level: a word of it proves nothing.
fn platform_line(line: &str) -> Option<(Option<Timestamp>, &str)> {
    let (first, rest) = line.trim_start().split_once(' ')?;
    let (at, rest) = match first.parse::<Timestamp>() {
        Ok(at) => {
            let digits = first
                .rsplit_once('.')
                .map_or(0, |(_, digits)| digits.trim_end_matches('Z').len());
            (digits <= 3).then_some((Some(at), rest))?
        }
        Err(_) => {
            let is_date = first.split('/').count() == 3 && first.chars().all(|c| c.is_ascii_digit() || c == '/');
            let (time, rest) = rest.trim_start().split_once(' ')?;
            (is_date && time.contains(':')).then_some((None, rest))?
        }
    };
    let (level, said) = rest.split_once('-')?;
    matches!(level.trim(), "INFO" | "WARN" | "WARNING" | "ERROR").then_some((at, said))
}

/// A line of the platform's log, short enough for a sentence.
fn shortened(line: &str) -> String {
    let line = brief(line);
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::{Instances, cause};
    use jiff::Timestamp;
    use proptest::prelude::{any, proptest};
    use serde_json::json;

    #[test]
    fn an_instance_of_which_nothing_is_said_is_not_ready() {
        let items = [
            json!({"properties": {"state": "READY"}}),
            json!({"properties": {"state": "STOPPED"}}),
            json!({"properties": {"state": "UNKNOWN"}}),
            json!({"properties": {}}),
        ];
        let counted = Instances::of(&items);
        assert_eq!((counted.all, counted.ready, counted.unknown), (4, 1, 2));
    }

    #[test]
    fn the_log_names_the_cause_and_old_lines_do_not_count() {
        let since: Timestamp = "2026-05-03T09:00:00Z".parse().unwrap();
        let log = "2026-05-03T09:15:42.317Z INFO  - Pulling image: shop:v2\n\
                   2026-05-03T09:15:43.001Z ERROR - manifest for shop:v2 not found: manifest unknown\n\
                   2026-05-03T09:15:44.000Z INFO  - Stopping site";
        assert!(cause(log, since).unwrap().starts_with("the image does not exist"));
        assert_eq!(cause(log, "2026-05-03T10:00:00Z".parse().unwrap()), None);
        assert_eq!(cause("2026-05-03T09:15:42Z INFO - Site started", since), None);
        let windows = "03/05/2026 09:15:43.001 ERROR - Site: shop - Image pull failed";
        assert!(cause(windows, since).unwrap().starts_with("the image cannot be pulled"));
    }

    #[test]
    fn what_the_app_prints_names_no_cause() {
        let since: Timestamp = "2026-05-03T09:00:00Z".parse().unwrap();
        for line in [
            "2026-05-03T09:15:43.001234567Z 401 unauthorized for user ann",
            "2026-05-03T09:15:43.001234567Z ERROR - the quota of ann is used up",
            "retrying: insufficient funds, exit code 3",
            "2026/05/03 09:15:43 out of memory in worker 3",
        ] {
            assert_eq!(cause(line, since), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_log_breaks_the_reading(log in any::<String>()) {
            let _ = cause(&log, Timestamp::UNIX_EPOCH);
        }
    }
}
