//! What is answered to whom.

use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::watch;

use super::Admin;
use super::events::Events;
use super::{host, page};
use crate::serve::monitor::METRICS_CONTENT_TYPE;

const JSON: &str = "application/json";

/// On every answer: it is of this moment, is what it says, and is for nobody else's page.
const COMMON: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What the listener answers with.
pub(super) struct Routes {
    pub(super) admin: Admin,
    /// Whether only this machine can reach the listener.
    pub(super) is_local: bool,
    /// Changes when the listener stops.
    pub(super) stop: watch::Receiver<()>,
}

impl Routes {
    /// The answer. A body that comes with the request is not looked at.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let mut response = self.route(request.method(), request.uri().path(), request.headers());
        for (name, value) in COMMON {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn route(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Body> {
        if self.is_local && !host::is_local(headers) {
            let message = "this listener answers to localhost, 127.0.0.1 and [::1] only";
            return refuse(StatusCode::FORBIDDEN, message);
        }
        let get: fn(&Self, bool) -> Response<Body> = match path {
            "/" => |_, _| page::respond_with_page(),
            "/healthz" => |_, _| respond(StatusCode::OK, JSON, json!({"status": "ok"}).to_string()),
            "/readyz" => |routes, _| routes.ready(),
            "/metrics" => |routes, _| {
                let text = routes.admin.monitor.metrics(&(routes.admin.snapshot)());
                respond(StatusCode::OK, METRICS_CONTENT_TYPE, text)
            },
            "/stats.json" => |routes, _| respond(StatusCode::OK, JSON, routes.admin.stats_json()),
            "/events" => |routes, is_head| routes.events(is_head),
            _ => return refuse(StatusCode::NOT_FOUND, "no such page; / has the dashboard"),
        };
        match *method {
            Method::GET => get(self, false),
            // The length stays; hyper sends no body.
            Method::HEAD => get(self, true),
            _ => {
                let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "GET and HEAD only");
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
        }
    }

    fn ready(&self) -> Response<Body> {
        match (self.admin.snapshot)().not_ready {
            None => respond(StatusCode::OK, JSON, json!({"ready": true}).to_string()),
            Some(reason) => respond(
                StatusCode::SERVICE_UNAVAILABLE,
                JSON,
                json!({"ready": false, "reason": reason}).to_string(),
            ),
        }
    }

    fn events(&self, is_head: bool) -> Response<Body> {
        let body = if is_head {
            Body::empty()
        } else {
            match Events::start(&self.admin, self.stop.clone()) {
                Some(events) => Body::new(events),
                None => {
                    let message = "too many listen to the events already";
                    return refuse(StatusCode::SERVICE_UNAVAILABLE, message);
                }
            }
        };
        respond(StatusCode::OK, "text/event-stream", body)
    }
}

/// An answer of this type.
pub(super) fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn refuse(status: StatusCode, message: &str) -> Response<Body> {
    respond(status, JSON, json!({"message": message}).to_string())
}
