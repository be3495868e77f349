//! The people of the sandbox: a steady stream of real requests to a region's front door.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Uri};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::sandbox::listener::Stop;
use crate::sandbox::options::{LOAD_IN_FLIGHT_MAX, REQUEST_TIMEOUT};
use crate::sandbox::region::Region;
use crate::sandbox::world::World;

/// How long to look away when there is nothing to send.
const IDLE: Duration = Duration::from_millis(100);
/// How far the stream may fall behind before it drops what it missed instead of sending it in a burst.
const LATE_MAX: Duration = Duration::from_millis(500);

/// Sends requests at the region's rate until the stop is asked for. It begins once the region serves for the first time,
/// so that a world that starts up does not look like an outage.
pub async fn generate(world: &World, region: &Region, mut stop: Stop) {
    let Ok(uri) = format!("http://{}/", region.address).parse::<Uri>() else {
        return;
    };
    let in_flight = Arc::new(Semaphore::new(LOAD_IN_FLIGHT_MAX));
    let mut next = Instant::now();
    let mut serves = false;
    while !stop.is_asked() {
        serves = serves || !region.proxy.routes().shares().is_empty();
        let rate = world.requests_per_second(region);
        if !serves || rate <= 0.0 {
            tokio::select! {
                () = stop.asked() => {}
                () = tokio::time::sleep(IDLE) => {}
            }
            next = Instant::now();
            continue;
        }
        // Slow rates are waited for in short pieces, so that a change of rate counts soon.
        let gap = Duration::from_secs_f64((1.0 / rate).min(60.0));
        if next + LATE_MAX < Instant::now() {
            next = Instant::now();
        }
        let until = next.min(Instant::now() + IDLE.max(LATE_MAX));
        tokio::select! {
            () = stop.asked() => break,
            () = tokio::time::sleep_until(until) => {}
        }
        if Instant::now() < next {
            continue;
        }
        next += gap;
        let Ok(permit) = Arc::clone(&in_flight).try_acquire_owned() else {
            continue;
        };
        let (client, uri) = (world.client.clone(), uri.clone());
        tokio::spawn(async move {
            let mut request = Request::new(Full::new(Bytes::new()));
            *request.uri_mut() = uri;
            let answer = async {
                if let Ok(response) = client.request(request).await {
                    // Read to its end, so that the connection can be used again.
                    let _ = response.into_body().collect().await;
                }
            };
            let _ = tokio::time::timeout(REQUEST_TIMEOUT, answer).await;
            drop(permit);
        });
    }
}
