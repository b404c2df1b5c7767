//! For tests: a browser that sends exactly what our own forms contain, and a daemon that remembers.

pub mod browser;
#[allow(dead_code)]
pub mod fake;

pub mod filled;
mod fuzz;
mod guards;
mod logins;
mod matrix;
