//! `graphite` before graphite-web, with whisper files that the package's own library wrote, and before answers that are none.

use std::process::Command;

use jiff::Timestamp;
use meridian_engine::ports::metric::Stretch;
use meridian_workflows::duration::Duration;
use serde_json::json;

use crate::answers::{Answers, MINUTE, lasting, made, none, now, number, over, points, transient};
use crate::process::{Server, are_left_out};

/// Debian's packages belong to Debian's Python, whatever else is in the path.
const PYTHON: &str = "/usr/bin/python3";

/// Ten minutes of two series; the fourth minute back is missing, and the newest is still being filled.
const WRITE: &str = r"
import os, sys, whisper
folder, minute = sys.argv[1], int(sys.argv[2])
os.makedirs(folder + '/shop')
for name, factor in (('errors', 1.0), ('requests', 10.0)):
    path = folder + '/shop/' + name + '.wsp'
    whisper.create(path, [(60, 1440)])
    points = [(minute - back * 60, factor * (back + 1)) for back in range(10) if back != 4]
    whisper.update_many(path, points)
";

const SETTINGS: &str = r"
import os
from graphite.settings import *
HERE = os.path.dirname(os.path.abspath(__file__))
SECRET_KEY = 'for a test'
ALLOWED_HOSTS = ['*']
STORAGE_DIR = HERE
WHISPER_DIR = HERE + '/whisper'
STANDARD_DIRS = [WHISPER_DIR]
LOG_DIR = HERE
INDEX_FILE = HERE + '/index'
CARBONLINK_HOSTS = []
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': HERE + '/graphite.db'}}
TIME_ZONE = 'UTC'
";

async fn graphite() -> Option<Server> {
    if are_left_out() {
        return None;
    }
    let server = Server::start("graphite-web", "/render?target=none&format=json", |directory, port| {
        std::fs::write(directory.join("meridian_graphite.py"), SETTINGS).unwrap();
        let mut command = Command::new(PYTHON);
        command
            .args(["-m", "django", "runserver", "--noreload", &format!("127.0.0.1:{port}")])
            .env("PYTHONPATH", directory)
            .env("DJANGO_SETTINGS_MODULE", "meridian_graphite");
        command
    })
    .await;
    Some(server)
}

#[tokio::test]
async fn the_real_server_is_understood() {
    let Some(server) = graphite().await else { return };
    // Whisper keeps data by its age, so this one test needs today.
    let now = Timestamp::now();
    let minute = now.as_second() - now.as_second().rem_euclid(60);
    let at = Timestamp::from_second(minute + 30).unwrap();
    let whisper = server.directory.path().join("whisper");
    let written = Command::new(PYTHON)
        .args(["-c", WRITE])
        .arg(&whisper)
        .arg(minute.to_string())
        .status()
        .expect("apt-get install graphite-carbon");
    assert!(written.success());
    let source = made("graphite", &json!({"address": server.address})).unwrap();
    // The bucket that began at this minute is not over at its half.
    assert_eq!(source.query("shop.errors", at).await.unwrap(), number(2.0, minute));
    assert_eq!(
        source
            .query("divideSeries(shop.errors, shop.requests)", at)
            .await
            .unwrap(),
        number(0.1, minute)
    );
    assert_eq!(source.query("shop.nothing", at).await.unwrap(), none());
    assert!(lasting(source.query("shop.*", at).await).contains("2 series where one is needed"));
    assert!(lasting(source.query("noSuchFunction(shop.errors)", at).await).contains("unknown function"));
    let over = Stretch {
        from: Timestamp::from_second(minute - 6 * 60).unwrap(),
        to: at,
        step: Duration::from_secs(60),
    };
    let series = source.series("shop.errors", over).await.unwrap();
    let back = |minutes: i64| minute - minutes * 60;
    let expected = [6, 5, 3, 2, 1].map(|minutes| (back(minutes), (minutes + 1) as f64));
    assert_eq!(points(&series), expected);
    assert_eq!(series.step, Duration::from_secs(60));
    assert_eq!(series.complete_to, Some(at));
    // A summary has wider buckets, and says so.
    let series = source
        .series("summarize(shop.errors, '2min', 'sum')", over)
        .await
        .unwrap();
    assert_eq!(series.step, Duration::from_secs(120));
}

#[tokio::test]
async fn gaps_are_no_data_and_old_data_is_stale() {
    let of = |datapoints: serde_json::Value| async move {
        let server = Answers::json(200, json!([{"target": "a", "datapoints": datapoints}])).await;
        let source = made("graphite", &json!({"address": server.address})).unwrap();
        source.query("a", now()).await
    };
    let nulls = json!([[null, MINUTE - 120], [null, MINUTE - 60], [null, MINUTE]]);
    assert_eq!(of(nulls).await.unwrap(), none());
    let gap = json!([[1.5, MINUTE - 120], [null, MINUTE - 60], [9.0, MINUTE]]);
    assert_eq!(of(gap).await.unwrap(), number(1.5, MINUTE - 60));
    let old = json!([[1.5, MINUTE - 660], [null, MINUTE - 600]]);
    assert_eq!(of(old).await.unwrap(), none());
    assert!(lasting(of(json!([[1.5, MINUTE]])).await).contains("`lookback`"));
}

#[tokio::test]
async fn a_question_says_when_and_who() {
    let server = Answers::json(200, json!([])).await;
    let settings = json!({"address": server.address, "token": {"secret": "graphite"}, "delay": "30s"});
    let source = made("graphite", &settings).unwrap();
    assert_eq!(source.query(" a.b\n", now()).await.unwrap(), none());
    let asked = server.last();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/render"));
    assert_eq!(asked.header("authorization"), "Bearer s3cr3t-value");
    assert_eq!(asked.pair("target"), "a.b");
    assert_eq!(asked.pair("from"), (now().as_second() - 331).to_string());
    assert_eq!(asked.pair("until"), now().as_second().to_string());
    assert_eq!(
        source.series("a", over(MINUTE - 300, MINUTE, 60)).await.unwrap().points,
        []
    );
}

#[tokio::test]
async fn what_is_no_answer_is_a_failure() {
    let of = |status: u16, kind: &'static str, body: &'static str| async move {
        let server = Answers::with(status, vec![("content-type", kind.to_owned())], body.to_owned()).await;
        made("graphite", &json!({"address": server.address}))
            .unwrap()
            .query("a", now())
            .await
    };
    assert!(
        lasting(of(400, "text/html", "Invalid parameters (no)").await).contains("status 400: Invalid parameters (no)")
    );
    assert!(lasting(of(403, "text/html", "<h1>no</h1>").await).contains("403 Forbidden; check the source's `token`"));
    assert!(transient(of(500, "text/html", "<pre>Traceback</pre>").await).ends_with("500 Internal Server Error"));
    assert!(transient(of(200, "application/json", "{}").await).contains("JSON that graphite would not send"));
    assert!(lasting(of(200, "text/html", "<html>").await).contains("instead of JSON"));
}
