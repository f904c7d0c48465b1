//! One connection: sends, waits for the answer, and sends again.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::check::Checker;
use super::pace::{Slot, Slots};
use super::question::Question;
use super::request::RequestText;
use super::response;
use super::sign::Signed;
use super::tally::{Failure, Tally};

/// How long a connection that could not be made is not tried again.
const PAUSE: Duration = Duration::from_millis(50);
/// Room for a response; more is made when it is needed.
const RESPONSE_BYTES: usize = 8 << 10;

/// What the connections of a run share.
#[derive(Debug)]
pub(super) struct Shared {
    /// What is to be sent.
    pub(super) slots: Slots,
    /// What became of it.
    pub(super) tally: RefCell<Tally>,
    /// Who checks the answers, if anybody.
    pub(super) checker: RefCell<Option<Checker>>,
    /// How often a connection waited for a signature.
    pub(super) starved: RefCell<u64>,
}

/// One connection and the caller that it belongs to.
#[derive(Debug)]
pub(super) struct Lane {
    axon: SocketAddr,
    timeout: Duration,
    questions: Arc<[Question]>,
    caller: usize,
    text: RequestText,
    signatures: mpsc::Receiver<Signed>,
    stream: Option<TcpStream>,
    request: Vec<u8>,
    response: Vec<u8>,
    /// How much of `response` has come.
    filled: usize,
}

impl Lane {
    /// A connection that is not made yet.
    pub(super) fn new(
        axon: SocketAddr,
        timeout: Duration,
        questions: Arc<[Question]>,
        caller: usize,
        text: RequestText,
        signatures: mpsc::Receiver<Signed>,
    ) -> Self {
        Lane {
            axon,
            timeout,
            questions,
            caller,
            text,
            signatures,
            stream: None,
            request: Vec::new(),
            response: vec![0; RESPONSE_BYTES],
            filled: 0,
        }
    }

    /// Connects. A failure is counted when the connection is used.
    pub(super) async fn connect(&mut self) {
        self.stream =
            tokio::time::timeout(self.timeout, connect(self.axon)).await.ok().and_then(Result::ok);
    }

    /// Sends requests until there are no more.
    pub(super) async fn run(mut self, shared: Rc<Shared>) {
        while let Some(slot) = shared.slots.take().await {
            let Some(signed) = self.signature(&shared).await else { return };
            let question = (slot.number % self.questions.len() as u64) as usize;
            self.text.write(&mut self.request, &self.questions[question], &signed);
            let outcome = self.send(slot, &shared).await;
            if outcome.is_ok()
                && let Some(checker) = shared.checker.borrow_mut().as_mut()
            {
                checker.check(self.caller, question, &self.response[..self.filled]);
            }
            if outcome == Err(Failure::NotConnected) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn signature(&mut self, shared: &Shared) -> Option<Signed> {
        if let Ok(signed) = self.signatures.try_recv() {
            return Some(signed);
        }
        *shared.starved.borrow_mut() += 1;
        self.signatures.recv().await
    }

    /// Sends the request and counts what becomes of it.
    async fn send(&mut self, slot: Slot, shared: &Shared) -> Result<(), Failure> {
        let sent = Instant::now();
        let exchange = tokio::time::timeout(self.timeout, self.exchange());
        let outcome = exchange.await.unwrap_or(Err(Failure::TimedOut));
        let now = Instant::now();
        if outcome
            .is_err_and(|failure| !matches!(failure, Failure::Refused(_) | Failure::NoSuccess))
        {
            // What would come next belongs to this request.
            self.stream = None;
        }
        let mut tally = shared.tally.borrow_mut();
        if let Some(due) = slot.due {
            tally.lateness.add(sent.saturating_duration_since(due));
        }
        tally.count(self.caller, outcome.map(|()| now - slot.waits_since(sent)), now);
        outcome
    }

    /// One request and its whole response, which `response` holds then.
    async fn exchange(&mut self) -> Result<(), Failure> {
        if self.stream.is_none() {
            let stream = connect(self.axon).await.map_err(|_| Failure::NotConnected)?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_ref().ok_or(Failure::NotConnected)?;
        // A server may answer and hang up before it has read all: what it said counts.
        let written = write_all(stream, &self.request).await;
        self.filled = 0;
        let response = loop {
            let bytes = match read(stream, &mut self.response, self.filled).await {
                Ok(bytes) => bytes,
                Err(_) => return Err(Failure::BrokenOff),
            };
            self.filled += bytes;
            match response::read(&self.response[..self.filled], bytes == 0) {
                Ok(Some(response)) => break response,
                Ok(None) if bytes == 0 => return Err(Failure::BrokenOff),
                Ok(None) => {}
                Err(_) => return Err(Failure::Malformed),
            }
        };
        let outcome = match response.status {
            200 if response.axon.status_code == Some("200") => Ok(()),
            200 => Err(Failure::NoSuccess),
            status => Err(Failure::Refused(status)),
        };
        if !response.keep_alive || written.is_err() {
            self.stream = None;
        }
        outcome
    }
}

async fn connect(axon: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(axon).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads what has come behind the first `filled` bytes; 0 when the other side has closed.
async fn read(stream: &TcpStream, buffer: &mut Vec<u8>, filled: usize) -> io::Result<usize> {
    if filled == buffer.len() {
        buffer.resize(2 * filled, 0);
    }
    loop {
        match stream.try_read(&mut buffer[filled..]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await?,
            read => return read,
        }
    }
}
