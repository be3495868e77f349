//! `serve DIR`: one engine that owns every run of its store, and starts what the workflows of a directory have scheduled.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use meridian_workflows::plan::Plan;
use meridian_workflows::workflow::Schedule;
use tracing::{error, info, warn};

use super::{Problem, Service};
use crate::run::signal::Person;
use crate::scheduler::engine::{Engine, Options, Scope};
use crate::scheduler::schedule::{Follower, Start, Timetable};
use crate::scheduler::world::World;

/// How often the directory is looked at for changes: soon enough for a person who saves a file and watches the log.
const SCAN_EVERY: Duration = Duration::from_secs(2);

/// Folders below the served one that are looked into; deeper is a loop of links or a mistake.
const DEPTH_MAX: usize = 8;

/// Files that are looked at; more is not a directory of workflows.
const FILES_MAX: usize = 10_000;

/// Reads workflow files; the face knows the language's vocabulary and how diagnostics look.
pub trait Catalogue: Send + Sync {
    /// The workflows of one file, with their schedules. Diagnostics come rendered, ready for a log.
    fn read(&self, file: &Path) -> Listing;

    /// Compiles one of them with these inputs.
    ///
    /// *Errors*: rendered diagnostics.
    fn plan(&self, file: &Path, workflow: &str, inputs: &BTreeMap<String, String>) -> Result<Arc<Plan>, String>;
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listing {
    /// Names with schedules; empty for a library.
    pub workflows: Vec<(String, Vec<Schedule>)>,
    pub diagnostics: Option<String>,
}

/// Serves until `stop`, then finishes what is being written and hands the leases back.
///
/// *Guarantees*: a file that becomes unreadable keeps its last good schedules; a change of a file never touches a run under way.
///
/// *Errors*: the directory cannot be read at the start.
pub async fn serve(
    service: Service,
    world: Arc<World>,
    options: Options,
    dir: PathBuf,
    catalogue: Arc<dyn Catalogue>,
    stop: impl Future<Output = ()>,
) -> Result<(), std::io::Error> {
    std::fs::read_dir(&dir)?;
    let owner = options.owner.clone();
    let engine = Engine::start(
        Arc::clone(service.store()),
        world,
        Arc::clone(service.clock()),
        options,
        Scope::Everything,
    );
    info!(owner, dir = %dir.display(), "serving");
    let mut schedules = Schedules::new(service, dir, catalogue);
    tokio::select! {
        () = schedules.follow() => {}
        () = stop => {}
    }
    info!(owner, runs = engine.resident(), "stopping: leases are handed back");
    engine.shut_down().await;
    Ok(())
}

/// A file's state as far as changes matter.
type Signature = Vec<(PathBuf, Option<SystemTime>, u64)>;

struct Schedules {
    service: Service,
    dir: PathBuf,
    catalogue: Arc<dyn Catalogue>,
    seen: Signature,
    listings: BTreeMap<PathBuf, Listing>,
    followers: BTreeMap<(String, String), (PathBuf, Follower)>,
}

impl Schedules {
    fn new(service: Service, dir: PathBuf, catalogue: Arc<dyn Catalogue>) -> Schedules {
        Schedules {
            service,
            dir,
            catalogue,
            seen: Signature::new(),
            listings: BTreeMap::new(),
            followers: BTreeMap::new(),
        }
    }

    /// Follows the files and their schedules, without end.
    async fn follow(&mut self) {
        loop {
            self.look_at_files().await;
            self.start_what_is_due().await;
            let clock = Arc::clone(self.service.clock());
            let scan = SCAN_EVERY.after(clock.now());
            let next = self
                .followers
                .values()
                .filter_map(|(_, follower)| follower.wake())
                .min();
            clock.sleep_until(next.map_or(scan, |next| next.min(scan))).await;
        }
    }

    async fn look_at_files(&mut self) {
        let dir = self.dir.clone();
        let scan = tokio::task::spawn_blocking(move || {
            let mut found = Signature::new();
            scan(&dir, 0, &mut found).map(|()| {
                found.sort();
                found
            })
        });
        match scan.await {
            Ok(Ok(found)) if found != self.seen => {
                // What the store could not answer is asked again at the next look.
                self.seen = if self.read_again(&found).await {
                    found
                } else {
                    Signature::new()
                };
            }
            Ok(Ok(_)) => {}
            Ok(Err(problem)) => {
                warn!(dir = %self.dir.display(), %problem, "cannot look at the directory; its schedules stay")
            }
            Err(problem) => error!(%problem, "looking at the directory broke inside"),
        }
    }

    /// Reads every file: any of them may be imported by any other.
    async fn read_again(&mut self, found: &Signature) -> bool {
        let mut listings = BTreeMap::new();
        for (file, _, _) in found {
            let (catalogue, path) = (Arc::clone(&self.catalogue), file.clone());
            let listing = tokio::task::spawn_blocking(move || catalogue.read(&path)).await;
            let mut listing = listing.unwrap_or_else(|problem| Listing {
                workflows: Vec::new(),
                diagnostics: Some(format!("reading it broke inside: {problem}")),
            });
            let before = self.listings.get(file);
            if let Some(text) = &listing.diagnostics {
                if before.is_none_or(|before| before.diagnostics != listing.diagnostics) {
                    warn!(file = %file.display(), "{text}");
                }
                if let (true, Some(before)) = (listing.workflows.is_empty(), before) {
                    listing.workflows.clone_from(&before.workflows);
                }
            }
            listings.insert(file.clone(), listing);
        }
        self.listings = listings;
        self.follow_what_is_listed().await
    }

    /// False when the store could not tell a schedule's past.
    async fn follow_what_is_listed(&mut self) -> bool {
        let mut all_known = true;
        let mut wanted: BTreeMap<(String, String), (PathBuf, Timetable)> = BTreeMap::new();
        let mut homes: BTreeMap<&str, &Path> = BTreeMap::new();
        for (file, listing) in &self.listings {
            for (workflow, schedules) in &listing.workflows {
                if let Some(home) = homes.insert(workflow, file) {
                    error!(workflow, first = %home.display(), second = %file.display(), "two files define this workflow; the first counts");
                    homes.insert(workflow, home);
                    continue;
                }
                for schedule in schedules {
                    match Timetable::new(schedule) {
                        Ok(timetable) => {
                            let key = (workflow.clone(), timetable.key().to_owned());
                            wanted.insert(key, (file.clone(), timetable));
                        }
                        Err(why) => error!(workflow, %why, "this schedule is left out"),
                    }
                }
            }
        }
        self.followers.retain(|key, _| wanted.contains_key(key));
        for (key, (file, timetable)) in wanted {
            if let Some((home, _)) = self.followers.get_mut(&key) {
                *home = file;
                continue;
            }
            let (store, clock) = (Arc::clone(self.service.store()), Arc::clone(self.service.clock()));
            match Follower::begin(store, clock, key.0.clone(), timetable).await {
                Ok((follower, unfinished)) => {
                    let next = follower
                        .wake()
                        .map_or_else(|| "never".to_owned(), |next| next.to_string());
                    info!(workflow = key.0, schedule = key.1, next, "following");
                    if let Some(start) = unfinished {
                        self.start(&file, start).await;
                    }
                    self.followers.insert(key, (file, follower));
                }
                Err(problem) => {
                    warn!(workflow = key.0, %problem, "the store does not know this schedule's past yet");
                    all_known = false;
                }
            }
        }
        all_known
    }

    async fn start_what_is_due(&mut self) {
        let mut starts = Vec::new();
        for ((workflow, _), (file, follower)) in &mut self.followers {
            match follower.due().await {
                Ok(Some(start)) => starts.push((file.clone(), start)),
                Ok(None) => {}
                Err(problem) => warn!(workflow, %problem, "the store does not answer; the schedule is asked again"),
            }
        }
        for (file, start) in starts {
            self.start(&file, start).await;
        }
    }

    async fn start(&self, file: &Path, start: Start) {
        let Start {
            submission,
            instant,
            key,
        } = start;
        let (catalogue, path) = (Arc::clone(&self.catalogue), file.to_owned());
        let (workflow, inputs) = (submission.workflow.clone(), submission.inputs.clone());
        let compiled = tokio::task::spawn_blocking(move || catalogue.plan(&path, &workflow, &inputs)).await;
        let workflow = &submission.workflow;
        let plan = match compiled {
            Ok(Ok(plan)) => plan,
            Ok(Err(text)) => return error!(workflow, %instant, "the submitted release cannot be started:\n{text}"),
            Err(problem) => return error!(workflow, %problem, "compiling broke inside"),
        };
        let by = Person::unauthenticated(submission.by, Vec::new());
        match self.started(plan, by, key).await {
            Ok(run) => info!(workflow, %instant, %run, "started by its schedule"),
            Err(problem) => error!(workflow, %instant, %problem, "the scheduled release cannot be started"),
        }
    }

    async fn started(&self, plan: Arc<Plan>, by: Person, key: String) -> Result<crate::run::state::RunId, Problem> {
        self.service.start(plan, by, Some(key)).await
    }
}

fn scan(dir: &Path, depth: usize, found: &mut Signature) -> Result<(), std::io::Error> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let (path, about) = (entry.path(), entry.metadata()?);
        let is_hidden = entry.file_name().to_string_lossy().starts_with('.');
        if is_hidden || found.len() >= FILES_MAX {
            continue;
        }
        if about.is_dir() && depth < DEPTH_MAX {
            scan(&path, depth + 1, found)?;
        } else if about.is_file() && path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            found.push((path, about.modified().ok(), about.len()));
        }
    }
    Ok(())
}

/// The next instants of a schedule, for people who want to see them before they trust them.
pub fn upcoming(schedule: &Schedule, after: Timestamp, count: usize) -> Vec<Timestamp> {
    let Ok(timetable) = Timetable::new(schedule) else {
        return Vec::new();
    };
    std::iter::successors(timetable.next(after), |at| timetable.next(*at))
        .take(count)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Arc;

    use meridian_workflows::duration::Duration;
    use meridian_workflows::plan::Plan;
    use meridian_workflows::plan::compile::compile;
    use meridian_workflows::workflow::{Missed, Schedule};

    use super::{Catalogue, Listing, Options, serve, upcoming};
    use crate::ports::clock::Clock;
    use crate::ports::store::Store;
    use crate::run::story::workflow;
    use crate::scheduler::clock::ManualClock;
    use crate::scheduler::script::{Script, world};
    use crate::service::Service;
    use crate::store::memory::Memory;

    fn daily() -> Schedule {
        Schedule {
            cron: "0 9 * * *".into(),
            timezone: "Europe/Berlin".into(),
            missed: Missed::RunOnce,
        }
    }

    /// Every file is the story's workflow, except an empty one, which is a mistake.
    struct Shelf;

    impl Catalogue for Shelf {
        fn read(&self, file: &Path) -> Listing {
            let is_empty = std::fs::read(file).unwrap().is_empty();
            Listing {
                workflows: if is_empty {
                    vec![]
                } else {
                    vec![("story".into(), vec![daily()])]
                },
                diagnostics: is_empty.then(|| "error[M001]: nothing is written here".into()),
            }
        }

        fn plan(&self, _: &Path, _: &str, inputs: &BTreeMap<String, String>) -> Result<Arc<Plan>, String> {
            let mut workflow = workflow(&[("all", &["west"])], &["100%"]);
            workflow.inputs = inputs.clone();
            Ok(Arc::new(compile(workflow)))
        }
    }

    #[tokio::test]
    async fn a_submitted_release_starts_at_its_instant_and_a_broken_file_keeps_its_schedule() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("story.yaml"), "something").unwrap();
        let clock = Arc::new(ManualClock::at("2026-06-01T06:30:00Z".parse().unwrap()));
        let store: Arc<dyn Store> = Arc::new(Memory::new());
        let script = Arc::new(Script::new(Arc::clone(&clock)));
        let service = Service::new(Arc::clone(&store), Arc::clone(&clock) as Arc<dyn Clock>);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = tokio::spawn(serve(
            service.clone(),
            Arc::new(world(&script)),
            Options::named("server"),
            dir.path().to_owned(),
            Arc::new(Shelf),
            async { drop(stopped.await) },
        ));
        // The directory is read by another thread: time only passes once the schedule is known.
        while store
            .last_fired("story", "0 9 * * * Europe/Berlin")
            .await
            .unwrap()
            .is_none()
        {
            tokio::task::yield_now().await;
        }
        std::fs::write(dir.path().join("story.yaml"), "").unwrap();
        let inputs = BTreeMap::from([("version".to_owned(), "v2".to_owned())]);
        service.submit("story".into(), inputs, "ana".into()).await.unwrap();
        assert!(service.newest(None).await.unwrap().is_none());
        loop {
            clock.advance_to(Duration::from_secs(1).after(clock.now()));
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
            if service.newest(None).await.unwrap().is_some_and(|head| head.is_done) {
                break;
            }
        }
        let head = service.newest(Some("story")).await.unwrap().unwrap();
        assert_eq!(head.outcome, "promoted");
        let nine = "2026-06-01T07:00:00Z".parse().unwrap();
        assert!(head.created_at >= nine, "{}", head.created_at);
        stop.send(()).unwrap();
        served.await.unwrap().unwrap();
    }

    #[test]
    fn the_next_instants_can_be_seen_before_they_are_trusted() {
        let next = upcoming(&daily(), "2026-06-01T06:30:00Z".parse().unwrap(), 2);
        let texts: Vec<String> = next.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["2026-06-01T07:00:00Z", "2026-06-02T07:00:00Z"]);
    }
}
