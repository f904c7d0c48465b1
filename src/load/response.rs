//! Reads responses: little, but strictly.

use std::borrow::Cow;

use crate::serve::headers::AXON_PREFIX;

/// The largest response that is read, in bytes.
const LIMIT: usize = 4 << 20;
const HEADERS: usize = 64;

/// Why bytes are no response to one request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// The head cannot be read.
    #[error("the response has no head of HTTP/1.1: {0}")]
    Head(#[from] httparse::Error),
    /// It does not say plainly where the body ends.
    #[error("the response should say once where its body ends")]
    Length,
    /// A chunk is not one.
    #[error("the response has a malformed chunk")]
    Chunk,
    /// It goes on after its end.
    #[error("the response is followed by {0} bytes that were not asked for")]
    Surplus(usize),
    /// It does not end.
    #[error("the response should have at most {LIMIT} bytes")]
    TooLarge,
}

/// One whole response.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response<'a> {
    /// The HTTP status.
    pub(super) status: u16,
    /// What the axon says of itself.
    pub(super) axon: AxonHeaders<'a>,
    /// The body, without the frames of chunks.
    pub(super) body: Cow<'a, [u8]>,
    /// Whether the connection can be used again.
    pub(super) keep_alive: bool,
}

/// The headers of a response that tell who answered and how.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AxonHeaders<'a> {
    /// The status that clients go by.
    pub(super) status_code: Option<&'a str>,
    /// The axon's key, as SS58.
    pub(super) hotkey: Option<&'a str>,
    /// A name of the axon's instance.
    pub(super) uuid: Option<&'a str>,
    /// The axon's clock.
    pub(super) nonce: Option<&'a str>,
    /// The axon's signature.
    pub(super) signature: Option<&'a str>,
}

impl<'a> AxonHeaders<'a> {
    fn take(&mut self, name: &str, value: &'a str) {
        let Some(prefix) = name.get(..AXON_PREFIX.len()) else { return };
        if !prefix.eq_ignore_ascii_case(AXON_PREFIX) {
            return;
        }
        let place = match name[AXON_PREFIX.len()..].to_ascii_lowercase().as_str() {
            "status_code" => &mut self.status_code,
            "hotkey" => &mut self.hotkey,
            "uuid" => &mut self.uuid,
            "nonce" => &mut self.nonce,
            "signature" => &mut self.signature,
            _ => return,
        };
        *place = Some(value);
    }
}

/// Where the body ends.
enum Framing {
    Bytes(usize),
    Chunks,
    /// When the connection is closed.
    Close,
}

/// Reads the response that `bytes` hold; `None` if more must come. `closed` says that none will.
pub(super) fn read(bytes: &[u8], closed: bool) -> Result<Option<Response<'_>>, Malformed> {
    if bytes.len() > LIMIT {
        return Err(Malformed::TooLarge);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(start) = head.parse(bytes)? else { return Ok(None) };
    let status = head.code.unwrap_or_default();
    let mut response = Response {
        status,
        axon: AxonHeaders::default(),
        body: Cow::Borrowed(&[]),
        keep_alive: head.version == Some(1),
    };
    let framing = response.take_headers(head.headers)?;
    let rest = &bytes[start..];
    let end = match framing {
        Framing::Bytes(length) => {
            let Some(body) = rest.get(..length) else { return Ok(None) };
            response.body = Cow::Borrowed(body);
            length
        }
        Framing::Chunks => {
            let Some((body, length)) = chunks(rest)? else { return Ok(None) };
            response.body = Cow::Owned(body);
            length
        }
        Framing::Close if closed => {
            response.body = Cow::Borrowed(rest);
            response.keep_alive = false;
            rest.len()
        }
        Framing::Close => return Ok(None),
    };
    match rest.len() - end {
        0 => Ok(Some(response)),
        surplus => Err(Malformed::Surplus(surplus)),
    }
}

impl<'a> Response<'a> {
    /// Takes what matters from the headers, and finds where the body ends.
    fn take_headers(&mut self, headers: &[httparse::Header<'a>]) -> Result<Framing, Malformed> {
        let mut framing = None;
        for httparse::Header { name, value } in headers {
            // What is no text is nothing that is looked for.
            let Ok(value) = std::str::from_utf8(value) else { continue };
            let found = if name.eq_ignore_ascii_case("content-length") {
                Framing::Bytes(value.parse().map_err(|_| Malformed::Length)?)
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                if !value.eq_ignore_ascii_case("chunked") {
                    return Err(Malformed::Length);
                }
                Framing::Chunks
            } else {
                if name.eq_ignore_ascii_case("connection") {
                    self.keep_alive &= !value.eq_ignore_ascii_case("close");
                } else {
                    self.axon.take(name, value);
                }
                continue;
            };
            if framing.replace(found).is_some() {
                return Err(Malformed::Length);
            }
        }
        Ok(framing.unwrap_or(Framing::Close))
    }
}

/// The bytes of a chunked body, and how many bytes it takes on the wire.
fn chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, Malformed> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let size = httparse::parse_chunk_size(&bytes[at..]).map_err(|_| Malformed::Chunk)?;
        let httparse::Status::Complete((start, size)) = size else { return Ok(None) };
        at += start;
        // No trailers: nothing that answers us has any.
        let size = usize::try_from(size).map_err(|_| Malformed::TooLarge)?;
        let end = at.checked_add(size).ok_or(Malformed::TooLarge)?;
        let Some(frame) = bytes.get(end..end.saturating_add(2)) else { return Ok(None) };
        if frame != b"\r\n" {
            return Err(Malformed::Chunk);
        }
        body.extend_from_slice(&bytes[at..end]);
        at = end + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\nbt_header_axon_status_code: 200\r\n";

    #[test]
    fn it_is_whole_when_its_length_is_there() {
        let text = format!("{OK}BT_Header_Axon_Hotkey: 5G\r\nContent-Length: 5\r\n\r\nhello");
        for end in 0..text.len() {
            assert_eq!(read(&text.as_bytes()[..end], true), Ok(None), "{end}");
        }
        let response = read(text.as_bytes(), false).unwrap().unwrap();
        assert_eq!((response.status, response.body.as_ref()), (200, b"hello".as_slice()));
        assert_eq!((response.axon.status_code, response.axon.hotkey), (Some("200"), Some("5G")));
        assert!(response.keep_alive);
    }

    #[test]
    fn chunks_are_put_together() {
        let text =
            format!("{OK}transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n");
        for end in 0..text.len() {
            assert_eq!(read(&text.as_bytes()[..end], true), Ok(None), "{end}");
        }
        let response = read(text.as_bytes(), false).unwrap().unwrap();
        assert_eq!(response.body.as_ref(), b"hello");
    }

    #[test]
    fn without_a_length_the_close_ends_it() {
        let text = format!("{OK}\r\nhello");
        assert_eq!(read(text.as_bytes(), false), Ok(None));
        let response = read(text.as_bytes(), true).unwrap().unwrap();
        assert_eq!((response.body.as_ref(), response.keep_alive), (b"hello".as_slice(), false));
        let text = format!("{OK}connection: close\r\ncontent-length: 0\r\n\r\n");
        assert!(!read(text.as_bytes(), false).unwrap().unwrap().keep_alive);
        let old = "HTTP/1.0 503 no\r\ncontent-length: 0\r\n\r\n";
        let old = read(old.as_bytes(), false).unwrap().unwrap();
        assert_eq!((old.status, old.keep_alive), (503, false));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = "Content-Length: 1\r\nContent-Length: 2\r\n\r\nhello";
        for (rest, expected) in [
            ("Content-Length: 5\r\n\r\nhello!", Malformed::Surplus(1)),
            (long, Malformed::Length),
            ("Content-Length: -1\r\n\r\n", Malformed::Length),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", Malformed::Length),
            ("Transfer-Encoding: gzip\r\n\r\n", Malformed::Length),
            ("Transfer-Encoding: chunked\r\n\r\n3\r\nhello", Malformed::Chunk),
            ("Transfer-Encoding: chunked\r\n\r\nx\r\n", Malformed::Chunk),
            ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n!", Malformed::Surplus(1)),
            ("no colon\r\n\r\n", Malformed::Head(httparse::Error::HeaderName)),
        ] {
            assert_eq!(read(format!("{OK}{rest}").as_bytes(), false), Err(expected), "{rest}");
        }
        let garbage = Malformed::Head(httparse::Error::Version);
        assert_eq!(read(b"<html></html>", false), Err(garbage));
        assert_eq!(read(&vec![b' '; LIMIT + 1], false), Err(Malformed::TooLarge));
    }
}
