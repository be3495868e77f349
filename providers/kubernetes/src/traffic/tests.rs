//! What holds for every share and every shape of route: what is written reads back, and the rest of an object stays as it was.

use std::collections::BTreeMap;

use meridian_workflows::share::Share;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use serde_json::{Value, json};

use super::istio_routes;
use super::istio_sides::{Candidate, Sides};
use super::{Arm, Arms, Split, http_rules, mechanism};
use crate::settings::{Settings, Strategy as Plan, Traffic};

/// Two versions of `payments`.
pub fn arms() -> Arms {
    let arm = |deployment: &str| Arm {
        deployment: deployment.to_owned(),
        labels: BTreeMap::from([("app".to_owned(), deployment.to_owned())]),
        pods: BTreeMap::from([
            ("app".to_owned(), deployment.to_owned()),
            ("tier".to_owned(), "web".to_owned()),
        ]),
        hash: Some("7d9".to_owned()),
        ready: 3,
        ports: BTreeMap::new(),
    };
    Arms {
        workload: "payments".to_owned(),
        suffix: "candidate".to_owned(),
        baseline: arm("payments"),
        candidate: arm("payments-candidate"),
        mark: None,
    }
}

fn share(points: u16) -> Share {
    Share::from_basis_points(points).unwrap()
}

fn traffic(points: u16) -> Split {
    Split {
        share: share(points),
        ..Split::none()
    }
}

fn shadow(points: u16) -> Split {
    Split {
        mirror: share(points),
        ..Split::none()
    }
}

fn audience(key: &str, text: &str) -> Split {
    Split {
        audience: BTreeMap::from([(key.to_owned(), text.to_owned())]),
        ..Split::none()
    }
}

fn any_split(step: u16) -> impl Strategy<Value = Split> {
    prop_oneof![
        (0..=10_000 / step).prop_map(move |part| traffic(part * step)),
        (1..=10_000_u16).prop_map(shadow),
        Just(audience("header", "x-canary: always")),
        Just(audience("cookie", "canary=a.b")),
        Just(audience("tenants", "acme,initech")),
    ]
}

/// An HTTPRoute as an API server hands it out, defaults filled in.
fn http_route(weight: Value, extra: bool) -> Value {
    let reference = |name: &str, weight: &Value| {
        let mut reference = json!({"group": "", "kind": "Service", "name": name, "port": 80});
        if !weight.is_null() {
            reference["weight"] = weight.clone();
        }
        reference
    };
    let path = |value: &str| json!([{"path": {"type": "PathPrefix", "value": value}}]);
    let mut rules = vec![
        json!({"name": "main", "matches": path("/pay"), "backendRefs": [reference("payments", &weight)], "timeouts": {"request": "5s"},
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": "y"}]}}]}),
    ];
    if extra {
        rules.insert(
            0,
            json!({"matches": path("/other"), "backendRefs": [reference("other", &json!(1))]}),
        );
        rules.push(
            json!({"matches": path("/"), "backendRefs": [reference("payments", &json!(5))], "unknownToUs": {"a": [1]}}),
        );
        rules.push(json!({"matches": path("/old"), "filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": "x"}}]}));
    }
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "payments", "resourceVersion": "7"},
        "spec": {"parentRefs": [{"name": "gateway"}], "hostnames": ["shop.example.com"], "rules": rules}, "status": {"parents": []}})
}

fn http_sides(route: &Value, rule: Option<&str>) -> http_rules::Sides {
    http_rules::Sides {
        tenant_header: "x-tenant".to_owned(),
        ..http_rules::Sides::of(route, "payments", "candidate", rule, Some("payments")).unwrap()
    }
}

/// A VirtualService with routes of several teams.
fn virtual_service(weight: Value, host: &str, extra: bool) -> Value {
    let to = |host: &str, weight: &Value| {
        let mut to = json!({"destination": {"host": host, "port": {"number": 80}}});
        if !weight.is_null() {
            to["weight"] = weight.clone();
        }
        to
    };
    let mut routes = vec![
        json!({"name": "primary", "match": [{"uri": {"prefix": "/pay"}}, {"uri": {"exact": "/p"}, "headers": {"a": {"exact": "b"}}}],
        "route": [to(host, &weight)], "retries": {"attempts": 3}}),
    ];
    if extra {
        routes.insert(
            0,
            json!({"match": [{"uri": {"prefix": "/other"}}], "route": [to("other", &Value::Null)]}),
        );
        routes.push(json!({"route": [to(host, &Value::Null)], "unknownToUs": true}));
        routes.push(json!({"match": [{"uri": {"prefix": "/old"}}], "redirect": {"uri": "/new"}}));
    }
    json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "payments", "resourceVersion": "7"},
        "spec": {"hosts": ["payments"], "gateways": ["mesh"], "http": routes, "tcp": [{"route": [to("db", &Value::Null)]}]}})
}

fn istio_sides(subsets: bool, routes: &[&str]) -> Sides {
    Sides {
        workload: "payments".to_owned(),
        namespace: "shop".to_owned(),
        routes: routes.iter().map(|name| (*name).to_owned()).collect(),
        service: "payments".to_owned(),
        candidate: if subsets {
            Candidate::Subset {
                baseline: "baseline".to_owned(),
                candidate: "candidate".to_owned(),
            }
        } else {
            Candidate::Host("payments-candidate".to_owned())
        },
        tenant_header: "x-tenant".to_owned(),
    }
}

#[test]
fn every_share_of_an_http_route_reads_back_and_sums_up() {
    let before = http_route(json!(1), true);
    let sides = http_sides(&before, None);
    let mut route = before.clone();
    for points in 0..=10_000 {
        http_rules::write(&mut route, &sides, &traffic(points)).unwrap();
        assert_eq!(http_rules::read(&route, &sides).unwrap().split, traffic(points));
        let once = route.clone();
        http_rules::write(&mut route, &sides, &traffic(points)).unwrap();
        assert_eq!(route, once, "a second write changes nothing");
        let refs = route["spec"]["rules"][1]["backendRefs"].as_array().unwrap();
        let sum: u64 = refs.iter().map(|one| one["weight"].as_u64().unwrap()).sum();
        assert!(points == 0 || [100, 1000, 10_000].contains(&sum));
    }
    http_rules::restore(&mut route, &sides);
    assert_eq!(route, before);
}

#[test]
fn every_whole_percent_of_a_virtual_service_reads_back_and_sums_up_to_a_hundred() {
    for subsets in [false, true] {
        let before = virtual_service(Value::Null, "payments.shop.svc.cluster.local", true);
        let sides = istio_sides(subsets, &[]);
        let mut service = before.clone();
        for points in (0..=10_000).step_by(100) {
            istio_routes::write(&mut service, &sides, &traffic(points)).unwrap();
            assert_eq!(istio_routes::read(&service, &sides).unwrap().split, traffic(points));
            let all = service["spec"]["http"][1]["route"].as_array().unwrap();
            let sum: u64 = all.iter().filter_map(|one| one["weight"].as_u64()).sum();
            assert!(points == 0 || sum == 100);
        }
        assert!(
            istio_routes::write(&mut service, &sides, &traffic(50))
                .unwrap_err()
                .contains("whole percents")
        );
        istio_routes::restore(&mut service, &sides);
        assert_eq!(service, before);
    }
}

proptest! {
    #[test]
    fn any_climb_over_an_http_route_leaves_nothing_behind(
        climb in proptest::collection::vec(any_split(1), 1..6),
        weight in prop_oneof![Just(Value::Null), (1..1000_u32).prop_map(|weight| json!(weight))],
        extra in any::<bool>(),
        named in any::<bool>(),
    ) {
        let before = http_route(weight, extra);
        let sides = http_sides(&before, named.then_some("main"));
        let mut route = before.clone();
        for split in climb {
            http_rules::write(&mut route, &sides, &split).unwrap();
            assert_eq!(http_rules::read(&route, &sides).unwrap().split, split);
            let once = route.clone();
            http_rules::write(&mut route, &sides, &split).unwrap();
            assert_eq!(route, once);
        }
        http_rules::restore(&mut route, &sides);
        assert_eq!(route, before);
    }

    #[test]
    fn any_climb_over_a_virtual_service_leaves_nothing_behind(
        climb in proptest::collection::vec(any_split(100), 1..6),
        weight in prop_oneof![Just(Value::Null), Just(json!(100))],
        host in prop_oneof![Just("payments"), Just("payments.shop.svc.cluster.local"), Just("payments.shop.svc.eu.example")],
        extra in any::<bool>(),
        subsets in any::<bool>(),
        named in any::<bool>(),
    ) {
        let before = virtual_service(weight, host, extra);
        let sides = istio_sides(subsets, if named { &["primary"] } else { &[] });
        let mut service = before.clone();
        for split in climb {
            istio_routes::write(&mut service, &sides, &split).unwrap();
            assert_eq!(istio_routes::read(&service, &sides).unwrap().split, split);
            let once = service.clone();
            istio_routes::write(&mut service, &sides, &split).unwrap();
            assert_eq!(service, once);
        }
        istio_routes::restore(&mut service, &sides);
        assert_eq!(service, before);
    }
}

#[test]
fn an_audience_stands_above_its_route_and_a_mirror_is_no_destination() {
    let sides = istio_sides(false, &["primary"]);
    let mut service = virtual_service(Value::Null, "payments", false);
    istio_routes::write(&mut service, &sides, &audience("cookie", "canary=always")).unwrap();
    let above = &service["spec"]["http"][0];
    assert_eq!(
        above["route"],
        json!([{"destination": {"host": "payments-candidate", "port": {"number": 80}}}])
    );
    assert_eq!(
        above["match"][1]["headers"],
        json!({"a": {"exact": "b"}, "cookie": {"regex": "^(.*; *)?canary=always(;.*)?$"}})
    );
    assert_eq!(above["retries"], json!({"attempts": 3}));
    assert_eq!(service["spec"]["http"][1]["name"], "primary");
    istio_routes::write(&mut service, &sides, &shadow(1250)).unwrap();
    let primary = &service["spec"]["http"][0];
    assert_eq!(
        primary["route"],
        json!([{"destination": {"host": "payments", "port": {"number": 80}}}])
    );
    assert_eq!(
        primary["mirror"],
        json!({"host": "payments-candidate", "port": {"number": 80}})
    );
    assert_eq!(primary["mirrorPercentage"], json!({"value": 12.5}));

    let mut route = http_route(json!(1), false);
    let sides = http_sides(&route, None);
    http_rules::write(&mut route, &sides, &shadow(10_000)).unwrap();
    let rule = &route["spec"]["rules"][0];
    assert_eq!(
        rule["backendRefs"].as_array().unwrap().len(),
        1,
        "answers come from the baseline alone"
    );
    let mirror = json!({"backendRef": {"group": "", "kind": "Service", "name": "payments-candidate", "port": 80}});
    assert_eq!(
        rule["filters"][1],
        json!({"type": "RequestMirror", "requestMirror": mirror})
    );
    http_rules::write(&mut route, &sides, &audience("tenants", "acme,initech")).unwrap();
    let above = &route["spec"]["rules"][0];
    assert_eq!(
        above["matches"][1]["headers"],
        json!([{"type": "Exact", "name": "x-tenant", "value": "initech"}])
    );
    assert_eq!(above["matches"][1]["path"]["value"], "/pay");
    assert_eq!(above.get("name"), None, "names are one rule's alone");
    assert_eq!(
        above["filters"].as_array().unwrap().len(),
        1,
        "nothing is mirrored to where it goes anyway"
    );
}

#[test]
fn shapes_that_are_not_understood_are_refused_with_their_place() {
    let sides = istio_sides(false, &["primary"]);
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut service = virtual_service(Value::Null, "payments", false);
        change(&mut service);
        istio_routes::read(&service, &sides).err().unwrap()
    };
    assert!(
        refused(&|service| service["spec"]["http"][0]["name"] = json!("main"))
            .contains("no HTTP route named `primary`")
    );
    let third = json!({"destination": {"host": "legacy"}, "weight": 10});
    assert!(
        refused(&|service| service["spec"]["http"][0]["route"]
            .as_array_mut()
            .unwrap()
            .push(third.clone()))
        .contains("sends to `legacy` beside Service `payments`")
    );
    assert!(refused(&|service| service["spec"]["http"][0]["redirect"] = json!({"uri": "/"})).contains("`redirect`"));
    assert!(
        refused(&|service| service["spec"]["tls"] = json!([{"route": [{"destination": {"host": "payments"}}]}]))
            .contains("`spec.tls`")
    );
    assert!(refused(&|service| service["spec"]["http"] = json!({})).contains("no list"));
    let mut mirrored = virtual_service(Value::Null, "payments", false);
    mirrored["spec"]["http"][0]["mirror"] = json!({"host": "recorder"});
    assert!(
        istio_routes::write(&mut mirrored, &sides, &shadow(100))
            .unwrap_err()
            .contains("somebody else")
    );

    let mut route = http_route(json!(1), false);
    let refs = route["spec"]["rules"][0]["backendRefs"].as_array_mut().unwrap();
    refs.push(json!({"name": "legacy", "port": 80}));
    assert!(
        http_rules::read(&route, &http_sides(&route, None))
            .err()
            .unwrap()
            .contains("sends to `legacy`")
    );
    let several = http_rules::Sides::of(&http_route(json!(1), true), "payments", "candidate", None, None);
    assert!(several.unwrap_err().contains("(other, payments)"));
}

#[test]
fn a_route_that_others_have_bent_gives_the_candidates_part_back_and_keeps_theirs() {
    let third = json!({"name": "legacy", "port": 80, "weight": 25});
    let before = http_route(json!(1), true);
    let sides = http_sides(&before, Some("main"));
    for split in [
        traffic(5000),
        traffic(10_000),
        shadow(5000),
        audience("header", "x-canary: always"),
    ] {
        let mut route = before.clone();
        http_rules::write(&mut route, &sides, &split).unwrap();
        for rule in route["spec"]["rules"].as_array_mut().unwrap() {
            if rule["backendRefs"][0]["name"] == "payments" {
                rule["backendRefs"].as_array_mut().unwrap().push(third.clone());
            }
        }
        // The rule has another name now, too.
        for rule in route["spec"]["rules"].as_array_mut().unwrap() {
            if rule["name"] == "main" {
                rule["name"] = json!("first");
            }
        }
        assert!(http_rules::read(&route, &sides).is_err(), "no share could be kept");
        let most = http_rules::exposure(&route, &sides);
        assert!(!most.is_none() && most.share <= split.share, "{split:?}: {most:?}");
        http_rules::clear(&mut route, &sides);
        assert!(http_rules::exposure(&route, &sides).is_none(), "{split:?}");
        let refs = route["spec"]["rules"][1]["backendRefs"].as_array().unwrap().clone();
        assert!(refs.contains(&third), "{refs:?}");
        let serving = refs.iter().find(|one| one["name"] == "payments").unwrap();
        assert!(
            serving["weight"].as_u64().is_none_or(|weight| weight > 0),
            "the baseline serves again"
        );
        http_rules::restore(&mut route, &sides);
        assert!(!route.to_string().contains("payments-candidate"), "{route}");
        assert!(
            route["spec"]["rules"][1]["backendRefs"]
                .as_array()
                .unwrap()
                .contains(&third)
        );
    }

    let third = json!({"destination": {"host": "legacy"}, "weight": 0});
    for (subsets, split) in [
        (false, traffic(5000)),
        (true, traffic(10_000)),
        (true, shadow(5000)),
        (false, audience("cookie", "canary=always")),
    ] {
        let before = virtual_service(Value::Null, "payments", true);
        let sides = istio_sides(subsets, &["primary"]);
        let mut service = before.clone();
        istio_routes::write(&mut service, &sides, &split).unwrap();
        for route in service["spec"]["http"].as_array_mut().unwrap() {
            if route["name"] == "primary" {
                route["route"].as_array_mut().unwrap().push(third.clone());
                route["name"] = json!("first");
            }
        }
        assert!(istio_routes::read(&service, &sides).is_err());
        assert!(!istio_routes::exposure(&service, &sides).is_none(), "{split:?}");
        istio_routes::clear(&mut service, &sides);
        assert!(istio_routes::exposure(&service, &sides).is_none(), "{split:?}");
        let first = |service: &Value| {
            let routes = service["spec"]["http"].as_array().unwrap();
            routes.iter().find(|route| route["name"] == "first").unwrap()["route"].clone()
        };
        let all = first(&service).as_array().unwrap().clone();
        assert!(all.contains(&third), "{all:?}");
        if !split.share.is_zero() {
            let sum: u64 = all.iter().map(|one| one["weight"].as_u64().unwrap()).sum();
            assert_eq!(sum, 100, "{all:?}");
        }
        istio_routes::restore(&mut service, &sides);
        let text = service.to_string();
        assert!(!text.contains("candidate") && !text.contains("subset"), "{text}");
        assert!(first(&service).as_array().unwrap().contains(&third));
    }
}

#[test]
fn a_split_of_nothing_names_no_subset_where_the_candidate_does_not_stand() {
    let before = virtual_service(Value::Null, "payments", true);
    let sides = istio_sides(true, &[]);
    let mut service = before.clone();
    istio_routes::clear(&mut service, &sides);
    assert_eq!(service, before, "the subsets went with the release before");
    istio_routes::write(&mut service, &sides, &traffic(5000)).unwrap();
    istio_routes::clear(&mut service, &sides);
    assert!(istio_routes::exposure(&service, &sides).is_none());
    assert!(
        service.to_string().contains(r#""subset":"baseline""#),
        "joined pods stand beside still"
    );
}

#[test]
fn rules_that_others_put_into_another_order_get_their_own_weights_back() {
    let rules = |first: u32, second: u32| {
        let rule = |path: &str, weight: u32| {
            json!({"matches": [{"path": {"type": "PathPrefix", "value": path}}], "backendRefs": [
                {"group": "", "kind": "Service", "name": "payments", "port": 80, "weight": weight}]})
        };
        (rule("/a", first), rule("/b", second))
    };
    let (a, b) = rules(7, 9);
    let mut route = http_route(json!(1), false);
    route["spec"]["rules"] = json!([a, b]);
    let sides = http_sides(&route, None);
    http_rules::write(&mut route, &sides, &traffic(2000)).unwrap();
    route["spec"]["rules"].as_array_mut().unwrap().reverse();
    http_rules::restore(&mut route, &sides);
    assert_eq!(route["spec"]["rules"], json!([b, a]));

    let mut service = virtual_service(json!(100), "payments", false);
    let mut second = service["spec"]["http"][0].clone();
    second["name"] = json!("second");
    second["route"][0]["weight"] = Value::Null;
    second["route"][0].as_object_mut().unwrap().remove("weight");
    service["spec"]["http"].as_array_mut().unwrap().push(second);
    let before = service["spec"]["http"].as_array().unwrap().clone();
    let sides = istio_sides(false, &[]);
    istio_routes::write(&mut service, &sides, &traffic(2000)).unwrap();
    service["spec"]["http"].as_array_mut().unwrap().reverse();
    istio_routes::restore(&mut service, &sides);
    assert_eq!(service["spec"]["http"], json!([before[1], before[0]]));
}

#[test]
fn a_service_of_the_same_name_in_another_namespace_is_somebody_elses() {
    let mut route = http_route(json!(1), false);
    route["metadata"]["namespace"] = json!("shop");
    let own = json!({"name": "payments", "namespace": "shop", "port": 80});
    route["spec"]["rules"][0]["backendRefs"] = json!([own]);
    let sides = http_sides(&route, None);
    assert!(http_rules::read(&route, &sides).is_ok());
    let other = json!({"name": "payments", "namespace": "elsewhere", "port": 80});
    route["spec"]["rules"][0]["backendRefs"]
        .as_array_mut()
        .unwrap()
        .push(other);
    let why = http_rules::read(&route, &sides).err().unwrap();
    assert!(why.contains("beside Service `payments`"), "{why}");
}

#[test]
fn what_others_change_meanwhile_is_seen() {
    let mut route = http_route(json!(1), true);
    let sides = http_sides(&route, None);
    http_rules::write(&mut route, &sides, &traffic(1000)).unwrap();
    // A tool reverts one of two rules.
    route["spec"]["rules"][1]["backendRefs"] =
        json!([{"group": "", "kind": "Service", "name": "payments", "port": 80, "weight": 1}]);
    let shown = http_rules::read(&route, &sides).unwrap();
    assert_eq!(shown.split, traffic(1000), "the largest share is the exposure");
    let mut again = route.clone();
    http_rules::write(&mut again, &sides, &shown.split).unwrap();
    assert_ne!(
        again["spec"], route["spec"],
        "which is how a difference between rules shows"
    );
}

#[test]
fn every_mechanism_refuses_before_anything_opens_what_its_capabilities_deny() {
    for settings in [
        json!({"istio": {"virtualService": "a"}}),
        json!({"httpRoute": {"name": "a"}}),
        json!({"nginx": {"ingress": "a"}}),
        json!({"smi": {"service": "a"}}),
        json!({"alb": {"ingress": "a", "service": "b"}}),
        json!({"pods": {}}),
    ] {
        let read = Settings::read(&json!({"workload": "deployment/payments", "traffic": settings})).unwrap();
        let Plan::Canary(traffic) = read.strategy else {
            panic!("{settings} is a canary");
        };
        let traffic: &Traffic = &traffic;
        let (mechanism, can) = (mechanism(traffic), super::capabilities(traffic));
        assert_eq!(
            mechanism.refusal(&shadow(10_000)).is_none(),
            can.mirroring,
            "{settings}"
        );
        assert_eq!(
            mechanism.refusal(&audience("header", "a: b")).is_none(),
            !can.audiences.keys.is_empty(),
            "{settings}"
        );
        assert!(!can.remarks.is_empty() && can.remarks.iter().all(|remark| remark.ends_with('.')));
        for points in 0..=10_000 {
            let fits = meridian_workflows::capability::lack(
                &can,
                &meridian_workflows::workflow::Exposure::Traffic(share(points)),
            )
            .is_none();
            assert_eq!(
                mechanism
                    .refusal(&super::Split {
                        share: share(points),
                        ..Split::none()
                    })
                    .is_none(),
                fits,
                "{settings} {points}"
            );
        }
    }
}
