//! Starts a real Prometheus on loopback, fills it through remote write, and ends it with the test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Once;

use crate::data::Series;

/// A running server; killed and cleaned up when dropped.
pub struct Prometheus {
    pub address: String,
    pub client: reqwest::Client,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client for loopback; reqwest wants a cryptography provider even for plain HTTP.
pub fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl Prometheus {
    /// A server that holds `series`; `None` when the operator leaves these tests out.
    pub async fn start(series: &[Series]) -> Option<Self> {
        if std::env::var("MERIDIAN_SKIP_PROMETHEUS").is_ok_and(|skip| skip == "1") {
            eprintln!("skipped: MERIDIAN_SKIP_PROMETHEUS=1");
            return None;
        }
        let binary = std::env::var("MERIDIAN_TEST_PROMETHEUS").unwrap_or_else(|_| "prometheus".to_owned());
        // Another process can take a port between our look and the server's start: then the next one is tried.
        let server = (0..5)
            .find_map(|_| Self::spawn(&binary))
            .expect("prometheus does not come up, see its log above");
        let response = server
            .client
            .post(format!("{}/api/v1/write", server.address))
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0")
            .body(snappy(&write_request(series)))
            .send()
            .await
            .unwrap();
        assert!(
            response.status().is_success(),
            "remote write: {}",
            response.text().await.unwrap()
        );
        Some(server)
    }

    fn spawn(binary: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yml");
        std::fs::write(&config, "global: {scrape_interval: 1h}\n").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.path().join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "cannot start `{binary}`: {error}\n\
                     hint: `apt-get install prometheus`, or name the binary in MERIDIAN_TEST_PROMETHEUS, \
                     or set MERIDIAN_SKIP_PROMETHEUS=1 to leave these tests out"
                )
            });
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let is_ready = log.by_ref().map_while(Result::ok).any(|line| {
            let is_ready = line.contains("Server is ready to receive web requests");
            if line.contains("level=error") {
                eprintln!("{line}");
            }
            is_ready
        });
        if !is_ready {
            let _ = child.wait();
            return None;
        }
        // Someone has to read the rest, or the server blocks once the pipe is full.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(drop));
        Some(Self {
            address: format!("http://127.0.0.1:{port}"),
            client: client(),
            child,
            _directory: directory,
        })
    }
}

/// The protobuf `prometheus.WriteRequest`.
fn write_request(series: &[Series]) -> Vec<u8> {
    let mut request = Vec::new();
    for Series { labels, samples } in series {
        let mut message = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            field(&mut label, 1, name.as_bytes());
            field(&mut label, 2, value.as_bytes());
            field(&mut message, 1, &label);
        }
        for (t, value) in samples {
            let mut sample = vec![1 << 3 | 1];
            sample.extend(value.to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, u64::try_from(*t).unwrap());
            field(&mut message, 2, &sample);
        }
        field(&mut request, 1, &message);
    }
    request
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Snappy's block format, with nothing compressed: literals only.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, bytes.len() as u64);
    for chunk in bytes.chunks(65_536) {
        out.push(61 << 2);
        out.extend(u16::try_from(chunk.len() - 1).unwrap().to_le_bytes());
        out.extend(chunk);
    }
    out
}
