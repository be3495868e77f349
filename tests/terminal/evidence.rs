//! What `why` and `status` tell of the evidence behind a judgement, and what they never tell.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Place;

/// Nothing that is shown or kept may have this in it.
const TOKEN: &str = "s3cr3t-t0ken-of-the-source";

/// Half of all requests fail; the other source and the door are as careless as servers get, and repeat what they were sent.
fn workflow(port: u16) -> String {
    format!(
        r#"
apiVersion: meridian/v1
kind: Workflow
metadata: {{name: watched}}
spec:
  release: registry.example.com/watched:v2
  regions:
    here: {{sandbox: {{serving: v1}}}}
  sources:
    prom: {{prometheus: {{address: 'http://127.0.0.1:{port}', token: {{secret: prom}}}}}}
    careless: {{prometheus: {{address: 'http://127.0.0.1:{port}/careless', token: {{secret: prom}}}}}}
  metrics:
    failing:
      source: prom
      unit: ratio
      query: |
        sum(rate(failed{{version="${{{{ arm.version }}}}"}}[${{{{ window }}}}]))
          / sum(rate(all{{version="${{{{ arm.version }}}}"}}[${{{{ window }}}}]))
    unreadable: {{source: careless, unit: count, query: up}}
  phases:
    - {{name: only, regions: [here], stages: [50%, 100%], watch: [errors, echo, door]}}
  gates:
    errors: {{metric: {{query: failing, rollbackWhen: candidate > percent(1) || candidate > 2 * baseline}}, every: 1s, for: 2s}}
    echo: {{metric: {{query: unreadable, holdWhen: candidate > 1}}, every: 1s}}
    door: {{http: {{url: 'http://127.0.0.1:{port}/door', headers: {{x-token: {{secret: prom}}}}}}, every: 1s, onFail: hold}}
  rollback: {{scope: run, deadline: 30s, drain: 0s}}
"#
    )
}

/// Answers one question; true where the token came with it.
fn answer(stream: TcpStream) -> std::io::Result<bool> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let path = lines.next().transpose()?.unwrap_or_default();
    let heads: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let heads = heads.join(", ");
    let (status, body) = if path.contains("/careless") {
        (
            "400 Bad Request",
            format!(r#"{{"status":"error","errorType":"bad_data","error":"cannot read {heads}"}}"#),
        )
    } else if path.contains("/door") {
        ("503 Service Unavailable", heads.clone())
    } else {
        // Old data would be no data.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let result = format!(r#"{{"metric":{{}},"value":[{now},"0.5"]}}"#);
        (
            "200 OK",
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{result}]}}}}"#),
        )
    };
    let length = body.len();
    write!(
        &stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    Ok(heads.contains(TOKEN))
}

#[test]
fn why_tells_what_was_asked_and_answered_and_never_a_secret() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent = Arc::new(Mutex::new(0));
    let count = Arc::clone(&sent);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let has_token = answer(stream).unwrap_or(false);
            *count.lock().unwrap() += i32::from(has_token);
        }
    });
    let place = Place::new();
    place.write("watched.yaml", &workflow(port));
    std::fs::create_dir(place.path().join(".meridian")).unwrap();
    place.write(".meridian/secrets.json", r#"{"watched": {"prom": "env:PROM_TOKEN"}}"#);
    let run = place
        .command(&["run", "watched.yaml"])
        .env("PROM_TOKEN", TOKEN)
        .output()
        .unwrap();
    let told = [run.stdout, run.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(run.status.code(), Some(1), "{told:?}");
    assert!(*sent.lock().unwrap() >= 3, "the secret was sent where it belongs");

    let why = place.run(&["why", "watched-0001"]).out();
    for text in [
        "✗ errors: candidate 50 %, baseline 50 %: candidate > percent(1)",
        "fail → rolls back (it acted) · metric, watching stage:only/here/50%",
        "rolls back above 1% (candidate > percent(1) || candidate > 2 * baseline)",
        r#"sum(rate(failed{version="v2"}["#,
        r#"sum(rate(failed{version="v1"}["#,
    ] {
        assert!(why.contains(text), "{text}\n{why}");
    }
    let json = place.run(&["why", "watched-0001", "-o", "json"]).fits("why");
    let errors = &json["evidence"][0];
    assert_eq!((&errors["gate"], &errors["acted"]), (&"errors".into(), &true.into()));
    assert_eq!(errors["values"][1]["value"], 0.5, "{json:#}");
    let status = place.run(&["status", "watched-0001"]).out();
    assert!(status.contains("✗ errors: candidate 50 %"), "{status}");
    let status_json = place.run(&["status", "watched-0001", "-o", "json"]);
    assert_eq!(status_json.fits("status")["evidence"], json["evidence"]);

    let journal = place.run(&["journal", "watched-0001", "-o", "json"]).out();
    assert!(
        journal.contains("careless") || journal.contains("\"error\""),
        "{journal}"
    );
    let kept = std::fs::read(place.path().join(".meridian/state.db")).unwrap();
    let texts = [
        why,
        json.to_string(),
        status,
        journal,
        String::from_utf8_lossy(&kept).into_owned(),
    ];
    for text in texts.iter().chain(&told) {
        assert!(!text.contains(TOKEN), "{text}");
    }
}
