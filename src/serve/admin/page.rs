//! The dashboard: one page that loads nothing but the numbers.

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{Response, StatusCode};
use uuid::Uuid;

use super::routes::respond;

const PAGE: &str = include_str!("dashboard/page.html");
const STYLE: &str = include_str!("dashboard/style.css");
const SCRIPT: &str = concat!(
    include_str!("dashboard/text.js"),
    include_str!("dashboard/chart.js"),
    include_str!("dashboard/panels.js"),
    include_str!("dashboard/live.js"),
);

/// The page, with a word that only its own script and style know: the browser runs no others.
pub(super) fn respond_with_page() -> Response<Body> {
    let nonce = Uuid::new_v4().simple().to_string();
    let page =
        PAGE.replace("{{nonce}}", &nonce).replace("{{style}}", STYLE).replace("{{script}}", SCRIPT);
    let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", page);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    );
    let policy = HeaderValue::from_str(&policy).expect("a UUID is ASCII. This is a bug.");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
