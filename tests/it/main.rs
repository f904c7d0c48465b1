//! The integration tests: the program and its library as others see them.

mod axon;
mod cli;
mod features;
mod serve;
mod support;
mod table;
mod train;
