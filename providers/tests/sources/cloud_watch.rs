//! `cloudWatch` before recorded answers of GetMetricData in AWS's JSON protocol; and before moto, a third party's stand-in, where
//! `MERIDIAN_TEST_MOTO` names a server.

use jiff::Timestamp;
use meridian_workflows::duration::Duration;
use serde_json::{Value, json};

use crate::answers::{Answers, MINUTE, NOW, lasting, made, none, now, number, over, points, transient};

fn settings(address: &str) -> Value {
    json!({"address": address, "region": "eu-west-1", "accessKeyId": "AKIDEXAMPLE", "secretAccessKey": {"secret": "aws"}})
}

fn answer(results: Value) -> Value {
    json!({"MetricDataResults": results, "Messages": []})
}

fn result(points: &[(i64, f64)]) -> Value {
    let (at, values): (Vec<f64>, Vec<f64>) = points.iter().map(|(at, value)| (*at as f64, *value)).unzip();
    json!({"Id": "meridian", "Label": "l", "Timestamps": at, "Values": values, "StatusCode": "Complete"})
}

#[tokio::test]
async fn the_newest_bucket_that_is_over_is_the_number() {
    let data = result(&[(MINUTE - 180, 1.0), (MINUTE - 120, 2.0), (MINUTE - 60, 9.0)]);
    let server = Answers::json(200, answer(json!([data]))).await;
    let source = made("cloudWatch", &settings(&server.address)).unwrap();
    let query = "SUM(SEARCH('{AWS/ApplicationELB,TargetGroup} MetricName=\"RequestCount\"', 'Sum'))\n";
    assert_eq!(source.query(query, now()).await.unwrap(), number(2.0, MINUTE - 60));
    let asked = server.last();
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/"));
    assert_eq!(
        asked.header("x-amz-target"),
        "GraniteServiceVersion20100801.GetMetricData"
    );
    assert_eq!(asked.header("content-type"), "application/x-amz-json-1.0");
    let authorization = asked.header("authorization");
    assert!(
        authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
        "{authorization}"
    );
    assert!(
        authorization
            .contains("/eu-west-1/monitoring/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target"),
        "{authorization}"
    );
    let body = asked.json();
    assert_eq!(
        (&body["StartTime"], &body["EndTime"]),
        (&json!(MINUTE - 360), &json!(MINUTE - 60))
    );
    assert_eq!(
        body["MetricDataQueries"],
        json!([{"Id": "meridian", "Expression": query.trim(), "Period": 60, "ReturnData": true}])
    );
    let course = source.series(query, over(MINUTE - 180, NOW + 60, 45)).await.unwrap();
    assert_eq!(
        points(&course),
        [(MINUTE - 180, 1.0), (MINUTE - 120, 2.0), (MINUTE - 60, 9.0)]
    );
    assert_eq!(course.step, Duration::from_secs(60));
}

#[tokio::test]
async fn metric_queries_are_taken_as_aws_writes_them() {
    let server = Answers::json(200, answer(json!([]))).await;
    let source = made("cloudWatch", &settings(&server.address)).unwrap();
    let stat = |name: &str| json!({"Metric": {"Namespace": "AWS/ApplicationELB", "MetricName": name, "Dimensions": []}, "Stat": "Sum"});
    let queries = json!([
        {"Id": "errors", "MetricStat": stat("HTTPCode_Target_5XX_Count"), "ReturnData": false},
        {"Id": "requests", "MetricStat": stat("RequestCount"), "ReturnData": false},
        {"Id": "rate", "Expression": "errors / requests"},
    ]);
    assert_eq!(source.query(&queries.to_string(), now()).await.unwrap(), none());
    let sent = &server.last().json()["MetricDataQueries"];
    assert_eq!(
        (&sent[0]["MetricStat"]["Period"], &sent[2]["Period"]),
        (&json!(60), &json!(60))
    );
    let mut both = queries.clone();
    both[0]["ReturnData"] = json!(true);
    assert!(lasting(source.query(&both.to_string(), now()).await).contains("2 of its elements return data"));
    for bad in [
        "[1]",
        "{\"MetricStat\": 1}",
        "[",
        "{\"Expression\": \"a\", \"Period\": \"x\"}",
    ] {
        assert!(
            lasting(source.query(bad, now()).await).contains("no list of metric queries"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn nothing_several_and_errors_are_told_apart() {
    let of = |status: u16, body: Value| async move {
        let server = Answers::json(status, body).await;
        made("cloudWatch", &settings(&server.address))
            .unwrap()
            .query("q", now())
            .await
    };
    assert_eq!(of(200, answer(json!([result(&[])]))).await.unwrap(), none());
    assert_eq!(
        of(200, answer(json!([result(&[(MINUTE - 3_600, 1.0)])])))
            .await
            .unwrap(),
        none()
    );
    assert!(lasting(of(200, answer(json!([result(&[]), result(&[])]))).await).contains("2 series"));
    let with = |status: &str| {
        let mut one = result(&[(MINUTE - 120, 1.0)]);
        one["StatusCode"] = json!(status);
        one["Messages"] = json!([{"Code": "c", "Value": "because"}]);
        answer(json!([one]))
    };
    assert!(transient(of(200, with("PartialData")).await).contains("PartialData: because"));
    assert!(transient(of(200, with("InternalError")).await).contains("InternalError"));
    assert!(lasting(of(200, with("Forbidden")).await).contains("may not be read"));
    let error =
        |code: &str| json!({"__type": format!("com.amazonaws.cloudwatch.v2010_08_01#{code}"), "message": "because"});
    assert!(
        lasting(of(400, error("InvalidParameterValueException")).await)
            .contains("InvalidParameterValueException: because")
    );
    // AWS throttles with a 400.
    assert!(transient(of(400, error("ThrottlingException")).await).contains("ThrottlingException"));
    assert!(lasting(of(403, error("AccessDeniedException")).await).contains("cloudwatch:GetMetricData"));
    assert!(transient(of(500, error("InternalServiceFault")).await).contains("InternalServiceFault"));
    let mut paged = answer(json!([]));
    paged["NextToken"] = json!("more");
    assert!(lasting(of(200, paged).await).contains("several pages"));
    let mut odd = result(&[(MINUTE - 120, 1.0)]);
    odd["Values"] = json!([]);
    assert!(transient(of(200, answer(json!([odd]))).await).contains("would not send"));
}

#[tokio::test]
async fn moto_accepts_what_is_sent() {
    let Ok(address) = std::env::var("MERIDIAN_TEST_MOTO") else {
        eprintln!("not tried: MERIDIAN_TEST_MOTO names no server");
        return;
    };
    // What moto keeps is filtered by today.
    let minute = Timestamp::now().as_second() / 60 * 60;
    let at = Timestamp::from_second(minute + 30).unwrap();
    let name = format!("requests-{}", std::process::id());
    let client = crate::process::client();
    for (back, value) in [(180, "1"), (120, "2")] {
        let put = client
            .post(&address)
            .header(
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=a/20231114/eu-west-1/monitoring/aws4_request",
            )
            .form(&[
                ("Action", "PutMetricData"),
                ("Version", "2010-08-01"),
                ("Namespace", "Shop"),
                ("MetricData.member.1.MetricName", &name),
                ("MetricData.member.1.Value", value),
                (
                    "MetricData.member.1.Timestamp",
                    &Timestamp::from_second(minute - back).unwrap().to_string(),
                ),
            ]);
        assert!(put.send().await.unwrap().status().is_success());
    }
    let source = made("cloudWatch", &settings(&address)).unwrap();
    let query = json!({"Id": "q", "MetricStat": {"Metric": {"Namespace": "Shop", "MetricName": name, "Dimensions": []}, "Stat": "Sum"}});
    let told = source.query(&query.to_string(), at).await.unwrap();
    assert_eq!(told, number(2.0, minute - 60));
}
