//! The integration tests: the program and its library as others see them.

mod axon;
mod calibrate;
mod cli;
mod features;
mod report;
mod serve;
mod small;
mod support;
mod table;
mod train;
