//! The integration tests: the program and its library as others see them.

mod admin;
mod axon;
mod bench;
mod calibrate;
mod cli;
mod diagnose;
mod features;
mod flood;
mod hostile;
mod journal;
mod learn;
mod operating;
mod outcomes;
mod replay;
mod report;
mod serve;
mod simulate;
mod small;
mod state;
mod support;
mod table;
mod train;
mod tune;
