//! Reads bodies, which are bounded in size and in time.

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::{self, Duration};

use crate::http::problem::Problem;

/// The largest body, in bytes.
const BODY_MAX: usize = 16 * 1024;
/// How much of a larger one is read and thrown away. Whoever is still writing when its connection
/// is closed sees that, and not the reply which says why.
const DISCARDED_MAX: u64 = 4 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The whole body.
///
/// # Errors
/// It is too large, took too long, or broke off.
pub async fn read(body: Body) -> Result<Vec<u8>, Problem> {
    if body.size_hint().lower() > DISCARDED_MAX {
        return Err(too_large());
    }
    time::timeout(BODY_TIMEOUT, collect(body)).await.unwrap_or_else(|_| {
        let seconds = BODY_TIMEOUT.as_secs();
        Err(Problem::slow_body(format!("the body took longer than {seconds} s")))
    })
}

async fn collect(mut body: Body) -> Result<Vec<u8>, Problem> {
    let (mut bytes, mut read) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Problem::malformed_body(format!("the body broke off: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        read += data.len() as u64;
        if read <= BODY_MAX as u64 {
            bytes.extend_from_slice(data);
        } else if read > DISCARDED_MAX {
            break;
        }
    }
    if read > BODY_MAX as u64 { Err(too_large()) } else { Ok(bytes) }
}

fn too_large() -> Problem {
    Problem::body_too_large(format!("a body has at most {BODY_MAX} bytes"))
}
