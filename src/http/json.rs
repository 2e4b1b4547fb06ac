//! JSON replies, each on a line of its own: a terminal full of `curl` output stays readable.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// A JSON reply.
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match to_line(&self.0) {
            Ok(line) => ([(header::CONTENT_TYPE, "application/json")], line).into_response(),
            // A bare one: what we reply always serializes.
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// The JSON text of a value, with a line feed at its end.
pub(super) fn to_line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
