//! Real servers: started on free loopback ports, waited for until they answer, gone with the test.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

/// A server of somebody else's; killed when dropped.
pub struct Server {
    pub address: String,
    pub client: reqwest::Client,
    pub directory: tempfile::TempDir,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long a server may take to answer: a loaded machine is slow, a broken server is no faster.
const READY_WITHIN: Duration = Duration::from_secs(120);

pub fn are_left_out() -> bool {
    let is_left_out = std::env::var("MERIDIAN_SKIP_SOURCES").is_ok_and(|skip| skip == "1");
    if is_left_out {
        eprintln!("skipped: MERIDIAN_SKIP_SOURCES=1");
    }
    is_left_out
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A client for loopback; reqwest wants a cryptography provider even for plain HTTP.
pub fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder().no_proxy().build().unwrap()
}

impl Server {
    /// Starts the program that `command` makes of a directory and a port, and waits until `ready` answers. `package` is Debian's.
    pub async fn start(package: &str, ready: &str, command: impl Fn(&std::path::Path, u16) -> Command) -> Server {
        // Another process can take a port between our look and the server's start: then the next one is tried.
        for _ in 0..5 {
            if let Some(server) = Server::attempt(package, ready, &command).await {
                return server;
            }
        }
        panic!("the server of Debian's package `{package}` does not come up")
    }

    async fn attempt(
        package: &str,
        ready: &str,
        command: &impl Fn(&std::path::Path, u16) -> Command,
    ) -> Option<Server> {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = command(directory.path(), port);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!(
                "cannot start {:?}: {error}\nhint: `apt-get install {package}`, or set MERIDIAN_SKIP_SOURCES=1 to leave the real servers out",
                command.get_program()
            )
        });
        let mut server = Server {
            address: format!("http://127.0.0.1:{port}"),
            client: client(),
            directory,
            child,
        };
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if server.child.try_wait().unwrap().is_some() {
                return None;
            }
            let answer = server.client.get(format!("{}{ready}", server.address)).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Some(server);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        None
    }
}
