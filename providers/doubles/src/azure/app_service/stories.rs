//! What happens to a site when it is asked things in order.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Method};
use serde_json::{Value, json};

use super::{AppService, Behaviour, NewSite, PRODUCTION, Standing};
use crate::azure::exchange::{Answers as _, Asked, Reply};

const SITE: &str =
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/shop/providers/Microsoft.Web/sites/shop";
const V1: &str = "registry.example.com/shop:v1";
const V2: &str = "registry.example.com/shop:v2";

struct Story {
    tenant: Arc<AppService>,
}

struct Told {
    status: u16,
    headers: HeaderMap,
    body: Value,
    text: String,
}

impl Story {
    fn with(change: impl FnOnce(&mut NewSite)) -> Story {
        let tenant = AppService::new();
        let mut site = NewSite::named("shop");
        change(&mut site);
        tenant.make(site);
        Story { tenant }
    }

    fn ask(&self, method: Method, path: &str, body: Value) -> Told {
        let separator = if path.contains('?') { '&' } else { '?' };
        self.ask_as_is(method, &format!("{SITE}{path}{separator}api-version=2025-05-01"), body)
    }

    fn ask_as_is(&self, method: Method, path: &str, body: Value) -> Told {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer token".parse().unwrap());
        headers.insert("content-type", "application/json".parse().unwrap());
        headers.insert("host", "127.0.0.1:8080".parse().unwrap());
        let bytes = if body.is_null() {
            Bytes::new()
        } else {
            body.to_string().into()
        };
        told(self.tenant.answer(&Asked::new(method, path, headers, bytes)))
    }

    fn get(&self, path: &str) -> Value {
        let told = self.ask(Method::GET, path, Value::Null);
        assert_eq!(told.status, 200, "{path}: {}", told.text);
        told.body
    }

    fn release(&self, image: &str) {
        let config = json!({"properties": {"siteConfig": {"linuxFxVersion": format!("DOCKER|{image}")}}});
        assert_eq!(self.ask(Method::PATCH, "/slots/staging", config).status, 200);
    }

    fn begin_swap(&self) -> String {
        let told = self.ask(Method::POST, "/slotsswap", pair());
        assert_eq!(told.status, 202, "{}", told.text);
        assert!(told.headers.contains_key("retry-after"));
        let location = told.headers["location"].to_str().unwrap();
        location.strip_prefix("http://127.0.0.1:8080").unwrap().to_owned()
    }

    fn poll(&self, location: &str) -> Told {
        self.ask_as_is(Method::GET, location, Value::Null)
    }

    fn pass(&self, seconds: u64) {
        self.tenant.advance(Duration::from_secs(seconds));
    }

    fn standing(&self) -> Standing {
        self.tenant.standing("shop").unwrap()
    }

    fn image(&self, slot: &str) -> String {
        self.standing().slot(slot).unwrap().image.clone().unwrap()
    }

    fn ramp(&self, percentage: f64) -> Told {
        let rules = json!([{"name": "staging", "actionHostName": "shop-staging.azurewebsites.net", "reroutePercentage": percentage}]);
        let body = json!({"properties": {"experiments": {"rampUpRules": rules}}});
        self.ask(Method::PATCH, "/config/web", body)
    }
}

fn told(reply: Reply) -> Told {
    Told {
        status: reply.status,
        headers: reply.headers,
        body: serde_json::from_slice(&reply.body).unwrap_or_default(),
        text: String::from_utf8_lossy(&reply.body).into_owned(),
    }
}

fn pair() -> Value {
    json!({"targetSlot": "staging", "preserveVnet": true})
}

#[test]
fn a_swap_moves_content_and_can_be_swapped_back() {
    let story = Story::with(|_| {});
    story.release(V2);
    story.pass(15);
    let location = story.begin_swap();
    assert_eq!(story.poll(&location).status, 202);
    assert!(story.get("")["properties"]["inProgressOperationId"].is_string());
    story.pass(60);
    assert_eq!(story.poll(&location).status, 200);
    assert_eq!(
        (story.image(PRODUCTION), story.image("staging")),
        (V2.into(), V1.into())
    );
    assert_eq!(
        story.get("")["properties"]["slotSwapStatus"]["sourceSlotName"],
        "staging"
    );

    let back = story.begin_swap();
    story.pass(60);
    assert_eq!(story.poll(&back).status, 200);
    assert_eq!(
        (story.image(PRODUCTION), story.image("staging")),
        (V1.into(), V2.into())
    );
}

#[test]
fn users_reach_a_ready_version_at_every_instant_of_a_swap() {
    let story = Story::with(|_| {});
    story.release(V2);
    story.pass(15);
    story.begin_swap();
    for _ in 0..120 {
        story.tenant.advance(Duration::from_millis(500));
        assert!(story.standing().lost().abs() < f64::EPSILON, "{:?}", story.standing());
    }
    assert_eq!(story.image(PRODUCTION), V2);
}

#[test]
fn a_second_change_during_a_swap_is_refused() {
    let story = Story::with(|_| {});
    story.begin_swap();
    let told = story.ask(Method::POST, "/slotsswap", pair());
    assert_eq!((told.status, told.body["Code"].as_str()), (409, Some("Conflict")));
    assert!(told.text.contains("another operation is in progress"), "{}", told.text);
    let told = story.ask(Method::PATCH, "/slots/staging", json!({"tags": {"a": "b"}}));
    assert_eq!(told.status, 409);
    assert_eq!(story.ask(Method::GET, "", Value::Null).status, 200);
}

#[test]
fn a_slot_that_answers_no_ping_is_tried_five_times_and_put_back() {
    let story = Story::with(|site| site.sticky = vec!["DATABASE".into()]);
    story.tenant.set("shop", PRODUCTION, &[("DATABASE", "live")]);
    story.tenant.behave(V2, Behaviour::NeverReady);
    story.release(V2);
    story.pass(15);
    let location = story.begin_swap();
    story.pass(10 + 5 * 90 - 5);
    assert_eq!(story.poll(&location).status, 202, "the fifth request is waited for");
    story.pass(10);
    let told = story.poll(&location);
    assert_eq!(told.status, 417);
    assert_eq!(told.body["Code"], "ExpectationFailed");
    assert!(
        told.text.contains("'staging' slot did not respond to http ping"),
        "{}",
        told.text
    );
    assert_eq!(story.image(PRODUCTION), V1);
    assert!(story.get("")["properties"]["inProgressOperationId"].is_null());
}

#[test]
fn a_worker_that_does_not_start_ends_the_swap() {
    let story = Story::with(|_| {});
    story.tenant.behave(V2, Behaviour::CrashLoop(3));
    story.release(V2);
    let location = story.begin_swap();
    story.pass(120);
    let told = story.poll(&location);
    assert_eq!((told.status, told.body["Code"].as_str()), (400, Some("BadRequest")));
    assert!(
        told.text
            .contains("worker process for 'staging' slot could not be started")
    );
    let logs = story.ask(Method::POST, "/slots/staging/containerlogs", Value::Null);
    assert!(logs.text.contains("exited with exit code 3"), "{}", logs.text);
}

#[test]
fn a_warm_up_status_that_is_not_wanted_stops_the_swap() {
    let story = Story::with(|_| {});
    story
        .tenant
        .set("shop", "staging", &[("WEBSITE_SWAP_WARMUP_PING_STATUSES", "200,202")]);
    story.tenant.behave(V2, Behaviour::Status(503));
    story.release(V2);
    story.pass(15);
    let location = story.begin_swap();
    story.pass(30);
    assert_eq!(story.poll(&location).status, 417);

    let any = Story::with(|_| {});
    any.tenant.behave(V2, Behaviour::Status(503));
    any.release(V2);
    any.pass(15);
    let location = any.begin_swap();
    any.pass(60);
    assert_eq!(any.poll(&location).status, 200, "without a list, any answer warms up");
}

#[test]
fn a_swap_with_preview_waits_until_it_is_completed() {
    let story = Story::with(|_| {});
    story.release(V2);
    story.pass(15);
    assert_eq!(story.ask(Method::POST, "/applySlotConfig", pair()).status, 200);
    story.pass(3600);
    assert_eq!(story.image(PRODUCTION), V1);
    assert_eq!(
        story.get("/slots/staging")["properties"]["targetSwapSlot"],
        "production"
    );
    let told = story.ask(
        Method::PUT,
        "/slots/staging/config/appsettings",
        json!({"properties": {"A": "b"}}),
    );
    assert_eq!(told.status, 409);
    assert!(told.text.contains("prepared for swap"), "{}", told.text);
    let location = story.begin_swap();
    story.pass(60);
    assert_eq!(story.poll(&location).status, 200);
    assert_eq!(story.image(PRODUCTION), V2);
    assert!(story.get("/slots/staging")["properties"]["targetSwapSlot"].is_null());
}

#[test]
fn a_preview_is_called_off_by_resetting_both_slots() {
    let story = Story::with(|_| {});
    story.release(V2);
    assert_eq!(
        story
            .ask(
                Method::POST,
                "/slots/staging/applySlotConfig",
                json!({"targetSlot": "production", "preserveVnet": true})
            )
            .status,
        200
    );
    assert_eq!(story.ask(Method::POST, "/resetSlotConfig", Value::Null).status, 200);
    let change = |slot: &str| {
        story
            .ask(
                Method::PUT,
                &format!("{slot}/config/appsettings"),
                json!({"properties": {}}),
            )
            .status
    };
    assert_eq!((change(""), change("/slots/staging")), (200, 409));
    assert_eq!(
        story
            .ask(Method::POST, "/slots/staging/resetSlotConfig", Value::Null)
            .status,
        200
    );
    assert_eq!(change("/slots/staging"), 200);
    story.pass(600);
    assert_eq!(story.image(PRODUCTION), V1);
}

#[test]
fn a_swap_that_hangs_can_be_called_off_unless_the_platform_refuses() {
    let story = Story::with(|_| {});
    story.tenant.behave(V2, Behaviour::NeverReady);
    story.release(V2);
    let location = story.begin_swap();
    story.pass(60);
    assert_eq!(
        story
            .ask(Method::POST, "/slots/staging/resetSlotConfig", Value::Null)
            .status,
        200
    );
    assert_eq!(story.poll(&location).status, 409);
    assert_eq!(
        story.ask(Method::PATCH, "/slots/staging", json!({"tags": {}})).status,
        200
    );

    story.tenant.refuse_resets();
    story.begin_swap();
    story.pass(60);
    assert_eq!(
        story
            .ask(Method::POST, "/slots/staging/resetSlotConfig", Value::Null)
            .status,
        409
    );
}

#[test]
fn preview_is_refused_where_a_slot_has_site_authentication() {
    let story = Story::with(|_| {});
    story.tenant.authenticate("shop", "staging", true);
    let told = story.ask(Method::POST, "/applySlotConfig", pair());
    assert_eq!(told.status, 409);
    assert!(told.text.contains("site authentication enabled"), "{}", told.text);
    assert_eq!(
        story.get("/slots/staging/config/authsettingsV2")["properties"]["platform"]["enabled"],
        true
    );
}

#[test]
fn lowering_a_percentage_leaves_pinned_clients_for_an_hour() {
    let story = Story::with(|_| {});
    story.pass(3601);
    assert_eq!(story.ramp(25.0).status, 200);
    story.pass(3601);
    let pinned = |story: &Story| story.standing().slot("staging").unwrap().pinned;
    assert!((pinned(&story) - 25.0).abs() < 0.5, "{}", pinned(&story));
    assert_eq!(story.ramp(0.0).status, 200);
    story.pass(60);
    assert!((story.standing().share_of(V1) - 100.0).abs() < f64::EPSILON);
    assert!((pinned(&story) - 25.0).abs() < 0.5, "still there: {}", pinned(&story));
    story.pass(3600);
    assert!(pinned(&story) < f64::EPSILON, "{}", pinned(&story));
}

#[test]
fn rules_that_cannot_be_are_refused() {
    let story = Story::with(|_| {});
    for percentage in [-0.01, 100.01] {
        assert_eq!(story.ramp(percentage).status, 400, "{percentage}");
    }
    let unknown = json!([{"name": "x", "actionHostName": "other.azurewebsites.net", "reroutePercentage": 1.0}]);
    let body = json!({"properties": {"experiments": {"rampUpRules": unknown}}});
    assert_eq!(story.ask(Method::PATCH, "/config/web", body).status, 400);
    assert_eq!(story.ramp(33.33).status, 200);
    let rules = &story.get("/config/web")["properties"]["experiments"]["rampUpRules"];
    assert_eq!(rules[0]["reroutePercentage"], 33.33);
}

#[test]
fn a_user_is_pinned_by_a_cookie() {
    let story = Story::with(|_| {});
    story.release(V2);
    story.ramp(100.0);
    story.pass(15);
    let visit = |cookie: Option<&str>| {
        let mut headers = HeaderMap::new();
        headers.insert("host", "shop.azurewebsites.net".parse().unwrap());
        if let Some(cookie) = cookie {
            headers.insert("cookie", cookie.parse().unwrap());
        }
        told(
            story
                .tenant
                .answer(&Asked::new(Method::GET, "/", headers, Bytes::new())),
        )
    };
    let first = visit(None);
    assert_eq!(first.text, V2);
    assert!(
        first.headers["set-cookie"]
            .to_str()
            .unwrap()
            .starts_with("x-ms-routing-name=staging; Max-Age=3600")
    );
    story.ramp(0.0);
    assert_eq!(visit(Some("x-ms-routing-name=staging")).text, V2);
    assert_eq!(visit(Some("x-ms-routing-name=self")).text, V1);
    assert_eq!(visit(None).text, V1);
}

#[test]
fn who_does_not_say_a_version_or_has_no_token_is_turned_away() {
    let story = Story::with(|_| {});
    let told = story.ask_as_is(Method::GET, SITE, Value::Null);
    assert_eq!(
        (told.status, told.body["error"]["code"].as_str()),
        (400, Some("MissingApiVersionParameter"))
    );
    let path = format!("{SITE}?api-version=2025-05-01");
    let reply = story
        .tenant
        .answer(&Asked::new(Method::GET, &path, HeaderMap::new(), Bytes::new()));
    assert_eq!(reply.status, 401);
    let told = story.ask(Method::GET, "/slots/blue", Value::Null);
    assert_eq!(
        (told.status, told.body["error"]["code"].as_str()),
        (404, Some("ResourceNotFound"))
    );
    assert_eq!(story.ask(Method::GET, "/slots/production", Value::Null).status, 404);
}

#[test]
fn tags_are_written_by_their_own_resource_even_during_a_swap() {
    let story = Story::with(|_| {});
    let path = format!("{SITE}/providers/Microsoft.Resources/tags/default?api-version=2021-04-01");
    let merge = |tags: Value| {
        story.ask_as_is(
            Method::PATCH,
            &path,
            json!({"operation": "Merge", "properties": {"tags": tags}}),
        )
    };
    assert_eq!(merge(json!({"long": "x".repeat(257)})).status, 400);
    assert_eq!(merge(json!({"a/b": "1"})).status, 400);
    assert_eq!(merge(json!({"a": "1"})).status, 200);
    story.begin_swap();
    assert_eq!(
        merge(json!({"b": "2"})).body["properties"]["tags"],
        json!({"a": "1", "b": "2"})
    );
    story.pass(60);
    assert_eq!(
        story.get("")["tags"],
        json!({"a": "1", "b": "2"}),
        "tags stay with their slot"
    );
    assert!(story.get("/slots/staging")["tags"].as_object().unwrap().is_empty());
}

#[test]
fn differences_are_told_by_the_names_of_their_rules() {
    let story = Story::with(|site| site.sticky = vec!["DATABASE".into()]);
    story
        .tenant
        .set("shop", "staging", &[("DATABASE", "test"), ("NEW", "1")]);
    story.release(V2);
    let told = story.ask(
        Method::POST,
        "/slots/staging/slotsdiffs",
        json!({"targetSlot": "production", "preserveVnet": true}),
    );
    let rules: Vec<_> = told.body["value"]
        .as_array()
        .unwrap()
        .iter()
        .map(|difference| {
            let properties = &difference["properties"];
            (
                properties["settingName"].as_str().unwrap(),
                properties["diffRule"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        rules,
        [
            ("DATABASE", "SlotSettingsMissing"),
            ("NEW", "SettingsWillBeAddedToDestination"),
            ("linuxFxVersion", "SettingsWillBeModifiedInDestination"),
        ]
    );
}

#[test]
fn a_day_that_passes_at_once_is_the_same_as_one_that_passes_by_the_second() {
    let day = |steps: u32| {
        let story = Story::with(|_| {});
        story.release(V2);
        assert_eq!(story.ramp(25.0).status, 200);
        let step = Duration::from_secs(86_400) / steps;
        for _ in 0..steps {
            story.tenant.advance(step);
        }
        assert_eq!(story.ask(Method::POST, "/applySlotConfig", pair()).status, 200);
        story.pass(3600);
        let location = story.begin_swap();
        story.pass(3600);
        assert_eq!(story.poll(&location).status, 200);
        (
            story.image(PRODUCTION),
            story.standing().slot("staging").unwrap().pinned,
        )
    };
    let (image, pinned) = day(1);
    assert_eq!(image, V2);
    assert!((pinned - 25.0).abs() < 0.5, "{pinned}");
    assert_eq!(day(5_000), (image, pinned));
}
