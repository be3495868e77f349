//! Stories about engines: real loops over a store, a scripted world, and a clock that is moved by hand.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use meridian_workflows::duration::Duration;
use meridian_workflows::plan::{NodeId, Plan};
use meridian_workflows::workflow::{GateKind, OnConflict, Workflow};

use super::clock::ManualClock;
use super::engine::{Drive, Engine, Options, Scope};
use super::script::{Script, world};
use crate::ports::clock::Clock;
use crate::ports::store::{NewRun, Store};
use crate::run::decide::Input;
use crate::run::entry::{Entry, Hash};
use crate::run::event::Event;
use crate::run::signal::{Person, Request, Signal};
use crate::run::state::{Run, RunId};
use crate::run::story::{approval, gate, secs, watched, workflow};
use crate::service::{Problem, Service};
use crate::store::memory::Memory;

const ONE: &[(&str, &[&str])] = &[("all", &["west"])];
const TWO: &[(&str, &[&str])] = &[("small", &["west"]), ("large", &["east"])];

/// A store, a clock and a cloud, for as many engines as a story needs.
pub(super) struct Stage {
    pub(super) store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    pub(super) script: Arc<Script>,
    pub(super) service: Service,
}

fn ana() -> Person {
    Person::unauthenticated("ana", vec![])
}

pub(super) fn stage() -> Stage {
    stage_over(Arc::new(Memory::new()))
}

fn stage_over(store: Arc<dyn Store>) -> Stage {
    let clock = Arc::new(ManualClock::at("2026-03-02T10:00:00Z".parse().unwrap()));
    let script = Arc::new(Script::new(Arc::clone(&clock)));
    let service = Service::new(Arc::clone(&store), Arc::clone(&clock) as Arc<dyn Clock>);
    Stage {
        store,
        clock,
        script,
        service,
    }
}

fn options(owner: &str) -> Options {
    Options {
        shards: 2,
        ..Options::named(owner)
    }
}

impl Stage {
    pub(super) fn engine(&self, owner: &str, scope: Scope) -> Engine {
        self.engine_by(owner, scope, Arc::clone(&self.clock))
    }

    fn engine_by(&self, owner: &str, scope: Scope, clock: Arc<ManualClock>) -> Engine {
        let world = Arc::new(world(&self.script));
        Engine::start(Arc::clone(&self.store), world, clock, options(owner), scope)
    }

    pub(super) async fn start(&self, workflow: Workflow) -> RunId {
        let plan: Arc<Plan> = Arc::new(meridian_workflows::plan::compile::compile(workflow));
        self.service.start(plan, ana(), None).await.unwrap()
    }

    /// Lets everybody work until nobody has anything left to do at this instant.
    async fn settle(&self) {
        for _ in 0..500 {
            tokio::task::yield_now().await;
        }
    }

    /// Time passes in small steps, and everybody keeps up with it.
    pub(super) async fn live(&self, length: Duration) {
        let end = length.after(self.clock.now());
        self.settle().await;
        while self.clock.now() < end {
            let next = Duration::from_millis(500).after(self.clock.now());
            self.clock.advance_to(next.min(end));
            self.settle().await;
        }
    }

    pub(super) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..2_000 {
            if holds().await {
                return;
            }
            self.live(Duration::from_millis(500)).await;
        }
        panic!("never: {what}");
    }

    pub(super) async fn outcome(&self, run: &RunId) -> String {
        self.store.head(run).await.unwrap().outcome
    }

    async fn entries(&self, run: &RunId) -> Vec<Entry> {
        self.service.entries(run).await.unwrap().1
    }

    pub(super) async fn events(&self, run: &RunId) -> Vec<Event> {
        self.entries(run)
            .await
            .into_iter()
            .flat_map(|entry| entry.events)
            .collect()
    }
}

/// A workflow whose only phase waits for an approval.
fn guarded() -> Workflow {
    let mut workflow = workflow(ONE, &["10%", "100%"]);
    let mut sre = gate(GateKind::Approval(approval(1)));
    if let GateKind::Approval(approval) = &mut sre.kind {
        approval.expires = None;
        approval.from = Vec::new();
    }
    workflow.gates.insert("sre".into(), sre);
    workflow.phases[0].before.push("sre".into());
    workflow
}

fn approve() -> Request {
    Request::Approve {
        gate: None,
        node: None,
        comment: None,
    }
}

fn pause() -> Request {
    Request::Pause {
        freeze_bake: false,
        reason: None,
    }
}

pub(super) fn oskar() -> Person {
    Person::unauthenticated("oskar", vec!["sre".into()])
}

fn owners(events: &[Event]) -> Vec<&str> {
    let owners = events.iter().filter_map(|event| match event {
        Event::Owned { owner, .. } => Some(owner.as_str()),
        _ => None,
    });
    owners.collect()
}

#[tokio::test]
async fn a_release_is_driven_from_start_to_end_and_its_journal_proves_it() {
    let stage = stage();
    let run = stage.start(watched(workflow(TWO, &["10%", "100%"]))).await;
    let engine = stage.engine("one", Scope::Everything);
    stage
        .until("done", async || stage.store.head(&run).await.unwrap().is_done)
        .await;
    assert_eq!(stage.outcome(&run).await, "promoted");
    assert_eq!(stage.script.share("west"), "100%");
    let proof = stage.service.prove(&run).await.unwrap();
    assert!(proof.holds(), "{proof:?}");
    engine.shut_down().await;
}

#[tokio::test]
async fn a_breach_rolls_back_and_the_displays_hear_of_it_after_it_is_durable() {
    let stage = stage();
    let run = stage.start(watched(workflow(ONE, &["10%", "100%"]))).await;
    let engine = stage.engine("one", Scope::Everything);
    let mut display = engine.subscribe();
    stage
        .until("traffic", async || stage.script.share("west") == "10%")
        .await;
    stage.script.set_error_rate(0.2);
    stage
        .until("done", async || stage.store.head(&run).await.unwrap().is_done)
        .await;
    assert_eq!(stage.outcome(&run).await, "rolled-back");
    assert_eq!(stage.script.share("west"), "0%");
    let mut told = Vec::new();
    while let Ok(entry) = display.try_recv() {
        told.push(entry.entry.seq);
    }
    let written: Vec<u64> = stage.entries(&run).await.iter().map(|entry| entry.seq).collect();
    // All but the submission, which was written before this engine was there.
    assert_eq!(told, written[1..]);
}

#[tokio::test]
async fn a_stale_owner_writes_nothing_and_changes_nothing() {
    let stage = stage();
    let run = stage.start(workflow(ONE, &["10%", "100%"])).await;
    // The first engine stops in the middle of its call, clock and all; only its answer comes back later.
    let frozen = Arc::new(ManualClock::at(stage.clock.now()));
    stage.script.hang("west", true);
    let _first = stage.engine_by("first", Scope::Everything, Arc::clone(&frozen));
    stage.settle().await;
    let epoch = stage.store.head(&run).await.unwrap();
    assert_eq!(epoch.owner.as_deref(), Some("first"));
    stage.clock.advance_to(secs(20).after(stage.clock.now()));
    let _second = stage.engine("second", Scope::Everything);
    stage
        .until("taken over", async || {
            owners(&stage.events(&run).await) == ["first", "second"]
        })
        .await;
    let before = stage.entries(&run).await.len();
    stage.script.hang("west", false);
    stage.settle().await;
    stage
        .until("done", async || stage.store.head(&run).await.unwrap().is_done)
        .await;
    let events = stage.events(&run).await;
    assert_eq!(owners(&events), ["first", "second"]);
    assert!(stage.entries(&run).await.len() > before);
    let orders = stage.script.orders();
    let epochs: Vec<u64> = orders.iter().map(|(_, fence, _)| fence.epoch).collect();
    assert!(epochs.windows(2).all(|pair| pair[0] <= pair[1]), "{epochs:?}");
    assert!(stage.service.prove(&run).await.unwrap().holds());
}

#[tokio::test]
async fn two_engines_on_one_store_share_the_runs_and_never_order_the_same() {
    let stage = stage();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut runs = Vec::new();
    for name in names {
        let regions: &[(&str, &[&str])] = &[("all", &[name])];
        runs.push(stage.start(watched(workflow(regions, &["10%", "100%"]))).await);
    }
    let _one = stage.engine("one", Scope::Everything);
    let _two = stage.engine("two", Scope::Everything);
    for run in &runs {
        stage
            .until("done", async || stage.store.head(run).await.unwrap().is_done)
            .await;
        assert_eq!(stage.outcome(run).await, "promoted");
        assert!(stage.service.prove(run).await.unwrap().holds());
    }
    for name in names {
        let of_region = stage.script.orders().into_iter().filter(|(region, ..)| region == name);
        let fences: Vec<_> = of_region.map(|(_, fence, _)| fence).collect();
        assert!(fences.is_sorted(), "{name}: {fences:?}");
    }
}

#[tokio::test]
async fn a_shutdown_hands_the_leases_back_and_another_engine_goes_on_at_once() {
    let stage = stage();
    let run = stage.start(watched(workflow(ONE, &["10%", "100%"]))).await;
    let one = stage.engine("one", Scope::Everything);
    stage
        .until("traffic", async || stage.script.share("west") == "10%")
        .await;
    one.shut_down().await;
    assert_eq!(stage.store.head(&run).await.unwrap().owner, None);
    let _two = stage.engine("two", Scope::Everything);
    stage.live(secs(3)).await; // its next reading, and less than the lease that was handed back
    let events = stage.events(&run).await;
    assert!(owners(&events).contains(&"two"), "{:?}", owners(&events));
}

#[tokio::test]
async fn a_poisoned_run_is_set_aside_with_its_reason_and_others_go_on() {
    let stage = stage();
    let plan: Arc<Plan> = Arc::new(meridian_workflows::plan::compile::compile(workflow(ONE, &["100%"])));
    let (now, submitted) = (stage.clock.now(), Arc::clone(&plan));
    let first = Box::new(move |id: &RunId| {
        let mut run = Run::new(id.clone(), submitted);
        let (entry, _) = run.step(Input::Submit { by: ana() }, now).unwrap().unwrap();
        let mut events = entry.events;
        // No such node: folding it breaks the engine.
        events.push(Event::NodeStarted {
            node: NodeId(999),
            at: now,
        });
        let (entry, bytes) = Entry::seal(1, now, "poison".into(), events, Hash::NONE);
        (entry, bytes, run.state().clone())
    });
    let new = NewRun { key: None, plan, first };
    let poisoned = stage.store.create(new).await.unwrap();
    let healthy = stage.start(workflow(&[("all", &["east"])], &["100%"])).await;
    let _engine = stage.engine("one", Scope::Everything);
    stage
        .until("both over", async || {
            stage.store.head(&poisoned).await.unwrap().quarantined.is_some()
                && stage.store.head(&healthy).await.unwrap().is_done
        })
        .await;
    let reason = stage.store.head(&poisoned).await.unwrap().quarantined.unwrap();
    assert!(reason.starts_with("the engine broke inside: "), "{reason}");
    assert_eq!(stage.outcome(&healthy).await, "promoted");
}

#[tokio::test]
async fn a_signal_is_answered_once_also_across_a_crash() {
    let stage = stage();
    let run = stage.start(workflow(ONE, &["10%", "100%"])).await;
    let first = stage.engine("first", Scope::Everything);
    stage
        .until("traffic", async || stage.script.share("west") == "10%")
        .await;
    let id = stage.service.post(&run, pause(), oskar()).await.unwrap();
    // Crashed before, in or after answering, as the tasks happen to stand.
    tokio::task::yield_now().await;
    drop(first);
    let again = Signal {
        id: id.clone(),
        by: oskar(),
        ask: pause(),
    };
    stage.store.post(&run, again, stage.clock.now()).await.unwrap();
    let _second = stage.engine("second", Scope::Everything);
    stage
        .until("answered", async || stage.store.answer(&id).await.unwrap().is_some())
        .await;
    stage.live(secs(40)).await;
    let events = stage.events(&run).await;
    let taken = events.iter().filter(|event| matches!(event, Event::SignalTaken { .. }));
    assert_eq!(taken.count(), 1);
    assert_eq!(stage.outcome(&run).await, "paused");
}

#[tokio::test]
async fn a_hanging_cloud_is_a_transient_failure_and_is_asked_again() {
    let stage = stage();
    let run = stage.start(workflow(ONE, &["100%"])).await;
    stage.script.hang("west", true);
    let _engine = stage.engine("one", Scope::Everything);
    stage.live(secs(35)).await;
    let events = stage.events(&run).await;
    let failed = |event: &&Event| matches!(event, Event::EffectFailed { lasting: false, error, .. } if error.contains("took longer"));
    assert!(events.iter().any(|event| failed(&event)), "{events:?}");
    stage.script.hang("west", false);
    stage
        .until("done", async || stage.store.head(&run).await.unwrap().is_done)
        .await;
}

#[tokio::test]
async fn a_panic_in_a_cloud_is_that_calls_failure_and_nobody_elses() {
    let stage = stage();
    let run = stage.start(workflow(ONE, &["100%"])).await;
    stage.script.panic_in("west", true);
    let _engine = stage.engine("one", Scope::Everything);
    stage.live(secs(3)).await;
    let events = stage.events(&run).await;
    let failed = |event: &&Event| matches!(event, Event::EffectFailed { error, .. } if error.contains("has a bug"));
    assert!(events.iter().any(|event| failed(&event)), "{events:?}");
    stage.script.panic_in("west", false);
    stage
        .until("done", async || stage.store.head(&run).await.unwrap().is_done)
        .await;
}

#[tokio::test]
async fn a_run_that_waits_for_people_leaves_memory_and_comes_back_for_them() {
    let stage = stage();
    let run = stage.start(guarded()).await;
    let engine = stage.engine("one", Scope::Everything);
    stage.live(secs(2)).await;
    assert_eq!(engine.resident(), 0);
    assert_eq!(stage.store.head(&run).await.unwrap().owner, None);
    stage.service.post(&run, approve(), oskar()).await.unwrap();
    stage
        .until("done", async || stage.store.head(&run).await.unwrap().is_done)
        .await;
    // Taking its own parked run back is nothing that the journal tells.
    assert_eq!(owners(&stage.events(&run).await), ["one"]);
}

#[tokio::test]
async fn where_nobody_drives_a_signal_is_answered_by_whoever_asks() {
    let stage = stage();
    let run = stage.start(guarded()).await;
    let engine = stage.engine("one", Scope::Everything);
    stage.live(secs(2)).await;
    engine.shut_down().await;
    let refused = stage.service.ask(&run, Request::Resume, oskar(), secs(5)).await;
    assert!(matches!(refused, Err(Problem::Refused(_))), "{refused:?}");
    let orders = stage.script.orders().len();
    let seq = stage.service.ask(&run, approve(), oskar(), secs(5)).await.unwrap();
    assert_eq!(stage.store.head(&run).await.unwrap().seq, seq);
    assert_eq!(stage.script.orders().len(), orders, "nothing is asked of the world");
    let _engine = stage.engine("two", Scope::Everything);
    stage
        .until("done", async || stage.store.head(&run).await.unwrap().is_done)
        .await;
}

#[tokio::test]
async fn a_leap_of_the_clock_shortens_no_bake_in_memory_or_out_of_it() {
    for is_driven_through in [true, false] {
        let stage = stage();
        let mut long = workflow(ONE, &["10%", "100%"]);
        long.phases[0].stages[0].bake = secs(600);
        let run = stage.start(long).await;
        let engine = stage.engine("one", Scope::Everything);
        stage
            .until("traffic", async || stage.script.share("west") == "10%")
            .await;
        stage.live(secs(if is_driven_through { 1 } else { 120 })).await;
        let there = secs(7_200).after(stage.clock.now());
        stage.clock.jump_to(there);
        stage.until("the leap", async || stage.clock.now() >= there).await;
        stage.live(secs(200)).await;
        assert_eq!(
            stage.script.share("west"),
            "10%",
            "ten minutes are not over after three"
        );
        let jumps = stage.events(&run).await;
        let jumps = jumps.iter().filter(|event| matches!(event, Event::ClockJumped { .. }));
        assert!(jumps.count() <= 1);
        stage.live(secs(420)).await;
        assert_eq!(stage.script.share("west"), "100%");
        engine.shut_down().await;
    }
}

#[tokio::test]
async fn a_later_run_supersedes_an_earlier_one_of_its_workflow() {
    let stage = stage();
    let mut first = guarded();
    first.on_conflict = OnConflict::Supersede;
    let older = stage.start(first.clone()).await;
    let _engine = stage.engine("one", Scope::Everything);
    stage.live(secs(2)).await;
    first.phases[0].before.clear();
    let newer = stage.start(first).await;
    stage
        .until("done", async || stage.store.head(&newer).await.unwrap().is_done)
        .await;
    assert_eq!(stage.outcome(&newer).await, "promoted");
    assert_eq!(stage.outcome(&older).await, "rolled-back");
}

#[tokio::test]
async fn an_engine_for_one_run_drives_only_that_one_and_says_when_it_rests() {
    let stage = stage();
    let mine = stage.start(workflow(ONE, &["100%"])).await;
    let other = stage.start(workflow(&[("all", &["east"])], &["100%"])).await;
    let engine = stage.engine("one", Scope::Only(vec![mine.clone()]));
    stage
        .until("at rest", async || engine.drives().borrow()[&mine] == Drive::AtRest)
        .await;
    engine.settled().await;
    assert_eq!(stage.store.head(&other).await.unwrap().seq, 1);
    // Somebody else's run is said to be elsewhere, and is taken once it is free.
    let one = stage.engine("two", Scope::Only(vec![other.clone()]));
    stage.settle().await;
    let two = stage.engine("three", Scope::Only(vec![other.clone()]));
    stage.settle().await;
    assert_eq!(two.drives().borrow()[&other], Drive::Elsewhere);
    one.shut_down().await;
    stage
        .until("at rest", async || two.drives().borrow()[&other] == Drive::AtRest)
        .await;
}

#[tokio::test]
async fn a_run_that_is_over_is_taken_by_nobody() {
    let stage = stage();
    let run = stage.start(workflow(ONE, &["100%"])).await;
    for name in ["one", "two"] {
        let engine = stage.engine(name, Scope::Only(vec![run.clone()]));
        stage
            .until("at rest", async || engine.drives().borrow()[&run] == Drive::AtRest)
            .await;
        engine.shut_down().await;
    }
    assert_eq!(owners(&stage.events(&run).await), ["one"]);
}
