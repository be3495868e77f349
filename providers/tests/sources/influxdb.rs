//! `influxdb` before InfluxDB 1.6, and Flux before recorded answers of the shape of InfluxDB 2's API.

use std::process::Command;

use meridian_workflows::duration::Duration;
use serde_json::json;

use crate::answers::{Answers, MINUTE, NOW, lasting, made, none, now, number, over, points, transient};
use crate::process::{Server, are_left_out, free_port};

async fn influx() -> Option<Server> {
    if are_left_out() {
        return None;
    }
    let server = Server::start("influxdb", "/ping", |directory, port| {
        let at = |part: &str| directory.join(part).display().to_string();
        let config = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{}\"\n[meta]\ndir = \"{}\"\n[data]\ndir = \"{}\"\nwal-dir = \"{}\"\n\
             [http]\nbind-address = \"127.0.0.1:{port}\"\n",
            free_port(),
            at("meta"),
            at("data"),
            at("wal")
        );
        std::fs::write(directory.join("influxdb.conf"), config).unwrap();
        let mut command = Command::new("influxd");
        command.arg("run").arg("-config").arg(directory.join("influxdb.conf"));
        command
    })
    .await;
    let create = server.client.post(format!("{}/query", server.address));
    create.form(&[("q", "CREATE DATABASE shop")]).send().await.unwrap();
    // Five whole minutes and twenty seconds of the next, a line every ten seconds.
    let line = |t: i64| {
        let minute = (t - (MINUTE - 300)).div_euclid(60);
        format!("http,version=v1 errors=1,requests=10 {t}\nhttp,version=v2 errors={minute},requests=10 {t}\n")
    };
    let lines: String = (0..32).map(|step| line(MINUTE - 300 + step * 10)).collect();
    let write = server
        .client
        .post(format!("{}/write?db=shop&precision=s", server.address));
    assert!(write.body(lines).send().await.unwrap().status().is_success());
    Some(server)
}

#[tokio::test]
async fn the_real_server_is_understood() {
    let Some(server) = influx().await else { return };
    let source = made("influxdb", &json!({"address": server.address, "database": "shop"})).unwrap();
    let ask = |query: &'static str| {
        let source = source.clone();
        async move { source.query(query, now()).await }
    };
    // Over the window of two minutes up to now: one value, true up to its end.
    let ratio = "SELECT sum(errors) / sum(requests) FROM http WHERE version = 'v2' AND time >= $from AND time < $to";
    let told = ask(ratio).await.unwrap();
    assert_eq!(told.at, Some(now()));
    assert!(told.value.is_some_and(|value| (0.3..0.5).contains(&value)), "{told:?}");
    // In buckets: the newest that is over.
    let bucketed =
        "SELECT mean(errors) FROM http WHERE version = 'v2' AND time >= $from AND time < $to GROUP BY time($step)";
    assert_eq!(ask(bucketed).await.unwrap(), number(4.0, MINUTE));
    // One point has its own instant.
    assert_eq!(
        ask("SELECT last(errors) FROM http WHERE version = 'v2'").await.unwrap(),
        number(5.0, MINUTE + 10)
    );
    assert_eq!(
        ask("SELECT mean(errors) FROM nothing WHERE time >= $from")
            .await
            .unwrap(),
        none()
    );
    let series = source.series(bucketed, over(MINUTE - 240, NOW, 60)).await.unwrap();
    let expected = [1, 2, 3, 4].map(|minute| (MINUTE - 300 + minute * 60, minute as f64));
    assert_eq!(points(&series), expected);
    assert_eq!(series.step, Duration::from_secs(60));
    let refused = |query| async move { lasting(ask(query).await) };
    assert!(refused("SELECT mean(errors) FROM http").await.contains("bound it by"));
    assert!(
        refused("SELECT mean(errors) FROM http WHERE time >= $from GROUP BY version")
            .await
            .contains("2 series where one is needed")
    );
    assert!(refused("SELECT errors, requests FROM http").await.contains("2 columns"));
    assert!(
        refused("SELECT errors FROM http WHERE version = 'v2'")
            .await
            .contains("rows where one is needed")
    );
    assert!(
        refused("SELECT FROM http")
            .await
            .contains("status 400: error parsing query: found FROM")
    );
    // A question cannot change anything.
    for change in [
        "DROP DATABASE shop",
        "SELECT errors INTO elsewhere FROM http",
        "SELECT last(errors) FROM http; DROP DATABASE shop",
    ] {
        assert!(refused(change).await.contains("a source only asks"), "{change}");
    }
    assert_eq!(ask(bucketed).await.unwrap(), number(4.0, MINUTE));
    assert!(lasting(source.series(ratio, over(MINUTE - 240, NOW, 60)).await).contains("`$step`"));
    let elsewhere = made("influxdb", &json!({"address": server.address, "database": "none"})).unwrap();
    assert!(lasting(elsewhere.query(ratio, now()).await).contains("database not found: none"));
}

fn flux(address: &str) -> serde_json::Value {
    json!({"address": address, "organization": "shop", "token": {"secret": "influx"}})
}

async fn csv(body: &str) -> Answers {
    Answers::with(
        200,
        vec![("content-type", "text/csv; charset=utf-8".to_owned())],
        body.to_owned(),
    )
    .await
}

#[tokio::test]
async fn flux_is_asked_with_its_time_filled_in() {
    let body = ",result,table,_start,_stop,_value\r\n\
        ,_result,0,2023-11-14T22:11:20Z,2023-11-14T22:13:20Z,0.25\r\n\r\n";
    let server = csv(body).await;
    let source = made("influxdb", &flux(&server.address)).unwrap();
    let query = "from(bucket: \"shop\") |> range(start: $from, stop: $to) |> mean()";
    assert_eq!(source.query(query, now()).await.unwrap(), number(0.25, NOW));
    let asked = server.last();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/api/v2/query"));
    assert_eq!(asked.pair("org"), "shop");
    assert_eq!(asked.header("authorization"), "Token s3cr3t-value");
    assert_eq!(asked.header("accept"), "application/csv");
    assert_eq!(
        asked.json()["query"],
        "from(bucket: \"shop\") |> range(start: 2023-11-14T22:11:20Z, stop: 2023-11-14T22:13:20Z) |> mean()"
    );
}

#[tokio::test]
async fn flux_windows_carry_their_ends() {
    // `aggregateWindow` writes the end of each window; an empty value is null.
    let body = ",result,table,_start,_stop,_time,_value,\"a \"\"b\"\", c\"\n\
        ,_result,0,s,s,2023-11-14T22:11:00Z,1,x\n\
        ,_result,0,s,s,2023-11-14T22:12:00Z,,x\n\
        ,_result,0,s,s,2023-11-14T22:13:00Z,3,x\n";
    let body = body.replace(",s,s,", ",2023-11-14T22:08:00Z,2023-11-14T22:13:00Z,");
    let server = csv(&body).await;
    let source = made("influxdb", &flux(&server.address)).unwrap();
    let query = "range(start: $from, stop: $to) |> aggregateWindow(every: $step, fn: mean)";
    assert_eq!(source.query(query, now()).await.unwrap(), number(3.0, MINUTE));
    let series = source.series(query, over(MINUTE - 300, NOW, 60)).await.unwrap();
    assert_eq!(points(&series), [(MINUTE - 180, 1.0), (MINUTE - 60, 3.0)]);
}

#[tokio::test]
async fn flux_says_no_in_several_ways() {
    let of = |body: &'static str| async move {
        let server = csv(body).await;
        made("influxdb", &flux(&server.address))
            .unwrap()
            .query("q", now())
            .await
    };
    assert_eq!(of("").await.unwrap(), none());
    assert_eq!(of("\r\n").await.unwrap(), none());
    let two = ",result,table,_stop,_value\n,_result,0,2023-11-14T22:13:20Z,1\n,_result,1,2023-11-14T22:13:20Z,2\n";
    assert!(lasting(of(two).await).contains("2 series where one is needed"));
    let nan = ",result,table,_stop,_value\n,_result,0,2023-11-14T22:13:20Z,NaN\n";
    assert!(of(nan).await.unwrap().value.unwrap().is_nan());
    assert!(lasting(of(",result,table,_stop\n,_result,0,x\n").await).contains("no column `_value`"));
    assert!(lasting(of(",result,table,_value\n,_result,0,1\n").await).contains("neither `_time` nor `_stop`"));
    assert!(
        lasting(of(",result,table,_stop,_value\n,_result,0,2023-11-14T22:13:20Z,many\n").await).contains("no number")
    );
    assert!(transient(of(",result,table,_stop,_value\n,_result,0,soon,1\n").await).contains("no"));
    assert!(lasting(of("error,reference\nno such bucket,897\n").await).contains("refused the query: no such bucket"));
    assert!(transient(of("a,\"b").await).contains("breaks off"));
    let error = |status: u16, code: &'static str| async move {
        let server = Answers::json(status, json!({"code": code, "message": "because"})).await;
        made("influxdb", &flux(&server.address))
            .unwrap()
            .query("q", now())
            .await
    };
    assert!(lasting(error(400, "invalid").await).contains("status 400: invalid: because"));
    assert!(lasting(error(401, "unauthorized").await).contains("check the source's `token`"));
    assert!(transient(error(429, "too many requests").await).contains("429"));
    assert!(transient(error(503, "unavailable").await).contains("503"));
}
