//! Asks the API what became of conversations.

use std::collections::VecDeque;
use std::time::Duration;

use super::caller::{Caller, Missing, Stop};
use super::{Request, truth};
use crate::outcomes::{Outcome, OutcomesError};

/// Where the API tells what became of a conversation.
const PATH: &str = "/bittensor/analytics/validation-data";
/// No such answer is longer.
const MOST_BYTES: u64 = 1 << 16;
/// What is fetched is stored after so many outcomes, or after so long: more is not lost in a crash.
const BATCH: usize = 20;
const BATCH_TIME: Duration = Duration::from_secs(2);
/// Where these outcomes come from.
const SOURCE: &str = "api";

/// What became of conversations that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Of how many the truth is known now.
    pub known: usize,
    /// Of how many it is not known yet: the API does not know them, or has no label for them.
    pub not_yet: usize,
    /// How many of those it does not know at all.
    pub unknown: usize,
    /// For which there was no usable answer.
    pub failed: Vec<Failure>,
    /// Why the rest was not asked for, if anything was left.
    pub stopped: Option<Stop>,
}

/// A conversation for which there was no usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The conversation.
    pub id: String,
    /// What happened.
    pub reason: String,
}

/// Sees how it goes.
pub trait Watch {
    /// So many were asked for.
    fn asked(&mut self, count: usize);

    /// It waits, for this reason and so long.
    fn waiting(&mut self, reason: &str, time: Duration);
}

/// Asks for each of `ids` and hands what is known to `store` in small batches, so that what was
/// fetched outlives whatever happens next. `now_ns` tells the time.
///
/// A conversation without a usable answer is asked for once more after all others, and none is asked
/// for before and after a pause: a few for which the API always fails keep no other waiting.
///
/// # Errors
///
/// If something cannot be stored. What the API does wrong is in [`Fetched`].
pub fn fetch(
    caller: &mut Caller,
    ids: &[String],
    now_ns: &dyn Fn() -> u64,
    store: &mut dyn FnMut(Vec<Outcome>) -> Result<(), OutcomesError>,
    watch: &mut dyn Watch,
) -> Result<Fetched, OutcomesError> {
    let mut fetched = Fetched::default();
    let mut batch = Batch { outcomes: Vec::new(), since: caller.now(), store, failure: None };
    let mut queue: VecDeque<Place<'_>> = ids.iter().map(|id| Place { id, failure: None }).collect();
    let mut was_well = false;
    while let Some(Place { id, failure }) = queue.pop_front() {
        watch.asked(ids.len() - queue.len() - 1);
        // An API that is well fails for these: it is not worth a pause to ask again.
        if let Some(reason) = failure.as_ref().filter(|_| was_well && caller.is_paused()) {
            fetched.fail(id, reason.clone());
            continue;
        }
        // Nothing waits in memory while it waits for the API.
        let mut waiting = |reason: &str, time: Duration| {
            batch.write();
            watch.waiting(reason, time);
        };
        let judge = &mut |body: &[u8]| truth::read(body, id);
        let answer = caller.call_until_paused(&request(id), judge, &mut waiting);
        was_well |= !matches!(answer, Err(Missing::NotNow(_)));
        match answer {
            Ok(Some((converted, time_seconds))) => {
                fetched.known += 1;
                let (id, also, source) = (id.to_owned(), None, SOURCE.to_owned());
                let known_ns = now_ns();
                let outcome = Outcome { id, also, converted, time_seconds, known_ns, source };
                batch.add(outcome, caller.now());
            }
            Ok(None) => fetched.not_yet += 1,
            Err(Missing::Unknown) => {
                fetched.not_yet += 1;
                fetched.unknown += 1;
            }
            // While it was never well, all that can be told apart is whether it is there at all.
            Err(Missing::NotNow(reason))
                if failure.is_none() || (!was_well && caller.is_paused()) =>
            {
                queue.push_back(Place { id, failure: Some(reason) });
            }
            Err(Missing::NotNow(reason) | Missing::Failed(reason)) => fetched.fail(id, reason),
            Err(Missing::Stopped(stop)) => {
                fetched.stopped = Some(stop);
                break;
            }
        }
        if batch.failure.is_some() {
            break;
        }
    }
    watch.asked(ids.len());
    batch.write();
    batch.failure.map_or(Ok(fetched), Err)
}

fn request(id: &str) -> Request {
    let query = vec![("test_pk", id.to_owned())];
    Request { path: PATH.to_owned(), query, most_bytes: MOST_BYTES }
}

/// A conversation that is to be asked for.
struct Place<'a> {
    id: &'a str,
    /// Why there was no answer when it was asked for before.
    failure: Option<String>,
}

impl Fetched {
    fn fail(&mut self, id: &str, reason: String) {
        self.failed.push(Failure { id: id.to_owned(), reason });
    }
}

/// What was fetched and is not stored yet.
struct Batch<'a> {
    outcomes: Vec<Outcome>,
    since: Duration,
    store: &'a mut dyn FnMut(Vec<Outcome>) -> Result<(), OutcomesError>,
    /// Why it could not be stored: nothing more is tried then.
    failure: Option<OutcomesError>,
}

impl Batch<'_> {
    fn add(&mut self, outcome: Outcome, now: Duration) {
        if self.outcomes.is_empty() {
            self.since = now;
        }
        self.outcomes.push(outcome);
        if self.outcomes.len() >= BATCH || now.saturating_sub(self.since) >= BATCH_TIME {
            self.write();
        }
    }

    fn write(&mut self) {
        if self.outcomes.is_empty() || self.failure.is_some() {
            return;
        }
        self.failure = (self.store)(std::mem::take(&mut self.outcomes)).err();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    use super::*;
    use crate::outcomes::api::{Patience, Pause, Response, Transport, TransportError};

    /// What an API answers, in this order, and what was asked of it.
    #[derive(Clone, Default)]
    struct Script {
        answers: Rc<RefCell<VecDeque<Result<Response, &'static str>>>>,
        asked: Rc<RefCell<Vec<(Duration, String)>>>,
        now: Rc<RefCell<Duration>>,
    }

    impl Transport for Script {
        fn get(&mut self, request: &Request) -> Result<Response, TransportError> {
            let id = request.query[0].1.clone();
            self.asked.borrow_mut().push((*self.now.borrow(), id));
            let answer = self.answers.borrow_mut().pop_front().expect("an answer");
            answer.map_err(|reason| TransportError { reason: reason.to_owned() })
        }
    }

    impl Pause for Script {
        fn now(&self) -> Duration {
            *self.now.borrow()
        }
        fn sleep(&mut self, time: Duration) {
            *self.now.borrow_mut() += time;
        }
        fn is_stopped(&self) -> bool {
            false
        }
    }

    #[derive(Default)]
    struct Waits(Vec<(String, Duration)>);

    impl Watch for Waits {
        fn asked(&mut self, _: usize) {}
        fn waiting(&mut self, reason: &str, time: Duration) {
            self.0.push((reason.to_owned(), time));
        }
    }

    fn status(status: u16) -> Result<Response, &'static str> {
        Ok(Response { status, ..Response::default() })
    }

    fn label(id: &str, label: &str) -> Result<Response, &'static str> {
        let body = format!(r#"{{"test_pk": "{id}", "labels": {label}}}"#).into_bytes();
        Ok(Response { status: 200, body, ..Response::default() })
    }

    fn patience() -> Patience {
        Patience { rate_per_second: 10.0, ..Patience::default() }
    }

    struct Run {
        fetched: Fetched,
        batches: Vec<Vec<String>>,
        asked: Vec<(Duration, String)>,
        waits: Vec<(String, Duration)>,
    }

    fn run(ids: &[&str], answers: Vec<Result<Response, &'static str>>, patience: Patience) -> Run {
        let script = Script { answers: Rc::new(RefCell::new(answers.into())), ..Script::default() };
        let mut caller = Caller::new(script.clone(), script.clone(), patience, 7);
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let (mut batches, mut waits) = (Vec::new(), Waits::default());
        let mut store = |outcomes: Vec<Outcome>| {
            batches.push(outcomes.into_iter().map(|outcome| outcome.id).collect());
            Ok(())
        };
        let fetched = fetch(&mut caller, &ids, &|| 5, &mut store, &mut waits).unwrap();
        let asked = script.asked.borrow().clone();
        Run { fetched, batches, asked, waits: waits.0 }
    }

    #[test]
    fn every_kind_of_answer_is_told_apart() {
        let answers = vec![
            label("a", "true"),
            status(404),
            label("c", "null"),
            label("d", "\"perhaps\""),
            status(400),
            label("f", "0"),
        ];
        let run = run(&["a", "b", "c", "d", "e", "f"], answers, patience());
        let Fetched { known, not_yet, unknown, failed, stopped } = run.fetched;
        assert_eq!((known, not_yet, unknown, stopped), (2, 2, 1, None));
        let failed: Vec<&str> = failed.iter().map(|failure| failure.id.as_str()).collect();
        assert_eq!(failed, ["d", "e"]);
        assert_eq!(run.batches, [["a", "f"]]);
        // Ten a second.
        let times: Vec<u128> = run.asked.iter().map(|(at, _)| at.as_millis()).collect();
        assert_eq!(times, [0, 100, 200, 300, 400, 500]);
    }

    #[test]
    fn failures_are_asked_again_later_and_later() {
        let answers = vec![status(500), Err("timed out"), label("b", "1"), label("a", "1")];
        let run = run(&["a"], answers, patience());
        assert_eq!((run.fetched.known, run.fetched.failed.len()), (1, 0));
        assert_eq!(run.asked.len(), 4);
        let reasons: Vec<&str> = run.waits.iter().map(|(reason, _)| reason.as_str()).collect();
        assert_eq!(
            reasons,
            ["it answers 500", "no whole answer: timed out", "the answer is about `b` instead"]
        );
        for ((_, wait), most) in run.waits.iter().zip([500, 1000, 2000]) {
            assert!(*wait <= Duration::from_millis(most), "{wait:?} of {most}");
        }
    }

    #[test]
    fn what_is_known_is_stored_before_it_waits() {
        let answers = vec![label("a", "1"), status(503), label("b", "1")];
        let run = run(&["a", "b"], answers, patience());
        assert_eq!(run.batches, [["a"], ["b"]]);
    }

    #[test]
    fn retry_after_is_obeyed_within_reason() {
        let wait = |seconds: &str| {
            let retry_after = Some(seconds.to_owned());
            Ok(Response { status: 429, retry_after, ..Response::default() })
        };
        let run_1 = run(&["a"], vec![wait("7"), label("a", "1")], patience());
        assert_eq!(run_1.waits, [("it answers 429".to_owned(), Duration::from_secs(7))]);
        let run_2 = run(&["a", "b"], vec![wait("3600")], patience());
        assert_eq!(run_2.fetched.stopped, Some(Stop::Later { seconds: 3600 }));
    }

    #[test]
    fn a_refused_key_and_a_redirect_end_it_at_once() {
        for answer in [401, 403] {
            let run = run(&["a", "b"], vec![label("a", "1"), status(answer)], patience());
            assert_eq!(run.fetched.stopped, Some(Stop::Refused { status: answer }));
            assert_eq!(run.batches, [["a"]], "what was known is stored");
        }
        let run = run(&["a", "b"], vec![status(302)], patience());
        assert!(matches!(run.fetched.stopped, Some(Stop::Moved { status: 302, .. })));
    }

    #[test]
    fn an_api_that_is_down_is_left_alone_and_given_up() {
        let ids: Vec<String> = (0..20).map(|id| id.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let down = (0..100).map(|_| status(500)).collect();
        let run = run(&ids, down, patience());
        // Eight until it opens, one after each of three pauses of 30, 60 and 120 s.
        assert_eq!(run.asked.len(), 11);
        assert!(matches!(run.fetched.stopped, Some(Stop::Down { failures: 11, .. })));
        let took = run.asked[10].0 - run.asked[0].0;
        assert!(took > Duration::from_secs(210) && took < Duration::from_secs(260), "{took:?}");
        // It is back: the others come first, and then those again for which it failed.
        let is_back = [0; 8].map(|_| status(500)).into_iter();
        let others = (2..20).chain(0..2).map(|id| label(&id.to_string(), "1"));
        let run = self::run(&ids, is_back.chain(others).collect(), patience());
        assert_eq!((run.fetched.known, run.fetched.failed.len()), (20, 0));
    }

    #[test]
    fn a_few_that_always_fail_keep_no_other_waiting() {
        // Eight until it opens, one after each of two pauses, and after the third all is well.
        let mut answers: Vec<_> = (0..10).map(|_| status(500)).collect();
        answers.extend([label("a", "1"), label("b", "1"), label("c", "0")]);
        // Two of them fail again, four times each, and no pause is made for the others.
        answers.extend((0..8).map(|_| status(500)));
        let run = run(&["x", "y", "z", "v", "a", "b", "c"], answers, patience());
        assert_eq!((run.fetched.known, run.fetched.stopped), (3, None));
        let failed: Vec<&str> = run.fetched.failed.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(failed, ["x", "y", "z", "v"]);
        let asked: String = run.asked.iter().map(|(_, id)| id.as_str()).collect();
        assert_eq!(asked, "xxxxyyyyzvabcxxxxyyyy");
    }
}
