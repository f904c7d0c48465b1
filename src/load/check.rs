//! Checks answers, on a thread of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};

use crate::chain::PublicKey;
use crate::features::Conversation;
use crate::serve::verify::response_text;
use crate::subnet::reward::Answer;
use crate::subnet::synapse::ConversionSynapse;

use super::question::Question;
use super::response::{self, Response};

/// How many answers may wait to be checked; with more, sending waits.
const WAITING: usize = 1 << 14;
/// How many faults are told in words.
const TOLD: usize = 5;
/// How far answers of the same model may lie apart: rows of large batches are computed another way.
const AGREEMENT: f64 = 1e-4;

/// What one model answers to the questions.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The model.
    pub name: String,
    /// One a question, in the same order.
    pub answers: Vec<Answer>,
}

impl Candidate {
    /// Asks the model about each question by itself, as a server does that is not busy.
    pub fn new(
        name: String,
        questions: &[Question],
        model: impl Fn(&Conversation) -> Answer,
    ) -> Self {
        let answers = questions.iter().map(|question| model(&question.conversation)).collect();
        Candidate { name, answers }
    }
}

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nobody signed it.
    Unsigned,
    /// Another axon says that it answered.
    OtherAxon,
    /// The signature does not count.
    Signature,
    /// A validator would give it no reward.
    Body,
    /// The features that came back are not those that were sent.
    Features,
    /// None of the models would say that.
    Answer,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Fault::Unsigned => "not signed",
            Fault::OtherAxon => "from another axon",
            Fault::Signature => "with a wrong signature",
            Fault::Body => "with a body that breaks the rules",
            Fault::Features => "about other features",
            Fault::Answer => "that none of the models gives",
        })
    }
}

/// What the checks found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckReport {
    /// How many answers were checked.
    pub checked: u64,
    /// How many of them were wrong, by the first thing that was.
    pub faults: BTreeMap<Fault, u64>,
    /// The first faults, in words.
    pub told: Vec<String>,
    /// How many answers each model accounts for: the first of those that would say the same.
    pub given_by: Vec<(String, u64)>,
    /// How often sending waited for checks.
    pub waits: u64,
}

impl CheckReport {
    /// How many answers were wrong.
    pub fn wrong(&self) -> u64 {
        self.faults.values().sum()
    }
}

/// Knows right answers from wrong ones.
#[derive(Debug)]
pub(super) struct Judge {
    /// Who should answer.
    pub(super) axon: PublicKey,
    /// Who asks, as SS58.
    pub(super) callers: Vec<String>,
    /// What is asked.
    pub(super) questions: Arc<[Question]>,
    /// Who may have answered; nobody in particular where there is none.
    pub(super) candidates: Vec<Candidate>,
}

impl Judge {
    /// Which of the candidates gave the answer, if any is asked for.
    fn judge(
        &self,
        caller: usize,
        question: usize,
        response: &Response<'_>,
    ) -> Result<Option<usize>, (Fault, String)> {
        self.check_signature(caller, response)?;
        let body = |error| (Fault::Body, format!("{error}"));
        let synapse = ConversionSynapse::parse(&response.body).map_err(body)?;
        let answer = synapse.prediction().map_err(body)?.answer();
        if synapse.features() != self.questions[question].features.as_bytes() {
            return Err((Fault::Features, format!("question {question}")));
        }
        if self.candidates.is_empty() {
            return Ok(None);
        }
        let given = |candidate: &Candidate| agree(candidate.answers[question], answer);
        match self.candidates.iter().position(given) {
            Some(place) => Ok(Some(place)),
            None => {
                let expected = self.candidates[0].answers[question];
                let text = format!("question {question}: {answer:?}, expected {expected:?}");
                Err((Fault::Answer, text))
            }
        }
    }

    fn check_signature(
        &self,
        caller: usize,
        response: &Response<'_>,
    ) -> Result<(), (Fault, String)> {
        let axon = &response.axon;
        let expected = self.axon.address();
        let Some(hotkey) = axon.hotkey.filter(|hotkey| **hotkey == expected) else {
            return Err((Fault::OtherAxon, format!("{:?}", axon.hotkey)));
        };
        let signature = axon.signature.ok_or((Fault::Unsigned, "no signature".to_owned()))?;
        let nonce = axon.nonce.and_then(|nonce| nonce.parse().ok());
        let (Some(nonce), Some(uuid)) = (nonce, axon.uuid) else {
            return Err((Fault::Signature, "no nonce or no UUID".to_owned()));
        };
        let text = response_text(nonce, &self.callers[caller], hotkey, uuid);
        let verified = self.axon.verify(&text, signature);
        verified.map_err(|error| (Fault::Signature, error.to_string()))
    }
}

fn agree(one: Answer, other: Answer) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= AGREEMENT * a.abs().max(1.0);
    one.converted == other.converted
        && near(one.time_seconds, other.time_seconds)
        && near(one.confidence, other.confidence)
}

/// A whole response, and what it answers.
struct Job {
    caller: usize,
    question: usize,
    response: Vec<u8>,
}

/// The thread that checks.
#[derive(Debug)]
pub(super) struct Checker {
    jobs: SyncSender<Job>,
    thread: JoinHandle<CheckReport>,
    waits: u64,
}

impl Checker {
    /// Starts the thread.
    pub(super) fn start(judge: Judge) -> std::io::Result<Self> {
        let (jobs, receiver) = mpsc::sync_channel::<Job>(WAITING);
        let thread = thread::Builder::new().name("check".to_owned()).spawn(move || {
            let mut given_by = vec![0; judge.candidates.len()];
            let mut report = CheckReport::default();
            for Job { caller, question, response } in receiver {
                report.checked += 1;
                let Ok(Some(response)) = response::read(&response, true) else { continue };
                match judge.judge(caller, question, &response) {
                    Ok(place) => place.into_iter().for_each(|place| given_by[place] += 1),
                    Err((fault, text)) => {
                        *report.faults.entry(fault).or_default() += 1;
                        if report.told.len() < TOLD {
                            report.told.push(format!("an answer {fault}: {text}"));
                        }
                    }
                }
            }
            let names = judge.candidates.into_iter().map(|candidate| candidate.name);
            report.given_by = names.zip(given_by).collect();
            report
        })?;
        Ok(Checker { jobs, thread, waits: 0 })
    }

    /// Hands over a response that was read whole.
    pub(super) fn check(&mut self, caller: usize, question: usize, response: &[u8]) {
        let job = Job { caller, question, response: response.to_vec() };
        if let Err(TrySendError::Full(job)) = self.jobs.try_send(job) {
            self.waits += 1;
            // An error means that the thread has ended, which its join tells.
            self.jobs.send(job).ok();
        }
    }

    /// Waits until all is checked. `None` if the thread panicked, which is a bug.
    pub(super) fn finish(self) -> Option<CheckReport> {
        drop(self.jobs);
        let report = self.thread.join().ok()?;
        Some(CheckReport { waits: self.waits, ..report })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Keypair;
    use crate::load::question::questions;

    fn answer(confidence: f64) -> Answer {
        Answer { converted: false, time_seconds: -1.0, confidence }
    }

    /// The report on one response to question 0, signed by `signer` for `caller`.
    fn report(change: impl Fn(&mut String), signer: &Keypair, axon: &Keypair) -> CheckReport {
        let caller = Keypair::generate();
        let questions: Arc<[Question]> = questions(3).into();
        let text = response_text(7, caller.address(), axon.address(), "u");
        let signature = signer.sign(&text);
        let body = format!(
            r#"{{"features": {}, "prediction": {{"conversion_happened": 0, "time_to_conversion_seconds": -1.0}}, "confidence": 0.25}}"#,
            questions[0].features
        );
        let mut response = format!(
            "HTTP/1.1 200 OK\r\nbt_header_axon_hotkey: {}\r\nbt_header_axon_nonce: 7\r\n\
             bt_header_axon_uuid: u\r\nbt_header_axon_signature: {signature}\r\n\r\n{body}",
            axon.address()
        );
        change(&mut response);
        let of = |name: &str, confidence| {
            Candidate::new(name.to_owned(), &questions, |_| answer(confidence))
        };
        let judge = Judge {
            axon: axon.public(),
            callers: vec![caller.address().to_owned()],
            candidates: vec![of("a", 0.75), of("b", 0.25), of("c", 0.25)],
            questions,
        };
        let mut checker = Checker::start(judge).unwrap();
        checker.check(0, 0, response.as_bytes());
        checker.finish().unwrap()
    }

    #[test]
    fn a_right_answer_is_counted_for_its_model() {
        let axon = Keypair::generate();
        let report = report(|_| (), &axon, &axon);
        assert_eq!((report.checked, report.wrong()), (1, 0), "{:?}", report.told);
        let given: Vec<_> = report.given_by.iter().map(|(_, count)| *count).collect();
        assert_eq!(given, [0, 1, 0], "the first that says so");
    }

    #[test]
    fn every_fault_is_found() {
        let axon = Keypair::generate();
        let faults: [(&str, &str, Fault); 7] = [
            ("\"confidence\": 0.25", "\"confidence\": 0.26", Fault::Answer),
            ("\"confidence\": 0.25", "\"confidence\": 1.5", Fault::Body),
            ("\"features\"", "\"feature\"", Fault::Body),
            ("session_id", "session_ix", Fault::Features),
            ("nonce: 7", "nonce: 8", Fault::Signature),
            ("axon_signature", "axon_signatur", Fault::Unsigned),
            ("hotkey: 5", "hotkey: 6", Fault::OtherAxon),
        ];
        for (part, other, fault) in faults {
            let report = report(|text| *text = text.replace(part, other), &axon, &axon);
            assert_eq!(report.faults, BTreeMap::from([(fault, 1)]), "{part}");
            assert_eq!(report.told.len(), 1);
        }
        let forged = report(|_| (), &Keypair::generate(), &axon);
        assert_eq!(forged.faults, BTreeMap::from([(Fault::Signature, 1)]));
    }

    #[test]
    fn answers_agree_if_nobody_could_tell_them_apart() {
        let base = Answer { converted: true, time_seconds: 60.0, confidence: 0.5 };
        for (other, expected) in [
            (base, true),
            (Answer { confidence: 0.50005, ..base }, true),
            (Answer { confidence: 0.5002, ..base }, false),
            (Answer { time_seconds: 60.005, ..base }, true),
            (Answer { time_seconds: 60.01, ..base }, false),
            (Answer { converted: false, time_seconds: -1.0, ..base }, false),
        ] {
            assert_eq!(agree(base, other), expected, "{other:?}");
        }
    }
}
