//! Weights that Meridian writes reach a real proxy, and users' requests follow: an HTTPRoute from the API server, read by a
//! translation of this test's own into an nginx configuration, and two small backends that count.
//!
//! Bounds: of n requests at a share p the candidate's count is binomial; six standard deviations miss once in 500 million runs.
//! At 0% and 100% the count is exact.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use meridian_kubernetes::traffic::Split;
use meridian_workflows::share::Share;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};

use crate::stage::Stage;
use crate::traffic::{
    HTTP_ROUTES, arms, fence, given, http_route_of_one_rule, mechanism_of, prepared, service, traffic,
};

const REQUESTS: u64 = 2000;

/// nginx in front of two backends; everything on sockets in one folder.
struct Proxy {
    dir: tempfile::TempDir,
    process: Child,
    generation: u32,
    baseline: Arc<AtomicU64>,
    candidate: Arc<AtomicU64>,
}

impl Proxy {
    /// None where this machine has no nginx.
    fn start() -> Option<Proxy> {
        let found = Command::new("nginx")
            .arg("-v")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if !found.is_ok_and(|status| status.success()) {
            eprintln!("skipped: no nginx on this machine, so nothing was measured (Debian's package is nginx-light)");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let baseline = backend(dir.path(), "payments");
        let candidate = backend(dir.path(), "payments-candidate");
        std::fs::write(dir.path().join("nginx.conf"), configuration(dir.path(), 0, "")).unwrap();
        let mut process = nginx(dir.path());
        let process = process.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Some(Proxy {
            dir,
            process,
            generation: 0,
            baseline,
            candidate,
        })
    }

    /// Takes a route up, as a gateway's controller does.
    async fn take_up(&mut self, route: &Value) {
        drop(self.connection().await);
        self.generation += 1;
        let text = configuration(self.dir.path(), self.generation, &translated(route));
        std::fs::write(self.dir.path().join("nginx.conf"), text).unwrap();
        assert!(
            nginx(self.dir.path())
                .args(["-s", "reload"])
                .status()
                .unwrap()
                .success()
        );
    }

    /// A connection to a worker of the newest configuration: one connection is one worker's, and one worker has one configuration.
    async fn connection(&self) -> SendRequest<Empty<Bytes>> {
        for _ in 0..2000 {
            if let Some(mut connection) = self.connect().await
                && ask(&mut connection, "/generation", None).await == Some(self.generation.to_string())
            {
                return connection;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("nginx never took configuration {} up", self.generation);
    }

    async fn connect(&self) -> Option<SendRequest<Empty<Bytes>>> {
        let stream = UnixStream::connect(self.dir.path().join("front")).await.ok()?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }

    /// How many of so many requests the candidate answered. A worker that leaves closes idle connections: as any client does, this
    /// one opens another then.
    async fn answers(&self, requests: u64, mark: Option<(&str, &str)>) -> u64 {
        let (mut connection, mut candidate, mut answered, mut lost) = (None, 0, 0, 0);
        while answered < requests {
            let open = match &mut connection {
                Some(open) => open,
                None => connection.insert(self.connection().await),
            };
            match ask(open, "/pay", mark).await.as_deref() {
                Some("payments-candidate") => candidate += 1,
                Some("payments") => {}
                Some(other) => panic!("nobody answers {other}"),
                None => {
                    lost += 1;
                    assert!(lost < 5, "nginx closes every connection");
                    connection = None;
                    continue;
                }
            }
            answered += 1;
        }
        candidate
    }

    /// Requests that reached each backend since the last look, answered to users or not.
    fn reached(&self) -> (u64, u64) {
        (
            self.baseline.swap(0, Ordering::SeqCst),
            self.candidate.swap(0, Ordering::SeqCst),
        )
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = nginx(self.dir.path())
            .args(["-s", "stop"])
            .stderr(Stdio::null())
            .status();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn nginx(dir: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf"));
    command
}

async fn ask(connection: &mut SendRequest<Empty<Bytes>>, path: &str, mark: Option<(&str, &str)>) -> Option<String> {
    connection.ready().await.ok()?;
    let mut request = Request::get(path).header("host", "shop.example.com");
    if let Some((name, value)) = mark {
        request = request.header(name, value);
    }
    let answer = connection
        .send_request(request.body(Empty::new()).unwrap())
        .await
        .ok()?;
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some(String::from_utf8_lossy(&body).into_owned())
}

/// A backend that answers with its name and counts.
fn backend(dir: &Path, name: &'static str) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counted = count.clone();
    let answer = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async move { name }
    };
    let listener = UnixListener::bind(dir.join(name)).unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    count
}

fn configuration(dir: &Path, generation: u32, http: &str) -> String {
    let at = |name: &str| -> PathBuf { dir.join(name) };
    let (pid, log, front) = (at("pid"), at("error.log"), at("front"));
    let user = if is_root() { "user root;" } else { "" };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {};\n", at(kind).display()))
        .collect();
    let backends: String = ["payments", "payments-candidate"]
        .iter()
        .map(|name| format!("upstream {name} {{ server unix:{}; }}\n", at(name).display()))
        .collect();
    let (http, locations) = http.split_once("\n---\n").unwrap_or(("", ""));
    format!(
        "{user} daemon off; worker_processes 1; pid {}; error_log {};\nevents {{}}\nhttp {{ access_log off; keepalive_requests 1000000;\n\
         {temporary}{backends}{http}\nserver {{ listen unix:{};\nlocation = /generation {{ return 200 {generation}; }}\n{locations} }}\n}}\n",
        pid.display(),
        log.display(),
        front.display(),
    )
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0")))
}

/// What a gateway would make of an HTTPRoute whose rules have one path: rules with header matches first, then weights by chance.
/// Written after the standard's text alone, and knowing nothing of how Meridian writes.
fn translated(route: &Value) -> String {
    let (mut http, mut locations) = (String::new(), String::new());
    let rules = route["spec"]["rules"].as_array().unwrap();
    let (marked, plain): (Vec<&Value>, Vec<&Value>) = rules
        .iter()
        .partition(|rule| rule["matches"][0].get("headers").is_some());
    let [rule] = plain.as_slice() else {
        panic!("one rule without headers");
    };
    http.push_str(&split("chosen_0", &weights(rule)));
    for (at, rule) in marked.iter().enumerate() {
        let (before, after) = (format!("chosen_{at}"), format!("chosen_{}", at + 1));
        http.push_str(&split(&format!("marked_{at}"), &weights(rule)));
        let mut sources = String::new();
        for (number, one) in rule["matches"].as_array().unwrap().iter().enumerate() {
            let header = &one["headers"][0];
            let name = header["name"].as_str().unwrap().to_lowercase().replace('-', "_");
            let value = header["value"].as_str().unwrap();
            let test = if header["type"] == "RegularExpression" {
                format!("\"~{value}\"")
            } else {
                format!("\"{value}\"")
            };
            http.push_str(&format!(
                "map $http_{name} $is_{at}_{number} {{ default \"\"; {test} 1; }}\n"
            ));
            sources.push_str(&format!("$is_{at}_{number}"));
        }
        http.push_str(&format!(
            "map \"{sources}\" ${after} {{ default $marked_{at}; \"\" ${before}; }}\n"
        ));
    }
    let mirror = rule["filters"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|filter| filter["type"] == "RequestMirror");
    let mut mirrored = "";
    if let Some(mirror) = mirror.map(|filter| &filter["requestMirror"]) {
        let part = match (mirror["percent"].as_f64(), mirror["fraction"]["numerator"].as_f64()) {
            (Some(percent), _) => percent,
            (None, Some(numerator)) => numerator * 100.0 / mirror["fraction"]["denominator"].as_f64().unwrap_or(100.0),
            (None, None) => 100.0,
        };
        let to = mirror["backendRef"]["name"].as_str().unwrap();
        http.push_str(&split(
            "mirrors",
            &[("yes".to_owned(), part), ("no".to_owned(), 100.0 - part)],
        ));
        mirrored = "mirror /mirrored;";
        locations.push_str(&format!(
            "location = /mirrored {{ internal; if ($mirrors = no) {{ return 204; }} proxy_pass http://{to}; }}\n"
        ));
    }
    locations.push_str(&format!(
        "location / {{ {mirrored} proxy_pass http://$chosen_{}; }}\n",
        marked.len()
    ));
    format!("{http}\n---\n{locations}")
}

/// Backends of a rule with their part in percent.
fn weights(rule: &Value) -> Vec<(String, f64)> {
    let refs = rule["backendRefs"].as_array().unwrap();
    let weight = |one: &Value| one["weight"].as_f64().unwrap_or(1.0);
    let sum: f64 = refs.iter().map(weight).sum();
    refs.iter()
        .map(|one| (one["name"].as_str().unwrap().to_owned(), weight(one) * 100.0 / sum))
        .collect()
}

/// A variable that chance gives one of these values. nginx refuses a part of nothing, and the last takes what is left.
fn split(variable: &str, parts: &[(String, f64)]) -> String {
    let parts: Vec<&(String, f64)> = parts.iter().filter(|(_, part)| *part > 0.0).collect();
    let mut lines = String::new();
    for (at, (value, part)) in parts.iter().enumerate() {
        let part = if at + 1 == parts.len() {
            "*".to_owned()
        } else {
            format!("{part:.2}%")
        };
        lines.push_str(&format!(" {part} {value};"));
    }
    format!("split_clients \"${{request_id}}{variable}\" ${variable} {{{lines} }}\n")
}

/// Whether a count lies within six standard deviations of what chance makes of the share.
fn follows(count: u64, requests: u64, share: f64) -> bool {
    #[allow(clippy::cast_precision_loss)]
    let (count, requests) = (count as f64, requests as f64);
    (count - requests * share).abs() <= 6.0 * (requests * share * (1.0 - share)).sqrt()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_follow_the_weights_through_a_real_proxy() {
    let Some(mut proxy) = Proxy::start() else {
        return;
    };
    let stage = Stage::bare("plane").await;
    let (mechanism, arms) = (
        mechanism_of(serde_json::json!({"httpRoute": {"name": "payments"}})),
        arms(),
    );
    given(&stage, &[service("payments"), http_route_of_one_rule()]).await;
    prepared(&stage, mechanism.as_ref(), &arms, fence(1)).await;
    let mut seq = 1;
    let mut write = async |split: &Split, proxy: &mut Proxy| {
        seq += 1;
        mechanism
            .write(&stage.namespace, &arms, split, fence(seq))
            .await
            .unwrap();
        let route = stage.namespace.get(&HTTP_ROUTES, "payments").await.unwrap().unwrap();
        proxy.take_up(&route).await;
        drop(proxy.connection().await);
        proxy.reached();
    };
    for points in [0, 1000, 5000, 10_000, 0] {
        write(&traffic(points), &mut proxy).await;
        let count = proxy.answers(REQUESTS, None).await;
        let share = f64::from(points) / 10_000.0;
        eprintln!(
            "{:>4} of {REQUESTS} answers are the candidate's at {}%",
            count,
            points / 100
        );
        assert!(follows(count, REQUESTS, share), "{count} of {REQUESTS} at {share}");
    }
    // Mirrored: the candidate hears every request, and no user hears the candidate.
    let shadow = Split {
        mirror: Share::FULL,
        ..Split::none()
    };
    write(&shadow, &mut proxy).await;
    assert_eq!(proxy.answers(200, None).await, 0);
    let (baseline, candidate) = proxy.reached();
    assert_eq!(baseline, 200);
    // The mirror of the last request may still be on its way.
    assert!((199..=200).contains(&candidate), "{candidate} of 200 were mirrored");
    // An audience meets the candidate, and nobody else does.
    for (key, text, mark) in [
        ("header", "x-canary: always", ("x-canary", "always")),
        ("cookie", "canary=a.b", ("cookie", "theme=dark; canary=a.b")),
        ("tenants", "acme,initech", ("x-tenant", "initech")),
    ] {
        let audience = Split {
            audience: std::collections::BTreeMap::from([(key.to_owned(), text.to_owned())]),
            ..Split::none()
        };
        write(&audience, &mut proxy).await;
        assert_eq!(proxy.answers(50, Some(mark)).await, 50, "{text}");
        assert_eq!(proxy.answers(50, None).await, 0, "{text}");
        assert_eq!(proxy.answers(50, Some((mark.0, "canary=axb"))).await, 0, "{text}");
    }
    stage.strike().await;
}

#[test]
fn the_bounds_can_be_missed() {
    assert!(follows(200, REQUESTS, 0.1) && follows(0, REQUESTS, 0.0) && follows(REQUESTS, REQUESTS, 1.0));
    for (count, share) in [(1, 0.0), (REQUESTS - 1, 1.0), (300, 0.1), (1000, 0.1), (800, 0.5)] {
        assert!(!follows(count, REQUESTS, share), "{count} at {share}");
    }
}
