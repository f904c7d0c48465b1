//! The integration tests: the program and its library as others see them.

mod admin;
mod axon;
mod bench;
mod calibrate;
mod cli;
mod features;
mod flood;
mod hostile;
mod operating;
mod report;
mod serve;
mod small;
mod support;
mod table;
mod train;
